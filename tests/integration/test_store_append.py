"""Appending to a real PostgreSQL: expectations, retries, times, refusals."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from pipelines.settings import Settings
from pipelines.store import (
    AppendResult,
    InvalidEvent,
    InvalidPayload,
    NewEvent,
    Store,
    StoreBusy,
    StreamBatch,
    UnknownEventType,
    VersionConflict,
    connect,
)
from tests.support.databases import wait_for_who_waits
from tests.support.waiting import PATIENCE

DAY = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)


def say(text: str, at: datetime | None = None, **metadata: object) -> NewEvent:
    return NewEvent("user.utterance.v1", {"text": text}, metadata, at)


def count(store: Store) -> int:
    return store.conn.execute("SELECT count(*) FROM refold.events").fetchone()[0]


@pytest.mark.quick
def test_versions_are_gapless(store: Store) -> None:
    """Versions of a stream are 1, 2, 3 and so on over several appends, and reading gives back what was written."""
    stream = uuid4()
    first = store.append(stream, "conversation", [say("a"), say("b", actor="user")], "no_stream")
    second = store.append(stream, "conversation", [say("c")], 2)
    assert (first.first_version, first.last_version, second.first_version, second.last_version) == (1, 2, 3, 3)
    assert first.first_position < first.last_position < second.first_position
    events = list(store.read_stream(stream))
    assert [(e.stream_version, e.payload["text"], e.position) for e in events] == [
        (1, "a", first.first_position),
        (2, "b", first.last_position),
        (3, "c", second.first_position),
    ]
    assert (events[1].metadata, events[1].event_version, events[1].aggregate_type) == (
        {"actor": "user"},
        1,
        "conversation",
    )
    assert list(store.read_stream(stream, from_version=3)) == events[2:]
    assert store.read_all() == events


def test_a_stream_longer_than_a_page_is_read_whole(store: Store) -> None:
    """Reading a stream pages through it without gap or repetition."""
    stream = uuid4()
    store.append(stream, "conversation", [say(str(n)) for n in range(1201)], "no_stream")
    assert [e.stream_version for e in store.read_stream(stream)] == list(range(1, 1202))


@pytest.mark.quick
@pytest.mark.parametrize(("expected", "actual"), [("no_stream", 2), (0, 2), (1, 2), (3, 2), (999_999_999, 2)], ids=str)
def test_a_wrong_expectation_is_a_typed_conflict(store: Store, expected: int | str, actual: int) -> None:
    """A conflict carries both sides, and nothing is stored."""
    stream = uuid4()
    store.append(stream, "conversation", [say("a"), say("b")], "no_stream")
    with pytest.raises(VersionConflict, match=f"expected {expected}, stream is at {actual}") as caught:
        store.append(stream, "conversation", [say("z")], expected)
    assert (str(caught.value.expected), caught.value.actual) == (str(expected), actual)
    assert count(store) == 2


@pytest.mark.parametrize("expected", ["exists", 1])
def test_a_stream_that_is_not_there_is_a_conflict_where_one_is_expected(store: Store, expected: int | str) -> None:
    """`exists` and a version need a stream; the failed attempt leaves no head behind."""
    with pytest.raises(VersionConflict) as caught:
        store.append(uuid4(), "conversation", [say("a")], expected)
    assert caught.value.actual == 0
    assert store.conn.execute("SELECT count(*) FROM refold.streams").fetchone() == (0,)


def test_any_and_exists_append_wherever_the_stream_is(store: Store) -> None:
    """`any` starts or continues a stream, `exists` continues it, and neither treats equal content as a retry."""
    stream = uuid4()
    for expected, version in (("any", 1), ("any", 2), ("exists", 3)):
        result = store.append(stream, "conversation", [say("same")], expected)
        assert (result.first_version, result.duplicate) == (version, False)


@pytest.mark.parametrize("at", [None, DAY], ids=["now", "given"])
def test_a_retry_gets_the_first_answer(store: Store, at: datetime | None) -> None:
    """The same batch with the same exact expectation appends nothing and answers as the first time, also later on."""
    stream = uuid4()
    head = store.append(stream, "conversation", [say("before", at)], "no_stream")
    events = [say("a", at, actor="user"), say("b", at)]
    first = store.append(stream, "conversation", events, head.last_version)
    assert first.duplicate is False
    for _ in range(2):
        again = store.append(stream, "conversation", events, head.last_version)
        assert again == AppendResult(
            first.first_version, first.last_version, first.first_position, first.last_position, duplicate=True
        )
        store.append(stream, "conversation", [say("later")], "exists")
    assert count(store) == 5


def test_a_retry_with_a_raised_time_is_still_the_same_batch(store: Store) -> None:
    """Where the stored time was raised, the given one is what a retry is compared with."""
    stream = uuid4()
    store.append(stream, "conversation", [say("a", DAY)], "no_stream")
    late = [say("b", DAY - timedelta(days=40))]
    first = store.append(stream, "conversation", late, 1)
    assert store.append(stream, "conversation", late, 1).first_position == first.first_position
    with pytest.raises(VersionConflict):
        store.append(stream, "conversation", [say("b", DAY - timedelta(days=41))], 1)


@pytest.mark.parametrize(
    "other",
    [
        [say("a"), say("x")],
        [say("a")] * 3,
        [say("a", actor="agent"), say("b")],
        [NewEvent("agent.utterance.v1", {"text": "a"}), say("b")],
        [say("a", DAY), say("b", DAY)],
    ],
    ids=["payload", "longer", "metadata", "type", "time"],
)
def test_another_batch_at_the_same_place_is_no_retry(store: Store, other: list[NewEvent]) -> None:
    """A batch that differs in anything that was given conflicts."""
    stream = uuid4()
    store.append(stream, "conversation", [say("a"), say("b")], "no_stream")
    with pytest.raises(VersionConflict):
        store.append(stream, "conversation", other, "no_stream")


@pytest.mark.quick
def test_two_writers_of_one_stream_cannot_both_win(store: Store, store_settings: Settings) -> None:
    """Of two writers with the same expectation exactly one appends, the other meets a conflict when the first commits."""
    stream = uuid4()
    outcome: list[object] = []
    with Store.open(store_settings) as other:

        def write() -> None:
            try:
                outcome.append(other.append(stream, "conversation", [say("second")], "no_stream"))
            except VersionConflict as error:
                outcome.append(error)

        with store.transaction():
            store.append(stream, "conversation", [say("first")], "no_stream")
            thread = threading.Thread(target=write)
            thread.start()
            wait_for_who_waits(store.conn)
        thread.join(PATIENCE)
    assert isinstance(outcome[0], VersionConflict)
    assert [e.payload["text"] for e in store.read_stream(stream)] == ["first"]


def test_time_in_a_stream_never_goes_back(store: Store) -> None:
    """An earlier time is raised to the stream's last and kept in metadata.occurred_at, unless the writer gave one."""
    stream = uuid4()
    early = datetime(2025, 12, 31, 23, 59, 59, 1, tzinfo=UTC)
    events = [say("a", DAY), say("b", early), say("c", early, occurred_at="mine"), say("d", DAY + timedelta(days=60))]
    store.append(stream, "conversation", events, "no_stream")
    stored = list(store.read_stream(stream))
    assert [e.created_at for e in stored] == [DAY, DAY, DAY, DAY + timedelta(days=60)]
    assert [e.metadata.get("occurred_at") for e in stored] == [None, "2025-12-31T23:59:59.000001Z", "mine", None]


