"""What an auditor needs beside the log: what happened to it as a whole, the nodes of sealed months' trees, who used what and why."""

from __future__ import annotations

from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets.columns import MONTH, STREAM

HOME_LOG = Dataset(
    name="home_log",
    grain="one thing that happened to the log as a whole",
    key=("entry",),
    partition_by=(),
    sort_by=("entry",),
    layer="registry",
    columns=(
        Column("entry", "BIGINT", "Place in the home log: 0, 1, 2 … with no gap."),
        Column(
            "kind",
            "VARCHAR",
            "opened, closing, sealed, files, unsealed: of a month; redacted: an event that redacts; erased: events whose content is gone; scrubbed: what they left in PostgreSQL.",
        ),
        Column("month", "VARCHAR", "UTC calendar month, YYYY-MM; null for what is of no month."),
        Column("generation", "INTEGER", "Which opening of the month; null likewise."),
        Column(
            "document",
            "VARCHAR",
            "JSON text, byte for byte: of `sealed` the manifest (rows, streams, order, roots), of `files` the list of files, of `erased` the erasure, of `scrubbed` the scrub.",
        ),
        Column("document_sha256", "VARCHAR", "SHA-256 of the text, hex."),
        Column("signature", "BLOB", "Ed25519 signature over the text's bytes; null when it is not signed."),
        Column("noted_at", "TIMESTAMP WITH TIME ZONE", "When the store noted it, UTC."),
    ),
)

MERKLE_NODES = Dataset(
    name="merkle_nodes",
    grain="one node of level 8, 16 or 24 of one of a sealed month's two Merkle trees",
    key=("month", "tree", "level", "place"),
    partition_by=("month",),
    sort_by=("tree", "level", "place"),
    layer="log",
    columns=(
        MONTH,
        Column("tree", "VARCHAR", "events, or heads: the tree over the ends of the month's streams."),
        Column("level", "INTEGER", "The node is over 2^level events, or streams."),
        Column(
            "place",
            "BIGINT",
            "Its place among the nodes of its level, from 0; leaves are in order of stream and version.",
        ),
        Column(
            "hash",
            "BLOB",
            "SHA-256 as RFC 6962 has it; with these a proof that an event is in the month hashes 256 leaves.",
        ),
    ),
)

SCORES = Dataset(
    name="scores",
    grain="one score of a conversation, of one of its messages, or of one of its tool calls",
    key=("aggregate_id", "stream_version"),
    partition_by=(),
    sort_by=("aggregate_id", "stream_version"),
    layer="log",
    columns=(
        Column(STREAM.name, STREAM.type, STREAM.description),
        Column("stream_version", "INTEGER", "The score's place in the stream."),
        Column("source", "VARCHAR", "Where the stream was recorded; null when the writer did not say."),
        Column("name", "VARCHAR", "What was judged."),
        Column("value", "VARCHAR", "JSON text of the value.", is_personal=True),
        Column("number", "DOUBLE", "The value as a number, a boolean as 0 or 1; null for any other."),
        Column("label", "VARCHAR", "What the value is called; null for nothing."),
        Column("kind", "VARCHAR", "numeric, boolean, categorical or text; null when not recorded."),
        Column("scorer", "VARCHAR", "Who judged: human, model, rule or user; null when not recorded."),
        Column("comment", "VARCHAR", "Why; null for nothing.", is_personal=True),
        Column("message_id", "VARCHAR", "The message that it is of; null where it is of none."),
        Column("call_id", "VARCHAR", "The tool call that it is of, as recorded; null likewise."),
        Column("recorded_at", "VARCHAR", "When it was judged, as recorded; null when not recorded."),
        Column("created_at", "TIMESTAMP WITH TIME ZONE", "When the log says that it happened, UTC."),
    ),
)

ACCESS = Dataset(
    name="access",
    grain="one access × stream that it is of; one row without a stream for an access that names none",
    key=("access", "aggregate_id", "first_version"),
    partition_by=(),
    sort_by=("accessed_at", "access"),
    layer="log",
    columns=(
        Column("access", "VARCHAR", "The access: the stream that its events are."),
        Column(
            "accessed_at", "TIMESTAMP WITH TIME ZONE", "When it was recorded, before anything was shown or done; UTC."
        ),
        Column("verb", "VARCHAR", "audit, show, redact, erase, hold, unseal or replay; null once its content is gone."),
        Column("reason", "VARCHAR", "Why, as whoever it was said.", is_personal=True),
        Column("account", "VARCHAR", "Account of the operating system.", is_personal=True),
        Column("host", "VARCHAR", "Name of the machine."),
        Column("database_role", "VARCHAR", "Who logged in to the database; the store wrote it.", is_personal=True),
        Column("actor", "VARCHAR", "What REFOLD_ACTOR said; null without it.", is_personal=True),
        Column("endpoint", "VARCHAR", "Where texts were sent to; null where none were."),
        Column("version_id", "VARCHAR", "The version of an experiment that it was for; null for none."),
        Column("opened_month", "VARCHAR", "The month that was opened again, YYYY-MM; null for other verbs."),
        Column(STREAM.name, STREAM.type, "The stream that it is of; null where it names none."),
        Column("first_version", "INTEGER", "First stream_version that it is of; null for all of the stream."),
        Column("last_version", "INTEGER", "Last stream_version that it is of; null likewise."),
        Column("is_erased", "BOOLEAN", "Whether the content of the access itself is gone."),
    ),
)
