"""What goes out over Messages, judged by the SDK's own types and the rules of the wire, and what is made of what comes back."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from hypothesis import strategies as st

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.prices import Price
from pipelines.log.context import Context
from pipelines.replay.asking.fault import Again, Broken
from pipelines.replay.request import Head, Lines, Request
from pipelines.replay.wires.answer import counted
from pipelines.replay.wires.calls import wire_id
from pipelines.replay.wires.messages import BEGIN, GO_ON, Messages
from pipelines.replay.wires.notes import CannotExpressError
from pipelines.replay.wires.pairing import NO_RESULT, ORPHAN
from tests.support.sdk_types import faults_of

PRICE = Price(input_usd=1.0, cached_input_usd=0.1, output_usd=10.0)


def request_of(messages: list[dict[str, Any]], *tools: dict[str, Any], **params: Any) -> Request:
    lines = Lines(Head("m", {"max_tokens": 100, **params}, tools, "messages"))
    lines.add(*messages)
    return lines.request("u", "candidate", 0, ("s", 1), lambda: (1, {}))


def broken_rules(body: dict[str, Any]) -> list[str]:
    """What the provider would refuse of a body, beside its types."""
    faults = [] if isinstance(body.get("max_tokens"), int) else ["max_tokens: Field required"]
    turns = body["messages"]
    roles = [turn["role"] for turn in turns]
    if not roles or roles[0] != "user" or roles[-1] != "user" or any(a == b for a, b in pairwise(roles)):
        faults.append(f"roles are {roles}")
    texts = [*body.get("system", ()), *(block for turn in turns for block in turn["content"])]
    faults += ["an empty text block" for block in texts if block["type"] == "text" and not block["text"].strip()]
    asked: list[str] = []
    for turn in turns:
        kinds = [block["type"] for block in turn["content"]]
        if not kinds or kinds[-1] in ("thinking", "redacted_thinking"):
            faults.append("a turn that is empty or ends with a thought")
        results = [block["tool_use_id"] for block in turn["content"] if block["type"] == "tool_result"]
        if sorted(results) != sorted(asked):
            faults.append(f"{asked} were asked and {results} answered")
        if kinds[: len(results)] != ["tool_result"] * len(results):
            faults.append("results do not come first")
        asked = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]
        faults += [f"id {each}" for each in asked if not re.fullmatch("[A-Za-z0-9_-]+", each)]
    return faults


def body_of(messages: list[dict[str, Any]], *tools: dict[str, Any], **params: Any) -> dict[str, Any]:
    """The body of a request; the SDK's types know every part of it, and the provider's rules hold."""
    body: dict[str, Any] = json.loads(request_of(messages, *tools, **params).body())
    assert faults_of(body, MessageCreateParamsNonStreaming) == []
    assert broken_rules(body) == []
    return body


def notes_of(*messages: dict[str, Any], tools: tuple[dict[str, Any], ...] = ()) -> list[str]:
    return [note.code for note in request_of(list(messages), *tools).notes()]


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(content: Any = "Hi", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def agent(text: Any = None, *calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {}), **more}


def call(number: int, place: int = 0, arguments: str = "{}", name: str = "f") -> dict[str, Any]:
    return {"id": f"call_{number}_{place}", "type": "function", "function": {"name": name, "arguments": arguments}}


def result(number: int, place: int = 0, content: Any = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"call_{number}_{place}", "content": content}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def uses(number: int, place: int = 0, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": wire_id(f"call_{number}_{place}"), "name": "f", "input": arguments}


def answered(number: int, place: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": wire_id(f"call_{number}_{place}"), **more}


def test_a_request_is_turns_that_alternate():
    """System texts beside them, each a block of its own; a call's input is a value, its result the user's next block."""
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    body = body_of(
        [system("Serve."), system("Be kind."), user(), agent("Wait.", call(3, 0, '{"a":1}')), result(3), user("And?")],
        tool,
        temperature=0,
    )
    assert body == {
        "model": "m",
        "max_tokens": 100,
        "temperature": 0,
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
        "system": [text("Serve."), text("Be kind.")],
        "messages": [
            {"role": "user", "content": [text("Hi")]},
            {"role": "assistant", "content": [text("Wait."), uses(3, a=1)]},
            {"role": "user", "content": [answered(3, content="done"), text("And?")]},
        ],
    }


@pytest.mark.parametrize(
    ("messages", "turns", "notes"),
    [
        ([agent("Hello."), user()], [[text(BEGIN)], [text("Hello.")], [text("Hi")]], ["user_added"]),
        ([user(), agent("A"), agent("B")], [[text("Hi")], [text("A"), text("B")], [text(GO_ON)]], ["user_added"]),
        ([user(), user("More")], [[text("Hi"), text("More")]], []),
        ([user(""), user(), agent(None), user(" ")], [[text("Hi")]], ["empty_left_out"]),
        (
            [user(), system("Now in German."), user("Go")],
            [[text("Hi"), text("Now in German."), text("Go")]],
            ["system_as_user"],
        ),
        ([user(name="Ines")], [[text("Hi")]], ["speaker_left_out"]),
        (
            [user(), agent(None, call(1)), user("And?")],
            [[text("Hi")], [uses(1)], [answered(1, content=NO_RESULT, is_error=True), text("And?")]],
            ["result_added"],
        ),
        (
            [user(), agent(None, call(1)), user("And?"), agent("Wait."), result(1), user("So?")],
            [[text("Hi")], [uses(1)], [answered(1, content="done"), text("And?")], [text("Wait.")], [text("So?")]],
            ["result_moved"],
        ),
        (
            [user(), agent(None, call(1), call(1, 1)), result(1, 1, "b"), result(1, 0, "")],
            [[text("Hi")], [uses(1), uses(1, 1)], [answered(1, 1, content="b"), answered(1)]],
            [],
        ),
        (
            [user(), {"role": "tool", "tool_call_id": "call_none_1", "content": "late"}],
            [[text("Hi"), text(ORPHAN), text("late")]],
            ["result_as_text"],
        ),
        (
            [user(), agent(None, call(1, 0, "free text")), result(1)],
            [[text("Hi")], [uses(1, input="free text")], [answered(1, content="done")]],
            ["arguments_wrapped"],
        ),
        (
            [user(), agent(None, call(1, 0, "")), result(1)],
            [[text("Hi")], [uses(1)], [answered(1, content="done")]],
            [],
        ),
    ],
)
def test_what_was_recorded_oddly_goes_out_in_a_form_that_is_taken(messages, turns, notes):
    """An agent that speaks first or again, empty texts, system messages in the middle, late results, none, and too many."""
    assert [turn["content"] for turn in body_of(messages)["messages"]] == turns
    assert notes_of(*messages) == notes


PICTURES = [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
    {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
]


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_is_a_picture_in_whatever_dialect_it_was_recorded(picture):
    """In a person's message and in what a tool answered."""
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    sent = body_of([user([text("See"), picture]), agent(None, call(1)), result(1, 0, [picture])])["messages"]
    assert sent[0]["content"] == [text("See"), {"type": "image", "source": source}]
    assert sent[2]["content"][0]["content"] == [{"type": "image", "source": source}]


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "input_audio", "input_audio": {"data": "x"}}],
        [{"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}}],
        [{"type": "file", "file": {"file_data": "data:text/csv;base64,aGk=", "filename": "a.csv"}}],
        [{"type": "<script>"}],
    ],
)
def test_what_has_no_form_is_said_and_not_sent(content):
    """Sound, pictures and papers of other kinds, whatever nobody knows; the words hold nothing of it."""
    request = request_of([user(content)])
    with pytest.raises(CannotExpressError, match=r"^content_part: ") as error:
        request.body()
    assert "script" not in str(error.value)
    assert [(note.code, note.is_fatal) for note in request.notes()] == [("content_part", True)]