def test_naive_times_are_utc(store: Store) -> None:
    """A time without a zone is taken as UTC, whatever the session's zone is."""
    store.conn.execute("SET timezone = 'Asia/Kathmandu'")
    stream = uuid4()
    store.append(stream, "conversation", [say("a", DAY.replace(tzinfo=None))], "no_stream")
    assert next(store.read_stream(stream)).created_at == DAY


def test_unregistered_types_are_refused_on_both_sides(store: Store) -> None:
    """Only registered types are stored, with and without validation in Python."""
    for validate in (True, False):
        with pytest.raises(UnknownEventType, match=r"order\.placed\.v1"):
            store.append(uuid4(), "order", [say("a"), NewEvent("order.placed.v1", {})], "any", validate=validate)
    assert count(store) == 0


def test_a_payload_must_fit_its_schema(store: Store) -> None:
    """Validation names the place of the misfit by JSON Pointer."""
    bad = NewEvent("tool.call.v1", {"call_id": "x", "name": "", "arguments": {}})
    with pytest.raises(InvalidPayload) as caught:
        store.append(uuid4(), "conversation", [bad], "any")
    assert caught.value.path == "/name"
    assert count(store) == 0


def test_a_stream_keeps_its_type(store: Store) -> None:
    """The aggregate type is fixed by the first event."""
    stream = uuid4()
    store.append(stream, "conversation", [say("a")], "no_stream")
    with pytest.raises(InvalidEvent, match="aggregate_type conversation, the batch says call"):
        store.append(stream, "call", [say("b")], 1)


