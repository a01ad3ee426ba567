"""The async store: the same results and errors as the sync one, and tasks that share a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from pipelines.errors import RefoldError
from pipelines.settings import Settings
from pipelines.store import (
    AppendManyResult,
    AppendResult,
    AsyncStore,
    EmbeddedServer,
    EventType,
    InvalidEvent,
    InvalidPayload,
    NewEvent,
    Registry,
    SchemaOutdated,
    Store,
    StoreUnavailable,
    StreamBatch,
    UnknownEventType,
    VersionConflict,
    connect_async,
)

AT = datetime(2026, 5, 1, tzinfo=UTC)


def say(text: str) -> NewEvent:
    return NewEvent("user.utterance.v1", {"text": text}, {"actor": "user"}, AT)


def batches(streams: int, bad: int | None = None, *, first: int = 1) -> list[StreamBatch]:
    return [
        StreamBatch(UUID(int=n), "conversation", [say(f"{n}"), NewEvent("no.such.v1", {}) if n == bad else say("b")])
        for n in range(first, first + streams)
    ]


def test_both_stores_answer_alike(store: Store, store_settings: Settings) -> None:
    """The same calls on both give the same versions, duplicates, conflicts and refusals, and store the same events."""
    one, other = uuid4(), uuid4()
    calls = [
        ([say("a"), say("b")], "no_stream", True),
        ([say("a"), say("b")], "no_stream", True),  # a retry
        ([say("c")], 2, True),
        ([say("z")], 1, True),  # a conflict
        ([NewEvent("user.utterance.v1", {"text": 7})], "any", True),
        ([NewEvent("user.utterance.v1", {"text": "\x00"})], "any", False),
        ([NewEvent("no.such.v1", {})], "any", False),
        ([], "any", True),
    ]

    def told(result: object, stream: UUID) -> object:
        if isinstance(result, AppendResult):
            return result.first_version, result.last_version, result.duplicate
        return type(result), str(result).replace(str(stream), "")

    async def asynchronous() -> tuple[list[object], list[object]]:
        answers = []
        async with AsyncStore.open(store_settings) as opened:
            for events, expected, validate in calls:
                try:
                    answers.append(await opened.append(other, "conversation", events, expected, validate=validate))
                except RefoldError as error:
                    answers.append(error)
            return [told(a, other) for a in answers], [e async for e in opened.read_stream(other)]

    answers = []
    for events, expected, validate in calls:
        try:
            answers.append(store.append(one, "conversation", events, expected, validate=validate))
        except RefoldError as error:
            answers.append(error)
    async_answers, async_events = asyncio.run(asynchronous())
    assert async_answers == [told(a, one) for a in answers]
    assert [type(a) for a in answers[3:]] == [
        VersionConflict,
        InvalidPayload,
        InvalidPayload,
        UnknownEventType,
        InvalidEvent,
    ]
    assert async_events == list(store.read_stream(other))
    assert [(e.stream_version, e.payload, e.metadata) for e in async_events] == [
        (e.stream_version, e.payload, e.metadata) for e in store.read_stream(one)
    ]


def test_many_batches_are_all_or_nothing(store: Store, store_settings: Settings) -> None:
    """One bad batch among many leaves nothing, the connection is usable, and retries are counted as duplicates."""

    async def write() -> list[AppendManyResult]:
        async with AsyncStore.open(store_settings) as opened:
            with pytest.raises(UnknownEventType):
                await opened.append_many(batches(300, bad=250))
            assert [e async for e in opened.read_stream(UUID(int=1))] == []
            return [await opened.append_many(iter(batches(300))), await opened.append_many(batches(301))]

    assert asyncio.run(write()) == [AppendManyResult(300, 600, 0), AppendManyResult(301, 2, 300)]
    assert store.conn.execute("SELECT count(*) FROM refold.events").fetchone() == (602,)


def test_a_failing_generator_leaves_nothing(store: Store, store_settings: Settings) -> None:
    """An exception of the caller's generator is passed on unchanged, nothing is stored, and the store goes on."""

    def broken() -> Iterator[StreamBatch]:
        yield from batches(200)
        raise ValueError("line 201 is no JSON")

    async def write() -> AppendManyResult:
        async with AsyncStore.open(store_settings) as opened:
            with pytest.raises(ValueError, match="line 201"):
                await opened.append_many(broken())
            return await opened.append_many(batches(2, first=1000))

    assert asyncio.run(write()) == AppendManyResult(2, 4, 0)
    assert store.conn.execute("SELECT count(*) FROM refold.events").fetchone() == (4,)


