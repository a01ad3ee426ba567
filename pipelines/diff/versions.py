"""The complete versions of experiments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipelines.errors import BadInputError
from pipelines.lake.datasets import AB_SUMMARY
from pipelines.lake.lake import Lake


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
    """

    experiment: str
    version_id: str
    result_hash: str
    unit: str
    pairs: int
    same_calls: int
    same_final: int
    committed_at: datetime


def list_versions(lake: Lake, experiment: str | None = None) -> list[Version]:
    """All complete versions, newest first.

    Raises:
        BadInputError: `experiment` is given and has none.
    """
    versions = []
    for commit in lake.commits(AB_SUMMARY.name):
        values = dict(part.split("=", 1) for part in commit.partition.split("/"))
        names = ("result_hash", "unit", "pairs", "same_calls", "same_final")
        headline = {name: commit.provenance[name] for name in names}
        versions.append(
            Version(values["experiment"], values["version_id"], committed_at=commit.committed_at, **headline)
        )
    known = sorted({version.experiment for version in versions})
    if experiment is not None:
        if experiment not in known:
            raise BadInputError(
                f"no complete version of {experiment!r}; there are versions of: {', '.join(known) or 'none'}"
            )
        versions = [version for version in versions if version.experiment == experiment]
    return sorted(versions, key=lambda version: version.committed_at, reverse=True)
