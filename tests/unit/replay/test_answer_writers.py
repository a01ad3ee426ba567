"""Answers that are written here: read again they say what the reply said, and the SDKs take them, whole and streamed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import anthropic.types
import httpx
import openai
import openai.types.chat
import openai.types.responses
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.sides import Api
from pipelines.recorder import chunks
from pipelines.replay.failure import Answer, Failure
from pipelines.replay.wires.answer import NoAnswerError
from pipelines.replay.wires.calls import INPUT, JsonText, read_arguments
from pipelines.replay.wires.registry import WIRES
from tests.support.agents import APIS
from tests.support.sse import data_of

TYPES: dict[Api, Any] = {
    "chat": openai.types.chat.ChatCompletion,
    "responses": openai.types.responses.Response,
    "messages": anthropic.types.Message,
}
words = st.sampled_from(
    ["", " ", '{"a": 1}', "[1]", "null", '"', "a\nb\r\n\u2028", "data: x\n\n", "😀", "\ud83d", "é\0"]
)
texts = words | st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner)
    ),
    max_leaves=4,
)
objects = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), values, max_size=3)
raw = st.sampled_from(["{", '{"a": 1, "a": 2}', '{"a": NaN}', '{"x": "\\ud800"}', "{}"]) | texts
arguments = objects | raw | (values | raw).map(json.dumps).map(JsonText)
calls = st.builds(ToolCall, st.text(min_size=1, max_size=8), arguments, st.none() | st.just("other"))
counts = st.none() | st.integers(1, 1_000)
named = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)


@st.composite
def replies(draw: st.DrawFn, api: Api) -> Reply:
    """A reply such as an answer of that wire is read as, or a recording has; ugly ones too."""
    listed = tuple(draw(st.lists(calls, max_size=3)))
    text = draw(st.none() | texts)
    given, made = draw(counts), draw(counts)
    part = draw(st.booleans())
    return Reply(
        text,
        listed,
        given,
        made,
        finish_reason=draw(st.sampled_from([None, "stop", "tool_calls", "length", "content_filter"])),
        model=draw(st.none() | st.just("m")),
        is_refusal=draw(st.booleans()),
        extra=draw(EXTRAS[api](len(listed), text is not None)),
        cached_input_tokens=given // 2 if given and part else None,
        cache_write_tokens=given // 3 if given and part else None,
        reasoning_tokens=made // 2 if made and part else None,
    )


def _chat_extra(_calls: int, _has_text: bool) -> Any:
    return st.none() | st.fixed_dictionaries(
        {"reasoning_content": named, "reasoning_details": st.lists(objects, min_size=1)}
    )


def _thoughts(entry: Any, more: dict[str, Any]) -> Any:
    @st.composite
    def made(draw: st.DrawFn, calls: int, has_text: bool) -> Any:
        listed = draw(st.lists(entry, max_size=2))
        if not listed:
            return None
        extra: dict[str, Any] = {"reasoning": listed, **(more if has_text else {})}
        kinds = ["reasoning"] * len(listed) + ["text"] * has_text + ["tool_call"] * calls
        order = draw(st.permutations(kinds))
        return extra if order == kinds else {**extra, "order": order}

    return made


_OPENAI = st.fixed_dictionaries(
    {"id": named, "encrypted": named},
    optional={
        "summary": st.lists(st.fixed_dictionaries({"type": st.just("summary_text"), "text": named}), min_size=1),
        "text": named,
        "status": st.just("completed"),
    },
)
_ANTHROPIC = st.fixed_dictionaries({"text": named, "signature": named}) | st.fixed_dictionaries(
    {"encrypted": named, "redacted": st.just(True)}
)
EXTRAS: dict[Api, Any] = {
    "chat": _chat_extra,
    "responses": _thoughts(_OPENAI, {"phase": "commentary"}),
    "messages": _thoughts(_ANTHROPIC, {}),
}


def stored(text: str) -> str:
    """A text as UTF-8 can carry it."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def meant(call: ToolCall, api: Api) -> Any:
    """The arguments of a call as they come back."""
    value = json.loads(call.arguments) if isinstance(call.arguments, JsonText) else call.arguments
    read = value if isinstance(value, dict) else read_arguments(value if isinstance(value, str) else json.dumps(value))
    if isinstance(read, str) and not isinstance(value, str):
        read = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if api != "messages" or isinstance(read, dict):
        return read
    return {INPUT: read} if read.strip() else {}


