"""Go on from where streams stood at the end of an earlier month, instead of folding their history again.

A stream can go on when the snapshots and states of the last month in which it had events are what a fold would write
today, and when its first new event does not continue a message that was open then. The others are folded from their first
event, so that nothing but time depends on what is stored. When only some of a month's streams are folded again, a long one
goes on from its newest snapshot within the month that is today's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from pipelines.duck import create_table
from pipelines.fold.carry import Carry
from pipelines.fold.columns import Column, one_array
from pipelines.fold.columns import compute as pc
from pipelines.fold.lookup import is_current
from pipelines.fold.schemas import STANDING
from pipelines.fold.shapes import STATE_LISTS
from pipelines.folds.plan import APPLIED, Plan, Span
from pipelines.lake.datasets.folds import SNAPSHOTS
from pipelines.log.erased import IS_ERASED

_COLUMNS = ", ".join(f"stored.{name}" for name in ("month", *STANDING.names))
_EMPTY = f"CREATE OR REPLACE TEMP TABLE fold_resumed AS SELECT {_COLUMNS} FROM ({SNAPSHOTS.typed_empty()}) AS stored"
_RESUMED = f"""
CREATE OR REPLACE TEMP TABLE fold_resumed AS
SELECT {_COLUMNS}
FROM snapshots AS stored
INNER JOIN fold_behind AS behind ON stored.aggregate_id = behind.aggregate_id AND stored.month = behind.last_month
INNER JOIN fold_touched AS touched ON stored.aggregate_id = touched.aggregate_id
WHERE list_contains($months, stored.month) AND stored.stream_version = touched.first_version - 1
"""
_WITHIN = f"""
WITH made AS (
    SELECT {_COLUMNS}, stored.code_hash, stored.last_hash, stored.redactions_hash, touched.erased_events > 0 AS has_erased
    FROM snapshots AS stored
    INNER JOIN fold_touched AS touched ON stored.aggregate_id = touched.aggregate_id
    WHERE stored.month = $month
    -- the last is where the month ended when it was folded, not where any fold cuts the stream; at least one event is folded
    QUALIFY
        lead(stored.stream_version) OVER (PARTITION BY stored.aggregate_id ORDER BY stored.stream_version) IS NOT NULL
        AND stored.stream_version < touched.first_version + touched.events - 1
),
hidden AS (
    SELECT made.aggregate_id, made.stream_version, {APPLIED} AS applied
    FROM made
    INNER JOIN fold_redactions AS applied
        ON made.aggregate_id = applied.aggregate_id AND applied.target_version <= made.stream_version
    GROUP BY made.aggregate_id, made.stream_version
),
erased AS (
    SELECT made.aggregate_id, made.stream_version, count(*)::INTEGER AS events
    FROM made
    INNER JOIN events ON made.aggregate_id = events.aggregate_id AND events.stream_version <= made.stream_version
    WHERE made.has_erased AND events.month <= $month AND {IS_ERASED.format("events.")}
    GROUP BY made.aggregate_id, made.stream_version
)
SELECT
    made.* EXCLUDE (has_erased), links.hash AS link, coalesce(hidden.applied, []) AS applied,
    coalesce(erased.events, 0) AS erased_now
FROM made
INNER JOIN events AS links
    ON made.aggregate_id = links.aggregate_id AND made.stream_version = links.stream_version AND links.month = $month
