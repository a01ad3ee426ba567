"""One conversation by three APIs is one log, whole or streamed, and the left fold finds each request as it was sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.recorder import chunks
from pipelines.recorder.opening import Known
from pipelines.recorder.talk import Talk
from pipelines.recorder.wire import read_response
from tests.support.agents import APIS, SYSTEM, Api, Loop, plain
from tests.support.kept import Kept, folded, new_talk
from tests.support.wires.form import Tokens
from tests.support.wires.wires import WIRES

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    str.strip
)
said = _text | st.sampled_from(
    ['[{"type": "text", "text": "x"}]', '{"role": "user"}', "[1]", "'a'", "<b>", "cache_control"]
)
_arguments = st.dictionaries(st.sampled_from(["key", "cache_control", "id"]), st.integers(0, 9) | said, max_size=2)
_USAGE = Tokens(100, made=20, cached=30)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """A message of the model, in the neutral form."""
    number = draw(st.integers(0, 2))
    calls = [
        {
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": "look_up", "arguments": json.dumps(draw(_arguments))},
        }
        for n in range(number)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": draw(said if not calls else st.none() | said)}
    if draw(st.booleans()):
        message["reasoning"] = draw(said)
    return message | ({"tool_calls": calls} if calls else {})


rounds = st.lists(st.tuples(said, answers()), min_size=1, max_size=4)


def document(api: Api, message: dict[str, Any], number: int) -> dict[str, Any]:
    """The model's answer as its provider writes it."""
    calls = [{**call, "id": f"call_{number}_{n}"} for n, call in enumerate(message.get("tool_calls") or ())]
    message = message | ({"tool_calls": calls} if calls else {})
    asked = {"model": "m", "messages": [number], "include": ["reasoning.encrypted_content"]}
    return {**WIRES[api].write(asked, message, _USAGE), "model": "m-2026"}


