"""One recorded message as the messages of a chat that it says: a result of a tool may stand inside a person's, a call by itself.

OpenAI chat completions and Responses items, Anthropic and Bedrock blocks, LangChain constructors and type/data, GenAI and Gemini
parts, Vercel's parts, and what some emitters make of these. Nothing is lost: a field or part that has no place in the chat shape
stays on the message.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.leaves import leaves, said
from pipelines.ingest.assemble.parts import Said, call_of, is_parts, reasoning_of, result_of
from pipelines.ingest.assemble.rows import Message
from pipelines.ingest.dialects import UNREAD_FIELDS

ROLES = {
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "agent": "assistant",
    "bot": "assistant",
    "function": "tool",
    "tool_result": "tool",
}
"""Roles by their names in chat completions, where these are others; any other role is a user's."""
CHAT_ROLES = ("system", "developer", "user", "assistant", "tool")
_LANGCHAIN = {
    "HumanMessage": "user",
    "AIMessage": "assistant",
    "SystemMessage": "system",
    "ToolMessage": "tool",
    "FunctionMessage": "tool",
}
ITEM_CALLS = ("function_call", "custom_tool_call")
ITEM_RESULTS = ("function_call_output", "custom_tool_call_output", "computer_call_output", "local_shell_call_output")
_SAYING = ("role", "content", "parts", "kwargs", "data", "tool_calls")
_MOST_REPR = 1_000_000
"""Characters of a Python literal that are read; a longer one stays text."""
_NOTHING = Said()
"""What a content without parts came to; nothing is added to it."""


