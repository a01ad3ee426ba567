"""Check rebuilt contexts: does the request that a decision saw, rebuilt from events, have the hash that was recorded?

The events are read as recorded, upcast but not redacted, because the recorder hashed what it sent. Only streams with a
recorded hash in the month are read, event by event; messages are hashed once each, as prefixes of the stream's requests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.folds.context import Context, message_bytes, request_head
from pipelines.folds.plan import Span
from pipelines.folds.tables import create_table

_BATCH = 20_000  # events; bounds what is in Python at once
_FIELDS: list[tuple[str, pa.DataType]] = [
    ("stream_no", pa.int32()),
    ("decision", pa.int32()),
    ("is_verified", pa.bool_()),
]
_SCHEMA = pa.schema(_FIELDS)
_REQUESTS = """
CREATE OR REPLACE TEMP TABLE fold_requests AS
SELECT stream_no, aggregate_id, first_version, decision, model_version
FROM fold_messages
WHERE is_in_month AND json_extract_string(model, '$.request_sha256') IS NOT NULL
"""
# `request` stands at the first event of a decision: its context is what comes before
_HISTORY = """
WITH recorded AS (
    SELECT
        history.aggregate_id, history.stream_version, history.event_name, history.payload,
        json_extract_string(history.metadata, ['$.message_id', '$.actor']) AS envelope
    FROM upcast_recorded_events AS history
    SEMI JOIN fold_requests ON history.aggregate_id = fold_requests.aggregate_id
    WHERE
        history.month <= $month
        AND history.aggregate_id >= $low
        AND history.aggregate_id < $high
        AND history.event_name IN (
            'conversation.started', 'context.supplied', 'user.utterance', 'agent.utterance', 'tool.call',
            'tool.result', 'model.decision'
        )
),
requests AS (
    SELECT
        asked.stream_no, asked.aggregate_id, asked.first_version, asked.decision, recorded.payload AS request
    FROM fold_requests AS asked
    INNER JOIN recorded
        ON asked.aggregate_id = recorded.aggregate_id AND asked.model_version = recorded.stream_version
    WHERE json_extract_string(recorded.payload, '$.request_sha256') IS NOT NULL
)
SELECT
    recorded.aggregate_id, recorded.event_name, recorded.payload, recorded.envelope[1] AS message_id,
    recorded.envelope[2] AS actor, requests.stream_no, requests.decision, requests.request
FROM recorded
LEFT JOIN requests
    ON recorded.aggregate_id = requests.aggregate_id AND recorded.stream_version = requests.first_version
ORDER BY recorded.aggregate_id, recorded.stream_version
"""


class RunningRequest:
    """The hashes of one stream's requests, each message fed to a hasher once per distinct head.

    Read only where the context is complete, before the first event of a decision: no message there changes any more.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._hashers: dict[bytes, tuple[Any, int]] = {}

    def sha256(self, decision: Mapping[str, Any]) -> str:
        """Hash of the request that the messages so far make with the model, params and tools of a `model.decision`."""
        head = request_head(decision.get("model"), decision.get("params"), decision.get("tools_sha256"))
        hasher, hashed = self._hashers.get(head) or (hashlib.sha256(head + b"\n"), 0)
        for message in self._context.messages[hashed:]:
            hasher.update(message_bytes(message) + b"\n")
        self._hashers[head] = (hasher, len(self._context.messages))
        return str(hasher.hexdigest())


def create_verification(connection: duckdb.DuckDBPyConnection, month: str, span: Span) -> None:
    """Create `fold_verification`: one row for each decision of the batch in the month whose request's hash was recorded.

    The whole context is read, from the stream's first event, because all of it is hashed.
    """
    connection.execute(_REQUESTS)
    rows: list[tuple[int, int, bool]] = []
    if connection.sql("SELECT count(*) FROM fold_requests").fetchall()[0][0]:
        params = {"month": month, "low": span.low, "high": span.high}
        rows = list(_verify(connection.sql(_HISTORY, params=params).to_arrow_reader(_BATCH)))
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    create_table(connection, "fold_verification", pa.Table.from_arrays(arrays, schema=_SCHEMA))


def _verify(reader: pa.RecordBatchReader) -> Iterator[tuple[int, int, bool]]:
    stream = None
    context = Context()
    running = RunningRequest(context)
    readable = True
    for batch in reader:
        for row in batch.to_pylist():
            if row["aggregate_id"] != stream:
                stream, context, readable = row["aggregate_id"], Context(), True
                running = RunningRequest(context)
            if row["decision"] is not None:
                request = json.loads(row["request"])
                is_verified = readable and running.sha256(request) == request["request_sha256"]
                yield row["stream_no"], row["decision"], is_verified
            envelope = {"message_id": row["message_id"], "actor": row["actor"]}
            try:
                context.apply(row["event_name"], json.loads(row["payload"]), envelope)
            except (KeyError, TypeError, AttributeError):
                # a payload that breaks its schema: the request cannot be rebuilt from here on, so it is not verified
                readable = False
