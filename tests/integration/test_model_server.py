"""The test server is read and written to by the providers' own clients, over each of its wires, and refuses what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.support.model_server import ModelServer, serving
from tests.support.wires import form
from tests.support.wires.form import Tokens, seal
from tests.support.wires.quirks import NOWHERE, QUIRKS
from tests.support.wires.scripted import essence, scripted_answer
from tests.support.wires.wires import WIRES, Api

PARAMETERS = {
    "type": "object",
    "properties": {"key": {"type": "string"}},
    "additionalProperties": False,
    "required": ["key"],
}
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": PARAMETERS}
CHAT_TOOL: Any = {"type": "function", "function": TOOL}
FLAT_TOOL: Any = {"type": "function", "strict": False, **TOOL}
NAMED_TOOL: Any = {"name": "look_up", "description": "Looks up.", "input_schema": PARAMETERS}
PROMPT, WISH = "You serve a shop.", "Where is my parcel? It is late."
COUNTS = Tokens(given=100, made=20, cached=30, thought=5)


class Place(BaseModel):
    town: str
    days: int


class Asked:
    """The providers' clients, at the address of one wire."""

    def __init__(self, server: ModelServer, api: Api) -> None:
        address = server.address(api)
        self.openai = openai.OpenAI(base_url=address, api_key="k", max_retries=0)
        self.anthropic = anthropic.Anthropic(base_url=address, api_key="k", max_retries=0)


def over_chat(asked: Asked, *, streams: bool) -> list[Any]:
    create = asked.openai.chat.completions
    messages: list[Any] = [{"role": "system", "content": PROMPT}, {"role": "user", "content": WISH}]
    found = []
    for _ in range(2):
        given: dict[str, Any] = {"model": "m", "messages": messages, "tools": [CHAT_TOOL]}
        if streams:
            with create.stream(**given, stream_options={"include_usage": True}) as events:
                done: Any = events.get_final_completion()
        else:
            done = create.create(**given)
        (choice,) = done.choices
        calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or ()]
        cached = done.usage.prompt_tokens_details.cached_tokens
        found.append(
            [choice.message.content or None, calls, done.usage.prompt_tokens, cached, done.usage.completion_tokens]
        )
        messages.append(choice.message.model_dump(exclude_none=True, exclude={"tool_calls": {"__all__": {"index"}}}))
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": "late"} for call in choice.message.tool_calls or ()
        ]
    return found


def over_responses(asked: Asked, *, streams: bool) -> list[Any]:
    create = asked.openai.responses
    items: list[Any] = [{"role": "user", "content": WISH}]
    found = []
    for _ in range(2):
        given: dict[str, Any] = {"model": "m", "instructions": PROMPT, "input": items, "tools": [FLAT_TOOL]}
        given |= {"store": False, "include": ["reasoning.encrypted_content"]}
        if streams:
            with create.stream(**given) as events:
                done: Any = events.get_final_response()
        else:
            done = create.create(**given)
        said = [item for item in done.output if item.type == "function_call"]
        calls = [(item.name, json.loads(item.arguments)) for item in said]
        usage = done.usage
        found.append(
            [
                done.output_text or None,
                calls,
                usage.input_tokens,
                usage.input_tokens_details.cached_tokens,
                usage.output_tokens,
            ]
        )
        items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments", "parsed"}) for item in done.output]
        items += [{"type": "function_call_output", "call_id": item.call_id, "output": "late"} for item in said]
    return found


def over_messages(asked: Asked, *, streams: bool) -> list[Any]:
    create = asked.anthropic.messages
    messages: list[Any] = [{"role": "user", "content": WISH}]
    found = []
    for _ in range(2):
        given: dict[str, Any] = {
            "model": "m",
            "max_tokens": 99,
            "system": PROMPT,
            "messages": messages,
            "tools": [NAMED_TOOL],
        }
        if streams:
            with create.stream(**given) as events:
                done: Any = events.get_final_message()
        else:
            done = create.create(**given)
        calls = [(block.name, block.input) for block in done.content if block.type == "tool_use"]
        text = "".join(block.text for block in done.content if block.type == "text") or None
        usage = done.usage
        given_tokens = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
        found.append([text, calls, given_tokens, usage.cache_read_input_tokens, usage.output_tokens])
        messages.append(
            {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in done.content]}
        )
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "late"}
            for block in done.content
            if block.type == "tool_use"
        ]
        messages.append({"role": "user", "content": results})
    return found


CLIENTS: dict[Api, Callable[..., list[Any]]] = {
    "chat": over_chat,
    "responses": over_responses,
    "messages": over_messages,
}


