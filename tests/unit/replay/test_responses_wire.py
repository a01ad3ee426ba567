"""What goes out over Responses, judged by the SDK's own types, and what is made of what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.prices import Price
from pipelines.replay.asking.fault import Again, Broken
from pipelines.replay.failure import Failure
from pipelines.replay.request import Head, Lines, Request
from pipelines.replay.wires.answer import counted
from pipelines.replay.wires.calls import wire_id
from pipelines.replay.wires.notes import CannotExpressError
from pipelines.replay.wires.pairing import NO_RESULT, ORPHAN
from pipelines.replay.wires.responses import Responses
from tests.support.sdk_types import faults_of

PRICE = Price(input_usd=1.0, cached_input_usd=0.1, output_usd=10.0)
PNG = "data:image/png;base64,aGk="


def request_of(messages: list[dict[str, Any]], *tools: dict[str, Any], **params: Any) -> Request:
    lines = Lines(Head("m", params, tools, "responses"))
    lines.add(*messages)
    return lines.request("u", "candidate", 0, ("s", 1), lambda: (1, {}))


def body_of(messages: list[dict[str, Any]], *tools: dict[str, Any], **params: Any) -> dict[str, Any]:
    """The body of a request; the SDK's types know every part of it."""
    body: dict[str, Any] = json.loads(request_of(messages, *tools, **params).body())
    assert faults_of(body, ResponseCreateParamsNonStreaming) == []
    return body


def items_of(*messages: dict[str, Any], tools: tuple[dict[str, Any], ...] = ()) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = body_of(list(messages), *tools)["input"]
    return listed


def notes_of(*messages: dict[str, Any]) -> list[str]:
    return [note.code for note in request_of(list(messages)).notes()]


def user(content: Any = "Hi", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def agent(text: Any = None, *calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {}), **more}


def call(number: int, place: int = 0, arguments: str = "{}", name: str = "f") -> dict[str, Any]:
    return {"id": f"call_{number}_{place}", "type": "function", "function": {"name": name, "arguments": arguments}}


def result(number: int, place: int = 0, content: Any = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"call_{number}_{place}", "content": content}


def test_a_request_is_its_items_and_is_kept_nowhere():
    """System messages where they are, calls and results as items of their own, `strict` as recorded, `store` false."""
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    body = body_of(
        [{"role": "system", "content": "Serve."}, user(), agent("Wait.", call(2, 0, '{"a":1}')), result(2)],
        tool,
        temperature=0,
    )
    made = wire_id("call_2_0")
    assert body == {
        "model": "m",
        "tools": [{"type": "function", "strict": False, **tool["function"]}],
        "store": False,
        "temperature": 0,
        "input": [
            {"role": "system", "content": "Serve."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Wait."},
            {"type": "function_call", "call_id": made, "name": "f", "arguments": '{"a":1}'},
            {"type": "function_call_output", "call_id": made, "output": "done"},
        ],
    }


def test_reasoning_is_asked_for_in_a_form_that_goes_back():
    """Where parameters ask for reasoning, its encrypted form is included once; where the provider keeps it, that is enough."""
    assert body_of([user()], reasoning={"effort": "low"})["include"] == ["reasoning.encrypted_content"]
    given = ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert body_of([user()], reasoning={"effort": "low"}, include=given)["include"] == given
    assert "include" not in body_of([user()], reasoning={"effort": "low"}, store=True)
    assert "include" not in body_of([user()])


@pytest.mark.parametrize(
    ("messages", "items", "notes"),
    [
        ([agent("Hello."), user()], [{"role": "assistant", "content": "Hello."}, user()], []),
        ([user(""), agent(None)], [user(""), {"role": "assistant", "content": ""}], []),
        (
            [{"role": "system", "content": "A"}, {"role": "system", "content": [{"type": "text", "text": "B"}]}],
            [{"role": "system", "content": "A"}, {"role": "system", "content": "B"}],
            [],
        ),
        ([user(name="Ines")], [user()], ["speaker_left_out"]),
        (
            [user(), agent(None, call(1)), user("And?")],
            [
                user(),
                {"type": "function_call", "call_id": wire_id("call_1_0"), "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": wire_id("call_1_0"), "output": NO_RESULT},
                user("And?"),
            ],
            ["result_added"],
        ),
        (
            [user(), {"role": "tool", "tool_call_id": "call_none_1", "content": "late"}],
            [
                user(),
                {
                    "role": "user",
                    "content": [{"type": "input_text", "text": ORPHAN}, {"type": "input_text", "text": "late"}],
                },
            ],
            ["result_as_text"],
        ),
        (
            [agent(None, call(0, 0, "free text")), result(0)],
            [
                {
                    "type": "function_call",
                    "call_id": wire_id("call_0_0"),
                    "name": "f",
                    "arguments": '{"input": "free text"}',
                },
                {"type": "function_call_output", "call_id": wire_id("call_0_0"), "output": "done"},
            ],
            ["arguments_wrapped"],
        ),
        (
            [
                user(
                    [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]
                )
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "See"},
                        {"type": "input_image", "image_url": PNG, "detail": "low"},
                    ],
                }
            ],
            [],
        ),
        (
            [
                user(
                    [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                        {"type": "document", "source": {"type": "url", "url": "http://h/a.pdf"}, "title": "A"},
                    ]
                )
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_image", "image_url": PNG, "detail": "auto"},
                        {"type": "input_file", "file_url": "http://h/a.pdf", "filename": "A"},
                    ],
                }
            ],
            [],
        ),
    ],
)
def test_what_was_recorded_oddly_goes_out_in_a_form_that_is_taken(messages, items, notes):
    """An agent that speaks first, empty texts, two system messages, names, calls without results, results without calls, pictures."""
    assert items_of(*messages) == items
    assert notes_of(*messages) == notes