LEFT JOIN hidden ON made.aggregate_id = hidden.aggregate_id AND made.stream_version = hidden.stream_version
LEFT JOIN erased ON made.aggregate_id = erased.aggregate_id AND made.stream_version = erased.stream_version
ORDER BY made.aggregate_id, made.stream_version
"""
_VOUCHING = ("code_hash", "last_hash", "redactions_hash", "link", "applied", "erased_now")
WANTED = """
SELECT touched.aggregate_id, coalesce(within.stream_version, 0) AS after
FROM fold_touched AS touched
LEFT JOIN fold_within AS within ON touched.aggregate_id = within.aggregate_id
"""
"""Which streams are folded again, and after which version of theirs."""
_CARRIED = """
SELECT resumed.* FROM fold_resumed AS resumed
WHERE resumed.aggregate_id >= $low AND resumed.aggregate_id < $high
ORDER BY resumed.aggregate_id
"""
# Of a state of later than the snapshot, what was there at the snapshot; calls that waited there are stated again.
_UNTIL = "list_filter(states.{name}, LAMBDA each: each.stream_version <= carried.stream_version) AS {name}"
_LISTS = """
SELECT states.aggregate_id, {until}
FROM (
    SELECT aggregate_id, month, {lists} FROM conversation_months
    UNION ALL BY NAME
    SELECT aggregate_id, month, {lists} FROM call_months
) AS states
INNER JOIN fold_resumed AS carried ON states.aggregate_id = carried.aggregate_id AND states.month = carried.month
WHERE states.aggregate_id >= $low AND states.aggregate_id < $high
"""


@dataclass(frozen=True, slots=True)
class Brought:
    """What the streams of a range bring along.

    Attributes:
        columns: `STANDING` of the snapshots.
        lists: Their states' lists, with `aggregate_id`; none when no projection shows states.
    """

    columns: pa.Table
    lists: pa.Table | None

    def without(self, ids: Column) -> Brought:
        """The same, but for the given streams, which bring nothing."""
        lists = None if self.lists is None else self.lists.filter(_is_other(self.lists, ids))
        return Brought(self.columns.filter(_is_other(self.columns, ids)), lists)

    def align(self, ids: Column) -> Carry:
        """One row for each of the given streams, in their order."""
        return Carry.of(ids, self.columns, self.lists)


def plan_resume(plan: Plan, months: Iterable[str]) -> bool:
    """Create `fold_resumed`, the snapshots to go on from, and take their streams out of `fold_behind`; whether there are any.

    Args:
        plan: Its connection has `snapshots`, `conversation_months` and `call_months`, if any month is given.
        months: Earlier months whose snapshots and states are up to date.
    """
    connection, known = plan.connection, list(months)
    if not known:
        connection.execute(_EMPTY)
        return False
    connection.execute(_RESUMED, {"months": known})
    connection.execute("DELETE FROM fold_behind WHERE aggregate_id IN (SELECT aggregate_id FROM fold_resumed)")
    return bool(connection.execute("SELECT count(*) FROM fold_resumed").fetchall()[0][0])


def plan_within(plan: Plan, code: str) -> bool:
    """Let streams go on from within the month: `fold_within`, their snapshots, which `fold_resumed` has instead; whether any does.

    Args:
        plan: `plan_resume` has run; `snapshots` and states of the month are there, made of this very log or the beginning of it.
        code: What `code_hash` is now.
    """
    connection = plan.connection
    made = connection.sql(_WITHIN, params={"month": plan.month}).to_arrow_table()
    newest = {
        row["aggregate_id"]: number
        for number, row in enumerate(made.select(["aggregate_id", "erased_events", *_VOUCHING]).to_pylist())
        if is_current(row, code, row["link"], row["applied"], row["erased_now"])
    }
    create_table(
        connection, "fold_within", made.take(pa.array(newest.values(), pa.int64())).drop_columns(list(_VOUCHING))
    )
    connection.execute("DELETE FROM fold_behind WHERE aggregate_id IN (SELECT aggregate_id FROM fold_within)")
    connection.execute("DELETE FROM fold_resumed WHERE aggregate_id IN (SELECT aggregate_id FROM fold_within)")
    connection.execute("INSERT INTO fold_resumed SELECT * FROM fold_within")
    return bool(newest)


def is_resumed(plan: Plan, stream: str) -> bool:
    """Whether a stream goes on from a snapshot."""
    query = "SELECT 1 FROM fold_resumed WHERE aggregate_id = $stream"
    return bool(plan.connection.execute(query, {"stream": stream}).fetchall())


def bring(plan: Plan, span: Span, *, with_lists: bool) -> Brought:
    """What the streams of a range bring along."""
    connection = plan.connection
    bounds = {"low": span.low, "high": span.high}
    lists = None
    if with_lists:
        until = ", ".join(_UNTIL.format(name=name) for name in STATE_LISTS)
        query = _LISTS.format(lists=", ".join(STATE_LISTS), until=until)
        lists = connection.sql(query, params=bounds).to_arrow_table()
    return Brought(connection.sql(_CARRIED, params=bounds).to_arrow_table(), lists)


def _is_other(rows: pa.Table, ids: Column) -> Column:
    return pc.invert(pc.is_in(rows["aggregate_id"], value_set=one_array(ids)))