@pytest.mark.parametrize("after_seconds", [0, 0.01, 0.05])
def test_a_cancelled_import_leaves_nothing(store: Store, store_settings: Settings, after_seconds: float) -> None:
    """`append_many` cancelled half-way stores nothing, and another task's next append is not part of it."""

    async def write() -> None:
        async with AsyncStore.open(store_settings) as opened:
            many = asyncio.create_task(opened.append_many(batches(3000, first=1000)))
            await asyncio.sleep(after_seconds)
            single = asyncio.create_task(opened.append(UUID(int=1), "conversation", [say("x")], "no_stream"))
            many.cancel()
            with pytest.raises(asyncio.CancelledError):
                await many
            await single

    asyncio.run(write())
    assert [e.aggregate_id.int for e in store.read_all()] == [1]


def test_a_stream_longer_than_a_page_is_read_whole(store: Store, store_settings: Settings) -> None:
    """Reading pages through a stream without gap or repetition, also while other tasks append to it."""
    stream = uuid4()
    store.append(stream, "conversation", [say(str(n)) for n in range(1000)], "no_stream")

    async def read() -> list[int]:
        versions = []
        async with AsyncStore.open(store_settings) as opened:
            async for event in opened.read_stream(stream, 3):
                if event.stream_version == 4:
                    await opened.append(stream, "conversation", [say("while reading")], 1000)
                versions.append(event.stream_version)
        return versions

    assert asyncio.run(read()) == list(range(3, 1002))


def test_a_task_cannot_undo_the_append_of_another(store: Store, store_settings: Settings) -> None:
    """Tasks that share a store: what one was told is stored stays, although another's `append_many` fails meanwhile."""

    async def write() -> list[object]:
        async with AsyncStore.open(store_settings) as opened:
            many = (opened.append_many(batches(150, bad=n + 140, first=n)) for n in range(1000, 4000, 1000))
            singles = (opened.append(UUID(int=n), "conversation", [say("x")], "no_stream") for n in range(1, 31))
            tasks = [task for pair in zip(many, *[singles] * 10, strict=False) for task in pair]
            return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(write())
    assert [type(r) for r in results].count(UnknownEventType) == 3
    streams = {row[0].int for row in store.conn.execute("SELECT aggregate_id FROM refold.events").fetchall()}
    assert streams == set(range(1, 31))


def test_a_lost_connection_is_typed_and_the_batch_can_be_sent_again(store: Store, store_settings: Settings) -> None:
    """A killed connection is StoreUnavailable in every call, and the same batch through a new one is stored once."""
    stream = uuid4()

    async def write() -> object:
        async with AsyncStore.open(store_settings) as opened:
            await opened.append(stream, "conversation", [say("a")], "no_stream")
            store.conn.execute("SELECT pg_terminate_backend(%s)", [opened.conn.info.backend_pid])
            for call in (opened.append(stream, "conversation", [say("b")], 1), opened.append_many(batches(3))):
                with pytest.raises(StoreUnavailable):
                    await call
            with pytest.raises(StoreUnavailable):
                [e async for e in opened.read_stream(stream)]
        async with AsyncStore.open(store_settings) as opened:
            await opened.append(stream, "conversation", [say("b")], 1)
            return await opened.append(stream, "conversation", [say("b")], 1)

    assert asyncio.run(write()).duplicate
    assert [e.payload["text"] for e in store.read_stream(stream)] == ["a", "b"]


