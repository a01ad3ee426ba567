"""The log that benchmarks read: conversations of 30 events in one month, made by DuckDB in seconds.

A conversation starts, has four turns (supplied context, the user's text, a decision with a tool call, its result, a
decision with a text) and ends. Payloads hold about 120 bytes, metadata about 95; words are drawn by hash, so the same
size gives the same log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from uuid import UUID

import duckdb

from pipelines.duck import quote_literal
from pipelines.lake.datasets import EVENTS, STREAM_MONTHS
from pipelines.lake.lake import Lake
from pipelines.store.events import NewEvent, StreamBatch

MONTH = "2026-01"
STREAM_EVENTS = 30
TURN_EVENTS = 7
DECISIONS_PER_STREAM = 8
_SECONDS = 30 * 24 * 3600

_TEXT = (
    "order refund invoice payment delivery address account number item return policy warranty exchange "
    "credit card shipping tracking package label warehouse customer service agent manager request "
    "approval amount total discount please thank checked found paid sent received confirmed cancelled "
    "changed replaced broken missing late early today tomorrow monday friday morning evening window door "
    "colour size model blue green large small new used "
)
WORDS = _TEXT.split()


def words(count: str, *seeds: str) -> str:
    """A DuckDB expression: `count` words drawn by the hash of the `seeds`, all SQL expressions."""
    drawn = f"$words[1 + (hash({', '.join(seeds)}, word) % {len(WORDS)})::INTEGER]"
    return f"array_to_string(list_transform(range({count}), LAMBDA word: {drawn}), ' ')"


# Place of the event in its turn: 0 context, 1 user, 2 decision, 3 tool call, 4 result, 5 decision, 6 text.
_LOG = f"""
WITH numbered AS (
    SELECT
        stream, version, (version - 2) // {TURN_EVENTS} AS turn, (version - 2) % {TURN_EVENTS} AS place,
        {words("14", "stream", "version")} AS said
    FROM range($streams) AS s (stream), range(1, {STREAM_EVENTS + 1}) AS v (version)
),
told AS (
    SELECT
        *,
        CASE
            WHEN version = 1 THEN 'conversation.started.v1'
            WHEN version = {STREAM_EVENTS} THEN 'conversation.ended.v1'
            ELSE ['context.supplied.v1', 'user.utterance.v1', 'model.decision.v2', 'tool.call.v1', 'tool.result.v1',
                  'model.decision.v2', 'agent.utterance.v1'][1 + place]
        END AS event_type,
        'c' || turn AS call_id
    FROM numbered
)
SELECT
    '{MONTH}' AS month,
    md5('stream ' || stream)::UUID::VARCHAR AS aggregate_id,
    'conversation' AS aggregate_type,
    version::INTEGER AS stream_version,
    event_type,
    right(event_type, 1)::INTEGER AS event_version,
    (CASE event_type
        WHEN 'conversation.started.v1' THEN json_object(
            'agent', 'desk', 'variant', 'v1', 'task', 'task ' || stream % 50, 'channel', 'chat',
            'vertical', 'vertical ' || stream % 20,
            'messages', [json_object('role', 'system', 'content', 'You are the agent of a shop. Be brief.')]
        )
        WHEN 'context.supplied.v1' THEN json_object('kind', 'customer', 'content', json_object('note', said))
        WHEN 'user.utterance.v1' THEN json_object('text', said)
        WHEN 'agent.utterance.v1' THEN json_object('text', said)
        WHEN 'model.decision.v2' THEN json_object(
            'model', 'model-1', 'params', json_object('temperature', 0),
            'usage', json_object('input_tokens', 400 + 60 * version, 'output_tokens', 20 + hash(said) % 50),
            'latency_ms', 300 + hash(said) % 900, 'cost_usd', round(0.0004 + version * 0.00001, 7),
            'finish_reason', if(place = 2, 'tool_calls', 'stop')
        )
        WHEN 'tool.call.v1' THEN json_object(
            'call_id', call_id, 'name', ['lookup_order', 'refund_order', 'track_package', 'search'][1 + stream % 4],
            'arguments', json_object('order_id', 'A-' || stream, 'amount_usd', stream % 300 + 0.5, 'note', left(said, 40))
        )
        WHEN 'tool.result.v1' THEN json_object(
            'call_id', call_id, 'output', json_object('status', 'ok', 'detail', left(said, 60)), 'error', NULL
        )
        ELSE json_object('outcome', json_object('resolved', stream % 3 > 0))
    END)::VARCHAR AS payload,
    json_object(
        'actor', CASE place WHEN 1 THEN 'user' WHEN 4 THEN 'service' ELSE 'agent' END,
        'source', 'shop', 'source_id', 'c-' || stream,
        'message_id', 'm' || (5 * turn + [0, 1, 2, 2, 3, 4, 4][1 + greatest(place, 0)] + if(version = 1, 0, 1)),
        'subject_id', 'p-' || stream % 1000
    )::VARCHAR AS metadata,
    TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(stream * {_SECONDS} // $streams + version) AS created_at,
    1 AS epoch,
    stream + 1 AS xid,
    stream * {STREAM_EVENTS} + version AS position,
    unhex(sha256(stream || '/' || version)) AS hash, unhex(md5(stream || '/' || version)) AS salt, ''::BLOB AS digest
FROM told
ORDER BY stream, version
"""

HEADS = """
SELECT
    aggregate_id, any_value(aggregate_type) AS aggregate_type, min(stream_version) AS first_version,
    max(stream_version) AS last_version, count(*) AS event_count, 0 AS erased_events, unhex(repeat('00', 32)) AS prev_hash,
    arg_max(hash, stream_version) AS last_hash
FROM made
GROUP BY aggregate_id
"""


def stream_count(events: int) -> int:
    """Conversations of a log of about `events` events."""
    return max(events // STREAM_EVENTS, 1)


def write_log(path: Path, events: int) -> None:
    """Write the log to one Parquet file, in the order in which it happened."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        params = {"streams": stream_count(events), "words": WORDS}
        target = quote_literal(str(path))
        connection.sql(f"COPY ({_LOG}) TO {target} (FORMAT parquet)", params=params)


def read_batches(path: str, limit: int) -> Iterator[StreamBatch]:
    """The first `limit` events of a written log, a conversation at a time, as a writer would hand them in."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.sql(
            "SELECT aggregate_id, aggregate_type, event_type, payload, metadata, created_at FROM read_parquet($path) "
            "ORDER BY position LIMIT $limit",
            params={"path": path, "limit": limit},
        ).to_arrow_reader(30_000)
        events = (row for batch in rows for row in batch.to_pylist())
        for (stream, kind), group in groupby(events, key=itemgetter("aggregate_id", "aggregate_type")):
            batch = [
                NewEvent(e["event_type"], json.loads(e["payload"]), json.loads(e["metadata"]), e["created_at"])
                for e in group
            ]
            yield StreamBatch(UUID(stream), kind, batch)


def write_lake(root: Path, events: int) -> Lake:
    """A lake that holds the log as an export leaves it: `events` and `stream_months` of one month."""
    lake = Lake(root)
    path = root.with_suffix(".log.parquet")
    write_log(path, events)
    with lake.connect() as connection:
        connection.execute(f"CREATE TEMP VIEW made AS SELECT * FROM read_parquet({quote_literal(str(path))})")
        partition = {"month": MONTH}
        lake.write_partition(EVENTS, partition, connection, "SELECT * FROM made", input_hash="made")
        lake.write_partition(STREAM_MONTHS, partition, connection, HEADS, input_hash="made")
    path.unlink()
    return lake
