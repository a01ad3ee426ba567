"""The lake that the diff reads: decisions of whole conversations, and the replays of one version beside them.

Of the pairs, 40 % differ in their text of about 400 characters and 30 % in their tool calls (an argument, a name, one
call more, or the order), independently. Calls are written as models write them, without blanks, where the recording has
PostgreSQL's: the same call is the same JSON, not the same text, and the stored hashes say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.canonical.calls import Canonicaliser
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import Plan, make_plan
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import CONVERSATION_MONTHS, DECISIONS, REPLAYS, STREAM_MONTHS
from pipelines.lake.lake import Lake
from tests.benchmarks.log import DECISIONS_PER_STREAM, MONTH, WORDS, words

_STREAM = "md5('stream ' || stream)::UUID::VARCHAR"
_HASH = "unhex(sha256(stream::VARCHAR))"
_AT = "TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(stream)"

_PAIRS = f"""
CREATE TEMP TABLE pairs AS
WITH drawn AS (
    SELECT
        stream, decision, {words("62", "stream", "decision")} AS text,
        hash(stream, decision, 1) % 10 < 4 AS has_other_text,
        hash(stream, decision, 2) % 40 AS other
    FROM range($streams) AS s (stream), range(1, {DECISIONS_PER_STREAM + 1}) AS d (decision)
)
SELECT
    stream, decision, text,
    if(has_other_text, regexp_replace(text, '(order|refund|item|paid|today|blue) ', 'other ', 'g') || ' indeed', text)
        AS other_text,
    [
        {{'name': 'lookup_order', 'arguments': '{{"order_id": "A-' || stream || '", "fields": ["total", "status"]}}'}},
        {{'name': 'refund_order', 'arguments': '{{"order_id": "A-' || stream || '", "amount_usd": ' || stream % 300 || '}}'}}
    ] AS calls,
    CASE
        WHEN other < 4 THEN [
            calls[1],
            {{'name': 'refund_order', 'arguments': '{{"order_id": "A-' || stream || '", "amount_usd": ' || stream % 300 + 1 || '}}'}}
        ]
        WHEN other < 7 THEN [calls[1], {{'name': 'escalate_refund', 'arguments': calls[2].arguments}}]
        WHEN other < 10 THEN list_append(calls, {{'name': 'send_message', 'arguments': '{{"text": "' || left(text, 40) || '"}}'}})
        WHEN other < 12 THEN [calls[2], calls[1]]
        ELSE calls
    END AS other_calls
FROM drawn
"""

_DECISION_CALLS = """
list_transform(calls, LAMBDA call, place: {
    'stream_version': (3 * decision + place)::INTEGER, 'call_id': 'c' || place, 'name': call.name, 'arguments': call.arguments
})
"""
_REPLAY_CALLS = """
list_transform(other_calls, LAMBDA call: {
    'block': 0, 'name': call.name, 'arguments': replace(replace(call.arguments, ': ', ':'), ', ', ',')
})
"""
_EXPERIMENT = "experiment: benchmark\ncandidate: {echo: true}\nsegments: [vertical]\n"
_BATCH = 20_000


def _hash_lists(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `hashed`: the hash of every different list of calls, as a fold stores it."""
    canonical = Canonicaliser()
    connection.execute("CREATE TEMP TABLE hashed AS SELECT calls, '' AS l1_hash FROM pairs WHERE false")
    lists = connection.sql("SELECT calls FROM pairs UNION SELECT other_calls FROM pairs").to_arrow_table()
    for start in range(0, lists.num_rows, _BATCH):
        batch = lists.slice(start, _BATCH)
        hashes = [
            canonical.hash_list([(0, call["name"], call["arguments"]) for call in calls]).l1
            for calls in batch.column("calls").to_pylist()
        ]
        connection.register("batch", batch.append_column("l1_hash", pa.array(hashes, pa.string())))
        connection.execute("INSERT INTO hashed SELECT * FROM batch")
        connection.unregister("batch")


def write_pairs(root: Path, pairs: int) -> Lake:
    """A lake in which about `pairs` decisions are recorded and replayed, not yet diffed."""
    root.mkdir(parents=True, exist_ok=True)  # many pairs spill while they are made
    lake = Lake(root)
    streams = max(pairs // DECISIONS_PER_STREAM, 1)
    last_version = 4 * DECISIONS_PER_STREAM
    partition = {"month": MONTH}
    with lake.connect() as connection:
        connection.execute(_PAIRS, {"streams": streams, "words": WORDS})
        _hash_lists(connection)
        for dataset, values, source in (
            (
                DECISIONS,
                {
                    "aggregate_id": _STREAM,
                    "aggregate_type": "'conversation'",
                    "decision": "decision",
                    "first_version": "3 * decision",
                    "last_version": "3 * decision + 2",
                    "turn": "decision",
                    "context_messages": "decision",
                    "text": "text",
                    "tool_calls": _DECISION_CALLS,
                    "call_count": "len(calls)",
                    "l1_hash": "l1_hash",
                    "output_tokens": "100",
                    "latency_ms": "500.0 + decision",
                    "cost_usd": "0.001 * decision",
                },
                "pairs INNER JOIN hashed USING (calls)",
            ),
            (
                CONVERSATION_MONTHS,
                {
                    "aggregate_id": _STREAM,
                    "agent": "'desk'",
                    "vertical": "'vertical ' || stream % 20",
                    "status": "'ended'",
                    "started_at": _AT,
                    "last_at": _AT,
                    "last_version": str(last_version),
                },
                f"range({streams}) AS s (stream)",
            ),
            (
                STREAM_MONTHS,
                {
                    "aggregate_id": _STREAM,
                    "aggregate_type": "'conversation'",
                    "first_version": "1",
                    "last_version": str(last_version),
                    "event_count": str(last_version),
                    "last_hash": _HASH,
                },
                f"range({streams}) AS s (stream)",
            ),
        ):
            lake.write_partition(dataset, partition, connection, _select(dataset, values, source), input_hash="made")
        plan = plan_of(lake)
        replayed = {
            "unit_id": f"{_STREAM} || '/' || decision",
            "unit": "'decision'",
            "aggregate_id": _STREAM,
            "decision": "decision",
            "side": "'candidate'",
            "draw": "0",
            "status": "'ok'",
            "attempt": "1",
            "text": "other_text",
            "tool_calls": _REPLAY_CALLS,
            "call_count": "len(other_calls)",
            "l1_hash": "hashed.l1_hash",
            "output_tokens": "110",
            "latency_ms": "450.0 + decision",
            "cost_usd": "0.0009 * decision",
        }
        query = _select(REPLAYS, replayed, "pairs INNER JOIN hashed ON pairs.other_calls = hashed.calls")
        lake.write_partition(
            REPLAYS,
            plan.partition,
            connection,
            query,
            input_hash=plan.version_id,
            provenance={"failures": {}, "not_asked": 0},
        )
    return lake


def plan_of(lake: Lake) -> Plan:
    """The version whose replays the lake holds."""
    return make_plan(lake, parse_experiment(_EXPERIMENT, "benchmark"), Path())


def _select(dataset: Dataset, values: Mapping[str, str], source: str) -> str:
    """All data columns of a dataset, null where `values` names no expression."""
    columns = ", ".join(f'{values.get(column.name, "NULL")} AS "{column.name}"' for column in dataset.data_columns)
    return f"SELECT {columns} FROM {source}"
