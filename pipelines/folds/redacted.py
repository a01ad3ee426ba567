"""Keep the payloads that redactions change, as they may be shown: the table `redacted_events`.

What a redaction leaves is computed in Python; with this table the views of the lake can show events without it. A month is
a function of the redactions that hide parts of its events, of whatever month they are.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import duckdb

from pipelines.duck import quote_literal, unless_none
from pipelines.fold.identity import fold_hash
from pipelines.folds.result import FoldResult
from pipelines.lake.datasets import REDACTED_EVENTS
from pipelines.lake.lake import Commit, Lake
from pipelines.log.erased import IS_ERASED
from pipelines.log.readable import RedactedEvents, named_query, redact_events
from pipelines.log.redaction import IS_REDACTION, TARGET_VERSION, Fault, Redaction, find_fault

_APPLIED = f"""
SELECT applied.aggregate_id, applied.stream_version, applied.payload, target.payload AS target
FROM (
    SELECT *, {TARGET_VERSION} AS target_version FROM events WHERE {IS_REDACTION} AND NOT {IS_ERASED.format("")}
) AS applied
LEFT JOIN events AS target
    ON applied.aggregate_id = target.aggregate_id
    AND target.stream_version = applied.target_version
WHERE
    ($months IS NULL OR list_contains($months::VARCHAR[], applied.month))
    AND NOT {IS_ERASED.format("target.")}
ORDER BY applied.aggregate_id, applied.stream_version
"""
_READS = "FROM events"


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
    with lake.connect(_READS) as connection:
        wanted = _hashes(connection, [month])[month]
        commit = _current(lake, month, wanted)
        is_written = commit is None
        if commit is None:
            found = compute_redacted(connection, month)
            provenance = {
                "redactions": found.redactions,
                "inexact_redactions": found.inexact,
                "erased": _count_erased(connection, month),
            }
            with lake.replacing(REDACTED_EVENTS, {"month": month}) as writer:
                writer.write(REDACTED_EVENTS.sort(found.rows))
                commit = writer.commit(input_hash=wanted, provenance=provenance)
    return _result(month, commit, is_written=is_written, seconds=time.monotonic() - started)


def find_redacted(lake: Lake, months: Sequence[str]) -> dict[str, FoldResult]:
    """What `fold_redacted` would say of those of the months that are up to date; nothing is written."""
    with lake.connect(_READS) as connection:
        commits = _current_months(lake, connection, months)
    return {month: _result(month, commit, is_written=False, seconds=0.0) for month, commit in commits.items()}


def find_kept(lake: Lake, connection: duckdb.DuckDBPyConnection, months: Sequence[str]) -> dict[str, int]:
    """Those of the months that are up to date, and how many redactions of each are inexact; see `create_readable`."""
    commits = _current_months(lake, connection, months)
    return {month: int(commit.provenance["inexact_redactions"]) for month, commit in commits.items()}


def _current_months(lake: Lake, connection: duckdb.DuckDBPyConnection, months: Sequence[str]) -> dict[str, Commit]:
    """The last commit of those of the months that are up to date, in their order."""
    found = {}
    for month, wanted in _hashes(connection, months).items():
        commit = _current(lake, month, wanted)
        if commit is not None:
            found[month] = commit
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


def compute_redacted(connection: duckdb.DuckDBPyConnection, month: str) -> RedactedEvents:
    """What redactions leave of the month's events, from the relation `events`; the rows are those of the table."""
    found = redact_events(connection, _of([month]))
    schema = REDACTED_EVENTS.data_schema()
    return replace(found, rows=found.rows.select(schema.names).cast(schema))


def _count_erased(connection: duckdb.DuckDBPyConnection, month: str) -> int:
    """How many of the month's events are erased: rows of before they were may still show them."""
    query = f"SELECT count(*) FROM events WHERE month = $month AND {IS_ERASED.format('')}"
    return int(connection.execute(query, {"month": month}).fetchall()[0][0])


def _hashes(connection: duckdb.DuckDBPyConnection, months: Sequence[str]) -> dict[str, str]:
    """Hash, of each month, of all that decides what is left of its events; their payloads are not read."""
    digests = {month: hashlib.sha256(fold_hash().encode()) for month in months}
    named = named_query(connection, _of(months))
    query = f"SELECT month, aggregate_id, stream_version, hashes FROM ({named}) ORDER BY ALL"
    for month, stream, version, hashes in connection.execute(query).fetchall():
        digests[month].update(f"{stream} {version} {hashes}\n".encode())
    return {month: digest.hexdigest() for month, digest in digests.items()}


def _of(months: Sequence[str]) -> str:
    return f"target.month IN ({', '.join(map(quote_literal, months)) or 'NULL'})"


def find_faults(lake: Lake, months: Sequence[str] | None = None) -> list[RedactionFault]:
    """Redactions that hide nothing, or more than they name, whoever appended them; what is erased has nothing to hide.

    Args:
        lake: The lake.
        months: Months of the redactions; all by default.

    Returns:
        By stream and version.
    """
    with lake.connect(_READS) as connection:
        query = unless_none(connection, f"FROM events WHERE {IS_REDACTION}", _APPLIED)
        rows = connection.execute(query, {"months": None if months is None else list(months)}).fetchall()
    faults = []
    for aggregate_id, stream_version, applied, target in rows:
        payload = json.loads(applied)
        fault: Fault | None = "no_target"
        if target is not None:
            fault = find_fault(json.loads(target), Redaction.from_payload(payload))
        if fault is not None:
            faults.append(RedactionFault(aggregate_id, stream_version, fault))
    return faults
