"""A recorded conversation becomes events with exact payloads, envelopes and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ingest.canonical import digest
from pipelines.ingest.convert import Conversation, Place, convert
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.growth import links_of
from pipelines.store.events import NewEvent, stream_id
from pipelines.store.registry import Registry
from tests.support import chat_strategies

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACE = Place("f.jsonl", 7)


def converted(line: dict[str, Any]) -> Conversation:
    return convert({"source": "s", "conversation_id": "c", **line}, place=PLACE, at=AT)


def one_message(message: dict[str, Any]) -> list[NewEvent]:
    """The events of a conversation's only message that is not a leading system message."""
    return converted({"messages": [message]}).events[1:]


def types(events: list[NewEvent]) -> list[str]:
    return [event.event_type for event in events]


def call(name: str = "f", **fields: Any) -> dict[str, Any]:
    return {"id": "1", "function": {"name": name, "arguments": {}}, **fields}


def test_the_first_event_tells_who_and_where_from() -> None:
    """The leading system messages and the labels are in the first event's payload, the line's origin in its envelope."""
    line = {
        "variant": "v2", "task_id": "t", "agent": "a", "file": "x.json", "started_at": "2025-01-02T03:04:05",
        "messages": [{"role": "system", "content": "be kind"}, {"role": "developer", "content": [{"text": "briefly"}]}],
    }  # fmt: skip
    conversation = converted(line)
    (event,) = conversation.events
    assert event.payload == {
        "agent": "a", "variant": "v2", "task": "t", "channel": None, "vertical": None,
        "messages": [{"role": "system", "content": "be kind"}, {"role": "system", "content": [{"text": "briefly"}]}],
    }  # fmt: skip
    assert event.metadata == {
        "actor": "system", "source": "s", "source_id": "c", "source_ordinal": 7, "time_source": "conversation",
        "source_record": {"file": "x.json", "started_at": "2025-01-02T03:04:05"},
        "source_sha256": digest({"source": "s", "conversation_id": "c", **line}), "source_place": "f.jsonl:7",
        "source_messages": [{}, {"fields": {"role": "developer"}}],
        "record_sha256": links_of(line)[-1],
    }  # fmt: skip
    assert event.created_at == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert conversation.stream_id == stream_id("s", "c")


def test_text_and_parallel_calls_share_one_message() -> None:
    """One agent message with text and calls is several events with one message id, in order, in one moment."""
    message = {
        "role": "assistant",
        "content": "looking",
        "tool_calls": [call("f"), call("g", id=""), call("h", id=None)],
    }
    events = one_message(message)
    assert types(events) == ["agent.utterance.v1", *["tool.call.v1"] * 3]
    assert [event.payload.get("call_id") for event in events[1:]] == ["1", "", None]
    assert {event.metadata["message_id"] for event in events} == {"m0"}
    assert {event.metadata["actor"] for event in events} == {"agent"}
    assert len({event.created_at for event in events}) == 1


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "assistant", "content": None}, [("agent.utterance.v1", {"text": None})]),
        ({"role": "assistant", "content": ""}, [("agent.utterance.v1", {"text": ""})]),
        ({"role": "assistant"}, [("agent.utterance.v1", {"text": None})]),
        ({"role": "assistant", "content": None, "tool_calls": []}, [("agent.utterance.v1", {"text": None})]),
        ({"role": "user", "content": None}, [("user.utterance.v1", {"text": "", "content": None})]),
        (
            {"role": "user", "content": [{"type": "text", "content": "a"}, {"text": "b"}, {"type": "image"}]},
            [("user.utterance.v1", {"text": "ab", "content": [{"type": "text", "content": "a"}, {"text": "b"}, {"type": "image"}]})],
        ),
        (
            {"role": "user", "content": None, "tool_calls": [{"id": "9", "function": {"name": "f", "arguments": '{"a":1,"a":2}'}}]},
            [("tool.call.v1", {"call_id": "9", "name": "f", "arguments": '{"a":1,"a":2}'})],
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]},
            [("tool.call.v1", {"call_id": None, "name": "f", "arguments": {}})],
        ),
        (
            {"role": "tool", "content": "", "tool_call_id": None, "name": "f", "error": "boom"},
            [("tool.result.v1", {"call_id": None, "output": "", "error": "boom", "name": "f"})],
        ),
        (
            {"role": "tool", "content": {"rows": [1]}, "tool_call_id": 5, "requestor": "user"},
            [("tool.result.v1", {"call_id": "5", "output": {"rows": [1]}, "error": None, "requestor": "user"})],
        ),
    ],
)  # fmt: skip
def test_messages_become_these_payloads(message: dict[str, Any], expected: list[tuple[str, dict[str, Any]]]) -> None:
    """Content null, empty, absent or in parts, ids and arguments as recorded: each has exactly one meaning."""
    assert [(event.event_type, event.payload) for event in one_message(message)] == expected


