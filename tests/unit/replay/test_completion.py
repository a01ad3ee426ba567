"""Reading chat completions: what models send, whole, broken and odd, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.prices import Price
from pipelines.replay.asking.fault import Again, Broken, judge
from pipelines.replay.failure import Failure
from pipelines.replay.wires.answer import MAX_ODD_BYTES, NoAnswerError, counted
from pipelines.replay.wires.chat import Chat

PRICE = Price(input_usd=2.0, cached_input_usd=0.5, output_usd=8.0)


def completion(message: dict[str, Any], finish_reason: str = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish_reason}], **more}).encode()


def calls(*arguments: Any) -> dict[str, Any]:
    listed = [
        {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": a}} for n, a in enumerate(arguments)
    ]
    return {"role": "assistant", "content": None, "tool_calls": listed}


def reply_of(body: bytes) -> Reply:
    answer = Chat().read_answer(body)
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


def test_a_refusal_is_what_was_said_with_its_cost():
    """The words of a refusal, in the field or in a part of that name, are the text; an empty one is none."""
    usage = {
        "prompt_tokens": 1_000_000,
        "completion_tokens": 100_000,
        "total_tokens": 1_100_000,
        "prompt_tokens_details": {"cached_tokens": 400_000},
    }
    for message in (
        {"content": None, "refusal": "I cannot"},
        {"content": "", "refusal": "I cannot"},
        {"content": [{"type": "refusal", "refusal": "I cannot"}]},
    ):
        answer = Chat().read_answer(completion(message, usage=usage), price=PRICE)
        assert isinstance(answer, Reply)
        assert (answer.text, answer.is_refusal, answer.finish_reason) == ("I cannot", True, "stop")
        assert answer.cost_usd == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 8)
    assert not reply_of(completion({"content": "Sure", "refusal": ""})).is_refusal
    assert not reply_of(completion({"content": "Sure", "refusal": None})).is_refusal


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "refusal"])
def test_what_a_filter_stopped_is_refused_and_paid_for(reason):
    """The message of a filter's stop is no answer; what it cost is kept with it."""
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 1, "total_tokens": 1_000_001}
    answer = Chat().read_answer(completion({"content": "half"}, reason, usage=usage), price=PRICE)
    assert isinstance(answer, Failure)
    assert (answer.reason, answer.detail) == ("refused", "content_filter")
    assert answer.reply is not None
    assert answer.reply.cost_usd == pytest.approx(2.000008)


def test_a_function_call_is_a_tool_call():
    """The older member is read as the newer one is; where both are there they say the same thing once."""
    old = {"name": "f", "arguments": '{"a": 1}'}
    assert reply_of(completion({"content": None, "function_call": old}, "function_call")).tool_calls == (
        ToolCall("f", {"a": 1}),
    )
    both = {**calls('{"a": 1}'), "function_call": old}
    assert reply_of(completion(both)).tool_calls == (ToolCall("f", {"a": 1}, "c0"),)
    assert reply_of(completion({"content": "Hm.", "tool_calls": [], "function_call": None})).tool_calls == ()


def several(*messages: dict[str, Any], reasons: tuple[str | None, ...]) -> bytes:
    listed = [{"index": n, "message": each, "finish_reason": reasons[n]} for n, each in enumerate(messages)]
    return json.dumps({"choices": listed, "model": "m"}).encode()


def test_choices_are_pieces_of_one_message():
    """One choice is asked for: text in one and calls in others are one message, whatever their order; an id is there once."""
    text, first, second = {"content": "I look."}, calls('{"a": 1}'), calls('{"a": 1}', '{"a": 2}')
    wanted = (ToolCall("f", {"a": 1}, "c0"), ToolCall("f", {"a": 2}, "c1"))
    for messages in ((text, second), (second, text), (first, second), (text, first, second)):
        reasons = tuple("tool_calls" if "tool_calls" in each else "stop" for each in messages)
        reply = reply_of(several(*messages, reasons=reasons))
        assert reply.tool_calls == wanted
        assert (reply.text, reply.finish_reason) == ("I look." if text in messages else None, "tool_calls")
    assert reply_of(several(text, first, reasons=("length", "tool_calls"))).finish_reason == "length"
    with_empty = reply_of(several(text, {"content": None}, reasons=("stop", None)))
    assert (with_empty.text, with_empty.tool_calls, with_empty.finish_reason) == ("I look.", (), "stop")