def test_without_a_bound_nothing_is_sent():
    """The wire demands one, and none is made up."""
    lines = Lines(Head("m", {}, (), "messages"))
    lines.add(user())
    with pytest.raises(CannotExpressError, match="max_tokens"):
        lines.request("u", "candidate", 0, ("s", 1), lambda: (1, {})).body()


def test_tools_go_out_by_their_input():
    """Free text is one argument, a schema is an object's, the provider's own stay as they are."""
    free = {"type": "custom", "custom": {"name": "run"}}
    bare = {"type": "function", "function": {"name": "g"}, "defer_loading": True}
    own = {"type": "web_search_20250305", "name": "web_search"}
    body = body_of([user(), agent(None, call(1, 0, '{"a": 1}', "run")), result(1)], free, bare, own)
    assert body["tools"][0]["input_schema"]["required"] == ["input"]
    assert body["tools"][1] == {
        "name": "g",
        "input_schema": {"type": "object", "properties": {}},
        "defer_loading": True,
    }
    assert body["tools"][2] == own
    assert body["messages"][1]["content"][0]["input"] == {"input": '{"a": 1}'}


events = st.lists(
    st.one_of(
        st.tuples(st.just("user"), st.sampled_from(["", " ", "x"])),
        st.tuples(st.just("call"), st.sampled_from(["a", "b", None])),
        st.tuples(st.just("result"), st.sampled_from(["a", "b", "z", None])),
        st.tuples(st.just("say"), st.sampled_from(["", "x", None])),
        st.tuples(st.just("think"), st.sampled_from(["signed", "plain"])),
    ),
    max_size=25,
)


