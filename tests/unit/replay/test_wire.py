"""What endpoints are sent: the rendered messages in a form that the strict ones take, and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.canonical.content import text_of_prompt
from pipelines.experiment.decision import Reply, ToolCall
from pipelines.log.context import Context, request_sha256
from pipelines.replay.request import Head, Lines
from pipelines.replay.wires.calls import from_wire, wire_id
from pipelines.replay.wires.chat import wire_message
from pipelines.replay.wires.tools import function_tools


def body_of(messages: list[dict[str, Any]], *tools: dict[str, Any]) -> dict[str, Any]:
    lines = Lines(Head("m", {}, tools))
    lines.add(*messages)
    sent: dict[str, Any] = json.loads(lines.request("u", "candidate", 0, ("s", 1), lambda: (1, {})).body())
    return sent


def call(number: int, place: int, arguments: str = "{}", name: str = "f") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{number}_{place}", "type": "function", "function": function}


names = st.sampled_from(["f", "g"])
events = st.lists(
    st.one_of(
        st.tuples(st.just("user"), st.text(max_size=3)),
        st.tuples(st.just("call"), st.sampled_from(["a", "b", None])),
        st.tuples(st.just("result"), st.sampled_from(["a", "b", "z", None])),
        st.tuples(st.just("say"), st.text(max_size=3) | st.none()),
    ),
    max_size=30,
)


@given(events)
def test_ids_are_nine_letters_or_digits_and_pair_the_same_calls(listed):
    """Whatever was recorded: every id is one that strict endpoints take, none is there twice, results answer the calls that they
    answered as rendered, everything else is what was rendered, and the hash is over that."""
    context = Context()
    for place, (kind, value) in enumerate(listed):
        meta = {"message_id": f"m{place // 3}", "actor": "agent"}
        if kind == "user":
            context.apply("user.utterance", {"text": value}, {"message_id": f"u{place}", "actor": "user"})
        elif kind == "call":
            context.apply("tool.call", {"call_id": value, "name": "f", "arguments": {}}, meta)
        elif kind == "result":
            context.apply("tool.result", {"call_id": value, "output": "x", "error": None}, {"actor": "service"})
        else:
            context.apply("agent.utterance", {"text": value}, meta)
    sent = body_of(context.messages)["messages"]
    asked = [each["id"] for message in sent for each in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in sent if message["role"] == "tool"]
    assert len(set(asked)) == len(asked)
    assert len(set(answered)) == len(answered)
    assert all(re.fullmatch("[a-z0-9]{9}", each) for each in (*asked, *answered))
    rendered = [each["id"] for message in context.messages for each in message.get("tool_calls", ())]
    results = [message["tool_call_id"] for message in context.messages if message["role"] == "tool"]
    again = dict(zip((*asked, *answered), (*rendered, *results), strict=True))
    assert [again[each] for each in (*asked, *answered)] == [*rendered, *results]
    for before, after in zip(context.messages, sent, strict=True):
        changed = {"tool_calls", "tool_call_id"} | ({"content"} if before["content"] is None else set())
        assert {k: v for k, v in before.items() if k not in changed} == {
            k: v for k, v in after.items() if k not in changed
        }
        assert after["content"] is not None or after.get("tool_calls")
    lines = Lines(Head("m"))
    lines.add(*context.messages)
    request = lines.request("u", "candidate", 0, ("s", 1), lambda: (1, {}))
    assert request.sha256 == request_sha256(context.messages, model="m")
    assert request.body() == request.body()


def test_ids_differ_for_any_number_of_calls():
    """Hundreds of calls of one message, and hundreds of thousands; results that answer nothing; ids of other making."""
    ids = [f"call_{message}_{place}" for message in (0, 1, 2, 36, 99_999) for place in (0, 1, 35, 36, 500, 999_999)]
    ids += [f"call_1_{place}" for place in range(2, 700) if place not in (35, 36, 500)]
    ids += [f"call_none_{message}" for message in (0, 1, 2, 36, 99_999)]
    ids += ["toolu_01A", "call_x_1", "", "call_1_2 "]
    sent = [wire_id(each) for each in ids]
    assert len(set(sent)) == len(ids)
    assert all(re.fullmatch("[a-z0-9]{9}", each) for each in sent)


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ({"role": "system", "content": [{"type": "text", "text": "You "}, "serve."]}, {"content": "You serve."}),
        ({"role": "developer", "content": [{"text": "Be kind."}]}, {"content": "Be kind."}),
        ({"role": "system", "content": []}, {"content": ""}),
        ({"role": "system", "content": [{"type": "image_url", "image_url": {}}]}, {}),
        ({"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {}),
        ({"role": "user", "name": "Ines", "content": "Hi"}, {}),
        ({"role": "user", "name": "Ines da <Silva>", "content": "Hi"}, {"name": "Ines_da_Silva_"}),
        ({"role": "user", "name": "x" * 99, "content": "Hi"}, {"name": "x" * 64}),
        ({"role": "assistant", "name": "plänner", "content": "Hi"}, {}),
        ({"role": "assistant", "content": None}, {"content": ""}),
        ({"role": "assistant", "content": []}, {"content": ""}),
        ({"role": "assistant", "content": "I cannot."}, {}),
        ({"role": "assistant", "content": None, "reasoning_content": "hm"}, {"content": ""}),
    ],
)
def test_a_message_goes_out_as_strict_endpoints_take_it(message, sent):
    """Prompts as text, names without blanks, nobody with nothing to say; what is fine is the same object."""
    given_message = dict(message)
    assert wire_message(message) == {**message, **sent}
    assert message == given_message
    assert bool(sent) or wire_message(message) is message
    assert body_of([message])["messages"] == [{**message, **sent}]


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        ),
        (
            {"type": "input_image", "image_url": "http://h/a.png", "detail": "low"},
            {"type": "image_url", "image_url": {"url": "http://h/a.png", "detail": "low"}},
        ),
        (
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                "title": "A",
            },
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "A"}},
        ),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, None),
        ({"type": "image_url", "image_url": {"url": "http://h/a.png"}}, None),
        ({"type": "input_audio", "input_audio": {}}, None),
    ],
)
def test_a_picture_of_another_wire_goes_out_in_the_words_of_this_one(part, sent):
    """Those that have a form here; others stay as they were recorded."""
    text = {"type": "text", "text": "See"}
    message = {"role": "user", "content": [text, part]}
    assert wire_message(message) == {"role": "user", "content": [text, sent or part]}


def test_a_name_of_nothing_is_no_name():
    """An empty one is not sent."""
    assert wire_message({"role": "user", "name": "", "content": "Hi"}) == {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("", "{}"),
        ("  ", "{}"),
        ("print(2 + 3)", '{"input": "print(2 + 3)"}'),
        ("größer", '{"input": "größer"}'),
        ('{"a": 1', '{"a": 1'),
        ("null", "null"),
    ],
)
def test_arguments_go_out_as_json(arguments, sent):
    """None are an empty object, free text is one argument; what a model broke off is what it said."""
    message = {"role": "assistant", "content": None, "tool_calls": [call(0, 0, arguments)]}
    assert body_of([message])["messages"][0]["tool_calls"][0]["function"]["arguments"] == sent


CUSTOM = {"type": "custom", "custom": {"name": "run", "description": "Runs code.", "format": {"type": "text"}}}
FLAT = {"type": "custom", "name": "run", "description": "Runs code."}


@pytest.mark.parametrize("tool", [CUSTOM, FLAT])
def test_a_tool_of_free_text_is_offered_as_a_function_and_read_as_what_it_is(tool):
    """Endpoints that know functions alone are asked with one argument; the answer is free text again, as recorded."""
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [call(0, 0, '{"a": 1}', "run"), call(0, 1, "x", "run")],
    }
    body = body_of([message], tool)
    (offered,) = body["tools"]
    assert offered["type"] == "function"
    assert offered["function"]["name"] == "run"
    assert offered["function"]["description"] == "Runs code."
    assert offered["function"]["parameters"]["required"] == ["input"]
    sent = [json.loads(each["function"]["arguments"]) for each in body["messages"][0]["tool_calls"]]
    assert sent == [{"input": '{"a": 1}'}, {"input": "x"}]
    lines = Lines(Head("m", {}, (tool,)))
    request = lines.request("u", "candidate", 0, ("s", 1), lambda: (1, {}))
    answer = Reply(
        None, (ToolCall("run", {"input": "print(1)"}), ToolCall("other", {"input": "x"}), ToolCall("run", "y"))
    )
    read = request.read(answer)
    assert isinstance(read, Reply)
    assert [each.arguments for each in read.tool_calls] == ["print(1)", {"input": "x"}, "y"]
    assert from_wire({"input": 5}) == {"input": 5}


def test_a_tool_of_free_text_says_what_form_it_takes():
    """A grammar has no place in a function's schema; it is told in words."""
    form = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    (offered,) = function_tools([{"type": "custom", "custom": {"name": "run", "format": form}}])
    text = offered["function"]["parameters"]["properties"]["input"]
    assert text == {"type": "string", "description": f"Must be of this form: {json.dumps(form)}"}