def test_the_model_that_answered_and_why_it_stopped_are_kept():
    """Also of an answer that is cut before its first word; names of any length are bounded."""
    reply = reply_of(completion({"content": None, "reasoning_content": "hm"}, "length", model="spare-model-mini"))
    assert (reply.text, reply.finish_reason, reply.model) == (None, "length", "spare-model-mini")
    assert len(reply_of(completion({"content": "x"}, "y" * 10_000, model="z" * 10_000)).model or "") == 100
    assert reply_of(completion({"content": "x"}, model=7)).model is None


def test_what_a_vendor_wants_back_is_kept_and_not_said():
    """Reasoning by any name, signatures, members of calls: kept as they came, and no part of the text."""
    thought = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    message = {
        "role": "assistant",
        "content": [thought, {"type": "text", "text": "Good "}, {"type": "reasoning", "text": "no"}, {"text": "day"}],
        "reasoning_content": "hm",
        "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}],
        "provider_specific_fields": {"a": [1, {"b": None}]},
        "annotations": [],
        "audio": None,
        "logprobs": {"content": []},
        "tool_calls": [
            {
                "id": "c0",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
                "extra_content": {"google": {"thought_signature": "s"}},
            }
        ],
    }
    reply = reply_of(completion(message))
    assert reply.text == "Good day"
    kept = ("content", "reasoning_content", "reasoning_details", "provider_specific_fields")
    assert reply.extra == {name: message[name] for name in kept}
    assert reply.tool_calls[0].extra == {"extra_content": {"google": {"thought_signature": "s"}}}
    assert reply_of(completion({"content": "x", "reasoning_content": "", "reasoning": None})).extra is None


def test_what_cannot_be_sent_back_is_left_out():
    """Values that are no JSON, or so deep that nobody means them, are dropped; half a surrogate pair is replaced."""
    deep = json.loads("[" * 200 + "]" * 200)
    body = completion({"content": "x", "a": deep, "b": float("nan"), "c": "\ud83d", "d": {"e": 1}})
    assert reply_of(body).extra == {"c": "\ufffd", "d": {"e": 1}}


def test_a_message_that_says_nothing_is_no_answer():
    """Neither text nor calls nor a reason to stop: asked again; what it cost is not known, so the most is booked."""
    result = Chat().read(200, b'{"choices": [{"message": {"role": "assistant", "content": null}}]}')
    assert isinstance(result, Again)
    assert (result.reason, result.is_worked) == ("invalid_json", True)


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
    ],
)
def test_what_is_no_completion_is_asked_again(body):
    """HTTP says 200, the body does not say what the model did: that is no answer, and no crash."""
    result = Chat().read(200, body)
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
        (302, b"", Broken, None),
        (401, b"", Broken, None),
        (404, b"", Broken, None),
    ],
)
def test_a_status_says_what_to_do(status, body, kind, reason):
    """Ask again, give the unit up, or give the endpoint up."""
    result = Chat().read(status, body)
    assert isinstance(result, kind)
    assert getattr(result, "reason", None) == reason


odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})
texts = st.text(max_size=5) | odd
functions = st.fixed_dictionaries(
    {}, optional={"name": texts, "arguments": st.sampled_from(['{"a": 1}', '{"a": 1, "a": 2}', "{", "[]"]) | odd}
)
tool_calls = st.fixed_dictionaries({}, optional={"id": texts, "function": functions | odd, "custom": functions})
messages = st.fixed_dictionaries(
    {"content": texts},
    optional={
        "tool_calls": st.lists(tool_calls, max_size=2) | odd,
        "refusal": texts,
        "name": texts,
        "reasoning_content": texts,
        "function_call": functions | odd,
    },
)
choices = st.fixed_dictionaries(
    {}, optional={"message": messages | odd, "finish_reason": texts, "index": odd, "error": odd, "usage": odd}
)
counts = st.integers(-2, 30) | st.integers(-2, 2**70)
usages = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": odd | counts,
        "completion_tokens": counts,
        "total_tokens": counts,
        "prompt_tokens_details": st.fixed_dictionaries({}, optional={"cached_tokens": odd | counts}) | odd,
        "completion_tokens_details": st.fixed_dictionaries({}, optional={"reasoning_tokens": odd | counts}) | odd,
    },
)
usual = st.tuples(st.integers(1, 9), st.integers(0, 9)).map(
    lambda pair: {"prompt_tokens": pair[0], "completion_tokens": pair[1], "total_tokens": sum(pair)}
)
documents = st.fixed_dictionaries(
    {"choices": st.lists(choices, max_size=2) | odd},
    optional={"usage": usual | usages | odd, "model": texts, "error": odd},
)


@given(documents, st.booleans(), st.sampled_from([None, PRICE]))
def test_the_usual_shape_is_read_as_any_shape_is(document, is_escaped, price):
    """What is read the fast way gives what the patient reading gives, answers and errors alike."""
    body = json.dumps(document, ensure_ascii=is_escaped).encode("utf-8", "surrogatepass")

    def read(function: Any, *arguments: Any) -> object:
        try:
            return repr(function(*arguments))
        except ValueError as error:
            return str(error)

    patient = read(lambda: counted(*Chat().read_patiently(body), price, 0.25, 7.0))
    assert read(lambda: Chat().read_answer(body, price=price, cost_usd=0.25, latency_ms=7.0)) == patient


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
    assert repr(Chat().read_answer(body)) == repr(counted(*Chat().read_patiently(body), None, None, None))


