"""Go on from where streams stood at the end of an earlier month, instead of folding their history again.

A stream can go on when the snapshots and states of the last month in which it had events are what a fold would write
today, and when its first new event does not continue a message that was open then. The others are folded from their first
event, so that nothing but time depends on what is stored. When only some of a month's streams are folded again, a long one
goes on from its newest snapshot within the month that is today's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from pipelines.folds.before import STANDING, Before, no_lists
from pipelines.folds.columns import Column, one_array
from pipelines.folds.columns import compute as pc
from pipelines.folds.plan import Span
from pipelines.folds.tables import create_table
from pipelines.lake.datasets.folds import SNAPSHOTS, STATE_LISTS

_COLUMNS = ", ".join(f"stored.{name}" for name in ("month", *STANDING))
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
CREATE OR REPLACE TEMP TABLE fold_within AS
WITH made AS (
    SELECT {_COLUMNS}, stored.last_hash, stored.redactions_hash
    FROM snapshots AS stored
    INNER JOIN fold_touched AS touched ON stored.aggregate_id = touched.aggregate_id
    WHERE stored.month = $month AND stored.code_hash = $code
    -- the last is where the month ended when it was folded, not where any fold cuts the stream
    QUALIFY lead(stored.stream_version) OVER (PARTITION BY stored.aggregate_id ORDER BY stored.stream_version) IS NOT NULL
),
hidden AS (
    SELECT
        made.aggregate_id, made.stream_version,
        bit_xor(md5_number(concat_ws(' ', applied.stream_version, applied.hash)))::VARCHAR AS redactions_hash
    FROM made
    INNER JOIN fold_redactions AS applied
        ON made.aggregate_id = applied.aggregate_id AND applied.target_version <= made.stream_version
    GROUP BY made.aggregate_id, made.stream_version
)
SELECT made.* EXCLUDE (last_hash, redactions_hash)
FROM made
INNER JOIN events AS links
    ON made.aggregate_id = links.aggregate_id AND made.stream_version = links.stream_version
    AND links.month = $month AND made.last_hash = links.hash
LEFT JOIN hidden ON made.aggregate_id = hidden.aggregate_id AND made.stream_version = hidden.stream_version
WHERE made.redactions_hash IS NOT DISTINCT FROM hidden.redactions_hash
QUALIFY row_number() OVER (PARTITION BY made.aggregate_id ORDER BY made.stream_version DESC) = 1
"""
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
# The first event after the snapshot that is not the start of a conversation decides whether an open message goes on.
_CONTINUING = """
SELECT carried.aggregate_id
FROM fold_carried AS carried
INNER JOIN (
    SELECT
        aggregate_id,
        arg_min(
            CASE
                WHEN event_name IN ('agent.utterance', 'model.decision') OR (event_name = 'tool.call' AND NOT is_by_user)
                    THEN coalesce('=' || message_id, '-')
                ELSE ''
            END,
            stream_version
        ) AS first_key
    FROM fold_new_events
    WHERE
        event_name IN (
            'context.supplied', 'user.utterance', 'agent.utterance', 'tool.call', 'tool.result', 'model.decision'
        )
    GROUP BY aggregate_id
) AS new ON carried.aggregate_id = new.aggregate_id AND carried.open_message = new.first_key
WHERE carried.open_message <> ''
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
INNER JOIN fold_carried AS carried ON states.aggregate_id = carried.aggregate_id AND states.month = carried.month
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

    def align(self, ids: Column) -> Before:
        """One row for each of the given streams, in their order."""
        before = Before.nothing(len(ids))
        columns = _align(self.columns, ids).select(before.columns.column_names).cast(before.columns.schema)
        lists = before.lists if self.lists is None else _align(self.lists, ids).select(list(STATE_LISTS))
        return Before(columns, lists.cast(no_lists(0).schema))


def plan_resume(connection: duckdb.DuckDBPyConnection, months: Iterable[str]) -> bool:
    """Create `fold_resumed`, the snapshots to go on from, and take their streams out of `fold_behind`; whether there are any.

    Args:
        connection: `plan_month` has run on it; has `snapshots`, `conversation_months` and `call_months`, if any month is given.
        months: Earlier months whose snapshots and states are up to date.
    """
    known = list(months)
    if not known:
        connection.execute(_EMPTY)
        return False
    connection.execute(_RESUMED, {"months": known})
    connection.execute("DELETE FROM fold_behind WHERE aggregate_id IN (SELECT aggregate_id FROM fold_resumed)")
    return bool(connection.sql("SELECT count(*) FROM fold_resumed").fetchall()[0][0])


def plan_within(connection: duckdb.DuckDBPyConnection, month: str, code: str) -> None:
    """Let planned streams go on from within the month: `fold_within`, their snapshots, which `fold_resumed` has instead.

    Args:
        connection: `plan_resume` has run on it; `snapshots` and states of the month are there, made of this very log or
            the beginning of it.
        month: YYYY-MM.
        code: What `code_hash` is now.
    """
    connection.execute(_WITHIN, {"month": month, "code": code})
    connection.execute("DELETE FROM fold_behind WHERE aggregate_id IN (SELECT aggregate_id FROM fold_within)")
    connection.execute("DELETE FROM fold_resumed WHERE aggregate_id IN (SELECT aggregate_id FROM fold_within)")
    connection.execute("INSERT INTO fold_resumed SELECT * FROM fold_within")


def bring(
    connection: duckdb.DuckDBPyConnection, span: Span, events: pa.Table, *, with_lists: bool
) -> tuple[Brought, pa.Table]:
    """What the streams of a range bring along, and the ids of those that must be folded from their first event after all."""
    bounds = {"low": span.low, "high": span.high}
    create_table(connection, "fold_carried", connection.sql(_CARRIED, params=bounds).to_arrow_table())
    connection.register("fold_new_events", events)
    continuing = connection.sql(_CONTINUING).to_arrow_table()
    connection.unregister("fold_new_events")
    if continuing.num_rows:
        create_table(connection, "fold_continuing", continuing)
        connection.execute("DELETE FROM fold_carried WHERE aggregate_id IN (SELECT aggregate_id FROM fold_continuing)")
    lists = None
    if with_lists:
        until = ", ".join(_UNTIL.format(name=name) for name in STATE_LISTS)
        query = _LISTS.format(lists=", ".join(STATE_LISTS), until=until)
        lists = connection.sql(query, params=bounds).to_arrow_table()
    return Brought(connection.sql("SELECT * FROM fold_carried").to_arrow_table(), lists), continuing


def _align(rows: pa.Table, ids: Column) -> pa.Table:
    """The rows of the given ids, nulls where there is none."""
    found = pc.index_in(ids, one_array(rows["aggregate_id"]))
    return rows.take(found)
