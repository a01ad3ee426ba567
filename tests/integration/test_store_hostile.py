"""Hostile input: odd text, numbers, times, sizes, depths and ids are stored exactly or refused by type; nothing partial."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import psycopg
import pytest

from pipelines.store import InvalidEvent, InvalidPayload, NewEvent, PayloadTooLarge, Store, UnknownEventType
from pipelines.store.sqlstate import typed_errors

DAY = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
RAW_APPEND = (
    "SELECT refold.append_events(%s::uuid, 'conversation', 'any', '{user.utterance.v1}', ARRAY[%s::text::jsonb])"
)


def say(text: str, at: datetime | None = None, **metadata: object) -> NewEvent:
    return NewEvent("user.utterance.v1", {"text": text}, metadata, at)


def count(store: Store) -> int:
    return store.conn.execute("SELECT count(*) FROM refold.events").fetchone()[0]


@pytest.mark.parametrize("at", ["infinity", "-infinity", "0001-01-01 00:00:00+00 BC", "10000-01-01 00:00:00+00"])
def test_times_that_readers_cannot_hold_are_refused(store: Store, at: str) -> None:
    """Infinity and years outside 1 to 9999 are refused by the function itself, for writers in any language."""
    with pytest.raises(psycopg.DatabaseError, match="outside the years") as caught:
        store.conn.execute(
            "SELECT refold.append_events(%s, 'conversation', 'any', '{user.utterance.v1}', ARRAY['{}'::jsonb], NULL, "
            "ARRAY[%s::timestamptz])",
            [uuid4(), at],
        )
    assert caught.value.sqlstate == "RF005"


@pytest.mark.parametrize(
    "at",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(minutes=1))),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(minutes=1))),
    ],
    ids=["before year 1", "after year 9999"],
)
def test_times_that_leave_the_calendar_in_utc_are_refused(store: Store, at: datetime) -> None:
    """A zone may carry a time over the edge of the calendar; that is a typed refusal."""
    with pytest.raises(InvalidEvent, match="outside the years 1 to 9999"):
        store.append(uuid4(), "conversation", [say("x", at)], "any")
    assert count(store) == 0


def test_zones_with_seconds_are_exact(store: Store) -> None:
    """An offset that is no whole minute is the same instant."""
    at = DAY.astimezone(timezone(timedelta(hours=-5, seconds=-50, microseconds=-36)))
    store.append(uuid4(), "conversation", [say("x", at)], "any")
    assert store.read_all()[0].created_at == DAY


def test_the_first_and_the_last_representable_times_are_stored(store: Store) -> None:
    """Year 1 and year 9999 are stored exactly."""
    times = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)]
    stream = uuid4()
    store.append(stream, "conversation", [say("x", at) for at in times], "no_stream")
    assert [e.created_at for e in store.read_stream(stream)] == times


HOSTILE = {
    "nul": ({"text": "a\x00b"}, "/text"),
    "surrogate": ({"text": "x", "more": ["\ud83d"]}, "/more/0"),
    "nul in key": ({"text": "x", "k\x00": 1}, "/k\x00"),
    "nan": ({"text": "x", "a": {"b/c": float("nan")}}, "/a/b~1c"),
    "infinity": ({"text": "x", "n": 1e400}, "/n"),
    "huge integer": ({"text": "x", "n": 10**5000}, "/n"),
    "no json": ({"text": "x", "n": {1, 2}}, "/n"),
    "bytes": ({"text": "x", "n": b"raw"}, "/n"),
    "number as key": ({"text": "x", "n": [{1: 2}], "m": b""}, "/n/0"),
}


@pytest.mark.parametrize("validate", [True, False])
def test_what_jsonb_cannot_hold_is_refused_by_place(store: Store, validate: bool) -> None:
    """A value that jsonb cannot hold is a typed error with its JSON Pointer, and nothing of the batch is stored."""
    for payload, path in HOSTILE.values():
        events = [say("good"), NewEvent("user.utterance.v1", payload)]
        with pytest.raises(InvalidPayload) as caught:
            store.append(uuid4(), "conversation", events, "any", validate=validate)
        if not validate:  # the schema validator may meet it first, and then names the document
            assert caught.value.path == path
        assert count(store) == 0
    store.append(uuid4(), "conversation", [say("and the store goes on")], "any")


def test_the_database_refuses_what_python_did_not_send(store: Store) -> None:
    """Raw SQL writers meet PostgreSQL's own refusal; nothing is stored."""
    documents = [
        '{"t": "\\u0000"}',
        '{"t": "\\ud800"}',
        '{"t": NaN}',
        '{"n": 1e400000}',
        '{"n": 1' + "0" * 131_073 + "}",
        '{"n": [1e5000]}',
        '{"n": {"m": -1' + "2" * 4300 + "}}",
        '{"n": ' + "[" * 10_000 + "]" * 10_000 + "}",
        '{"n": ' * 251 + "0" + "}" * 251,
    ]
    for document in documents:
        with pytest.raises(InvalidPayload), typed_errors():
            store.conn.execute(RAW_APPEND, [uuid4(), document])
    assert count(store) == 0


def test_the_largest_numbers_and_depths_are_stored_and_read(store: Store) -> None:
    """What is just inside the limits is stored exactly by raw writers, and followers can read it."""
    documents = ['{"n": 1e400}', '{"n": [-9' + "1" * 4299 + "]}", '{"n": ' * 250 + "0" + "}" * 250, '{"n": 1e-300}']
    for document in documents:
        store.conn.execute(RAW_APPEND, [uuid4(), document])
    payloads = [event.payload for event in store.read_all()]
    assert payloads[0] == {"n": 10**400}
    assert payloads[1:3] == [json.loads(document) for document in documents[1:3]]
    assert payloads[3] == {"n": 1e-300}