@given(events)
def test_whatever_was_recorded_the_rules_of_the_wire_hold(listed):
    """Ids that repeat or are null, results of nothing, calls of nothing, empty texts, in any order."""
    context = Context()
    for place, (kind, value) in enumerate(listed):
        meta = {"message_id": f"m{place // 3}", "actor": "agent"}
        if kind == "user":
            context.apply("user.utterance", {"text": value}, {"message_id": f"u{place}", "actor": "user"})
        elif kind == "call":
            context.apply("tool.call", {"call_id": value, "name": "f", "arguments": {}}, meta)
        elif kind == "result":
            context.apply("tool.result", {"call_id": value, "output": "x", "error": None}, {"actor": "service"})
        elif kind == "say":
            context.apply("agent.utterance", {"text": value}, meta)
        else:
            payload = {"text": "hm", **({"signature": "s"} if value == "signed" else {})}
            context.apply("agent.reasoning", payload, meta)
            context.give_back_reasoning(payload, None)
    body = body_of(context.messages)
    blocks = [block for turn in body["messages"] for block in turn["content"]]
    calls = sum(len(message.get("tool_calls", ())) for message in context.messages)
    assert sum(block["type"] == "tool_use" for block in blocks) == calls
    assert len({block["id"] for block in blocks if block["type"] == "tool_use"}) == calls
    assert body_of(context.messages) == body


def message(*content: dict[str, Any], stop: str = "end_turn", **more: Any) -> bytes:
    usage = {
        "input_tokens": 500_000,
        "cache_read_input_tokens": 400_000,
        "cache_creation_input_tokens": 100_000,
        "output_tokens": 100_000,
    }
    document = {"id": "msg", "type": "message", "role": "assistant", "model": "m-20260101", "content": list(content)}
    return json.dumps({**document, "stop_reason": stop, "stop_sequence": None, "usage": usage, **more}).encode()


def read(*content: dict[str, Any], **more: Any) -> Any:
    return Messages().read(200, message(*content, **more), price=PRICE, latency_ms=5.0)


def used(number: int = 1, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "f", "input": arguments}


def thought(number: int = 1) -> dict[str, Any]:
    return {"type": "thinking", "thinking": f"hm {number}", "signature": f"sig{number}"}


HIDDEN = {"type": "redacted_thinking", "data": "secret"}


def test_an_answer_is_one_message_with_what_it_counts():
    """What the cache gave and took is a part of the input, as on every wire; the price is by that."""
    answer = read(thought(), text("Wait."), used(a=1), stop="tool_use")
    assert isinstance(answer, Reply)
    assert (answer.text, answer.finish_reason, answer.model) == ("Wait.", "tool_calls", "m-20260101")
    assert answer.tool_calls == (ToolCall("f", {"a": 1}, "toolu_1"),)
    assert (answer.input_tokens, answer.cached_input_tokens, answer.output_tokens) == (1_000_000, 400_000, 100_000)
    assert answer.cost_usd == pytest.approx(0.6 + 0.04 + 1.0)


@pytest.mark.parametrize(
    "content",
    [
        [thought(), used(a=1)],
        [HIDDEN, thought(), text("Wait."), used()],
        [thought(1), used(1), thought(2), used(2, b=2)],
        [thought(1), text("First."), thought(2), text("Then."), used()],
        [{"type": "thinking", "thinking": "", "signature": "sig"}, text("Hi")],
    ],
)
def test_thoughts_go_back_verbatim_and_in_their_place(content):
    """Signed and hidden ones, before what they led to: a changed or missing one is refused."""
    answer = read(*content, stop="tool_use")
    assert isinstance(answer, Reply)
    calls = [call(1, n, json.dumps(each.arguments)) for n, each in enumerate(answer.tool_calls)]
    own = agent(answer.text, *calls, **(answer.extra or {}))
    turns = body_of([user(), own, *[result(1, n) for n in range(len(calls))]])["messages"]
    back = turns[1]["content"]
    if [block["type"] for block in content].count("text") > 1:  # two texts of a message are one
        assert [block for block in back if block["type"] == "thinking"] == [thought(1), thought(2)]
        return
    assert [{**block, "id": ""} if "id" in block else block for block in back] == [
        {**block, "id": ""} if "id" in block else block for block in content
    ]


