"""Reading chat completions: what models send, whole, broken and odd, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.replay import completion as module
from pipelines.replay.completion import Again, Broken, read_completion, read_response
from pipelines.replay.decision import Reply, ToolCall
from pipelines.replay.prices import Price
from pipelines.replay.request import Failure

PRICE = Price(input_usd=2.0, cached_input_usd=0.5, output_usd=8.0)


def completion(message: dict[str, Any], finish_reason: str = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish_reason}], **more}).encode()


def calls(*arguments: Any) -> dict[str, Any]:
    listed = [
        {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": a}} for n, a in enumerate(arguments)
    ]
    return {"role": "assistant", "content": None, "tool_calls": listed}


def reply_of(body: bytes) -> Reply:
    answer = read_completion(body)
    assert isinstance(answer, Reply)
    return answer


def test_parallel_tool_calls_keep_their_order():
    """Every call of the message is there, in order, with its id and its arguments as an object."""
    reply = reply_of(completion(calls('{"a": 1}', '{"a": 2}', "{}"), "tool_calls"))
    assert reply.tool_calls == (ToolCall("f", {"a": 1}, "c0"), ToolCall("f", {"a": 2}, "c1"), ToolCall("f", {}, "c2"))
    assert (reply.text, reply.finish_reason) == (None, "tool_calls")


@pytest.mark.parametrize(
    "raw",
    ["", "{", '{"a": 1', "[1]", '"text"', "null", '{"a": 1, "a": 2}', '{"a": NaN}', "{'a': 1}", '{"a": "\\ud800"}'],
)
def test_arguments_that_are_no_json_object_stay_as_they_came(raw):
    """Cut off, doubled, not JSON, or not to be stored as an object: the text is kept, nothing is repaired or dropped."""
    (call,) = reply_of(completion(calls(raw), "length")).tool_calls
    assert call.arguments == raw


@given(st.text())
def test_any_text_can_be_stored(text):
    """Whatever a model says becomes valid UTF-8, and stays the same when it was."""
    stored = reply_of(completion({"content": text})).text
    assert stored is not None
    stored.encode()
    assert stored == text or any("\ud800" <= character <= "\udfff" for character in text)


def test_half_a_surrogate_pair_is_replaced():
    """A length stop can cut an emoji in two; JSON can say so, UTF-8 cannot."""
    body = b'{"choices": [{"message": {"content": "ok \\ud83d"}, "finish_reason": "length"}]}'
    assert (reply_of(body).text, reply_of(body).finish_reason) == ("ok \ufffd", "length")


def test_contents_in_parts_are_joined():
    """A list of parts is its texts."""
    parts = [{"type": "text", "text": "Good "}, {"type": "image"}, {"type": "text", "text": "day"}]
    assert reply_of(completion({"content": parts})).text == "Good day"


def test_a_refusal_is_a_failure_with_its_cost():
    """What a refusal cost is known with the reason."""
    usage = {
        "prompt_tokens": 1_000_000,
        "completion_tokens": 100_000,
        "prompt_tokens_details": {"cached_tokens": 400_000},
    }
    answer = read_completion(completion({"content": None, "refusal": "I cannot"}, usage=usage), price=PRICE)
    assert isinstance(answer, Failure)
    assert (answer.reason, answer.detail) == ("refused", "I cannot")
    assert answer.reply is not None
    assert answer.reply.cost_usd == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 8)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"choices": []}',
        b'{"choices": {"message": {}}}',
        b'{"choices": [{"message": "hello"}]}',
        b'{"choices": [{"message": {"tool_calls": "f"}}]}',
        b'{"choices": [{"message": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]}',
        b'{"error": {"message": "overloaded"}}',
    ],
)
def test_what_is_no_completion_is_asked_again(body):
    """HTTP says 200, the body does not say what the model did: that is no answer, and no crash."""
    result = read_response(200, body)
    assert isinstance(result, Again)
    assert result.reason == "invalid_json"


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (429, b"", Again, "rate_limited"),
        (429, b'{"error": {"code": "insufficient_quota"}}', Broken, None),
        (408, b"", Again, "unavailable"),
        (502, b"<html>", Again, "unavailable"),
        (400, b'{"error": {"message": "too long"}}', Failure, "rejected"),
        (422, b'{"error": "no"}', Failure, "rejected"),
        (302, b"", Failure, "rejected"),
        (401, b"", Broken, None),
        (404, b"", Broken, None),
    ],
)
def test_a_status_says_what_to_do(status, body, kind, reason):
    """Ask again, give the unit up, or give the endpoint up; a redirect is not followed."""
    result = read_response(status, body)
    assert isinstance(result, kind)
    assert getattr(result, "reason", None) == reason


odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})
texts = st.text(max_size=5) | odd
functions = st.fixed_dictionaries(
    {}, optional={"name": texts, "arguments": st.sampled_from(['{"a": 1}', '{"a": 1, "a": 2}', "{", "[]"]) | odd}
)
tool_calls = st.fixed_dictionaries({}, optional={"id": texts, "function": functions | odd, "custom": functions})
messages = st.fixed_dictionaries(
    {"content": texts}, optional={"tool_calls": st.lists(tool_calls, max_size=2) | odd, "refusal": texts, "name": texts}
)
choices = st.fixed_dictionaries({}, optional={"message": messages | odd, "finish_reason": texts, "index": odd})
usages = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": odd,
        "completion_tokens": st.integers(-2, 2**70),
        "prompt_tokens_details": st.fixed_dictionaries({}, optional={"cached_tokens": odd}) | odd,
    },
)
documents = st.fixed_dictionaries({"choices": st.lists(choices, max_size=2) | odd}, optional={"usage": usages | odd})


@given(documents, st.booleans(), st.sampled_from([None, PRICE]))
def test_the_usual_shape_is_read_as_any_shape_is(document, is_escaped, price):
    """What is read the fast way gives what the patient reading gives, answers and errors alike."""
    body = json.dumps(document, ensure_ascii=is_escaped).encode("utf-8", "surrogatepass")

    def read(function: Any, *arguments: Any) -> object:
        try:
            return repr(function(*arguments))
        except ValueError as error:
            return str(error)

    patient = read(module._read_document, body, price, 0.25, 7.0)
    assert read(lambda: read_completion(body, price=price, cost_usd=0.25, latency_ms=7.0)) == patient


@pytest.mark.parametrize(
    "text",
    [
        '{"choices": [{"message": {"content": "a", "content": "b"}, "finish_reason": "stop"}]}',
        '{"choices": [{"message": {"content": "\\ud800 \\u0000"}}], "usage": {"prompt_tokens": 1e2}}',
        '{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": true, "completion_tokens": -1}}',
        '{"choices": [{"message": {"content": "a"}, "logprobs": NaN}], "usage": null}',
        '{"choices": [{"message": {"content": "a"}}, 7]}',
        '\ufeff{"choices": [{"message": {"content": "a"}}]}',
    ],
)
def test_ugly_completions_are_read_alike(text):
    """Doubled names, escapes that no text can hold, numbers of the wrong kind, a byte-order mark."""
    body = text.encode()
    assert repr(read_completion(body)) == repr(module._read_document(body, None, None, None))
