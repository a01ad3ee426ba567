"""What chat logs say in other fields and parts than the usual ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.canonical.content import is_input, text_of
from pipelines.ingest.convert import Place, convert
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.restore import restore
from pipelines.log.context import Context
from pipelines.store.events import NewEvent

AT = datetime(2026, 5, 4, tzinfo=UTC)
PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def read(*messages: dict[str, Any], **fields: Any) -> list[NewEvent]:
    """The events of a conversation after its first, which must be its line again when restored."""
    line = {"source": "s", "conversation_id": "c", **fields, "messages": list(messages)}
    events = convert(line, place=Place("f", 1), at=AT).events
    assert restore(events) == line
    return events[1:]


def told(*messages: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(event.event_type.removesuffix(".v1"), dict(event.payload)) for event in read(*messages)]


def call(name: str, arguments: Any, call_id: str | None = None) -> tuple[str, dict[str, Any]]:
    return "tool.call", {"call_id": call_id, "name": name, "arguments": arguments}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ([{"type": "reasoning", "text": "I can't."}, {"type": "text", "text": "Yes."}], "Yes."),
        ([{"type": "thinking", "content": "no", "thinking": "no"}, {"type": "output_text", "text": "Yes."}], "Yes."),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "text", "content": "Yes."}], "Yes."),
        ([{"type": "refusal", "refusal": "No."}], "No."),
        ([{"type": "summary_text", "text": "private"}, {"type": "novel", "text": "who knows"}], ""),
        (["Ye", {"text": "s."}, {"type": "input_text", "text": "!"}], "Yes.!"),
        ([PICTURE, {"type": "input_audio", "text": 5}, {"type": ["text"], "text": "x"}, 7, None], ""),
        (None, ""),
        ({"type": "text", "text": "x"}, ""),
    ],
)
def test_text_is_what_was_said(content: Any, text: str) -> None:
    """Reasoning, and parts of types that nobody knows, are no words of the speaker."""
    assert text_of(content) == text


@pytest.mark.parametrize(
    ("content", "opens"),
    [
        ("x", True),
        ("", False),
        ([], False),
        (None, False),
        ([PICTURE], True),
        ([{"type": "input_audio"}], True),
        ([{"type": "file", "file": {}}, {"type": "text", "text": ""}], True),
        ([{"type": "text", "text": ""}], False),
        ([{"type": "text", "text": "x"}], True),
        ([""], False),
        ([{}], False),
    ],
)
def test_whatever_a_person_sends_opens_a_turn(content: Any, opens: bool) -> None:
    """A picture or a sound without a word is a turn; an empty message is none."""
    (event,) = read({"role": "user", "content": content})
    context = Context()
    context.apply(event.event_type, event.payload, event.metadata)
    assert (context.turn == 1) == is_input(event.payload["text"], event.payload.get("content")) == opens


def test_a_call_in_function_call_is_a_call() -> None:
    """The field before tool_calls, and the role of its results; what both fields say is said once."""
    function = {"name": "weather", "arguments": '{"town": "Turku"}'}
    answer = {"role": "function", "name": "weather", "content": "11"}
    assert told({"role": "assistant", "content": None, "function_call": function}, answer) == [
        call("weather", '{"town": "Turku"}'),
        ("tool.result", {"call_id": None, "output": "11", "error": None, "name": "weather"}),
    ]
    listed = [{"id": "1", "type": "function", "function": function}]
    both = {"role": "assistant", "content": "", "function_call": function, "tool_calls": listed}
    assert told(both)[1:] == [call("weather", '{"town": "Turku"}', "1")]
    other = {**both, "function_call": {"name": "news"}}
    assert told(other)[1:] == [call("weather", '{"town": "Turku"}', "1"), call("news", {})]


def test_custom_tools_are_called_with_a_text() -> None:
    """The input of a custom tool is its argument."""
    custom = {"id": "c1", "type": "custom", "custom": {"name": "run", "input": "print(1)"}}
    assert told({"role": "assistant", "content": None, "tool_calls": [custom]}) == [call("run", "print(1)", "c1")]


def test_parts_that_are_calls_and_results() -> None:
    """Parts `tool_use` and `tool_result` are calls and results; what is beside them was said."""
    asks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "One moment."},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"q": 1}, "cache_control": {}},
        {"type": "tool_use", "id": "t2", "name": "look"},
    ]
    results = [
        {"type": "tool_result", "tool_use_id": "t1", "content": "a"},
        {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "b"}], "is_error": True},
        {"type": "text", "text": "And?"},
    ]
    events = read({"role": "assistant", "content": asks}, {"role": "user", "content": results})
    assert [(event.event_type, event.metadata["actor"]) for event in events] == [
        ("agent.utterance.v1", "agent"),
        ("tool.call.v1", "agent"),
        ("tool.call.v1", "agent"),
        ("tool.result.v1", "service"),
        ("tool.result.v1", "service"),
        ("user.utterance.v1", "user"),
    ]
    assert [event.payload["text"] for event in (events[0], events[-1])] == ["One moment.", "And?"]
    context = Context()
    for event in events:
        context.apply(event.event_type, event.payload, event.metadata)
    assert [message["role"] for message in context.messages] == ["assistant", "tool", "tool", "user"]
    assert told({"role": "user", "content": results[:1]}) == [
        ("tool.result", {"call_id": "t1", "output": "a", "error": None})
    ]


def test_a_refusal_is_what_the_agent_said() -> None:
    """In its field or as a part, a refusal is the text, and the event says what it is; so are the words of a voice."""
    said = "Not here, not by me."
    assert told({"role": "assistant", "content": None, "refusal": said}) == [
        ("agent.utterance", {"text": said, "is_refusal": True})
    ]
    (part,) = told({"role": "assistant", "content": [{"type": "refusal", "refusal": said}]})
    assert (part[1]["text"], part[1]["is_refusal"]) == (said, True)
    assert told({"role": "assistant", "content": "Yes.", "refusal": None}) == [("agent.utterance", {"text": "Yes."})]
    audio = {"id": "a", "data": "x", "transcript": "Hello."}
    assert told({"role": "assistant", "content": None, "audio": audio}) == [("agent.utterance", {"text": "Hello."})]


def test_speakers_keep_their_names() -> None:
    """A name is in the log and in the context that an agent is given; null is none."""
    events = read(
        {"role": "user", "name": "Omar", "content": "Hills."},
        {"role": "user", "name": None, "content": [PICTURE]},
        {"role": "assistant", "name": "planner", "content": "Noted."},
    )
    context = Context()
    for event in events:
        context.apply(event.event_type, event.payload, event.metadata)
    assert [message.get("name", "-") for message in context.messages] == ["Omar", "-", "planner"]


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "user", "content": "x", "tool_call_id": "a"}, ".tool_call_id"),
        ({"role": "user", "content": "x", "function_call": {"name": "f"}}, ".function_call"),
        ({"role": "assistant", "content": [{"functionCall": {"name": "f"}}]}, ".content[0]"),
        ({"role": "assistant", "content": ["x", {"type": "toolUse"}]}, ".content[1]"),
        ({"role": "assistant", "content": [{"type": "tool-call", "toolName": "f"}]}, ".content[0]"),
        ({"role": "assistant", "content": [{"type": "server_tool_use", "name": "f"}]}, ".content[0]"),
        ({"role": "assistant", "content": [{"type": "web_search_tool_result"}]}, ".content[0]"),
        ({"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "x"}]}, ".content[0]"),
        ({"role": "user", "content": [{"type": "tool_use", "name": "f"}]}, ".content[0]"),
        (
            {"role": "assistant", "content": "", "additional_kwargs": {"tool_calls": [{}]}},
            ".additional_kwargs.tool_calls",
        ),
        ({"role": "assistant", "content": "", "toolInvocations": [{}]}, ".toolInvocations"),
        ({"role": "assistant", "parts": [{"text": "x"}]}, ".parts"),
        ({"role": "tool", "content": "x", "tool_calls": [{}]}, ".tool_calls"),
        ({"role": "assistant", "content": [{"type": "tool_use"}]}, ".content[0].name"),
        ({"role": "assistant", "function_call": "f"}, ".function_call"),
        ({"role": "assistant", "tool_calls": [{"name": "f", "args": {}}]}, ".tool_calls[0].function"),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, ".role"),
    ],
)
def test_a_call_in_a_form_that_is_not_read_is_refused(message: dict[str, Any], place: str) -> None:
    """A tool call or result that nobody here reads is named by its place, and never taken and lost."""
    with pytest.raises(BadLineError) as caught:
        read(message)
    assert caught.value.json_path == "$.messages[0]" + place


@pytest.mark.parametrize(
    "fields", [{"tools": [TOOL]}, {"functions": [TOOL["function"]]}, {"tools": [TOOL], "functions": [{"name": "x"}]}]
)
def test_tools_on_the_line_are_registered(fields: dict[str, Any]) -> None:
    """Every decision names the list that its agent was offered, and the list is registered under that name."""
    line = {"source": "s", "conversation_id": "c", **fields, "messages": [{"role": "assistant", "content": "x"}] * 2}
    conversation = convert(line, place=Place("f", 1), at=AT)
    assert restore(conversation.events) == line
    ((_, registered),) = conversation.tools
    assert registered.payload["tools"] == [TOOL]
    named = [e.payload["tools_sha256"] for e in conversation.events if e.event_type == "model.decision.v2"]
    assert named == [registered.payload["sha256"]] * 2


def test_tools_of_a_message_go_before_those_of_the_line() -> None:
    """A decision that was offered other tools names those; names alone are no tools."""
    other = {"name": "other", "input_schema": {}}
    messages = [{"role": "assistant", "content": "x", "tools": [other]}, {"role": "assistant", "content": "y"}]
    line = {"source": "s", "conversation_id": "c", "tools": [TOOL], "messages": messages}
    conversation = convert(line, place=Place("f", 1), at=AT)
    assert restore(conversation.events) == line
    assert {event.payload["sha256"] for _, event in conversation.tools} == {
        event.payload["tools_sha256"] for event in conversation.events if event.event_type == "model.decision.v2"
    }
    assert len(conversation.tools) == 2
    assert convert({**line, "tools": ["look"], "messages": []}, place=Place("f", 1), at=AT).tools == ()