def test_thoughts_of_another_vendor_are_left_out():
    """Encrypted for somebody else, in plain words, or with nothing after them."""
    assert notes_of(user(), agent("Hi", reasoning=[{"encrypted": "e", "summary": []}]), user()) == [
        "reasoning_left_out"
    ]
    assert notes_of(user(), agent("Hi", reasoning_content="hm"), user()) == ["reasoning_left_out"]
    assert notes_of(user(), agent(None, reasoning=[{"text": "hm", "signature": "s"}]), user()) == [
        "empty_left_out",
        "reasoning_left_out",
    ]
    blocks = [thought(), text("Hi")]
    turns = body_of([user(), agent(blocks), user()])["messages"]
    assert turns[1]["content"] == blocks


@pytest.mark.parametrize(
    ("stop", "reason", "is_refusal"),
    [
        ("end_turn", "stop", False),
        ("stop_sequence", "stop", False),
        ("max_tokens", "length", False),
        ("model_context_window_exceeded", "length", False),
        ("pause_turn", "pause_turn", False),
        ("refusal", "content_filter", True),
    ],
)
def test_why_it_ended_is_said_in_one_vocabulary(stop, reason, is_refusal):
    """By the names of chat completions; a refusal is an answer that is marked as one."""
    answer = read(text("Parcel"), stop=stop)
    assert isinstance(answer, Reply)
    assert (answer.text, answer.finish_reason, answer.is_refusal) == ("Parcel", reason, is_refusal)


def test_a_refusal_without_a_word_has_the_reason_that_is_told():
    """And a message that was cut before its first word is an answer, too."""
    refused = read(stop="refusal", stop_details={"type": "refusal", "explanation": "I cannot."})
    assert (refused.text, refused.is_refusal) == ("I cannot.", True)
    cut = read(thought(), stop="max_tokens")
    assert (cut.text, cut.finish_reason) == (None, "length")


@pytest.mark.parametrize(
    ("status", "kind", "meaning"),
    [
        (529, "overloaded_error", Again),
        (429, "rate_limit_error", Again),
        (500, "api_error", Again),
        (401, "authentication_error", Broken),
        (404, "not_found_error", Broken),
    ],
)
def test_errors_mean_what_they_mean_everywhere(status, kind, meaning):
    """By the provider's own words for them."""
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "oh"}}).encode()
    assert isinstance(Messages().read(status, body), meaning)


@pytest.mark.parametrize("body", [b"{}", b'{"type": "message", "content": [], "stop_reason": null}', b"[]", b"<html>"])
def test_what_is_no_message_is_asked_again(body):
    """Half a stream, a page, nothing."""
    again = Messages().read(200, body)
    assert isinstance(again, Again)
    assert again.reason == "invalid_json"


def test_the_key_goes_into_the_header_of_its_kind():
    """A key into one, the token of an account into the other; the version is always named."""
    wire = Messages()
    assert wire.headers("sk-ant-api03-x") == {"anthropic-version": "2023-06-01", "x-api-key": "sk-ant-api03-x"}
    assert wire.headers("sk-ant-oat01-x")["Authorization"] == "Bearer sk-ant-oat01-x"
    assert list(wire.headers(None)) == ["anthropic-version"]


@pytest.mark.parametrize(
    "body",
    [
        message(text("Hi")),
        message(thought(), HIDDEN, text("Wait."), used(1, a=1.5), used(2), stop="tool_use"),
        message(stop="refusal", stop_details={"explanation": "I cannot."}),
        message({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, text("größer \ud800")),
    ],
)
def test_the_quick_reading_is_the_patient_one(body):
    """Nearly all messages are read by their usual shape alone; the one that takes whatever comes says the same of them."""
    patient = counted(*Messages().read_patiently(body), PRICE, None, 5.0)
    assert repr(Messages().read_answer(body, price=PRICE, latency_ms=5.0)) == repr(patient)
