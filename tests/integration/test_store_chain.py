"""The hash chain, recomputed by other programs from the documented expression."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from uuid import UUID, uuid4

import duckdb
import psycopg
import pyarrow as pa
import pytest

from pipelines.store import NewEvent, Store, StreamBatch, stream_id

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZERO = bytes(32)

# One row per event; payload and metadata as the verbatim jsonb text, as an export carries them.
ROWS = """
SELECT aggregate_id::text, aggregate_type, stream_version, event_type, event_version, payload::text, metadata::text,
    created_at, salt, hash
FROM refold.events ORDER BY aggregate_id, stream_version
"""

# The documented DuckDB expression, over `lag(hash)`.
DUCKDB_CHECK = """
SELECT count(*) FILTER (WHERE hash <> unhex(sha256(prev || encode(concat_ws(chr(10), '2', aggregate_id, aggregate_type,
    stream_version::varchar, event_type, event_version::varchar, epoch_us(created_at)::varchar, ''))
    || unhex(sha256(salt || encode(payload || chr(10) || metadata)))))),
    count(*)
FROM (
    SELECT *, coalesce(lag(hash) OVER (PARTITION BY aggregate_id ORDER BY stream_version), $zero) AS prev FROM events
)
"""

ODD_VALUES = {
    "text": 'line\u2028separator\nnewline\u202f\u2011 \\ " 🙂',
    "numbers": [0, -0.0, 1e-7, 3.0632e-05, 1e22, 1.0, 0.1 + 0.2, 2**63, -(2**70), 1e308, 5e-324, 10**400],
    "key\n\u2029": {"": None, "b": True, "aa": [[]]},
}
ODD_TIMES = [
    datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(1582, 10, 10, 12, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


def python_hash(prev: bytes, row: tuple) -> bytes:
    """The chain by the documented rule, with Python's own integers and times."""
    stream, kind, version, event_type, event_version, payload, metadata, at, salt, _ = row
    micros = (at - EPOCH) // timedelta(microseconds=1)
    header = "\n".join(["2", stream, kind, str(version), event_type, str(event_version), str(micros)])
    digest = hashlib.sha256(salt + payload.encode() + b"\n" + metadata.encode()).digest()
    return hashlib.sha256(prev + header.encode() + b"\n" + digest).digest()


def rows_of(conn: psycopg.Connection) -> list[tuple]:
    return conn.execute(ROWS).fetchall()


def assert_chain_by_python(rows: list[tuple]) -> None:
    for _, stream in groupby(rows, key=lambda row: row[0]):
        prev = ZERO
        for row in stream:
            assert row[-1] == python_hash(prev, row)
            prev = row[-1]


def mismatches_by_duckdb(rows: list[tuple], zone: str = "UTC") -> tuple[int, int]:
    schema = pa.schema(
        [
            ("aggregate_id", pa.string()),
            ("aggregate_type", pa.string()),
            ("stream_version", pa.int32()),
            ("event_type", pa.string()),
            ("event_version", pa.int32()),
            ("payload", pa.string()),
            ("metadata", pa.string()),
            ("created_at", pa.timestamp("us", tz="UTC")),
            ("salt", pa.binary()),
            ("hash", pa.binary()),
        ]
    )
    events = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)
    with duckdb.connect() as duck:
        duck.execute(f"SET TimeZone = '{zone}'")
        duck.register("events", events)
        return duck.sql(DUCKDB_CHECK, params={"zero": ZERO}).fetchall()[0]


