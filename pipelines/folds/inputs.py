"""Name what a folded month is a function of, so that nothing is folded twice and nothing stale is kept.

A month of a projection is determined by the SQL, Python and upcasters that compute it, by the heads of the streams that
it reads as of the month's end (a head's hash covers the stream's whole history), by later redactions that reach
back into it, and by how much of those histories is erased, which changes no head: an erased event stays erased.
"""

from __future__ import annotations

import hashlib
from typing import Any

import duckdb

from pipelines.fold.identity import fold_hash
from pipelines.folds import plan
from pipelines.folds.shipped import steps_of
from pipelines.log.upcasters import Upcasters

# Rows are hashed one by one and the hashes combined by XOR, which needs no order; no two rows are equal.
_HEADS = """
SELECT month, count(*), bit_xor(md5_number(concat_ws(' ', aggregate_id, last_version, hex(last_hash))))
FROM stream_months
WHERE month <= $month
GROUP BY month
"""
_LATER_REDACTIONS = """
SELECT
    heads.month, count(*), bit_xor(md5_number(concat_ws(' ', later.aggregate_id, later.stream_version, later.hash)))
FROM fold_redactions AS later
INNER JOIN stream_months AS heads
    ON later.aggregate_id = heads.aggregate_id
    AND later.month > heads.month
    AND later.target_version <= heads.last_version
WHERE heads.month <= $month
GROUP BY heads.month
"""
_ERASED = """
SELECT
    heads.month, count(*), bit_xor(md5_number(concat_ws(' ', erased.aggregate_id, erased.month, erased.erased_events)))
FROM stream_months AS erased
INNER JOIN stream_months AS heads ON erased.aggregate_id = heads.aggregate_id AND erased.month <= heads.month
WHERE erased.erased_events > 0 AND heads.month <= $month
GROUP BY heads.month
"""


class Inputs:
    """What the months of the folds are functions of, as of one connection's view of the lake.

    Args:
        connection: Has the relations `events` and `stream_months`.
        month: YYYY-MM; it and the months before it can be asked for.
        upcasters: Known types and upcasters in force.
        snapshot_events: Events of a stream between two snapshots.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, month: str, upcasters: Upcasters, snapshot_events: int
    ) -> None:
        self._snapshot_events = snapshot_events
        self._connection = connection
        self._month = month
        self._upcasters = upcasters.fingerprint()
        plan.create_redactions(connection)
        heads, redactions, erased = (
            {str(each): f"{count} {rows}" for each, count, rows in self._read(query)}
            for query in (_HEADS, _LATER_REDACTIONS, _ERASED)
        )
        self._logs = {each: str([heads[each], redactions.get(each), erased.get(each)]) for each in sorted(heads)}

    @property
    def months(self) -> list[str]:
        """The months that have events, in order."""
        return list(self._logs)

    def hash(self, name: str, month: str) -> str:
        """Hash (SHA-256, hex) of all inputs of one month of a fold."""
        return _hash_of(name, month, self.code(name), self.log(name, month))

    def code(self, name: str) -> str:
        """Hash of everything that computes a fold: its SQL and Python, known types and upcasters, and of snapshots how many."""
        interval = [str(self._snapshot_events)] if "snapshots" in steps_of(name) else []
        return _hash_of(self._upcasters, fold_hash(), *interval)

    def log(self, name: str, month: str) -> str:
        """What of the log a month of a fold is a function of: the streams that it touches; of customers, all streams."""
        if "customers" in steps_of(name):
            told = [f"{each} {log}" for each, log in self._logs.items() if each <= month]
            return hashlib.sha256("\n".join(told).encode()).hexdigest()
        return self._logs.get(month, "")

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, {"month": self._month}).fetchall()


def _hash_of(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()