@pytest.mark.parametrize("streams", [False, True])
def test_one_model_answers_the_clients_alike(streams: bool) -> None:
    """Calls, texts and counts of two calls of one loop, plain or streamed, over each wire; its reasoning is brought back, or the
    second call would be refused."""
    with serving(answer=scripted_answer, count=lambda _body: COUNTS, quirk=lambda _body: "thinking") as server:
        found = {api: ask(Asked(server, api), streams=streams) for api, ask in CLIENTS.items()}
    (_, calls, *counts), (text, none, *_) = found["chat"]
    assert [name for name, _ in calls] == ["look_up"]
    assert text.startswith("Answer ")
    assert (none, counts) == ([], [100, 30, 20])
    assert found["responses"] == found["messages"] == found["chat"]


def test_the_clients_parse_what_they_asked_for() -> None:
    """A schema goes to the model over each wire, and an object of it comes back."""
    with serving(answer=scripted_answer) as server:
        asked = Asked(server, "chat")
        messages: list[Any] = [{"role": "user", "content": WISH}]
        chat: Any = asked.openai.chat.completions.parse(model="m", messages=messages, response_format=Place)
        response: Any = asked.openai.responses.parse(model="m", input=WISH, text_format=Place)
        client = Asked(server, "messages").anthropic
        message: Any = client.messages.parse(model="m", max_tokens=99, messages=messages, output_format=Place)
    (block,) = message.content
    assert chat.choices[0].message.parsed == response.output_parsed == block.parsed_output
    assert response.output_parsed.days == 7


def test_responses_are_kept_unless_told_not_to() -> None:
    """`previous_response_id` and `conversation` stand for what went before; what was not kept is not found."""
    said: list[Any] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        said.append(essence(body))
        return {"role": "assistant", "content": "Yes."}

    with serving(answer=answer) as server:
        create = Asked(server, "responses").openai.responses.create
        first = create(model="m", input="One?")
        create(model="m", input="Two?", previous_response_id=first.id)
        create(model="m", input="One?", conversation="conv_1", store=False)
        create(model="m", input="Two?", conversation="conv_1", store=False)
        unkept = create(model="m", input="Three?", store=False)
        with pytest.raises(openai.BadRequestError, match=f"Previous response with id '{unkept.id}' not found"):
            create(model="m", input="Four?", previous_response_id=unkept.id)
    whole = [("prompt", ""), ("user", "One?"), ("assistant", "Yes."), ("user", "Two?")]
    assert said[1] == said[3] == whole


def test_a_stream_breaks_off_where_it_is_told_to() -> None:
    """So many events of it come, then an error that the clients name."""
    with serving(answer=scripted_answer, events=3) as server:
        opened = Asked(server, "chat").openai, Asked(server, "messages").anthropic
        streams: list[tuple[Any, dict[str, Any], int]] = [
            (opened[0].chat.completions, {"messages": [USER]}, 3),
            (opened[0].responses, {"input": WISH}, 3),
            (opened[1].messages, {"messages": [USER], "max_tokens": 99}, 2),  # a ping is not told
        ]
        for create, given, told in streams:
            assert len(list(until_it_breaks(create.create(model="m", stream=True, **given)))) == told


def until_it_breaks(events: Iterable[Any]) -> Iterator[Any]:
    """What comes before the connection breaks off, which it must."""
    try:
        yield from events
    except (openai.APIConnectionError, httpx.RemoteProtocolError):
        return
    pytest.fail("the stream ended as if it were whole")


USER: Any = {"role": "user", "content": "Hello"}
USE: Any = {"type": "tool_use", "id": "a", "name": "look_up", "input": {}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "a", "content": "late"}
CALL: Any = {"type": "function_call", "call_id": "a", "name": "look_up", "arguments": "{}"}
OUTPUT: Any = {"type": "function_call_output", "call_id": "a", "output": "late"}
THOUGHT: Any = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}