def test_a_later_system_message_is_context() -> None:
    """A system message after the conversation began was put before the agent there, not at the start."""
    events = converted({"messages": [{"role": "user", "content": "hi"}, {"role": "system", "content": "now"}]}).events
    assert types(events) == ["conversation.started.v1", "user.utterance.v1", "context.supplied.v1"]
    assert events[2].payload == {"kind": "system_message", "role": "system", "content": "now"}
    assert events[2].metadata["message_id"] == "m1"


def test_unknown_fields_are_kept_where_they_were() -> None:
    """Fields nobody knows stay verbatim on the event of their message, tool call or function; those of the line too."""
    message = {
        "role": "assistant", "content": None, "refusal": {"a": 1}, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}", "strict": True}}
        ],
    }  # fmt: skip
    events = converted({"messages": [message], "temperature": 0.5}).events
    assert events[0].metadata["source_record"] == {"temperature": 0.5}
    assert events[1].metadata["source_fields"] == {
        "message": {"refusal": {"a": 1}}, "tool_call": {"type": "function"}, "function": {"strict": True},
    }  # fmt: skip


def test_the_outcome_ends_the_conversation() -> None:
    """Any outcome but null is the last event; false and 0 are outcomes."""
    assert types(converted({"messages": [], "outcome": None}).events) == ["conversation.started.v1"]
    for outcome in (False, 0, {"reward": 1.0}):
        last = converted({"messages": [], "outcome": outcome}).events[-1]
        assert (last.event_type, last.payload) == ("conversation.ended.v1", {"outcome": outcome})


def moments(line: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """(created_at, time_source, occurred_at) of each event, times as `HH:MM` of the day."""
    found = []
    for event in converted(line).events:
        occurred = event.metadata.get("occurred_at")
        assert event.created_at is not None
        found.append((f"{event.created_at:%H:%M}", event.metadata["time_source"], occurred and occurred[11:16]))
    return found


def said(*times: str | None) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "x", **({"timestamp": f"2025-01-01T{t}"} if t else {})} for t in times]


def test_times_are_taken_from_the_nearest_that_knows() -> None:
    """A message's own time, else the conversation's, else the import's, and each event tells which."""
    start = {"started_at": "2025-01-01T09:00"}
    assert moments({"messages": said(None)}) == [("12:00", "import", None)] * 2
    assert moments({**start, "messages": said(None)}) == [("09:00", "conversation", None)] * 2
    assert moments({**start, "messages": said("09:30", "11:30+02:00")}) == [
        ("09:00", "conversation", None), ("09:30", "message", None), ("09:30", "message", None),
    ]  # fmt: skip
    # Without a start, the conversation begins with its first timed message, not with the import.
    assert moments({"messages": said(None, "09:30", None), "outcome": 1}) == [
        ("09:30", "message", None), ("09:30", "conversation", None), ("09:30", "message", None),
        ("09:30", "conversation", None), ("09:30", "conversation", None),
    ]  # fmt: skip


def test_time_never_runs_backwards() -> None:
    """An earlier time than the event before is raised to it, and the recorded one is kept in two forms."""
    events = converted({"messages": said("09:30", "09:10")}).events
    assert moments({"messages": said("09:30", "09:10")})[-1] == ("09:30", "message", "09:10")
    assert events[-1].metadata["occurred_at"] == "2025-01-01T09:10:00.000000Z"
    assert events[-1].metadata["source_time"] == "2025-01-01T09:10"


