"""The Delta logs and what `commits` remembers of them: is every commit there, and which files should a month have.

The log is looked at as files, so that a hole is found also where a Delta reader fails at it or passes over it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
from deltalake.exceptions import DeltaError

from pipelines.audit.findings import Finding
from pipelines.lake.datasets import COMMITS, EVENTS, HOME_LOG, STREAM_MONTHS
from pipelines.lake.delta import LOG
from pipelines.lake.errors import TableDamagedError
from pipelines.lake.lake import Lake
from pipelines.proof.manifest import ListedFile

AUDITED = (EVENTS.name, STREAM_MONTHS.name, COMMITS.name, HOME_LOG.name)
_NAME_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Recorded:
    """One commit as `commits` remembers it; `files` are all that the partition held after it."""

    dataset: str
    partition: str
    number: int
    delta_version: int
    row_count: int
    files: tuple[ListedFile, ...]
    provenance: Mapping[str, Any]

    @property
    def month(self) -> str:
        """The month of a month's partition."""
        return self.partition.removeprefix("month=")


@dataclass(frozen=True, slots=True)
class TableLog:
    """One table's log.

    Attributes:
        versions: Versions whose commit file is there, ascending.
        missing: Versions that must have been there and are not.
        error: Why a Delta reader cannot read the table, None when it can.
    """

    versions: tuple[int, ...]
    missing: tuple[int, ...]
    error: str | None


def read_log(lake: Lake, name: str) -> TableLog:
    """Look at a table's log; a table that was never written has no versions and no error."""
    folder = lake.table(name).path / LOG
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    versions = sorted(int(n[:_NAME_DIGITS]) for n in names if n[:_NAME_DIGITS].isdigit() and n.endswith(".json"))
    checkpoints = {int(n[:_NAME_DIGITS]) for n in names if n[:_NAME_DIGITS].isdigit() and ".checkpoint." in n}
    if not versions and not checkpoints:
        # A table with data and without a log has lost it.
        has_data = any(lake.table(name).path.rglob("*.parquet"))
        return TableLog((), (0,) if has_data else (), "it has no log" if has_data else None)
    there, newest = set(versions), max([*versions, *checkpoints])
    # A trimmed log begins at a checkpoint; before that nothing is needed.
    begin = 0 if 0 in there or not versions or not any(c >= versions[0] - 1 for c in checkpoints) else versions[0]
    missing = tuple(v for v in range(begin, newest + 1) if v not in there)
    return TableLog(tuple(versions), missing, _reading_error(lake, name))


def read_commits(lake: Lake) -> list[Recorded]:
    """All that `commits` remembers of the audited tables, by number.

    Raises:
        DeltaError: The table's log is damaged.
        duckdb.Error: One of its files is damaged.
    """
    files = lake.files(COMMITS.name)
    if not files:
        return []
    with duckdb.connect() as connection:
        rows = connection.sql(
            "SELECT dataset, partition, number, delta_version, row_count, files, provenance FROM read_parquet($files) "
            "WHERE dataset IN ($events, $heads) ORDER BY dataset, partition, number, committed_at",
            params={"files": files, "events": EVENTS.name, "heads": STREAM_MONTHS.name},
        ).fetchall()
    return [
        Recorded(dataset, partition, number, version, count, tuple(map(_file, described or ())), json.loads(provenance))
        for dataset, partition, number, version, count, described, provenance in rows
    ]


def log_findings(name: str, log: TableLog, recorded: Sequence[Recorded]) -> list[Finding]:
    """What is missing of a table's log, named by file and, where `commits` knows it, by month."""
    months = {commit.delta_version: commit.month for commit in recorded if commit.dataset == name}
    newest = max(log.versions, default=-1)
    missing = sorted({*log.missing, *(version for version in months if version > newest)})
    findings = [
        Finding(
            "delta_commit_missing",
            months.get(version),
            "lake",
            f"commit {version} of {name} is not in the Delta log",
            file=f"{name}/{LOG}/{version:0{_NAME_DIGITS}d}.json",
        )
        for version in missing
    ]
    if log.error is not None and not findings:
        findings.append(Finding("file_unreadable", None, "lake", f"the table cannot be opened: {log.error}", file=name))
    return findings


def _reading_error(lake: Lake, name: str) -> str | None:
    try:
        lake.files(name)
    except (DeltaError, TableDamagedError, OSError, ValueError) as error:
        return str(error).strip().splitlines()[0]
    return None


def _file(described: Mapping[str, Any]) -> ListedFile:
    return ListedFile(described["path"], described["sha256"], int(described["size_bytes"]), int(described["row_count"]))
