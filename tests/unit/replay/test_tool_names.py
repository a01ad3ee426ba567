"""Names and schemas of tools that providers do not take: on the wire in words that they do, in an answer as they were."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.sides import Api
from pipelines.replay.key import key_lines
from pipelines.replay.request import Head, Lines, Request
from pipelines.replay.wires.calls import wire_name
from pipelines.replay.wires.tools import function_tools
from tests.support.model_server import ModelServer

APIS: tuple[Api, ...] = get_args(Api)
ODD = ("crm.get order", "Größe/ändern", "x" * 200, "default_api:find", "面试", "")
FINE = ("get_order", "a-b_C9", "x" * 64)
NAMES = st.one_of(st.sampled_from((*ODD, *FINE)), st.text(max_size=150))


def tool(name: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    parameters = schema or {"type": "object", "properties": {}}
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": parameters}}


def request_of(api: Api, names: tuple[str, ...], tools: list[dict[str, Any]] | None = None, **params: Any) -> Request:
    """Every tool was called once, and answered."""
    bound = {"max_tokens": 99} if api == "messages" else {}
    lines = Lines(Head("m", bound | params, [tool(name) for name in names] if tools is None else tools, api=api))
    lines.add({"role": "user", "content": "Hi"})
    for place, name in enumerate(names):
        call = {"id": f"call_{place}_0", "type": "function", "function": {"name": name, "arguments": "{}"}}
        lines.add({"role": "assistant", "content": None, "tool_calls": [call]})
        lines.add({"role": "tool", "tool_call_id": f"call_{place}_0", "content": "done"})
    return lines.request("u", "candidate", 0, ("s", 1), lambda: (1, {}))


@given(st.lists(NAMES, unique=True), st.sampled_from([64, 128]))
def test_a_name_is_one_that_providers_take_and_another_one_for_every_name(names, longest):
    """What is fine stays as it is."""
    sent = [wire_name(name, longest) for name in names]
    assert len(set(sent)) == len(names)
    for name, wire in zip(names, sent, strict=True):
        is_fine = re.fullmatch(f"[A-Za-z0-9_-]{{1,{longest}}}", name) is not None
        assert re.fullmatch(f"[A-Za-z0-9_-]{{1,{longest}}}", wire)
        assert (wire == name) == is_fine


@pytest.mark.parametrize("api", APIS)
def test_a_tool_is_called_by_the_name_that_it_was_offered_under(api):
    """A server that refuses what providers refuse takes the request; its calls come back under the recorded names, which are
    those of the key; a note says so, and says nothing where every name is fine."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        names = [each["function"]["name"] for each in body["tools"]]
        called = [call["function"]["name"] for each in body["messages"] for call in each.get("tool_calls") or ()]
        assert called == names
        calls = [
            {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": "{}"}}
            for place, name in enumerate(names)
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}

    server = ModelServer(answer=answer)
    for names, codes in (((*ODD, *FINE), ["tool_renamed"]), (FINE, [])):
        request = request_of(api, names)
        assert [note.code for note in request.notes()] == codes
        status, _, document = server.reply(api, json.loads(request.body()))
        assert status == 200, document
        read = request.head.wire.read(status, json.dumps(document).encode())
        assert isinstance(read, Reply)
        reply = request.read(read)
        assert isinstance(reply, Reply)
        assert [call.name for call in reply.tool_calls] == list(names)
        said = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": names[0], "arguments": "{}"}}]}
        assert names[0].encode() in key_lines([said])


def test_a_tool_of_free_text_with_such_a_name_is_still_one():
    """Over each wire: it is offered, called and read under its own name, its text as it is."""
    custom = {"type": "custom", "custom": {"name": "run.code", "description": "d"}}
    for api in APIS:
        request = request_of(api, (), [custom])
        (wire,) = request.head.frame.names
        assert wire.encode() in request.body()
        assert b"run.code" not in request.body()
        reply = request.read(Reply(None, [ToolCall(wire, {"input": "1 + 1"} if api != "responses" else "1 + 1")]))
        assert isinstance(reply, Reply)
        assert reply.tool_calls == (ToolCall("run.code", "1 + 1"),)


def test_a_choice_of_a_tool_names_it_as_the_wire_does():
    """Parameters go as they stand otherwise."""
    chat = {"type": "function", "function": {"name": "crm.get order"}}
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "crm.get order"}]}
    for api, choice in (
        ("chat", chat),
        ("responses", allowed),
        ("messages", {"type": "tool", "name": "crm.get order"}),
    ):
        request = request_of(api, ("crm.get order",), tool_choice=choice, metadata={"name": "a b"})
        body = json.loads(request.body())
        text = json.dumps(body["tool_choice"])
        assert json.loads(text.replace(next(iter(request.head.frame.names)), "crm.get order")) == choice
        assert "crm.get order" not in text
        assert body["metadata"] == {"name": "a b"}
        assert json.loads(request_of(api, FINE, tool_choice="auto").body())["tool_choice"] == "auto"