@pytest.fixture
def odd_store(store: Store) -> Store:
    """Streams with odd values and times, written under different session settings."""
    for n, zone in enumerate(["UTC", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"]):
        store.conn.execute("SELECT set_config('timezone', %s, false)", [zone])
        store.conn.execute(
            "SET datestyle = 'German'; SET extra_float_digits = 0; SET bytea_output = 'escape'; SET intervalstyle = 'iso_8601'"
        )
        for kind in ("conversation", "Gespräch → 会話"):
            events = [NewEvent("user.utterance.v1", ODD_VALUES, {"n": n, "note": "\u2028"}, at) for at in ODD_TIMES]
            store.append(uuid4(), kind, [*events, NewEvent("user.utterance.v1", {"text": ""}, {}, ODD_TIMES[0])], "any")
    store.conn.execute("RESET ALL")
    return store


def test_python_recomputes_the_chain(odd_store: Store) -> None:
    """Every stored hash equals the documented expression over the row and the hash before it, from 32 zero bytes on."""
    odd_store.conn.execute("SET timezone = 'UTC'")
    rows = rows_of(odd_store.conn)
    assert len(rows) == 48
    assert_chain_by_python(rows)


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
def test_duckdb_recomputes_the_chain(odd_store: Store, zone: str) -> None:
    """DuckDB finds no mismatch over the exported text, whatever zone the rows are read in."""
    odd_store.conn.execute(
        "SET timezone = 'UTC'"
    )  # Python has no year 0 or 10000, where another zone would put the far years
    assert mismatches_by_duckdb(rows_of(odd_store.conn), zone) == (0, 48)


def test_every_changed_value_breaks_the_chain(odd_store: Store) -> None:
    """Changing any column of any event, or leaving one out, is found."""
    rows = rows_of(odd_store.conn)
    assert mismatches_by_duckdb(rows)[0] == 0
    victim = 2
    changes: list[list[tuple]] = [rows[:victim] + rows[victim + 1 :]]
    for column, value in enumerate(
        [str(uuid4()), "call", 9, "agent.utterance.v1", 2, "{}", '{"n": 1}', ODD_TIMES[1], bytes(16), bytes(32)]
    ):
        row = list(rows[victim])
        row[column] = value
        changes.append([*rows[:victim], tuple(row), *rows[victim + 1 :]])
    for changed in changes:
        assert mismatches_by_duckdb(changed)[0] > 0


def test_the_head_row_is_the_end_of_the_chain(odd_store: Store) -> None:
    """The head of each stream holds its last event's version, hash and time."""
    differing = odd_store.conn.execute(
        "SELECT count(*) FROM refold.streams AS s LEFT JOIN LATERAL (SELECT * FROM refold.events AS e "
        "WHERE e.aggregate_id = s.aggregate_id ORDER BY stream_version DESC LIMIT 1) AS e ON true "
        "WHERE (s.stream_version, s.hash, s.created_at) IS DISTINCT FROM (e.stream_version, e.hash, e.created_at)"
    ).fetchone()
    assert differing == (0,)


def test_a_known_link(store: Store) -> None:
    """One hash by hand, so that the expression cannot change unnoticed in all programs at once."""
    stream = UUID("00000000-0000-4000-8000-000000000001")
    at = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
    store.append(stream, "conversation", [NewEvent("user.utterance.v1", {"text": "hi"}, {"actor": "user"}, at)], "any")
    ((salt, kept),) = store.conn.execute("SELECT salt, digest FROM refold.events").fetchall()
    assert (len(salt), kept) == (16, b"")
    header = "2\n00000000-0000-4000-8000-000000000001\nconversation\n1\nuser.utterance.v1\n1\n1767323045600000\n"
    digest = hashlib.sha256(salt + b'{"text": "hi"}\n{"actor": "user"}').digest()
    assert next(store.read_stream(stream)).hash == hashlib.sha256(ZERO + header.encode() + digest).digest()


def test_no_two_events_have_a_salt_in_common(store: Store) -> None:
    """Equal events, of one batch and of many, have digests that nobody can tell to be equal."""
    for _ in range(40):
        store.append(uuid4(), "conversation", [NewEvent("user.utterance.v1", {"text": "yes"})] * 25, "any")
    found = store.conn.execute(
        "SELECT count(*), count(DISTINCT salt), min(length(salt)), max(length(salt)) FROM refold.events"
    )
    assert found.fetchone() == (1000, 1000, 16, 16)


def test_every_real_message_is_kept_and_chained(store: Store, shared_data: Path) -> None:
    """All recorded messages come back with the same meaning, and the chain over them is recomputed without a mismatch."""
    with gzip.open(shared_data / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        conversations = [json.loads(line) for line in lines]
    store.append_many(
        StreamBatch(
            stream_id(c["source"], c["conversation_id"]),
            "conversation",
            [
                NewEvent("context.supplied.v1", {"kind": "message", "content": m}, {}, ODD_TIMES[3])
                for m in c["messages"]
            ],
        )
        for c in conversations
    )
    total = sum(len(c["messages"]) for c in conversations)
    assert mismatches_by_duckdb(rows_of(store.conn)) == (0, total)
    for c in conversations:
        events = store.read_stream(stream_id(c["source"], c["conversation_id"]))
        assert [e.payload["content"] for e in events] == c["messages"]