def test_a_cancelled_append_leaves_the_store_usable(store: Store, store_settings: Settings) -> None:
    """An append that waits for another writer can be cancelled; nothing of it is stored and the next one works."""
    stream = uuid4()

    async def write() -> None:
        async with AsyncStore.open(store_settings) as opened:
            with store.transaction():
                store.append(stream, "conversation", [say("first")], "no_stream")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(opened.append(stream, "conversation", [say("cancelled")], "any"), 0.2)
            await opened.append(stream, "conversation", [say("second")], 1)

    asyncio.run(write())
    assert [e.payload["text"] for e in store.read_stream(stream)] == ["first", "second"]


def test_the_embedded_server_is_held_while_open(open_folder: Path) -> None:
    """Opening the default store starts, migrates and holds its server, also when opening is cancelled; leaving stops it."""
    settings = Settings(home=open_folder, dsn=None, lake=open_folder / "lake")

    async def use() -> None:
        async with AsyncStore.open(settings) as opened:
            assert EmbeddedServer(open_folder).status().is_used
            await opened.append(uuid4(), "conversation", [say("a")], "no_stream")

    async def cancelled() -> None:
        async with asyncio.timeout(0.05), AsyncStore.open(settings):
            pass

    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())
    status = EmbeddedServer(open_folder).status()
    assert (status.is_running, status.is_used) == (False, False)
    asyncio.run(use())
    assert not EmbeddedServer(open_folder).status().is_running


def test_where_there_is_no_store_the_error_says_so(settings: Settings, server: EmbeddedServer) -> None:
    """Without server, DSN or schema, opening fails by type, and a database of one's own is not migrated."""

    async def use(dsn: str) -> None:
        async with AsyncStore.open(replace(settings, dsn=dsn)):
            pass

    for dsn, error in (
        ("postgresql://nobody@127.0.0.1:1/none", StoreUnavailable),
        ("no dsn", StoreUnavailable),
        (server.dsn_of("postgres"), SchemaOutdated),
    ):
        with pytest.raises(error):
            asyncio.run(use(dsn))
    with pytest.raises(StoreUnavailable):
        asyncio.run(connect_async("no dsn"))
    with psycopg.connect(server.dsn_of("postgres")) as conn:
        assert conn.execute("SELECT to_regnamespace('refold')").fetchone() == (None,)


def test_types_of_the_database_are_known(store: Store, store_settings: Settings) -> None:
    """A type that somebody registered is validated by every store, opened before or after, and by both kinds."""
    name = "order.weighed.v1"
    schema = {"type": "object", "properties": {"grams": {"type": "integer"}}, "required": ["grams"]}
    Registry([EventType(name, "A parcel was weighed.", schema)]).register(store.conn)
    good, bad = NewEvent(name, {"grams": 7}), NewEvent(name, {"grams": "7"})

    async def main() -> None:
        async with AsyncStore.open(store_settings) as opened:
            with pytest.raises(InvalidPayload, match="grams"):
                await opened.append(uuid4(), "order", [bad], "any")
            assert (await opened.append(uuid4(), "order", [good], "any")).last_version == 1
            with pytest.raises(InvalidPayload, match="grams"):
                await opened.append_many([StreamBatch(uuid4(), "order", [good, bad])], validate=True)

    asyncio.run(main())
    with pytest.raises(InvalidPayload, match="grams"):
        store.append(uuid4(), "order", [bad], "any")
    assert store.append(uuid4(), "order", [good], "any").last_version == 1
    with pytest.raises(InvalidPayload, match="grams"):
        store.append_many([StreamBatch(uuid4(), "order", [good, bad])], validate=True)
    assert name not in Registry.shipped().types
