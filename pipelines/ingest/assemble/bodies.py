"""Bodies of requests and responses of the Responses and the Messages API as chat completions say them. Pure.

What one message or item says is read as imports read it (`message`); here is only where the two APIs keep what. Bodies are plain
JSON. A request's own members are taken out of it: what is left of them are its parameters; nothing inside of them is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.canonical.finish_reasons import finish_of_items, finish_reason
from pipelines.ingest.assemble import tool_schemas
from pipelines.ingest.assemble.leaves import said
from pipelines.ingest.assemble.messages import Read, read, system_messages

PARSED = frozenset({"parsed", "parsed_arguments", "parsed_output"})
"""Members of the SDKs' objects that say once more what a text beside them says, as an object: they are no part of a message."""
_STATE = ("previous_response_id", "conversation", "prompt")
"""Members of a request that stand for messages which the provider has."""
_UNSEEN = frozenset({"mcp_list_tools"})
"""Items that are neither messages nor stand for any."""
_MARK = "cache_control"
_PLAIN = 2
"""Members of a message that is a speaker and a text."""


@dataclass(slots=True)
class Asked:
    """What a request says.

    Attributes:
        messages: Its messages; those that are kept apart from the others (`instructions`, `system`) first.
        tools: Its tools.
        instructions: How many of the messages were kept apart.
        state: What names a history that the provider keeps, and `items` that only refer to others.
        marks: Marks for the provider's cache, by JSON Pointer: the model does not see them.
        other: Items that are no messages.
    """

    messages: list[dict[str, Any]]
    tools: list[Any]
    instructions: int
    state: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, Any] = field(default_factory=dict)
    other: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class Answered:
    """What a response says.

    Attributes:
        messages: What the model said.
        finish_reason: Why it stopped, as chat completions name it.
        error: What it says went wrong.
        stop_details: What it says beside of why the model stopped.
        other: Items that are no messages.
    """

    messages: list[dict[str, Any]]
    finish_reason: str | None = None
    error: Any = None
    stop_details: Any = None
    other: list[Any] = field(default_factory=list)


def _responses_request(body: dict[str, Any]) -> Asked:
    system = _system(body.pop("instructions", None))
    made = _read(body.pop("input", None))
    state = {name: body.pop(name) for name in _STATE if body.get(name) is not None}
    unseen = [each for each in made.other if each.get("type") not in _UNSEEN]
    state |= {"items": unseen} if unseen else {}
    for name in _STATE:
        body.pop(name, None)
    tools = [tool_schemas.of_responses(tool) for tool in body.pop("tools")]
    return Asked([*system, *_chats(made)], tools, len(system), state, other=made.other)


def _messages_request(body: dict[str, Any]) -> Asked:
    marks: dict[str, Any] = {}
    system, messages, tools = (
        _unmarked(body.pop(name, None), f"/{name}", marks) for name in ("system", "messages", "tools")
    )
    system, made = _system(system), _read(messages)
    tools = [tool_schemas.of_messages(tool) for tool in tools]
    state = {"items": made.other} if made.other else {}
    return Asked([*system, *_chats(made)], tools, len(system), state, marks, made.other)


def _unmarked(value: Any, at: str, marks: dict[str, Any]) -> Any:
    """Blocks without the marks of the provider's cache, which move along with the conversation; arguments keep theirs."""
    if not isinstance(value, list):
        return value
    blocks = []
    for index, each in enumerate(value):
        if isinstance(each, dict) and (_MARK in each or isinstance(each.get("content"), list)):
            block = {key: inner for key, inner in each.items() if key != _MARK}
            if each.get(_MARK) is not None:
                marks[f"{at}/{index}"] = each[_MARK]
            if "content" in block:
                block["content"] = _unmarked(block["content"], f"{at}/{index}/content", marks)
            blocks.append(block)
        else:
            blocks.append(each)
    return blocks


def _responses_answer(body: Mapping[str, Any]) -> Answered | None:
    output = body.get("output")
    if not isinstance(output, list):
        return None
    made = _read(output, "assistant")
    details = body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    is_odd = body.get("status") not in ("completed", "incomplete", None)
    messages = _chats(made)
    return Answered(
        messages,
        finish_of_items(messages, reason if isinstance(reason, str) else None),
        body.get("error") or None,
        {"status": body["status"]} if is_odd else None,
        made.other,
    )


def _messages_answer(body: Mapping[str, Any]) -> Answered | None:
    content, error = body.get("content"), body.get("error")
    if not isinstance(content, list | str):
        return Answered([], error=error) if error else None
    made = _read([{"role": "assistant", "content": content}] if content else [])
    more = {"stop_sequence": body.get("stop_sequence"), "details": body.get("stop_details")}
    return Answered(_chats(made), finish_reason(body.get("stop_reason")), error, said(more) or None, made.other)


READ_REQUEST: Mapping[str, Callable[[dict[str, Any]], Asked]] = {
    "responses": _responses_request,
    "messages": _messages_request,
}
"""By API: takes messages and tools out of a body, whose `tools` are a list."""
READ_RESPONSE: Mapping[str, Callable[[Mapping[str, Any]], Answered | None]] = {
    "responses": _responses_answer,
    "messages": _messages_answer,
}
"""By API: what a response says; None where it is none."""


def _system(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"role": "system", "content": value}] if value else []
    return [message.chat for message in system_messages(value)]


def _read(value: Any, role: str = "user") -> Read:
    """The messages of an input or output; a text in it is a text, whatever it looks like."""
    if isinstance(value, str):
        value = [{"role": role, "content": value}]
    return read([_as_parts(each, role) for each in value if each is not None] if isinstance(value, list) else [])


def _as_parts(item: Any, role: str) -> Any:
    """An item whose content is a list of parts, where it is a message; readers of logs look for JSON in a text."""
    if isinstance(item, str):
        item = {"role": role, "content": item}
    if not isinstance(item, dict) or "role" not in item:
        return item
    content = item.get("content")
    if isinstance(content, str):
        is_plain = len(item) == _PLAIN and content[:2] != "[{"  # where nobody looks for JSON
        return item if is_plain else {**item, "content": [{"type": "text", "text": content}]}
    if isinstance(content, list):
        return {**item, "content": [_unparsed(part) for part in content]}
    return item


def _unparsed(part: Any) -> Any:
    """A part without what the SDK made of its text."""
    return {key: value for key, value in part.items() if key not in PARSED} if isinstance(part, dict) else part


def _chats(made: Read) -> list[dict[str, Any]]:
    return [message.chat for message in made.messages]