def expected(reply: Reply, api: Api) -> Reply:
    """What a wire can say of a reply: each exception is one that its own vocabulary makes."""
    named_calls = enumerate(reply.tool_calls)
    made = tuple(ToolCall(stored(call.name), meant(call, api), f"call_7_{n}") for n, call in named_calls)
    text = None if reply.text is None else stored(reply.text)
    finish = reply.finish_reason or ("tool_calls" if made else "stop")
    is_refusal = reply.is_refusal
    if api == "chat":  # an empty refusal is none
        is_refusal, text = (True, text) if is_refusal and text else (False, None if is_refusal else text)
    elif api == "responses":  # what is not cut ended as its items say, and nothing at all is an empty text
        finish = finish if finish in ("length", "content_filter") else "tool_calls" if made else "stop"
        text = text if made else text or ""
        is_refusal = is_refusal and text is not None
    elif is_refusal or finish == "content_filter":  # one word for both
        finish, is_refusal, text = "content_filter", True, text or None
    output = reply.output_tokens or (None if text or made else 0)
    given = reply.input_tokens
    counted = (reply.cached_input_tokens, reply.cache_write_tokens, reply.reasoning_tokens)
    if api == "responses":  # its counts are there in any case
        cached, written, thought = (each or 0 for each in counted)
        counted = (cached if given else None, written if given else None, thought)
    return Reply(
        text, made, given, output, None, None, finish, reply.model or "asked", is_refusal, reply.extra, *counted
    )  # fmt: skip


def reply_of(answer: Answer) -> Reply:
    """The reply, also of an answer that a filter took back."""
    if isinstance(answer, Failure):
        assert answer.reason == "refused"
        assert answer.reply is not None
        return answer.reply
    return answer


