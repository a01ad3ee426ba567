"""Keep the payloads that redactions change, as they may be shown: the table `redacted_events`.

What a redaction leaves is computed in Python; with this table the views of the lake can show events without it. A month is
a function of the redactions that hide parts of its events, of whatever month they are.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from pipelines.folds.redaction import Fault, Redaction, find_fault, redact_text
from pipelines.folds.run import FoldResult
from pipelines.folds.tables import unless_none
from pipelines.lake.datasets import REDACTED_EVENTS
from pipelines.lake.fold_code import fold_hash
from pipelines.lake.lake import Commit, Lake

_ANY = "FROM events WHERE event_type = 'redaction.applied.v1'"
_IN_FORCE = """
SELECT
    target.aggregate_id, target.stream_version, any_value(target.payload) AS payload,
    list(applied.stream_version ORDER BY applied.stream_version) AS redaction_versions,
    list(applied.payload ORDER BY applied.stream_version) AS redactions,
    string_agg(hex(applied.hash), ' ' ORDER BY applied.stream_version) AS hashes
FROM events AS applied
INNER JOIN events AS target
    ON applied.aggregate_id = target.aggregate_id
    AND target.stream_version = TRY_CAST(json_extract_string(applied.payload, '$.target.stream_version') AS INTEGER)
WHERE applied.event_type = 'redaction.applied.v1' AND target.month = $month
GROUP BY target.aggregate_id, target.stream_version
ORDER BY target.aggregate_id, target.stream_version
"""


_APPLIED = """
SELECT applied.aggregate_id, applied.stream_version, applied.payload, target.payload AS target
FROM events AS applied
LEFT JOIN events AS target
    ON applied.aggregate_id = target.aggregate_id
    AND target.stream_version = TRY_CAST(json_extract_string(applied.payload, '$.target.stream_version') AS INTEGER)
WHERE
    applied.event_type = 'redaction.applied.v1'
    AND ($months IS NULL OR list_contains($months::VARCHAR[], applied.month))
ORDER BY applied.aggregate_id, applied.stream_version
"""

_SCHEMA = pa.schema([field for field in REDACTED_EVENTS.arrow_schema() if field.name != "month"])


class _Named(NamedTuple):
    """An event that redactions name: its payload as recorded, and their places, payloads and hashes."""

    aggregate_id: str
    stream_version: int
    payload: str
    versions: list[int]
    redactions: list[str]
    hashes: str


class RedactionFault(NamedTuple):
    """A redaction that hides nothing, or more than it names.

    Attributes:
        aggregate_id: Its stream.
        stream_version: Its own place in it.
        fault: What is wrong with it.
    """

    aggregate_id: str
    stream_version: int
    fault: Fault


def fold_redacted(lake: Lake, month: str) -> FoldResult:
    """Write the month's redacted payloads, unless they are there already.

    Raises:
        CommitLostError: Another writer committed the same month meanwhile.
    """
    started = time.monotonic()
    partition = {"month": month}
    with lake.connect() as connection:
        rows, wanted = _read(connection, month)
        commit = _current(lake, month, wanted)
        is_written = commit is None
        if commit is None:
            table, inexact = _redact(rows)
            redactions = sum(len(row.versions) for row in rows)
            connection.register("refold_redacted", table)
            commit = lake.write_partition(
                REDACTED_EVENTS,
                partition,
                connection,
                "SELECT * FROM refold_redacted",
                input_hash=wanted,
                provenance={"redactions": redactions, "inexact_redactions": inexact},
            )
            connection.unregister("refold_redacted")
    return _result(month, commit, is_written=is_written, seconds=time.monotonic() - started)


def find_redacted(lake: Lake, months: Sequence[str]) -> dict[str, FoldResult]:
    """What `fold_redacted` would say of those of the months that are up to date; nothing is written."""
    found = {}
    with lake.connect() as connection:
        for month in months:
            commit = _current(lake, month, _read(connection, month)[1])
            if commit is not None:
                found[month] = _result(month, commit, is_written=False, seconds=0.0)
    return found


def _current(lake: Lake, month: str, wanted: str) -> Commit | None:
    """The month's last commit, if it is of what would be read now."""
    commit = lake.last_commit(REDACTED_EVENTS.name, {"month": month})
    return commit if commit is not None and commit.input_hash == wanted else None


def _result(month: str, commit: Commit, *, is_written: bool, seconds: float) -> FoldResult:
    return FoldResult(
        dataset=REDACTED_EVENTS.name,
        month=month,
        is_written=is_written,
        rows=commit.row_count,
        size_bytes=commit.size_bytes,
        skipped_events=0,
        redactions=int(commit.provenance["redactions"]),
        inexact_redactions=int(commit.provenance["inexact_redactions"]),
        set_aside={},
        input_hash=commit.input_hash,
        seconds=seconds,
    )


def compute_redacted(connection: duckdb.DuckDBPyConnection, month: str) -> tuple[pa.Table, int]:
    """The month's rows, from the relation `events`; and how many redactions had to hide more than they name."""
    return _redact(_read(connection, month)[0])


def _read(connection: duckdb.DuckDBPyConnection, month: str) -> tuple[list[_Named], str]:
    """The month's events that redactions name (few are), and a hash of all that decides what is left of them."""
    query = unless_none(connection, _ANY, _IN_FORCE)
    rows = [_Named(*row) for row in connection.sql(query, params={"month": month}).fetchall()]
    digest = hashlib.sha256(fold_hash().encode())
    for row in rows:
        digest.update(f"{row.aggregate_id} {row.stream_version} {row.hashes}\n".encode())
    return rows, digest.hexdigest()


def _redact(rows: list[_Named]) -> tuple[pa.Table, int]:
    shown = [redact_text(row.payload, [Redaction.from_json(each) for each in row.redactions]) for row in rows]
    columns: dict[str, list[Any]] = {
        "aggregate_id": [row.aggregate_id for row in rows],
        "stream_version": [row.stream_version for row in rows],
        "payload": [text for text, _ in shown],
        "redaction_versions": [row.versions for row in rows],
    }
    return pa.table(columns, schema=_SCHEMA), sum(inexact for _, inexact in shown)


def find_faults(lake: Lake, months: Sequence[str] | None = None) -> list[RedactionFault]:
    """Redactions that hide nothing, or more than they name, whoever appended them.

    Args:
        lake: The lake.
        months: Months of the redactions; all by default.

    Returns:
        By stream and version.
    """
    with lake.connect() as connection:
        query = unless_none(connection, _ANY, _APPLIED)
        rows = connection.sql(query, params={"months": None if months is None else list(months)}).fetchall()
    faults = []
    for aggregate_id, stream_version, applied, target in rows:
        payload = json.loads(applied)
        fault: Fault | None = "no_target"
        if target is not None:
            fault = find_fault(json.loads(target), Redaction.from_payload(payload))
        if fault is not None:
            faults.append(RedactionFault(aggregate_id, stream_version, fault))
    return faults