def test_what_a_search_for_tools_found_is_named_as_it_is_offered():
    """A reference in a result says the wire's name."""
    request = request_of("messages", ("crm.get order",))
    lines = Lines(request.head, request.decision.messages[:-1])
    found = [{"type": "tool_reference", "tool_name": name} for name in ("crm.get order", "get_order")]
    lines.add({"role": "tool", "tool_call_id": "call_0_0", "content": found})
    body = json.loads(lines.request("u", "candidate", 0, ("s", 1), lambda: (1, {})).body())
    (result,) = body["messages"][-1]["content"]
    assert [part["tool_name"] for part in result["content"]] == [body["tools"][0]["name"], "get_order"]
    assert body["tools"][0]["name"] == wire_name("crm.get order", 128)


def dicts(kind: str) -> dict[str, Any]:
    """A schema in other words for its types at every depth; members that hold values hold some that look like schemas."""
    number, text = {"dict": ("float", "STRING"), "object": ("number", "string")}[kind]
    listed = {"dict": ["tuple", "None"], "object": ["array", "null"]}[kind]
    inner = {"type": kind, "properties": {"type": {"type": text}, "rows": {"type": listed, "items": {"type": number}}}}
    return {
        "type": kind,
        "properties": {"a": inner, "b": {"anyOf": [inner, {"type": number, "default": {"type": "float"}}]}},
        "additionalProperties": {"type": kind, "enum": [{"type": "dict"}]},
        "$defs": {"c": inner},
        "required": ["a"],
    }


@pytest.mark.parametrize("api", APIS)
def test_a_schema_says_its_types_in_the_words_of_json_schema(api):
    """At every depth, and nothing else of it changes; a server that refuses other words takes it."""
    (sent,) = function_tools([tool("f", dicts("dict"))])
    assert sent["function"]["parameters"] == dicts("object")
    known = tool("f", dicts("object"))
    assert function_tools([known])[0] is known
    body = json.loads(request_of(api, (), [tool("f", dicts("dict"))]).body())
    assert ModelServer().reply(api, body)[0] == 200


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        ("any", None),
        ("date", None),
        ("", None),
        (7, None),
        ([], None),
        (["string", "date"], None),
        (["STRING", "NoneType", "null"], ["string", "null"]),
        ("int, optional", "integer"),
        ("list[str]", "array"),
        ("Optional[Dict[str, Any]]", "object"),
        ("string (ISO date)", "string"),
        ("integer", "integer"),
    ],
)
def test_a_type_is_the_first_word_for_one_and_left_out_without_any(told, sent):
    """As generators from doc strings write them; what is left out leaves the rest as it is."""
    schema = {"type": "object", "properties": {"a": {"type": told, "description": "x"}}}
    (made,) = function_tools([tool("f", schema)])
    own = made["function"]["parameters"]["properties"]["a"]
    assert own == {"description": "x", **({"type": sent} if sent else {})}


def test_a_schema_without_end_goes_out():
    """Deeper than anybody means."""
    deep: dict[str, Any] = {"type": "dict"}
    for _ in range(400):
        deep = {"type": "dict", "properties": {"a": deep}}
    assert function_tools([tool("f", deep)])[0]["function"]["parameters"]["type"] == "object"