def test_what_has_no_form_is_said_and_not_sent():
    """Sound, and whatever nobody knows: the reason names the type and nothing of the content."""
    for content in ([{"type": "input_audio", "input_audio": {"data": "x"}}], [{"type": "<b>", "x": 1}], [1]):
        request = request_of([user(content)])
        with pytest.raises(CannotExpressError, match=r"content of type (input_audio|part|value) has no form"):
            request.body()
        (note,) = request.notes()
        assert (note.code, note.is_fatal) == ("content_part", True)


CUSTOM = {
    "type": "custom",
    "custom": {
        "name": "run",
        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}},
    },
}


def test_a_tool_of_free_text_is_native_here():
    """Text goes and comes as it is, also where it looks like JSON."""
    body = body_of([agent(None, call(0, 0, '{"a": 1}', "run"), call(0, 1)), result(0), result(0, 1)], CUSTOM)
    assert body["tools"] == [
        {
            "type": "custom",
            "name": "run",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: WORD"},
        }
    ]
    assert [item["type"] for item in body["input"]] == [
        "custom_tool_call",
        "function_call",
        "custom_tool_call_output",
        "function_call_output",
    ]
    assert body["input"][0]["input"] == '{"a": 1}'
    answer = read({"type": "custom_tool_call", "id": "c", "call_id": "x", "name": "run", "input": '{"a": 1}'})
    assert isinstance(answer, Reply)
    assert answer.tool_calls == (ToolCall("run", '{"a": 1}', "x"),)


def response(*output: dict[str, Any], **more: Any) -> bytes:
    usage = {
        "input_tokens": 1_000_000,
        "input_tokens_details": {"cached_tokens": 400_000},
        "output_tokens": 100_000,
        "output_tokens_details": {"reasoning_tokens": 60_000},
        "total_tokens": 1_100_000,
    }
    document = {"id": "r", "object": "response", "status": "completed", "error": None, "model": "m-2026-01-01"}
    return json.dumps({**document, "output": list(output), "usage": usage, **more}).encode()


def read(*output: dict[str, Any], **more: Any) -> Any:
    return Responses().read(200, response(*output, **more), price=PRICE, latency_ms=5.0)