def test_unix_seconds_are_times() -> None:
    """A numeric timestamp is seconds since 1970, kept as recorded."""
    (event,) = one_message({"role": "user", "content": "x", "timestamp": 1735689600.5})
    assert event.created_at == datetime(2025, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert event.metadata["source_time"] == 1735689600.5


WRONG: list[tuple[Any, str, str]] = [
    ([], "$", "an object"),
    ({"conversation_id": "c", "messages": []}, "$.source", "--source"),
    ({"source": "", "conversation_id": "c", "messages": []}, "$.source", "not empty"),
    ({"source": "s", "messages": []}, "$.conversation_id", "needs an id"),
    ({"source": "s", "conversation_id": "", "messages": []}, "$.conversation_id", "needs an id"),
    ({"source": "s", "conversation_id": True, "messages": []}, "$.conversation_id", "true"),
    ({"source": "s", "conversation_id": "c"}, "$.messages", "an array"),
    ({"source": "s", "conversation_id": "c", "messages": [], "variant": 5}, "$.variant", "a number 5"),
    ({"source": "s", "conversation_id": "c", "messages": [], "started_at": "soon"}, "$.started_at", '"soon"'),
    ({"source": "s", "conversation_id": "c", "messages": [], "started_at": 1e15}, "$.started_at", "Unix seconds"),
    ("hi", "$.messages[0]", "an object"),
    ({"content": "x"}, "$.messages[0].role", "one of"),
    ({"role": "model"}, "$.messages[0].role", '"model"'),
    ({"role": ["user"]}, "$.messages[0].role", "an array"),
    ({"role": "user", "content": {"text": "x"}}, "$.messages[0].content", "an object"),
    ({"role": "system", "content": 5}, "$.messages[0].content", "a number 5"),
    ({"role": "user", "content": "x", "timestamp": "0000-01-01"}, "$.messages[0].timestamp", "not a time"),
    ({"role": "user", "content": "x", "timestamp": "0001-01-01T00:00:00+14:00"}, "$.messages[0].timestamp", "not a time"),
    ({"role": "user", "content": "x", "tool_calls": {}}, "$.messages[0].tool_calls", "an array"),
    ({"role": "assistant", "tool_calls": [None]}, "$.messages[0].tool_calls[0]", "an object"),
    ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "$.messages[0].tool_calls[0].function", "absent"),
    ({"role": "assistant", "tool_calls": [{"id": 1.5, "function": {"name": "f"}}]}, "$.messages[0].tool_calls[0].id", "1.5"),
    ({"role": "assistant", "tool_calls": [{"function": {"name": ""}}]}, "$.messages[0].tool_calls[0].function.name", "not empty"),
    ({"role": "tool", "content": "", "name": 5}, "$.messages[0].name", "a number 5"),
    ({"role": "tool", "content": "", "tool_call_id": []}, "$.messages[0].tool_call_id", "an array"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "path", "reason"), WRONG)
def test_wrong_shapes_are_named_by_their_place(value: Any, path: str, reason: str) -> None:
    """What is not a conversation is refused with its JSON path, the value seen and what it must be."""
    is_message = path.startswith("$.messages[")
    line = {"source": "s", "conversation_id": "c", "messages": [value]} if is_message else value
    with pytest.raises(BadLineError) as caught:
        convert(line, place=PLACE, at=AT)
    assert caught.value.json_path == path
    assert reason in caught.value.reason


@given(line=chat_strategies.lines, hours=st.integers(0, 10**5))
def test_every_accepted_line_makes_events_that_the_store_takes(line: dict[str, Any], hours: int) -> None:
    """Payloads fit the registered schemas, time never decreases, and the import's time changes nothing but times."""
    first = convert(line, place=PLACE, at=AT, default_source="d")
    for event in first.events:
        Registry.shipped().validate(event.event_type, event.payload)
    created = [event.created_at for event in first.events]
    assert None not in created
    assert created == sorted(created)  # type: ignore[type-var]  # no None in it, as just seen
    later = convert(line, place=PLACE, at=AT + timedelta(hours=hours), default_source="d")
    assert later.digest == first.digest
    assert [event.payload for event in later.events] == [event.payload for event in first.events]