def pieces(api: Api, whole: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer as the events of a stream."""
    lines = b"".join(WIRES[api].stream({"stream_options": {"include_usage": True}}, whole)).decode().split("\n")
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    events = [json.loads(each) for each in data if each != "[DONE]"]
    if api == "chat" and whole["choices"][0]["message"].get("content") is None:
        del events[0]["choices"][0]["delta"]["content"]  # an empty text is another message than none
    return events


def converse(talk: Talk, api: Api, turns: Sequence[tuple[str, dict[str, Any]]], *, is_streamed: bool = False) -> Loop:
    """An agent that has this conversation, recorded by its model calls alone."""
    loop = Loop(api)
    for number, (text, message) in enumerate(turns):
        loop.user(text)
        whole = document(api, message, number)
        talk.decision(request=loop.request(), response=pieces(api, whole) if is_streamed else whole)
        loop.results({call: f"result {n}" for n, call in enumerate(loop.took(whole))})
    return loop


@given(turns=rounds, is_streamed=st.booleans())
def test_one_conversation_has_the_same_events_by_each_api(turns: list[Any], is_streamed: bool) -> None:
    """Any conversation: types and payloads are the same, each request verifies, nothing is told."""
    found = []
    for api in APIS:
        kept = Kept()
        converse(new_talk(kept), api, turns, is_streamed=is_streamed)
        assert [row["context_verified"] for row in folded(kept)] == [True] * len(turns)
        assert kept.told == []
        found.append(plain(kept.events))
    for payload in (payload for kind, payload in (*found[1], *found[2]) if "decision" in kind):
        payload["usage"] = {"reasoning_tokens": 0, **payload["usage"]}
        payload["usage"].pop("cache_write_tokens", None)
    assert found[0] == found[1] == found[2]
    usage = {"input_tokens": 100, "output_tokens": 20, "cached_input_tokens": 30}
    counted = [payload["usage"] for kind, payload in found[0] if kind == "model.decision.v3"]
    assert counted == [usage | {"reasoning_tokens": 0}] * len(turns)


def test_tokens_are_counted_on_one_basis() -> None:
    """Input with cached tokens and those that were written, output with reasoning, whatever a provider leaves out."""
    tokens = Tokens(100, made=20, cached=30, written=10, thought=5)
    counted = {
        api: read_response(WIRES[api].write({"model": "m", "messages": []}, {"content": "a"}, tokens), api).usage
        for api in APIS
    }
    whole = {"input_tokens": 100, "output_tokens": 20, "cached_input_tokens": 30}
    assert counted == dict.fromkeys(APIS, whole | {"reasoning_tokens": 5, "cache_write_tokens": 10})


@given(message=answers(), data=st.data(), api=st.sampled_from(APIS))
def test_a_stream_is_the_answer_that_would_have_come_whole(
    message: dict[str, Any], data: st.DataObject, api: Api
) -> None:
    """Events put together are the document; of those of a cut stream, what came is a beginning of it."""
    whole = document(api, message, 0)
    events = pieces(api, whole)
    assert read_response(events, api) == read_response(whole, api)
    came = events[: data.draw(st.integers(1, len(events)))]
    part, full = read_response(came, api), read_response(whole, api)
    assert part.unread is None
    texts = [str(each.messages[0].get("content") or "") if each.messages else "" for each in (part, full)]
    assert texts[1].startswith(texts[0])


@pytest.mark.parametrize("api", APIS)
def test_what_came_of_a_cut_stream_is_no_message(api: Api) -> None:
    """It is kept with the decision, marked as cut; an agent that goes on with it shows it in its next request."""
    kept = Kept()
    talk = new_talk(kept)
    loop = Loop(api)
    loop.user("hi")
    events = pieces(api, document(api, {"role": "assistant", "content": "A long answer to be cut"}, 0))

    def broken(**_request: Any) -> Any:
        yield from events[: len(events) // 2]
        raise ConnectionResetError

    stream = talk.ask(broken, **loop.request())
    with pytest.raises(ConnectionResetError):
        list(stream)
    error = kept.events[-1].payload["error"]
    assert (error["type"], error["truncated"]) == ("ConnectionResetError", True)
    [received] = error["received"]
    assert "A long answer".startswith(received["content"][:13])
    loop.took(document(api, {"role": "assistant", "content": received["content"]}, 1))
    loop.user("go on")
    talk.decision(request=loop.request(), response=document(api, {"role": "assistant", "content": "yes"}, 2))
    assert [(row["text"], row["context_verified"]) for row in folded(kept)] == [
        (received["content"], None),
        ("yes", True),
    ]
    assert kept.told == []


@pytest.mark.parametrize("way", ["closed", "left", "dropped"])
def test_a_stream_that_is_not_read_to_its_end_is_recorded(way: str) -> None:
    """When it is closed, when its block is left, or else before what comes next."""
    kept = Kept()
    talk = new_talk(kept)
    loop = Loop("chat")
    loop.user("hi")
    events = pieces("chat", document("chat", {"role": "assistant", "content": "A long answer"}, 0))

    class Stream:
        def __init__(self) -> None:
            self._events = iter(events)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_raised: object) -> None:
            self.close()

        def __next__(self) -> Any:
            return next(self._events)

        def close(self) -> None:
            self._events = iter([])

    stream = talk.ask(lambda **_request: Stream(), **loop.request())
    next(stream), next(stream)
    if way == "closed":
        stream.close()
    elif way == "left":
        with stream:
            pass
    del stream
    talk.user("never mind")
    kinds = [event.event_type for event in kept.events]
    assert kinds[-2:] == ["model.decision.v3", "user.utterance.v1"]
    assert kept.events[-2].payload["error"]["type"] == "cut"


def stored(kept: Kept, turns: int, *, resumes_at: int | None = None) -> None:
    """An agent that sends only what is new, and names the response that it goes on from."""
    talk = new_talk(kept)
    before = None
    for number in range(turns):
        if number == resumes_at:
            known = Known()
            for version, event in enumerate(kept.events, start=1):
                known.version, known.has_started = version, True
                known.follow(event.event_type, event.payload, event.metadata)
            talk = Talk(kept, talk._opening, known)
        whole = document("responses", {"role": "assistant", "content": f"answer {number}"}, number)
        request = {"model": "m", "instructions": SYSTEM, "input": f"question {number}", "previous_response_id": before}
        talk.decision(request=request, response=whole)
        before = whole["id"]


@pytest.mark.parametrize("resumes_at", [None, 1, 2])
def test_what_the_provider_keeps_is_known_by_what_was_recorded(resumes_at: int | None) -> None:
    """Requests that go on from a response are hashed whole, in one process or another."""
    kept = Kept()
    stored(kept, 3, resumes_at=resumes_at)
    rows = folded(kept)
    assert [(row["context_verified"], row["context_messages"], row["history"]) for row in rows] == [
        (True, 2, None),
        (True, 4, None),
        (True, 6, None),
    ]
    assert kept.told == []


@pytest.mark.parametrize(
    "state",
    [
        {"previous_response_id": "resp_of_another_talk"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "hi"}]},
        {"input": [{"type": "compaction", "encrypted_content": "x"}, {"role": "user", "content": "hi"}]},
    ],
)
def test_a_history_that_only_the_provider_knows_is_never_called_whole(state: dict[str, Any]) -> None:
    """What is new is recorded once, and the decision says that it is a part."""
    kept = Kept()
    talk = new_talk(kept)
    talk.user("hi")
    request = {"model": "m", "instructions": SYSTEM, "input": [{"role": "user", "content": "hi"}], **state}
    talk.decision(
        request=request, response=document("responses", {"role": "assistant", "content": "a"}, 0), api="responses"
    )
    talk.decision(
        request={**request, "input": "more"}, response=document("responses", {"role": "assistant", "content": "b"}, 1)
    )
    first, *_ = rows = folded(kept)
    assert (first["context_verified"], first["history"]) == (None, "delta")
    assert [row["context_verified"] for row in rows if row["history"] == "delta"] == [None] * sum(
        row["history"] == "delta" for row in rows
    )
    texts = [event.payload["text"] for event in kept.events if event.event_type == "user.utterance.v1"]
    assert texts == (["hi"] if "input" in state else ["hi", "more"])
    assert "state" in kept.told


def test_other_instructions_are_not_those_that_were_recorded() -> None:
    """They replace the first ones at the provider, so that the context is another; what is new is recorded all the same."""
    kept = Kept()
    talk = new_talk(kept)
    whole = document("responses", {"role": "assistant", "content": "a"}, 0)
    talk.decision(request={"model": "m", "instructions": "one", "input": "first"}, response=whole)
    request = {"model": "m", "instructions": "two", "input": "second", "previous_response_id": whole["id"]}
    talk.decision(request=request, response=document("responses", {"role": "assistant", "content": "b"}, 1))
    assert [row["context_verified"] for row in folded(kept)] == [True, False]
    assert [e.payload["text"] for e in kept.events if e.event_type == "user.utterance.v1"] == ["first", "second"]
    assert kept.told == ["difference"]


def test_marks_of_the_cache_move_and_change_nothing() -> None:
    """They are kept with the decision, in their places, and are no part of what the model saw; an argument of that name is one."""
    kept = Kept()
    talk = new_talk(kept)
    mark = {"type": "ephemeral"}
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"cache_control": "x"}}
    first = {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": mark}]}
    request = {"model": "m", "max_tokens": 9, "messages": [first]}
    talk.decision(request=request, response={"type": "message", "content": [use], "stop_reason": "tool_use"})
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "text", "text": "1"}],
        "cache_control": mark,
    }
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    talk.decision(
        request={**request, "messages": history},
        response={"type": "message", "content": "ok", "stop_reason": "end_turn"},
    )
    assert [row["context_verified"] for row in folded(kept)] == [True, True]
    marks = [
        event.metadata.get("request_marks") for event in kept.events if event.event_type.startswith("model.decision")
    ]
    assert marks == [{"/messages/0/content/0": mark}, {"/messages/2/content/0": mark}]
    [call] = [event.payload for event in kept.events if event.event_type == "tool.call.v1"]
    assert call["arguments"] == {"cache_control": "x"}


@pytest.mark.parametrize(
    "chunk",
    [
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"tool_calls": [{"index": 0, "id": i, "function": {"name": "f", "arguments": "{}"}}]},
                }
            ]
        }
        for i in "ab"
    ],
)
def test_calls_that_share_an_index_are_told_by_their_ids(chunk: dict[str, Any]) -> None:
    """Some endpoints number all calls of a stream alike, or repeat id and name with each piece."""
    other = json.loads(json.dumps(chunk).replace('"a"', '"c"').replace('"b"', '"d"'))
    made = chunks.assemble([chunk, other])
    assert made is not None
    calls = made["choices"][0]["message"]["tool_calls"]
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in calls] == [("f", "{}"), ("f", "{}")]


class Raw:
    """A response as it came over the wire; what `parse` gives may be an error."""

    retries_taken = 2

    def __init__(self, parsed: Any) -> None:
        self._parsed = parsed

    def parse(self) -> Any:
        if isinstance(self._parsed, Exception):
            raise self._parsed
        return self._parsed


class Unheard:
    """What a later SDK may give for a `with`: its stream keeps the events of the wire elsewhere."""

    def __enter__(self) -> str:
        return "stream"

    def __exit__(self, *_raised: object) -> None:
        pass


@pytest.mark.parametrize(
    ("response", "asked", "told"),
    [
        ({"object": "response", "id": "r", "status": "queued", "output": []}, {}, "background"),
        (Raw({}), {"stream": True}, "raw"),
        (Unheard(), {}, "stream"),
    ],
)
def test_what_is_not_recorded_is_told_and_handed_on(response: Any, asked: dict[str, Any], told: str) -> None:
    """An answer that is not there yet, or comes in a way that nobody can hear, is the agent's as it was."""
    kept = Kept()
    talk = new_talk(kept)
    given = talk.ask(lambda **_request: response, model="m", input="hi", **asked)
    if isinstance(response, Unheard):
        with given as stream:
            assert stream == "stream"
    else:
        assert given is response
    assert (kept.events, kept.told) == ([], [told])


def test_a_raw_response_that_cannot_be_read_is_a_failed_call() -> None:
    """Its error is the agent's to see when it reads it; the decision names it, and the attempts are those of one that can be."""
    kept = Kept()
    talk = new_talk(kept)
    whole = document("chat", {"role": "assistant", "content": "a"}, 0)
    for response in (Raw(ValueError()), Raw(whole)):
        assert talk.ask(lambda **_request: response, model="m", messages=[]) is response  # noqa: B023
    failed, read = [event.payload for event in kept.events if event.event_type == "model.decision.v3"]
    assert (failed["error"], read["retries"]) == ("ValueError", 2)


_names = st.sampled_from(
    ["role", "content", "type", "text", "id", "call_id", "name", "arguments", "input", "output", "tool_calls", "function", "summary",
     "delta", "index", "choices", "response", "item", "message", "content_block", "output_index", "usage", "status", "error"]
)  # fmt: skip
_kinds = st.sampled_from(
    ["message", "function_call", "function_call_output", "reasoning", "tool_use", "tool_result", "text", "thinking", "user", "assistant",
     "response.completed", "response.output_text.delta", "response.output_item.done", "message_start", "content_block_delta", "system"]
)  # fmt: skip
_odd = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | _kinds | st.just([]) | st.just({}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60)
@given(
    given_=_odd,
    answer=_odd,
    more=st.dictionaries(st.sampled_from(["system", "instructions", "tools"]), _odd),
    api=st.sampled_from(APIS),
)
def test_whatever_was_asked_and_answered_is_a_decision(
    given_: Any, answer: Any, more: dict[str, Any], api: Api
) -> None:
    """Members and types that the three know, put together in any way: the decision is in the log, and nothing is raised."""
    kept = Kept()
    talk = new_talk(kept)
    for response in (answer, [answer, answer], {"output": answer, "content": answer, "choices": answer}):
        talk.decision(request={"model": "m", "input": given_, "messages": given_, **more}, response=response, api=api)
        list(talk.ask(lambda **_request: iter([answer, answer]), model="m", input=given_, **more))
    assert sum(event.event_type.startswith("model.decision.") for event in kept.events) == 6