def said(text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": content, **more}


def called(arguments: str = '{"a": 1}', call_id: str = "c1") -> dict[str, Any]:
    return {"type": "function_call", "id": "fc", "call_id": call_id, "name": "f", "arguments": arguments}


def thought(number: int = 1) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": "hm"}]
    return {"type": "reasoning", "id": f"rs_{number}", "summary": summary, "encrypted_content": f"secret{number}"}


def test_an_answer_is_one_message_with_what_it_counts():
    """Input holds the cached tokens, output the reasoning, as on every wire; the price is by these."""
    answer = read(thought(), said("Wait."), called())
    assert isinstance(answer, Reply)
    assert (answer.text, answer.finish_reason, answer.model) == ("Wait.", "tool_calls", "m-2026-01-01")
    assert answer.tool_calls == (ToolCall("f", {"a": 1}, "c1"),)
    assert (answer.input_tokens, answer.cached_input_tokens) == (1_000_000, 400_000)
    assert (answer.output_tokens, answer.reasoning_tokens) == (100_000, 60_000)
    assert answer.cost_usd == pytest.approx(0.6 + 0.04 + 1.0)


@pytest.mark.parametrize(
    "output",
    [
        [thought(), called()],
        [thought(), said("Wait.", phase="commentary"), called()],
        [thought(1), called("{}", "c1"), thought(2), called('{"b":2}', "c2")],
        [said("First."), thought(1), called()],
    ],
)
def test_reasoning_goes_back_verbatim_and_in_its_place(output):
    """What a candidate thought stands before what it led to in its next request, with its name and its encrypted form."""
    answer = read(*output)
    assert isinstance(answer, Reply)
    made = [call(0, n, json.dumps(each.arguments, separators=(",", ":"))) for n, each in enumerate(answer.tool_calls)]
    message = agent(answer.text, *made, **(answer.extra or {}))
    items = items_of(message, *[result(0, n) for n in range(len(made))])
    back = items[: len(output)]
    for sent, came in zip(back, output, strict=True):
        if came["type"] == "reasoning":
            assert sent == came
        elif came["type"] == "message":
            assert (sent["content"], sent.get("phase")) == (came["content"][0]["text"], came.get("phase"))
        else:
            assert json.loads(sent["arguments"]) == json.loads(came["arguments"])


def test_reasoning_of_another_vendor_is_left_out():
    """Signed by somebody else, in plain words, or with nothing after it."""
    signed = {"text": "hm", "signature": "sig"}
    hidden = {"encrypted": "x", "redacted": True}
    assert items_of(agent("Hi", reasoning=[signed, hidden])) == [{"role": "assistant", "content": "Hi"}]
    assert notes_of(agent("Hi", reasoning=[signed])) == ["reasoning_left_out"]
    assert notes_of(agent("Hi", reasoning_content="hm")) == ["reasoning_left_out"]
    assert items_of(agent(None, reasoning=[{"encrypted": "e"}])) == [{"role": "assistant", "content": ""}]
    recorded = items_of(agent("Hi", reasoning=[{"encrypted": "e", "summary": ["short"]}]))
    assert recorded[0]["summary"] == [{"type": "summary_text", "text": "short"}]
    assert recorded[0]["id"].startswith("rs_")


def test_a_refusal_is_its_words():
    """As a part of the message; a filter's stop is a failure that was paid for."""
    content = [{"type": "refusal", "refusal": "I cannot."}]
    answer = read({"type": "message", "role": "assistant", "content": content})
    assert isinstance(answer, Reply)
    assert (answer.text, answer.is_refusal, answer.finish_reason) == ("I cannot.", True, "stop")
    stopped = read(said("Ha"), status="incomplete", incomplete_details={"reason": "content_filter"})
    assert isinstance(stopped, Failure)
    assert (stopped.reason, stopped.reply is not None) == ("refused", True)


def test_what_was_cut_is_an_answer_that_says_so():
    """Also before its first word."""
    for output, text in (([said("Parcel P-")], "Parcel P-"), ([thought()], None), ([], None)):
        answer = read(*output, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
        assert isinstance(answer, Reply)
        assert (answer.text, answer.finish_reason) == (text, "length")


@pytest.mark.parametrize(
    ("more", "meaning"),
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "oh"}}, "unavailable"),
        ({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "oh"}}, "rate_limited"),
        ({"status": "in_progress"}, "invalid_json"),
        ({"status": "cancelled"}, "invalid_json"),
        ({"output": None}, "invalid_json"),
        ({"output": []}, "invalid_json"),
    ],
)
def test_what_is_no_answer_is_asked_again(more, meaning):
    """A failed response in HTTP 200, one that is not ended, one that says nothing; it costs what it counts."""
    again = Responses().read(200, response(**{"output": [], **more}), price=PRICE)
    assert isinstance(again, Again)
    assert again.reason == meaning
    assert again.cost_usd == pytest.approx(0.6 + 0.04 + 1.0)


def test_what_is_wrong_stays_wrong():
    """The provider's words for a prompt that it does not take, and for a quota."""
    failed = read(status="failed", error={"code": "invalid_prompt", "message": "no"})
    assert isinstance(failed, Failure)
    assert failed.reason == "rejected"
    assert isinstance(read(status="failed", error={"code": "insufficient_quota", "message": "no"}), Broken)


@pytest.mark.parametrize(
    "body",
    [
        response(said("Hi")),
        response(thought(), said("Wait.", phase="commentary"), called(), called('{"b": 1.5}', "c2")),
        response(said("Parcel"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        response({"type": "web_search_call", "id": "ws"}, said("größer \ud800")),
    ],
)
def test_the_quick_reading_is_the_patient_one(body):
    """Nearly all responses are read by their usual shape alone; the one that takes whatever comes says the same of them."""
    patient = counted(*Responses().read_patiently(body), PRICE, None, 5.0)
    assert repr(Responses().read_answer(body, price=PRICE, latency_ms=5.0)) == repr(patient)