def test_a_function_without_its_wrapper_gets_it():
    """As other interfaces write them; one that is written as usual is the same object."""
    usual = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    flat = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    named = {"name": "f", "input_schema": {"type": "object"}}
    assert function_tools([usual, flat, named]) == [usual] * 3
    assert function_tools([usual])[0] is usual


@given(st.lists(st.text(max_size=3)))
def test_a_prompts_parts_are_its_text(texts):
    """In order, with nothing between them."""
    assert text_of_prompt([{"type": "text", "text": text} for text in texts]) == "".join(texts)


def test_texts_of_parts_go_out_in_the_words_of_this_wire():
    """Parts that hold their text by another name, or are of a type that another wire has, are text here."""
    parts = [{"type": "text", "content": "a"}, {"type": "input_text", "text": "b"}, {"text": "c"}]
    sent = body_of([{"role": role, "content": parts} for role in ("system", "user")])
    assert sent["messages"][0]["content"] == "abc"
    assert sent["messages"][1]["content"] == [{"type": "text", "text": text} for text in "abc"]


@pytest.mark.parametrize("kind", [None, "dict"])
def test_a_function_has_the_members_that_endpoints_know(kind):
    """A schema is that of an object, and what stands beside it in a recorded definition is left out."""
    schema = {"properties": {"a": {"type": "string"}}} | ({"type": kind} if kind else {})
    (sent,) = function_tools([{"type": "function", "function": {"name": "f", "parameters": schema, "required": ["a"]}}])
    assert sent == {"type": "function", "function": {"name": "f", "parameters": {**schema, "type": "object"}}}
    known = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    assert function_tools([known])[0] is known