@pytest.mark.parametrize(
    ("document", "kind", "reason"),
    [
        ({"error": {"code": 502, "message": "upstream"}}, Again, "unavailable"),
        ({"error": {"code": "503", "message": "upstream"}, "choices": []}, Again, "unavailable"),
        ({"error": {"code": 429, "message": "slow down"}}, Again, "rate_limited"),
        ({"error": {"message": "Rate limit reached", "type": "requests"}}, Again, "rate_limited"),
        ({"error": "overloaded"}, Again, "unavailable"),
        ({"error": {"message": "overloaded"}, "choices": None}, Again, "unavailable"),
        ({"error": {"code": 400, "message": "too long"}}, Failure, "rejected"),
        ({"error": {"code": "content_filter", "message": "no"}}, Failure, "refused"),
        ({"error": {"code": 403, "message": "input was flagged"}}, Failure, "refused"),
        ({"error": {"code": 401, "message": "no such key"}}, Broken, None),
        ({"error": {"code": "model_not_found", "message": "m"}}, Broken, None),
        ({"error": {"code": 429, "type": "insufficient_quota"}}, Broken, None),
        ({"object": "error", "message": "no worker", "code": 50001}, Again, "unavailable"),
        ({"detail": "Internal"}, Again, "unavailable"),
        ({"code": 1305, "msg": "busy"}, Again, "unavailable"),
        ({"choices": [{"finish_reason": "error", "message": {"content": "half"}}]}, Again, "unavailable"),
        ({"choices": [{"finish_reason": "abort", "message": {"content": "half"}}]}, Again, "unavailable"),
        ({"choices": [{"error": {"code": 429}, "message": {"content": "half"}}]}, Again, "rate_limited"),
        (
            {"choices": [{"error": {"code": 502}, "message": {"content": "half"}, "finish_reason": "stop"}]},
            Again,
            "unavailable",
        ),
        (
            {"error": {"code": 500}, "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]},
            Again,
            "unavailable",
        ),
        ({"error": None, "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}, Reply, None),
        ({"error": {}, "choices": [{"error": "", "message": {"content": "x"}}]}, Reply, None),
    ],
)
def test_an_error_that_calls_itself_200_is_none_the_less_one(document, kind, reason):
    """Wherever it stands, it is a failure by its own code, and is not billed but for what it counts."""
    result = Chat().read(200, json.dumps(document).encode(), price=PRICE)
    assert isinstance(result, kind)
    assert getattr(result, "reason", None) == reason
    if isinstance(result, Again):
        assert (result.is_worked, result.cost_usd) == (False, 0.0)
        usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}
        counted = Chat().read(200, json.dumps({**document, "usage": usage}).encode(), price=PRICE)
        assert isinstance(counted, Again)
        assert counted.cost_usd == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("body", "is_worked"),
    [
        (b"", False),
        (b"<html>hello</html>", False),
        (b'{"choices": []}', False),
        (b'{"object": "list", "data": []}', False),
        (b'{"id": "x", "choices": [{"message": {"content": "hel', True),
        (b'{"choices": [{"finish_reason": "stop"}]}', True),
    ],
)
def test_what_is_no_answer_is_billed_only_where_a_model_worked(body, is_worked):
    """A page, nothing and a list of nothing cost nothing; half an answer may have been charged for."""
    result = Chat().read(200, body)
    assert isinstance(result, Again)
    assert result.is_worked is is_worked


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason", "is_doubtful"),
    [
        (400, {"error": {"code": "content_filter", "message": "the prompt was filtered"}}, Failure, "refused", False),
        (400, {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}, Failure, "refused", False),
        (403, {"error": {"code": 403, "message": "input was flagged"}}, Failure, "refused", False),
        (403, {"error": {"message": "no", "metadata": {"flagged_input": "x"}}}, Failure, "refused", False),
        (403, {"error": "forbidden"}, Failure, "refused", True),
        (400, {"error": {"message": "Unknown parameter: safety_identifier"}}, Failure, "rejected", True),
        (404, {"error": {"code": "model_not_found"}}, Broken, None, True),
        (400, {"error": {"code": "model_not_found"}}, Broken, None, False),
        (
            429,
            {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
            Broken,
            None,
            False,
        ),
        (405, {}, Broken, None, False),
        (501, {}, Broken, None, False),
        (502, {"error": {"message": "flagged"}}, Again, "unavailable", None),
    ],
)
def test_a_filters_status_is_a_refusal_of_that_input(status, body, kind, reason, is_doubtful):
    """What looked at the input turned that one down; what says nothing of it may turn everybody down."""
    result = Chat().read(status, json.dumps(body).encode())
    assert isinstance(result, kind)
    assert getattr(result, "reason", None) == reason
    assert getattr(result, "is_doubtful", None) == is_doubtful


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_names_the_address_it_points_to(status):
    """It is not followed; the address is shown without what a terminal would obey."""
    result = Chat().read(status, b"", location="https://elsewhere.example/v2\x1b[31m")
    assert isinstance(result, Broken)
    assert "https://elsewhere.example/v2\ufffd[31m" in result.detail


def test_an_endpoints_words_are_bounded_and_do_nothing():
    """Control characters, escapes of terminals and of writing direction are replaced, and no error is a page long."""
    result = Chat().read(500, json.dumps({"error": {"message": "\x1b[2J\u202eevil\r\n" + "x" * 9_999}}).encode())
    assert isinstance(result, Again)
    assert result.detail.startswith("HTTP 500: \ufffd[2J\ufffdevil xxx")
    assert len(result.detail) < 250


def test_an_error_in_a_list_is_read_to_its_details():
    """As Google's endpoint writes errors: the code that says what it is stands in a list of details, in a list."""
    error = {"code": 400, "message": "blocked", "details": [{"reason": "content_filter"}]}
    found = judge(400, json.dumps([{"error": error}]).encode())
    assert isinstance(found, Failure)
    assert found.reason == "refused"
    bare = judge(400, json.dumps([{"error": {**error, "details": []}}]).encode())
    assert not (isinstance(bare, Failure) and bare.reason == "refused")


def test_a_large_body_of_an_odd_shape_is_not_read():
    """Reading it whole would take twenty times its size; somebody worked for it all the same."""
    with pytest.raises(NoAnswerError, match="bytes of an unusual shape") as raised:
        Chat().read_answer(b'{"choices": []' + b" " * MAX_ODD_BYTES + b"}")
    assert raised.value.is_worked
