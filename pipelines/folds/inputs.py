"""Name what a folded month is a function of, so that nothing is folded twice and nothing stale is kept.

A month of a projection is determined by the SQL, Python and upcasters that compute it, by the heads of the streams that
it reads as of the month's end (a head's hash covers the stream's whole history), and by later redactions that reach
back into it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import duckdb

from pipelines.canonical import calls, jcs, rules
from pipelines.folds import (
    before,
    columns,
    context,
    hashes,
    pairing,
    places,
    plan,
    readable,
    redaction,
    relations,
    states,
    steps,
    verification,
)
from pipelines.folds.ladder import Ladder

_BATCH = 50_000  # heads; bounds what is in Python at once
_MODULES = (
    before,
    calls,
    columns,
    context,
    hashes,
    jcs,
    pairing,
    places,
    plan,
    readable,
    redaction,
    relations,
    rules,
    states,
    steps,
    verification,
)
"""Modules whose text decides what is computed; a change of any of them folds again."""

# A person's events are in any stream, so customers read all streams; everything else reads those that the month touches.
_HEADS = {
    "touched": """
SELECT aggregate_id, last_version, last_hash FROM stream_months WHERE month = $month ORDER BY aggregate_id
""",
    "all": """
SELECT aggregate_id, max(last_version) AS last_version, arg_max(last_hash, last_version) AS last_hash
FROM stream_months WHERE month <= $month GROUP BY aggregate_id ORDER BY aggregate_id
""",
}
_LATER_REDACTIONS = """
SELECT later.aggregate_id, later.stream_version, later.hash
FROM events AS later
INNER JOIN ({heads}) AS heads ON later.aggregate_id = heads.aggregate_id
WHERE
    later.month > $month
    AND later.event_type LIKE 'redaction.applied.v%'
    AND TRY_CAST(json_extract_string(later.payload, '$.target.stream_version') AS INTEGER) <= heads.last_version
ORDER BY later.aggregate_id, later.stream_version
"""


def input_hashes(
    connection: duckdb.DuckDBPyConnection, month: str, names: Iterable[str], ladder: Ladder
) -> dict[str, str]:
    """Hash (SHA-256, hex) of all inputs of each projection's month.

    Args:
        connection: Has the relations `events` and `stream_months`.
        month: YYYY-MM.
        names: Projections.
        ladder: Known types and upcasters in force.
    """
    logs: dict[str, str] = {}
    found = {}
    for name in names:
        scope = "all" if name == "customer_months" else "touched"
        if scope not in logs:
            logs[scope] = _log_hash(connection, month, _HEADS[scope].strip())
        digest = hashlib.sha256()
        for part in (name, month, ladder.fingerprint(), _code_hash(), *steps.fold_sources([name]), logs[scope]):
            digest.update(hashlib.sha256(part.encode()).digest())
        found[name] = digest.hexdigest()
    return found


def _log_hash(connection: duckdb.DuckDBPyConnection, month: str, heads: str) -> str:
    digest = hashlib.sha256()
    for query in (heads, _LATER_REDACTIONS.format(heads=heads)):
        for batch in connection.sql(query, params={"month": month}).to_arrow_reader(_BATCH):
            for stream, version, head in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                digest.update(f"{stream} {version} {bytes(head).hex()}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


@cache
def _code_hash() -> str:
    digest = hashlib.sha256()
    for module in _MODULES:
        assert module.__file__ is not None
        digest.update(hashlib.sha256(Path(module.__file__).read_bytes()).digest())
    return digest.hexdigest()
