"""The complete versions of experiments, and the lines of their summaries. One that was pruned is none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from pipelines.diff.revised import COMPLETED_AT, Revision, find_revision
from pipelines.errors import BadInputError
from pipelines.lake.dataset import read_partition
from pipelines.lake.datasets import AB_SUMMARY
from pipelines.lake.lake import Lake

_LINES = """
SELECT *
FROM ab_summary_history
WHERE experiment = $experiment AND version_id = $version_id
ORDER BY segment <> 'all', segment, segment_value, metric
"""
_DEFINITION = """
SELECT definition
FROM versions_history
WHERE experiment = $experiment AND version_id = $version_id
"""
_SHOWN = 10
"""Versions named in an error."""


@dataclass(frozen=True, slots=True)
class Version:
    """One complete version.

    Attributes:
        experiment: Name.
        version_id: Hash of what determined it.
        result_hash: Hash of what came out.
        unit: What is paired.
        pairs: Unit pairs.
        same_calls: Pairs with the same tool calls.
        same_final: Pairs with the same final text.
        committed_at: When it became complete, UTC.
        revision: What erasures changed of it since; None when nothing.
    """

    experiment: str
    version_id: str
    result_hash: str
    unit: str
    pairs: int
    same_calls: int
    same_final: int
    committed_at: datetime
    revision: Revision | None = None

    @property
    def partition(self) -> dict[str, str]:
        """Its partition in every dataset of the diff."""
        return {"experiment": self.experiment, "version_id": self.version_id}


def list_versions(lake: Lake, experiment: str | None = None) -> list[Version]:
    """All complete versions, newest first; of an experiment those of its candidates, too, which are `EXPERIMENT/CANDIDATE`.

    Raises:
        BadInputError: `experiment` is given and has none.
    """
    versions = []
    for commit in lake.commits(AB_SUMMARY.name):
        if not commit.row_count:  # pruned
            continue
        values = read_partition(commit.partition)
        names = ("result_hash", "unit", "pairs", "same_calls", "same_final")
        headline = {name: commit.provenance[name] for name in names}
        completed = commit.provenance.get(COMPLETED_AT)
        versions.append(
            Version(
                values["experiment"],
                values["version_id"],
                committed_at=commit.committed_at if completed is None else datetime.fromisoformat(completed),
                revision=find_revision(commit.provenance),
                **headline,
            )
        )
    known = sorted({version.experiment for version in versions})
    if experiment is not None:
        meant = [name for name in known if experiment in (name, name.partition("/")[0])]
        if not meant:
            raise BadInputError(
                f"no complete version of {experiment!r}; there are versions of: {', '.join(known) or 'none'}"
            )
        versions = [version for version in versions if version.experiment in meant]
    return sorted(versions, key=lambda version: version.committed_at, reverse=True)


def find_definition(lake: Lake, partition: Mapping[str, str]) -> Mapping[str, Any]:
    """Every setting that a version was determined by, as `versions` has it; empty for one of which nothing is known.

    Of a version that was pruned, or was made before there was that dataset, its summary's commit tells it.

    Args:
        lake: Where the version is.
        partition: Its `experiment` and `version_id`.
    """
    with lake.connect(_DEFINITION) as connection:
        rows = connection.execute(_DEFINITION, dict(partition)).fetchall()
    if rows:
        found: Mapping[str, Any] = json.loads(rows[0][0])
        return found
    commit = lake.last_commit(AB_SUMMARY.name, partition)
    return {} if commit is None else commit.provenance.get("definition") or {}


def resolve_version(lake: Lake, version_id: str) -> Version:
    """The complete version whose id begins with `version_id`.

    Raises:
        BadInputError: None does, or several do.
    """
    return pick_version(list_versions(lake), version_id)


def pick_version(versions: Sequence[Version], version_id: str) -> Version:
    """The one of some versions whose id begins with `version_id`; as `resolve_version`."""
    found = [version for version in versions if version.version_id.startswith(version_id)] if version_id else []
    if len(found) != 1:
        known = ", ".join(f"{each.version_id} ({each.experiment})" for each in (found or versions)[:_SHOWN])
        what = "is the beginning of several versions" if found else "is no complete version"
        raise BadInputError(f"{version_id!r} {what}; {'they' if found else 'there'} are: {known or 'none'}")
    return found[0]


def read_summary(connection: duckdb.DuckDBPyConnection, partition: Mapping[str, str]) -> list[dict[str, Any]]:
    """The lines of a version's summary, by column: of the whole first, then of segments; none of a version that is not complete.

    Args:
        connection: A lake's.
        partition: The version's `experiment` and `version_id`.
    """
    rows = connection.sql(_LINES, params=dict(partition))
    return [dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()]
