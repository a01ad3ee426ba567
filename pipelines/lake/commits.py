"""What a partition's last commit came from, as the table `commits` keeps it: a row for each commit, written after the data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from importlib import metadata
from typing import Any

from pipelines.duck import quote_identifier, scratch
from pipelines.lake.files import DataFile


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of one partition.

    Attributes:
        dataset: Name of the dataset.
        partition: The partition's path (`column=value` pairs), empty for an unpartitioned table.
        number: Number of the commit within the partition: 1, 2, 3 …
        delta_version: Version of the Delta table right after it.
        row_count: Rows of the partition.
        size_bytes: Bytes of its files.
        input_hash: What the partition was computed from.
        provenance: What the writer wanted remembered.
        seconds: Time that writing and committing took.
        committed_at: When, UTC.
        files: The partition's files.
    """

    dataset: str
    partition: str
    number: int
    delta_version: int
    row_count: int
    size_bytes: int
    input_hash: str
    provenance: dict[str, Any]
    seconds: float
    committed_at: datetime
    files: tuple[DataFile, ...] = ()


@cache
def _code_version() -> str:
    return metadata.version("refold")


def as_row(commit: Commit) -> dict[str, Any]:
    """A commit as a row of the table."""
    row = {name: getattr(commit, name) for name in Commit.__slots__}
    row["files"] = [
        {"path": f.path, "sha256": f.sha256, "size_bytes": f.size_bytes, "row_count": f.row_count} for f in commit.files
    ]
    row["provenance"] = json.dumps(commit.provenance, sort_keys=True)
    row["code_version"] = _code_version()
    return row


def by_partition(commits: Iterable[Commit]) -> dict[tuple[str, str], Commit]:
    """Commits that were just made by dataset and partition, as they will be read back."""
    return {
        (commit.dataset, commit.partition): replace(
            commit,
            files=tuple(replace(file, stats="") for file in commit.files),
            provenance=json.loads(json.dumps(commit.provenance, sort_keys=True)),
        )
        for commit in commits
    }


def read_commits(files: Sequence[str]) -> dict[tuple[str, str], Commit]:
    """The newest commit of each partition, by dataset and partition, from the table's files."""
    names = list(Commit.__slots__)
    with scratch() as connection:
        query = (
            f"SELECT {', '.join(map(quote_identifier, names))} FROM read_parquet($files) ORDER BY committed_at, number"
        )
        rows = connection.execute(query, {"files": list(files)}).fetchall()
    newest: dict[tuple[str, str], Commit] = {}
    for row in rows:
        values = dict(zip(names, row, strict=True))
        values["provenance"] = json.loads(values["provenance"])
        values["files"] = tuple(DataFile(**file) for file in values["files"])
        newest[values["dataset"], values["partition"]] = Commit(**values)
    return newest


def hides(provenance: Mapping[str, Any]) -> tuple[int, int]:
    """How many redactions a commit applies, and how much it knows to be erased.

    Each only grows, but that a redaction of what is erased since has nothing to hide: so either tells, and their sum does not.
    """
    return int(provenance.get("redactions", 0)), int(provenance.get("erased", 0))