@pytest.mark.parametrize("kind", ["", "two\nlines"])
def test_type_names_have_no_newline(store: Store, kind: str) -> None:
    """The chain separates its parts by newlines, so names may hold none."""
    with pytest.raises(InvalidEvent):
        store.append(uuid4(), kind, [say("a")], "any")


@pytest.mark.parametrize("expected", [-1, True, "newest", None, 1.0])
def test_an_expectation_that_is_none_is_refused(store: Store, expected: object) -> None:
    """Only a version or one of the three words is an expectation."""
    with pytest.raises(InvalidEvent, match="expected_version"):
        store.append(uuid4(), "conversation", [say("a")], expected)  # type: ignore[arg-type] # that is the test
    with pytest.raises(InvalidEvent, match="no events"):
        store.append(uuid4(), "conversation", [], "any")


def batches(streams: int, bad: int | None = None) -> list[StreamBatch]:
    return [
        StreamBatch(
            UUID(int=n + 1), "conversation", [say(f"{n}"), NewEvent("no.such.v1", {}) if n == bad else say("b")]
        )
        for n in range(streams)
    ]


def test_many_batches_are_all_or_nothing(store: Store) -> None:
    """One bad batch among many leaves nothing, and the connection is usable."""
    with pytest.raises(UnknownEventType):
        store.append_many(batches(300, bad=250))
    assert count(store) == 0
    done = store.append_many(iter(batches(300)))
    assert (done.streams, done.events, done.duplicate_streams) == (300, 600, 0)
    again = store.append_many(batches(301))
    assert (again.streams, again.events, again.duplicate_streams) == (301, 2, 300)
    assert count(store) == 602


def test_a_transaction_groups_appends(store: Store) -> None:
    """Inside `transaction()` everything is stored together or not at all."""

    def fail() -> None:
        with store.transaction():
            store.append_many(batches(10))
            store.append(uuid4(), "conversation", [say("x")], "any")
            raise RuntimeError("the caller failed")

    with pytest.raises(RuntimeError, match="caller"):
        fail()
    assert count(store) == 0


def test_a_failing_generator_leaves_nothing(store: Store) -> None:
    """An exception of the caller's generator is passed on unchanged and nothing is stored."""

    def broken():
        yield from batches(200)
        raise ValueError("line 201 is no JSON")

    with pytest.raises(ValueError, match="line 201"):
        store.append_many(broken())
    assert count(store) == 0


def test_psql_writers_need_only_the_function(store: Store, store_settings: Settings) -> None:
    """The function is callable with plain SQL and defaults, and answers by name."""
    with connect(store_settings.dsn or "") as conn:
        row = conn.execute(
            "SELECT first_version, last_version, duplicate FROM refold.append_events("
            "aggregate_id => '7b0c0c1e-8b4e-4f0e-9d51-0c5a3a1f0c11', aggregate_type => 'conversation', "
            "expected_version => 'any', event_types => ARRAY['user.utterance.v1'], "
            'payloads => ARRAY[\'{"text": "hello"}\'::jsonb])'
        ).fetchone()
    assert row == (1, 1, False)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("exists", [True, False], ids=["stream", "no stream"])
def test_a_stricter_isolation_level_meets_a_typed_refusal(store: Store, level: str, exists: bool) -> None:
    """A writer whose snapshot is older than the stream's last event is told to try again, and nothing is stored."""
    stream = uuid4()
    if exists:
        store.append(stream, "conversation", [say("a")], "no_stream")
    with connect(store.dsn) as conn:
        conn.execute(f"BEGIN ISOLATION LEVEL {level}".encode())
        conn.execute("SELECT count(*) FROM refold.months")
        store.append(stream, "conversation", [say("b")], "any")
        with pytest.raises(StoreBusy):
            Store(conn, store.dsn).append(stream, "conversation", [say("c")], "any")
    assert [e.payload["text"] for e in store.read_stream(stream)] == ["a", "b"][1 - exists :]


def test_a_plan_made_for_an_empty_store_does_not_stay(store: Store) -> None:
    """Heads are found by their index, also in a session that began when the statistics said that there are none."""
    store.conn.execute("ANALYZE refold.streams, refold.events")
    with store.transaction():
        for first in (1, 2):
            store.append_many(StreamBatch(UUID(int=n), "conversation", [say("a")], "any") for n in range(1, 301))
            read = store.conn.execute(
                "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relid = 'refold.streams'::regclass"
            ).fetchone()
            assert read == (0,), f"round {first}"