@pytest.mark.parametrize("api", APIS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_reply_comes_back_from_its_answer(api: Api, data: st.DataObject) -> None:
    """Whatever was said, called, thought and counted; the SDK's type takes the answer; its stream says the same."""
    reply = data.draw(replies(api))
    document = WIRES[api].write(reply, model="asked", number=7)
    body = json.dumps(document, ensure_ascii=False).encode()
    assert reply_of(WIRES[api].read_answer(body)) == expected(reply, api)
    TYPES[api].model_validate(document)
    assert reply_of(WIRES[api].read_answer(json.dumps(streamed(api, document)).encode())) == expected(reply, api)


def streamed(api: Api, document: dict[str, Any]) -> dict[str, Any]:
    """The answer put together from its events by the recorder."""
    events = data_of(WIRES[api].events(document, {"stream_options": {"include_usage": True}}))
    whole = chunks.assemble(events)
    assert whole is not None
    return whole


MANY = Reply(
    "",
    [
        ToolCall("look_up", argument)
        for argument in [{"key": "a"}] * 2 + ["", "{", {}, None, *[{"n": n} for n in range(34)]]
    ],
    12,
    3,
)
WRITTEN: dict[Api, list[Reply]] = {
    "chat": [
        MANY,
        Reply("No.", is_refusal=True),
        Reply("cut\n\ndata: x", finish_reason="length", extra={"reasoning_content": "hm"}),
        Reply(None, [ToolCall("f", {"a": 1}, extra={"extra_content": {"google": {"thought_signature": "s"}}})]),
    ],
    "responses": [
        MANY,
        Reply("No.", is_refusal=True),
        Reply("cut", finish_reason="length", extra={"reasoning": [{"id": "rs_1", "encrypted": "x", "text": "hm"}]}),
        Reply("thought", extra={"reasoning": [{"id": "rs_1", "encrypted": "x", "summary": ["a", "b"]}]}),
        Reply(None),
    ],
    "messages": [
        MANY,
        Reply("No.", is_refusal=True),
        Reply("cut", finish_reason="length", extra={"reasoning": [{"text": "hm", "signature": "s"}]}),
        Reply("hidden", [ToolCall("f", {})], extra={"reasoning": [{"encrypted": "x", "redacted": True}]}),
        Reply(None),
    ],
}


@pytest.mark.parametrize("api", APIS)
def test_the_official_clients_put_a_stream_together(api: Api) -> None:
    """Their readers of streams make the answer of its events: ugly ones, and forty calls."""
    for number, reply in enumerate(WRITTEN[api]):
        check(api, WIRES[api].write(reply, model="m", number=number))


@pytest.mark.parametrize(
    ("api", "name"),
    [
        ("chat", "07-coding/litellm-calls-claude-sonnet-4.jsonl.gz"),
        ("responses", "05-openai/responses-rollouts-calendar-1-2.jsonl.gz"),
        ("messages", "06-anthropic/code-execution-multi-turn.exchanges.jsonl"),
        ("messages", "06-anthropic/thinking-two-turns.exchanges.jsonl"),
        ("messages", "06-anthropic/tool-search-round-trip.exchanges.jsonl"),
    ],
)
def test_what_providers_answered_is_streamed(api: Api, name: str, shared_data: Path) -> None:
    """Recorded answers, with what a provider's own tools did, say as a stream what they said whole."""
    path = shared_data / "formats" / "dev" / name
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
    documents = [json.loads(line)["response"] for line in lines[:12]]
    assert documents
    for document in documents:
        check(api, document)
        if api != "chat":  # whose chunks leave out what is null
            assert streamed(api, document) == document


ODD: tuple[Any, ...] = (None, "", 5, {"a": [1]}, [None, {"text": 5, "type": []}])
"""What stands in the place of something else."""


def changed(value: Any, odd: Any) -> Iterator[Any]:
    """The value with something odd in one place, for every place."""
    yield odd
    if isinstance(value, dict | list):
        for key, inner in [*(value.items() if isinstance(value, dict) else enumerate(value))]:
            for each in changed(inner, odd):
                made: Any = value.copy()
                made[key] = each
                yield made


@pytest.mark.parametrize("api", APIS)
def test_an_odd_answer_is_none_or_is_streamed(api: Api) -> None:
    """Whatever stands where: what is read as an answer can be sent as events, and nothing else is raised than that it is none."""
    streams = 0
    for number, reply in enumerate(WRITTEN[api][1:]):
        for odd in ODD:
            for document in changed(WIRES[api].write(reply, model="m", number=number), odd):
                try:
                    WIRES[api].read_answer(json.dumps(document).encode())
                except NoAnswerError:
                    continue
                assert data_of(WIRES[api].events(document, {}))
                streams += 1
    assert streams > 200


def test_what_a_vendor_wants_back_is_in_its_answer() -> None:
    """Parts of a content that are not said, and what stands on a call."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hello"}]
    signed = ToolCall("f", {"a": 1}, "call_1_0", {"extra_content": {"google": {"thought_signature": "s"}}})
    for reply in (Reply("Hello", extra={"content": parts}), Reply(None, [signed])):
        body = json.dumps(WIRES["chat"].write(reply, model="m", number=1)).encode()
        read = reply_of(WIRES["chat"].read_answer(body))
        assert (read.text, read.extra, read.tool_calls) == (reply.text, reply.extra, tuple(reply.tool_calls))


def test_what_another_vendor_thought_is_told_in_words() -> None:
    """A recorded decision may be of another wire than the agent's: its reasoning is read there, and what is hidden is left out."""
    hidden = [{"encrypted": "x", "redacted": True}, {"text": "", "signature": "s"}]
    signed = Reply("Hi", extra={"reasoning": [{"text": "hm", "signature": "s"}, *hidden]})
    chat, responses = (WIRES[api].write(signed, model="m", number=1) for api in ("chat", "responses"))
    assert chat["choices"][0]["message"]["reasoning_content"] == "hm"
    assert [item["type"] for item in responses["output"]] == ["reasoning", "message"]
    assert responses["output"][0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    plain = WIRES["messages"].write(Reply("Hi", extra={"reasoning_content": "hm"}), model="m", number=1)
    assert plain["content"][0] == {"type": "thinking", "thinking": "hm", "signature": ""}


def test_pieces_of_a_nameless_item_say_which_item_they_are_of() -> None:
    """Some endpoints name no items; a client that puts pieces together needs it."""
    document = WIRES["responses"].write(Reply("hi", [ToolCall("f", {})]), model="m", number=1)
    for item in document["output"]:
        del item["id"]
    events = data_of(WIRES["responses"].events(document, {}))
    named = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    assert len(set(named)) == 2
    assert {event["item_id"] for event in events if "item_id" in event} == set(named)


def test_free_text_for_a_custom_tool_goes_as_its_wire_has_it() -> None:
    """As a custom call where there are any, as the one argument of a tool elsewhere; text that is JSON stays text."""
    reply = Reply(None, [ToolCall("patch", '{"a": 1}'), ToolCall("patch", "*** Begin")])
    written = {api: WIRES[api].write(reply, model="m", number=1, custom=frozenset({"patch"})) for api in APIS}
    [chat] = written["chat"]["choices"]
    assert [(call["type"], call["custom"]["input"]) for call in chat["message"]["tool_calls"]] == [
        ("custom", '{"a": 1}'),
        ("custom", "*** Begin"),
    ]
    given = [(item["type"], item["input"]) for item in written["responses"]["output"]]
    assert given == [("custom_tool_call", '{"a": 1}'), ("custom_tool_call", "*** Begin")]
    assert [block["input"] for block in written["messages"]["content"]] == [{INPUT: '{"a": 1}'}, {INPUT: "*** Begin"}]
    for api, document in written.items():
        TYPES[api].model_validate(document)
        said = WIRES[api].read_answer(json.dumps(document).encode())
        assert WIRES[api].read_answer(json.dumps(streamed(api, document)).encode()) == said


def check(api: Api, document: dict[str, Any]) -> None:
    """The SDK's reader and the recorder's make of the events what the answer says."""
    said = WIRES[api].read_answer(json.dumps(document).encode())
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    stream = b"".join(WIRES[api].events(document, asked))
    for final in (final_of(api, stream), streamed(api, document)):
        assert WIRES[api].read_answer(json.dumps(final).encode()) == said


def final_of(api: Api, stream: bytes) -> dict[str, Any]:
    """What the official client makes of a stream."""
    answered = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    http = httpx.Client(transport=httpx.MockTransport(lambda _request: answered))
    with http:
        return _READERS[api](http).model_dump(mode="json", exclude_unset=True, warnings=False)


def _chat_final(http: httpx.Client) -> Any:
    with openai.OpenAI(api_key="x", http_client=http).chat.completions.stream(model="m", messages=[]) as stream:
        try:
            return stream.get_final_completion()
        except openai.LengthFinishReasonError as error:  # the helper's word for a text that was cut
            return error.completion


def _responses_final(http: httpx.Client) -> Any:
    with openai.OpenAI(api_key="x", http_client=http).responses.stream(model="m", input=[]) as stream:
        *_, last = stream  # the helper has no final response of one that was cut
        return last.response


def _messages_final(http: httpx.Client) -> Any:
    client = anthropic.Anthropic(api_key="x", http_client=http)
    with client.messages.stream(model="m", max_tokens=1, messages=[]) as stream:
        return stream.get_final_message()


_READERS: dict[Api, Any] = {"chat": _chat_final, "responses": _responses_final, "messages": _messages_final}