def said(*blocks: Any, role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": [*blocks]}


def message(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [*messages], **more}


def response(*items: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "input": [*items], **more}


REFUSALS: list[tuple[Api, str, dict[str, Any]]] = [
    ("messages", "max_tokens: Field required", {"model": "m", "messages": [USER]}),
    ("messages", "seed: Extra inputs are not permitted", message(USER, seed=7)),
    ("messages", "temperature: range: 0..1", message(USER, temperature=1.5)),
    ("messages", "text content blocks must be non-empty", message(said({"type": "text", "text": ""}, role="user"))),
    ("messages", "must contain non-whitespace", message({"role": "user", "content": " "})),
    ("messages", "must have non-empty content", message(USER, said(), USER)),
    ("messages", 'Unexpected role "system"', message({"role": "system", "content": "x"}, USER)),
    ("messages", "roles must alternate", message(USER, USER)),
    ("messages", 'must use the "user" role', message({"role": "assistant", "content": "x"}, USER)),
    ("messages", "without `tool_result` blocks immediately after: a", message(USER, said(USE), USER)),
    ("messages", "without `tool_result` blocks immediately after: a", message(USER, said(USE))),
    (
        "messages",
        "without `tool_result` blocks immediately after: a",
        message(USER, said(USE), said({"type": "text", "text": "so"}, RESULT, role="user")),
    ),
    ("messages", "unexpected `tool_use_id` found", message(said(RESULT, role="user"))),
    ("messages", "must have a single result", message(USER, said(USE), said(RESULT, RESULT, role="user"))),
    (
        "messages",
        "`tool_use` ids must be unique",
        message(USER, said(USE), said(RESULT, role="user"), said(USE), said(RESULT, role="user")),
    ),
    ("messages", "tool_use.id: String should match", message(USER, said({**USE, "id": "call 1"}), USER)),
    ("messages", "input: Input should be a valid dictionary", message(USER, said({**USE, "input": "{}"}), USER)),
    (
        "messages",
        "thinking.signature: Field required",
        message(USER, said({"type": "thinking", "thinking": "x"}), USER),
    ),
    (
        "messages",
        "Invalid `signature` in `thinking` block",
        message(USER, said({"type": "thinking", "thinking": "x", "signature": seal("y")}), USER),
    ),
    (
        "messages",
        "found `tool_use`. When `thinking` is enabled",
        message(
            USER,
            said(USE),
            said(RESULT, role="user"),
            thinking={"type": "enabled", "budget_tokens": 1024},
            max_tokens=2048,
        ),
    ),
    ("messages", "tools.0.custom.input_schema: Field required", message(USER, tools=[{"name": "x"}])),
    ("messages", "tools.0.custom.parameters: Extra inputs", message(USER, tools=[{**NAMED_TOOL, "parameters": {}}])),
    ("responses", "Unknown parameter: 'seed'", response(USER, seed=7)),
    ("responses", "moved to 'max_output_tokens'", response(USER, max_tokens=7)),
    ("responses", "Expected a value >= 16, but got 5", response(USER, max_output_tokens=5)),
    ("responses", "No tool call found for function call output with call_id a", response(USER, OUTPUT)),
    ("responses", "No tool output found for function call a", response(USER, CALL)),
    ("responses", "Duplicate function call found", response(USER, CALL, OUTPUT, CALL, OUTPUT)),
    ("responses", "without its required following item", response(USER, THOUGHT)),
    ("responses", "without its required following item", response(THOUGHT, USER)),
    ("responses", "Items are not persisted", response({**THOUGHT, "encrypted_content": None}, CALL, OUTPUT)),
    (
        "responses",
        "encrypted content for item rs_1 could not be verified",
        response({**THOUGHT, "encrypted_content": seal("y")}, CALL, OUTPUT),
    ),
    ("responses", "Expected an ID that begins with 'fc'", response(USER, {**CALL, "id": "call_1"}, OUTPUT)),
    ("responses", "string too long", response(USER, {**CALL, "call_id": "a" * 65}, {**OUTPUT, "call_id": "a" * 65})),
    ("responses", "Unknown parameter: 'input[0].name'", response({**USER, "name": "Ines"})),
    (
        "responses",
        "Supported values are: 'output_text' and 'refusal'",
        response(said({"type": "input_text", "text": "x"})),
    ),
    ("responses", "Missing required parameter: 'tools[0].name'", response(USER, tools=[CHAT_TOOL])),
]


@pytest.mark.parametrize(("api", "words", "body"), REFUSALS)
def test_it_refuses_what_the_provider_refuses(api: Api, words: str, body: dict[str, Any]) -> None:
    """Each in the provider's words, as an error of its form."""
    status, _, document = ModelServer().reply(api, body)
    assert status in (400, 404)
    assert words in document["error"]["message"]


def test_a_request_of_messages_names_its_version() -> None:
    """A header without which Anthropic answers nobody."""
    status, _, document = ModelServer().reply("messages", message(USER), headers={})
    assert (status, document["error"]["message"]) == (400, "anthropic-version: header is required")


def test_each_habit_is_on_each_wire_or_said_to_be_nowhere() -> None:
    """No gap in the table, and none of it is there twice."""
    wanted = {(name, api) for name in QUIRKS for api in WIRES}
    here = {(name, api) for name, wires in QUIRKS.items() for api in wires}
    assert here | NOWHERE.keys() == wanted
    assert not here & NOWHERE.keys()


def test_seals_hold_their_text() -> None:
    """A seal of this server is known again; one of somebody else's is not judged."""
    assert not form.is_broken_seal("x", seal("x"))
    assert form.is_broken_seal("x", seal("y"))
    assert not form.is_broken_seal("x", "EqQBCkgIARAB")
