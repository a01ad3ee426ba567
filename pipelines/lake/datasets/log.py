"""The exported log: events and the heads of their chains."""

from __future__ import annotations

from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets.columns import MONTH, STREAM, STREAM_TYPE

MOVED_AT = "moved_at"
"""In the provenance of a month of `events`: when an export last brought what agents did, ISO 8601; null when none ever did."""

EVENTS = Dataset(
    name="events",
    grain="one event",
    key=("aggregate_id", "stream_version"),
    partition_by=("month",),
    sort_by=("aggregate_id", "stream_version"),
    layer="log",
    row_group_size=20_480,  # one stream is read with its whole group: six times as many as usual cost no bytes and no time
    columns=(
        MONTH,
        STREAM,
        STREAM_TYPE,
        Column("stream_version", "INTEGER", "Place in the stream: 1, 2, 3 … with no gap."),
        Column("event_type", "VARCHAR", "noun.verb.vN, for example tool.call.v1."),
        Column("event_version", "INTEGER", "N of the type: the payload's schema version."),
        Column("payload", "VARCHAR", "JSON text exactly as the store holds it.", is_personal=True),
        Column(
            "metadata",
            "VARCHAR",
            "JSON text of the envelope: message_id, actor, subject_id, source …",
            is_personal=True,
        ),
        Column("created_at", "TIMESTAMP WITH TIME ZONE", "When it happened, UTC; never decreases within a stream."),
        Column("epoch", "INTEGER", "Life of the database cluster that gave xid and position."),
        Column("xid", "BIGINT", "Transaction that appended the event."),
        Column("position", "BIGINT", "Global id of the event in the store; ascending, gaps allowed."),
        Column("hash", "BLOB", "SHA-256 link of the stream's chain."),
        Column("salt", "BLOB", "Random bytes that payload and metadata are hashed with; empty once they are gone."),
        Column(
            "digest",
            "BLOB",
            "Of an event whose payload and metadata are gone: their SHA-256 with the salt. Else empty.",
        ),
    ),
)

STREAM_MONTHS = Dataset(
    name="stream_months",
    grain="one stream × month in which it has events",
    key=("aggregate_id", "month"),
    partition_by=("month",),
    sort_by=("aggregate_id",),
    layer="log",
    columns=(
        MONTH,
        STREAM,
        STREAM_TYPE,
        Column("first_version", "INTEGER", "First stream_version in the month."),
        Column("last_version", "INTEGER", "Last stream_version in the month."),
        Column("event_count", "INTEGER", "Events of the stream in the month."),
        Column("prev_hash", "BLOB", "Chain link before the month; 32 zero bytes at a stream's start."),
        Column("last_hash", "BLOB", "Chain link at the end of the month."),
        Column("erased_events", "INTEGER", "Those of the events whose payload and metadata are gone."),
    ),
)