def decoded(value: Any) -> Any:
    """JSON that stands in a text, or the Python literal of it, where it can hold messages; else the text."""
    if not isinstance(value, str):
        return value
    start = value[:64].lstrip()[:2]
    if start[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    if len(value) <= _MOST_REPR and start in ("[{", "{'"):
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            pass
    return value


def content_of(value: Any) -> Any:
    """A content as the chat shape has it: parts by their names there, one that is nothing but text as this text."""
    if not isinstance(value, list):
        return value
    parts = Said()
    for part in value:
        parts.add(part)
    return _plain(parts.content)


def _plain(content: list[Any]) -> Any:
    """Parts as they are; one part that is nothing but text as this text."""
    if (
        len(content) == 1
        and isinstance(content[0], dict)
        and content[0].keys() == {"type", "text"}
        and content[0]["type"] == "text"
    ):
        return content[0]["text"]
    return content


def messages_of(value: dict[str, Any], role: str = "user") -> list[Message]:
    """The messages that one recorded message says; Anthropic's of a person holds results of tools, too, and these come first."""
    count = leaves(value)
    given, known_id = _given(value, role)
    made = list(_chats(given, role))
    if made:
        made[-1].setdefault("role", role)
    messages = [Message(chat, known_id if n == len(made) - 1 else None) for n, chat in enumerate(made)]
    if messages:
        messages[-1].leaves = count
    return messages


def says_message(value: dict[str, Any]) -> bool:
    """Whether an object is a message, or an item that is one, and not something else that stands among them."""
    kind = value.get("type")
    if kind in ITEM_CALLS or kind in ITEM_RESULTS or (isinstance(kind, str) and kind.endswith("_call")):
        return True
    if value.get("role") is not None:  # as nearly all have
        return True
    return any(value.get(name) is not None for name in _SAYING) or is_tool_call(value)


def _given(value: dict[str, Any], role: str) -> tuple[dict[str, Any], str | None]:
    """The fields of a message, whatever stands around them, and what names it for good."""
    if value.get("lc") and isinstance(value.get("id"), list) and isinstance(value.get("kwargs"), dict):
        name = str(value["id"][-1]).removesuffix("Chunk") if value["id"] else ""
        given = {k: v for k, v in value["kwargs"].items() if k != "type"}
        given["role"] = _LANGCHAIN.get(name) or given.get("role") or role
        return _langchain(given)
    kind = value.get("type")
    if kind in ("human", "ai", "system", "tool") and "role" not in value:
        data = {**value, **value["data"]} if isinstance(value.get("data"), dict) else value
        return _langchain({**{k: v for k, v in data.items() if k not in ("type", "data")}, "role": kind})
    given = dict(value)
    if kind == "message":
        del given["type"]
        item = given.pop("id", None)
        return given | ({"item_id": item} if item else {}), None
    return _langchain(given) if isinstance(given.get("additional_kwargs"), dict) else (given, None)


def _langchain(given: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Fields of a LangChain message; calls as the model wrote them stand in `additional_kwargs`, where they are kept at all."""
    beside = given.pop("additional_kwargs", None)
    more = dict(beside) if isinstance(beside, dict) else {"value": beside}
    if more.get("tool_calls"):
        given["tool_calls"] = more.pop("tool_calls")
    elif more.get("function_call") and not given.get("tool_calls"):
        given["function_call"] = more.pop("function_call")
    else:
        more.pop("tool_calls", None)
    for call in _objects(given.pop("invalid_tool_calls", None)):
        given["tool_calls"] = [*(given.get("tool_calls") or ()), call]
    if said(more):
        given["additional_kwargs"] = said(more)
    known = given.pop("id", None) if given.get("role") != "tool" or "tool_call_id" in given else None
    if given.get("role") == "tool" and given.get("status") == "error":
        given.setdefault("error", True)
    return given, known if isinstance(known, str) and known else None


def _chats(given: dict[str, Any], role: str) -> Iterator[dict[str, Any]]:
    """The chat messages of one recorded message."""
    kind = given.get("type")
    if kind in ITEM_CALLS or (kind is None and "role" not in given and is_tool_call(given)):
        yield {"role": "assistant", "content": None, "tool_calls": [call_of(given)]}
        return
    if kind in ITEM_RESULTS:
        yield result_of(given)
        return
    if isinstance(kind, str) and kind.endswith("_call") and "role" not in given:
        yield from _hosted(given, kind)
        return
    yield from _spoken(given, role)


def is_tool_call(value: dict[str, Any]) -> bool:
    """Whether an object is a call of a tool by itself, as the Vercel SDK lists them."""
    return isinstance(value.get("toolName"), str) and "toolCallId" in value


def _hosted(given: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    """A tool that the provider ran: call and result are one item, which stays whole on the call."""
    name = given.get("name") if isinstance(given.get("name"), str) else kind.removesuffix("_call")
    arguments = given.get("arguments", given.get("action", given.get("queries", given.get("code"))))
    call = {"id": given.get("id"), "type": "function", "function": {"name": name, "arguments": arguments or {}}}
    item = {k: v for k, v in said(given).items() if k not in ("id", "name", "arguments")}
    yield {"role": "assistant", "content": None, "tool_calls": [{**call, "executor": "provider", "item": item}]}


def _spoken(given: dict[str, Any], role: str) -> Iterator[dict[str, Any]]:
    named = given.pop("role", None) or {"request": "user", "response": "assistant"}.get(str(given.get("kind")), role)
    chat: dict[str, Any] = {"role": _role(str(named)), "content": None}
    content = given.pop("parts", None)
    if content is None:
        content = _unpacked(given.pop("content", None))
    else:
        given.pop("content", None)
    if _are_calls(content):  # Koog's, whatever the role
        given["tool_calls"], content, chat["role"] = content, None, "assistant"
    if content is not None and not isinstance(content, (str, list)) and chat["role"] != "tool":
        content = [content]
    parts = _NOTHING
    if isinstance(content, list) and chat["role"] != "tool":
        parts = Said()
        for part in content:
            parts.add(part)
        content = _plain(parts.content) if parts.content else None
    elif isinstance(content, list):
        content, results = _results(content)
        parts = Said(results=results)
    calls, thought = parts.calls, parts.reasoning
    if given:  # most messages say nothing beside their content
        calls, thought = _calls(given, calls), _reasoning(given, thought)
    for text in parts.system:
        yield {"role": "system", "content": text}
    client = [each for each in parts.results if each.get("executor") != "provider"]
    yield from client
    if content is not None or calls or thought or said(given) or not (parts.results or parts.system):
        chat["content"] = None if content == "" and calls else content
        yield _whole(chat, calls, thought, given, parts)
    yield from (each for each in parts.results if each.get("executor") == "provider")


def _role(name: str) -> str:
    role = ROLES.get(name, name)
    return role if role in CHAT_ROLES else "user"


def _unpacked(content: Any) -> Any:
    """Content of parts that stands in a text, where all of it is parts; other JSON is what somebody said."""
    if isinstance(content, str) and content[:2] == "[{":
        inner = decoded(content)
        return inner if is_parts(inner) or _are_calls(inner) else content
    return content


def _are_calls(content: Any) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and all(
            isinstance(p, dict) and isinstance(p.get("function"), dict) and "arguments" in p["function"]
            for p in content
        )
    )


def _results(content: list[Any]) -> tuple[Any, list[dict[str, Any]]]:
    """The content of a message of a tool: its own, or results of tools, each with its id."""
    parts = Said()
    for part in content:
        parts.add(part)
    if parts.results:
        return (_plain(parts.content) if parts.content else None), parts.results
    return content, []


def _calls(given: dict[str, Any], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    listed = given.pop("tool_calls", None)
    calls = [*found]
    for call in decoded(listed) if isinstance(decoded(listed), list) else ():
        if isinstance(call, dict):
            is_chat = (
                isinstance(call.get("function"), dict)
                and call["function"].get("name")
                and "arguments" in call["function"]
            )
            calls.append({"id": None, "type": "function", **call} if is_chat or "custom" in call else call_of(call))
    if isinstance(given.get("function_call"), dict):
        function = given.pop("function_call")
        if all(call["function"].get("name") != function.get("name") for call in calls):
            calls.append({"id": None, "type": "function", "function": {"arguments": {}, **function}})
    for name in ("toolInvocations", "tool_invocations"):
        calls += [call_of(each) for each in _objects(given.pop(name, None))]
    return calls


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none of anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _reasoning(given: dict[str, Any], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reasoning of the parts, and of the fields that some APIs keep it in; a field that repeats another's text says nothing new."""
    thought = [*found]
    thought += [reasoning_of(block) for block in _objects(given.pop("thinking_blocks", None))]
    for name in ("reasoning_content", "reasoning"):
        value = given.pop(name, None)
        for each in value if isinstance(value, list) else [value] if value else []:
            entry = each if isinstance(each, dict) else {"text": each}
            if all(entry.get("text") != known.get("text") for known in thought):
                thought.append(entry)
    return thought


def _whole(
    chat: dict[str, Any], calls: list[dict[str, Any]], thought: list[dict[str, Any]], given: dict[str, Any], parts: Said
) -> dict[str, Any]:
    """One message of the role that is not a result, with what it says beside."""
    if calls:
        chat["tool_calls"] = calls
    if thought:
        chat["reasoning"] = thought
    if len(set(parts.order)) > 1 and (
        any("executor" in call for call in parts.calls) or "reasoning" in parts.order[1:]
    ):
        chat["order"] = parts.order
    extras = said(given)
    if chat["role"] == "tool":
        _result_fields(chat, extras)
    unread = {name: extras.pop(name) for name in UNREAD_FIELDS if name in extras}
    if chat["role"] in ("user", "system", "developer"):
        unread |= {name: extras.pop(name) for name in ("tool_call_id", "function_call") if name in extras}
    chat |= {key: value for key, value in extras.items() if key not in chat}
    return chat | ({"unread": unread} if unread else {})


def _result_fields(chat: dict[str, Any], extras: dict[str, Any]) -> None:
    """Give a tool's message its call and its error by the names of the chat shape."""
    for name in ("tool_call_id", "id"):
        if name in extras and "tool_call_id" not in chat:
            chat["tool_call_id"] = extras.pop(name)
    for name in ("error", "is_error"):
        if name in extras:
            chat["error"] = extras.pop(name)