def test_odd_text_is_stored_exactly(store: Store) -> None:
    """Text that only looks dangerous comes back character by character."""
    texts = [
        "\\u0000",
        "'; DROP TABLE refold.events; --",
        '{}"\\,NULL',
        "\u2028\u202f\x7f\x01",
        "🙂" * 3,
        "",
        "%s %(x)s",
    ]
    stream = uuid4()
    events = [NewEvent("user.utterance.v1", {"text": text, text: [text]}, {"note": text, text: text}) for text in texts]
    store.append(stream, "conversation'; --", events, "no_stream")
    stored = list(store.read_stream(stream))
    assert [(e.payload, e.metadata, e.aggregate_type) for e in stored] == [
        (e.payload, e.metadata, "conversation'; --") for e in events
    ]
    for text in texts:
        for validate in (True, False):
            with pytest.raises(UnknownEventType):
                store.append(stream, "conversation'; --", [NewEvent(text, {})], len(texts), validate=validate)
    assert count(store) == len(texts)


def nested(levels: int) -> dict[str, object]:
    """A document whose deepest value lies `levels` below its root."""
    payload: dict[str, object] = {"text": "x"}
    for _ in range(levels - 1):
        payload = {"text": "x", "in": payload}
    return payload


@pytest.mark.parametrize("levels", [250, 251, 900, 10_000, 100_000])
def test_nesting_is_stored_or_refused_by_type(store: Store, levels: int) -> None:
    """250 levels are stored exactly, more are an InvalidPayload whatever else is wrong, never a crash."""
    stream, payload = uuid4(), nested(levels)
    if levels == 250:
        store.append(stream, "conversation", [NewEvent("user.utterance.v1", payload)], "any")
        assert next(store.read_stream(stream)).payload == payload
        return
    for extra in ({}, {"n": float("nan")}, {"n": "\x00"}):
        event = NewEvent("user.utterance.v1", {**payload, **extra})
        with pytest.raises(InvalidPayload, match="nested too deeply"):
            store.append(stream, "conversation", [event], "any", validate=False)
        with pytest.raises(InvalidPayload):
            store.append(stream, "conversation", [event], "any")
    assert count(store) == 0


def test_a_document_that_holds_itself_is_refused(store: Store) -> None:
    """A circle has no end and is refused as too deep, also one that branches."""
    circle: dict[str, object] = {"text": "x"}
    circle["a"] = circle["b"] = circle
    with pytest.raises(InvalidPayload, match="nested too deeply"):
        store.append(uuid4(), "conversation", [NewEvent("user.utterance.v1", circle)], "any", validate=False)


def test_a_million_keys_are_stored_exactly(store: Store) -> None:
    """One payload with a million keys comes back equal."""
    payload = {"text": "x", **dict.fromkeys(map("{:x}".format, range(1_000_000)))}
    store.append(uuid4(), "conversation", [NewEvent("user.utterance.v1", payload)], "any", validate=False)
    assert store.read_all()[0].payload == payload


def test_a_large_result_is_stored_and_a_larger_one_refused(store: Store) -> None:
    """4 MB of text come back exactly; 100 MB are a typed error on both sides of the wire, and nothing is stored."""
    stream = uuid4()
    text = random.Random(1).randbytes(2_000_000).hex()
    store.append(stream, "conversation", [say(text)], "no_stream")
    assert next(store.read_stream(stream)).payload["text"] == text
    with pytest.raises(PayloadTooLarge, match="100,000,"):
        store.append(stream, "conversation", [say("small"), say("x" * 100_000_000)], 1)
    with pytest.raises(PayloadTooLarge), typed_errors():
        store.conn.execute(
            "SELECT refold.append_events(%s, 'c', 'any', '{user.utterance.v1}', "
            "ARRAY[jsonb_build_object('text', repeat('x', 100000000))])",
            [uuid4()],
        )
    assert count(store) == 1


@pytest.mark.parametrize(
    "stream",
    ["7b0c0c1e-8b4e-4f0e-9d51", "'; DROP TABLE refold.events; --", "", "\x00", None, 7, b"\x00" * 16],
    ids=repr,
)
def test_what_is_no_uuid_is_refused(store: Store, stream: object) -> None:
    """A stream's id is a UUID object; PostgreSQL's own refusal is typed too."""
    with pytest.raises(InvalidEvent, match="give a UUID"):
        store.append(stream, "conversation", [say("x")], "any")  # type: ignore[arg-type] # that is the test
    with pytest.raises(psycopg.Error):
        store.conn.execute(RAW_APPEND, [str(stream), "{}"])
    assert count(store) == 0


@pytest.mark.parametrize("name", ["a\x00b", "\ud83d", 7, None], ids=ascii)
def test_names_that_are_no_text_are_refused(store: Store, name: object) -> None:
    """Types of streams and events must be text that PostgreSQL holds."""
    with pytest.raises(InvalidEvent, match="aggregate_type"):
        store.append(uuid4(), name, [say("x")], "any")  # type: ignore[arg-type] # that is the test
    with pytest.raises(InvalidEvent, match="event_type of event 1"):
        store.append(uuid4(), "c", [NewEvent(name, {})], "any", validate=False)  # type: ignore[arg-type] # likewise
    assert count(store) == 0
