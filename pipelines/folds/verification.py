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
from pipelines.folds.tables import create_table

_BATCH = 20_000  # events; bounds what is in Python at once
_FIELDS: list[tuple[str, pa.DataType]] = [
    ("stream_no", pa.int32()),
    ("decision", pa.int32()),
    ("is_verified", pa.bool_()),
]
_SCHEMA = pa.schema(_FIELDS)
# `request` stands at the first event of a decision: its context is what comes before
_HISTORY = """
WITH recorded AS (
    SELECT
        streams.stream_no, history.stream_version, history.event_name, history.payload,
        json_extract_string(history.metadata, ['$.message_id', '$.actor']) AS envelope
    FROM upcast_recorded_events AS history
    INNER JOIN fold_streams AS streams ON history.aggregate_id = streams.aggregate_id
    WHERE
        history.month <= $month
        AND history.event_name IN (
            'conversation.started', 'context.supplied', 'user.utterance', 'agent.utterance', 'tool.call',
            'tool.result', 'model.decision'
        )
),
requests AS (
    SELECT messages.stream_no, messages.first_version, messages.decision, recorded.payload AS request
    FROM fold_messages AS messages
    INNER JOIN recorded
        ON messages.stream_no = recorded.stream_no AND messages.model_version = recorded.stream_version
    WHERE messages.is_in_month AND json_extract_string(recorded.payload, '$.request_sha256') IS NOT NULL
)
SELECT
    recorded.stream_no, recorded.event_name, recorded.payload, recorded.envelope[1] AS message_id,
    recorded.envelope[2] AS actor, requests.decision, requests.request
FROM recorded
LEFT JOIN requests
    ON recorded.stream_no = requests.stream_no AND recorded.stream_version = requests.first_version
WHERE recorded.stream_no IN (SELECT requests.stream_no FROM requests)
ORDER BY recorded.stream_no, recorded.stream_version
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


def create_verification(connection: duckdb.DuckDBPyConnection, month: str) -> None:
    """Create `fold_verification`: one row for each decision of the month whose request's hash was recorded."""
    rows = list(_verify(connection.sql(_HISTORY, params={"month": month}).to_arrow_reader(_BATCH)))
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
            if row["stream_no"] != stream:
                stream, context, readable = row["stream_no"], Context(), True
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
