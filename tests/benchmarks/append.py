"""`append`: the store against bare INSERTs, and the cost of an append by length of the stream and number of months.

The bare table has the caller's columns alone: no key, no index, no partition, no chain, no check. Both sides get the same
Python objects and make the same JSON of them. The bare INSERT sends arrays as text, as psycopg sends lists; a second peer
sends the store's own binary arrays.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

from pipelines.store import NewEvent, StreamBatch, connect
from pipelines.store.encode import append_arguments, json_text, prepare_connection
from tests.benchmarks.databases import create_database, fresh_database, opened, running_server
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import STREAM_EVENTS, read_batches, write_log
from tests.benchmarks.rounds import Bench, Measure

BATCHES = Target("at least", 0.8)
SINGLES = Target("at least", 0.65)
FLAT = Target("at most", 1.2)
"""A cost that does not grow, with room for the noise of medians of some microseconds."""

_AT = datetime(2026, 1, 15, tzinfo=UTC)
_LENGTHS = (10, 100, 1_000, 10_000, 100_000)
_MONTHS = (1, 12, 60)
_BARE = """
CREATE TABLE bare (
    position bigint GENERATED ALWAYS AS IDENTITY, aggregate_id uuid, aggregate_type text, stream_version integer,
    event_type text, event_version integer, payload jsonb, metadata jsonb, created_at timestamptz
)
"""
_COLUMNS = "aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata, created_at"
_INSERT = f"INSERT INTO bare ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
_INSERT_BATCH = f"""
INSERT INTO bare ({_COLUMNS})
SELECT %s::uuid, %s, place, event_type, 1, payload, metadata, created_at
FROM unnest(%s::text[], %s::jsonb[], %s::jsonb[], %s::timestamptz[])
WITH ORDINALITY AS b (event_type, payload, metadata, created_at, place)
"""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `append`."""
    path = bench.folder / "log.parquet"
    batched = max(bench.events // 6, STREAM_EVENTS)
    singles = max(bench.events // 300, 10)
    write_log(path, batched)
    home = bench.folder / "home"
    with running_server(home):
        given: dict[str, Any] = {"home": str(home), "path": str(path)}
        rounds = bench.interleave(
            {
                "batches": (append_batches, {**given, "events": batched}),
                "bare batches": (insert_batches, {**given, "events": batched}),
                "bare binary": (insert_batches, {**given, "events": batched, "as_text": False}),
                "singles": (append_singles, {**given, "events": singles}),
                "bare singles": (insert_singles, {**given, "events": singles}),
            }
        )
        yield rounds.figure(
            "append: batches of 30, pipelined",
            "events/s",
            ("batches", "rate"),
            peer=("bare batches", "rate"),
            peer_name="bare INSERT",
            target=BATCHES,
        )
        yield rounds.figure(
            "append: batches of 30, beside binary arrays",
            "events/s",
            ("batches", "rate"),
            peer=("bare binary", "rate"),
            peer_name="bare INSERT of the store's arrays",
        )
        yield rounds.figure(
            "append: one event per durable commit",
            "events/s",
            ("singles", "rate"),
            peer=("bare singles", "rate"),
            peer_name="bare INSERT",
            target=SINGLES,
        )
        lengths = [length for length in _LENGTHS if length <= max(bench.events // 3, 100)]
        bench.tell("filling streams and months")
        dsn = create_database(home, "lengths", [_AT])
        by_length = {str(length): (dsn, _fill_stream(dsn, length)) for length in lengths}
        numbers = [months for months in _MONTHS if months <= max(bench.events // 1_000, 12)]
        by_month = {str(months): _fill_months(home, months) for months in numbers}
        rounds = bench.interleave(
            {
                "length": (append_to_streams, {"streams": by_length, "appends": singles}),
                "months": (append_to_streams, {"streams": by_month, "appends": singles}),
            }
        )
        for trial, what, costs in (("length", "events in the stream", by_length), ("months", "months", by_month)):
            first, *others = costs
            for key in others:
                yield rounds.figure(
                    f"append: {int(key):,} {what}",
                    "µs",
                    (trial, key),
                    peer=(trial, first),
                    peer_name=f"with {first}",
                    target=FLAT if key == others[-1] else None,
                )


def append_batches(home: str, path: str, events: int) -> Measure:
    """`append_many`, one batch per conversation."""
    batches = list(read_batches(path, events))
    with fresh_database(home, [_AT]) as dsn, opened(dsn) as store:
        started = time.perf_counter()
        appended = store.append_many(batches).events
        return {"rate": appended / (time.perf_counter() - started)}


def insert_batches(home: str, path: str, events: int, as_text: bool = True) -> Measure:
    """One INSERT of 30 rows per conversation, pipelined in one transaction; arrays, being faster than 240 parameters."""
    batches = list(read_batches(path, events))
    with fresh_database(home, []) as dsn, connect(dsn) as conn:
        prepare_connection(conn)
        conn.execute(_BARE)
        started = time.perf_counter()
        with conn.transaction(), conn.pipeline():
            for batch in batches:
                arrays = _text_arrays(batch.events) if as_text else append_arguments(batch)[3:]
                conn.execute(_INSERT_BATCH, (batch.aggregate_id, batch.aggregate_type, *arrays), prepare=True)
        return {"rate": events / (time.perf_counter() - started)}


def _text_arrays(events: Sequence[NewEvent]) -> list[str]:
    """Types, payloads, metadata and times as array literals."""
    columns = (
        [event.event_type for event in events],
        [json_text(event.payload, "payload") for event in events],
        [json_text(event.metadata, "metadata") for event in events],
        [event.created_at.isoformat() for event in events],
    )
    return ["{" + ",".join('"' + t.replace("\\", "\\\\").replace('"', '\\"') + '"' for t in c) + "}" for c in columns]


def append_singles(home: str, path: str, events: int) -> Measure:
    """`append`, one event at a time, each durable on return."""
    batches = list(read_batches(path, events))
    with fresh_database(home, [_AT]) as dsn, opened(dsn) as store:
        started = time.perf_counter()
        for batch in batches:
            for version, event in enumerate(batch.events):
                store.append(batch.aggregate_id, batch.aggregate_type, [event], version or "no_stream")
        return {"rate": events / (time.perf_counter() - started)}


def insert_singles(home: str, path: str, events: int) -> Measure:
    """One single-row INSERT per commit."""
    batches = list(read_batches(path, events))
    with fresh_database(home, []) as dsn, connect(dsn) as conn:
        conn.execute(_BARE)
        started = time.perf_counter()
        for batch in batches:
            for version, event in enumerate(batch.events, start=1):
                texts = (json_text(event.payload, "payload"), json_text(event.metadata, "metadata"))
                row = (batch.aggregate_id, batch.aggregate_type, version, event.event_type, 1, *texts, event.created_at)
                conn.execute(_INSERT, row, prepare=True)
        return {"rate": events / (time.perf_counter() - started)}


def append_to_streams(streams: Mapping[str, tuple[str, str]], appends: int) -> Measure:
    """Microseconds of appending one event to each of `streams` (name → dsn, stream) in turn; commits are not in it.

    Taking turns gives every stream the same load; one transaction per connection keeps the disk out of it.
    """
    event = NewEvent("user.utterance.v1", {"text": "Where is my order? It should have been here on Monday."})
    taken: dict[str, list[float]] = {name: [] for name in streams}
    with ExitStack() as stack:
        stores = {}
        for dsn in {dsn for dsn, _ in streams.values()}:
            stores[dsn] = stack.enter_context(opened(dsn))
            stack.enter_context(stores[dsn].conn.transaction(force_rollback=True))
        for number in range(appends + 5):
            for name, (dsn, stream) in streams.items():
                started = time.perf_counter()
                stores[dsn].append(UUID(stream), "conversation", [event], "exists")
                if number >= 5:  # the first calls plan the function
                    taken[name].append(time.perf_counter() - started)
    return {name: median(seconds) * 1e6 for name, seconds in taken.items()}


def _fill_stream(dsn: str, length: int) -> str:
    """A new stream of `length` events; its id."""
    stream = uuid4()
    event = NewEvent("user.utterance.v1", {"text": "Hello?"}, {}, _AT)
    with opened(dsn) as store:
        sizes = [min(500, length - start) for start in range(0, length, 500)]
        store.append_many(StreamBatch(stream, "conversation", [event] * size, "any") for size in sizes)
    return str(stream)


def _fill_months(home: Path, months: int) -> tuple[str, str]:
    """A database with so many months up to now, a conversation in each, the last one open to appends now."""
    now = datetime.now(UTC)
    last = now.year * 12 + now.month - 1
    times = [datetime((last - back) // 12, (last - back) % 12 + 1, 1, tzinfo=UTC) for back in range(months)]
    dsn = create_database(home, f"months_{months}", times)
    streams = [uuid4() for _ in times]
    with opened(dsn) as store:
        for stream, at in zip(streams, times, strict=True):
            store.append(
                stream, "conversation", [NewEvent("user.utterance.v1", {"text": "Hello?"}, {}, at)] * 30, "any"
            )
    return dsn, str(streams[0])
