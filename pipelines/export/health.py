"""How the lake stands to the store: is an exported month whole, how far is it behind, what lies outside of its month.

Everything is compared in sums, in the databases; no event leaves them. What differs is said in counts: finding which
event it is, is the work of an audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from pipelines.export.snapshot import month_condition
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Commit, Lake
from pipelines.store.access import ACCESS
from pipelines.store.events import REVIEW
from pipelines.store.sqlstate import typed_errors

# What the export's snapshot did not see is not expected in the lake: agents append while a check runs.
_SEEN = "(e.epoch < %(epoch)s OR (e.epoch = %(epoch)s AND pg_visible_in_snapshot(e.xid, %(seen)s::pg_snapshot)))"

_STORE_TALLY = """
SELECT coalesce(sum(s.events), 0), count(*), coalesce(sum(s.last_version), 0), coalesce(sum(s.positions), 0), coalesce(sum(s.checksum), 0)
FROM (
    SELECT
        count(*) AS events, max(e.stream_version) AS last_version, sum(e.position) AS positions,
        sum(
            (get_byte(e.hash, 0)::bigint << 24) + (get_byte(e.hash, 1) << 16)
            + (get_byte(e.hash, 2) << 8) + get_byte(e.hash, 3)
        ) AS checksum
    FROM refold.events AS e
    WHERE {month} AND {seen}
    GROUP BY e.aggregate_id
) AS s
"""
_LAKE_TALLY = """
SELECT coalesce(sum(events), 0), count(*), coalesce(sum(last_version), 0), coalesce(sum(positions), 0), coalesce(sum(checksum), 0)
FROM (
    SELECT
        count(*) AS events, max(stream_version) AS last_version, sum(position) AS positions,
        sum(('0x' || left(hex(hash), 8))::BIGINT) AS checksum
    FROM events
    WHERE month = $month
    GROUP BY aggregate_id
)
"""
_WAITING = """
SELECT count(*), min(e.created_at)
FROM refold.events AS e
WHERE {month} AND {unseen} AND {kinds}
"""
_MONTHS = """
SELECT m.month FROM refold.months AS m
UNION
SELECT DISTINCT to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM') FROM refold.events_default AS d
ORDER BY 1
"""
_STRAYS = """
SELECT to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM'), count(*) FROM refold.events_default AS d GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Tally:
    """One side of a month, in sums that only the same events give.

    Attributes:
        events: Rows.
        streams: Streams with events in the month.
        heads: Sum of the streams' last versions.
        positions: Sum of positions.
        checksum: Sum of the first four bytes of every event's hash, as big-endian numbers.
    """

    events: int
    streams: int
    heads: int
    positions: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Parity:
    """A month on both sides, as the last export saw it.

    Attributes:
        month: YYYY-MM.
        store: What the store holds of what the export saw.
        lake: What the lake holds.
    """

    month: str
    store: Tally
    lake: Tally

    @property
    def holds(self) -> bool:
        """Whether they are the same."""
        return self.store == self.lake


@dataclass(frozen=True, slots=True)
class Lag:
    """Events of a month that the lake does not hold yet.

    Attributes:
        month: YYYY-MM.
        events: How many.
        since: Since when at most: the first one's time, or the last export if that is later; UTC.
    """

    month: str
    events: int
    since: datetime


def compare_month(conn: psycopg.Connection, lake: Lake, month: str) -> Parity:
    """Compare a month of the lake with what its last export saw of the store.

    Where that is not remembered, it is compared with the store as it is now.
    """
    with lake.connect(_LAKE_TALLY) as connection:
        in_lake = connection.sql(_LAKE_TALLY, params={"month": month}).fetchall()[0]
    known = _known(lake.last_commit(EVENTS.name, {"month": month}))
    query = _STORE_TALLY.format(month=month_condition(month, "e.created_at"), seen=_SEEN if known else "true")
    with typed_errors():
        in_store = conn.execute(query.encode(), known).fetchone()
    assert in_store is not None
    return Parity(month, Tally(*map(int, in_store)), Tally(*map(int, in_lake)))


def find_lag(
    conn: psycopg.Connection, lake: Lake, months: list[str] | None = None, *, with_accesses: bool = True
) -> list[Lag]:
    """Months with events that no export has seen, ascending; of `months`, or of all that the store has.

    An import into a month that was exported long ago counts as waiting since then: when it was committed is not stored.
    Without accesses and reviews there is lag only where the lake would answer otherwise of agents: a verb that records its use is no
    news about anybody.
    """
    with typed_errors():
        return [
            lag
            for month in (months if months is not None else [row[0] for row in conn.execute(_MONTHS).fetchall()])
            if (lag := _lag_of(conn, lake, month, with_accesses=with_accesses)) is not None
        ]


def count_strays(conn: psycopg.Connection, months: list[str] | None = None) -> dict[str, int]:
    """Events in the DEFAULT partition by their month, ascending; of `months`, or of all."""
    with typed_errors():
        strays = conn.execute(_STRAYS).fetchall()
    return {month: events for month, events in strays if months is None or month in months}


def _lag_of(conn: psycopg.Connection, lake: Lake, month: str, *, with_accesses: bool) -> Lag | None:
    commit = lake.last_commit(EVENTS.name, {"month": month})
    known = _known(commit)
    # the first condition is for the index, which knows the order of transactions
    unseen = f"(e.epoch, e.xid) >= (%(epoch)s, %(xmin)s::text::xid8) AND NOT {_SEEN}" if known else "true"
    # where only counts can be compared, all that the lake counts is counted
    kinds = (
        "true"
        if with_accesses or (commit is not None and not known)
        else f"e.aggregate_type NOT IN ('{ACCESS}', '{REVIEW}')"
    )
    query = _WAITING.format(month=month_condition(month, "e.created_at"), unseen=unseen, kinds=kinds)
    row = conn.execute(query.encode(), known).fetchone()
    assert row is not None
    events = row[0] - (commit.row_count if commit is not None and not known else 0)
    if events <= 0:
        return None
    return Lag(month, events, max(row[1], commit.committed_at) if commit is not None else row[1])


def _known(commit: Commit | None) -> dict[str, Any]:
    """Which transactions the last export saw; empty when that is not remembered."""
    if commit is None or commit.provenance.get("seen") is None or commit.provenance.get("epoch") is None:
        return {}
    seen = str(commit.provenance["seen"])
    return {"epoch": commit.provenance["epoch"], "seen": seen, "xmin": seen.split(":", maxsplit=1)[0]}


def seconds_since(at: datetime) -> float:
    """Seconds from `at` until now; not negative, whatever clocks say."""
    return max((datetime.now(UTC) - at).total_seconds(), 0.0)
