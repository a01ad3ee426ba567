"""Messages in every dialect that recorders write: lists of them, requests and answers, one reader for all forms.

What one message says is `message`'s. What a chat import takes as it is, or refuses, is `pipelines.ingest.dialects`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.ingest.assemble.leaves import leaves, said
from pipelines.ingest.assemble.message import (
    CHAT_ROLES,
    ITEM_CALLS,
    ITEM_RESULTS,
    content_of,
    decoded,
    is_tool_call,
    messages_of,
    says_message,
)
from pipelines.ingest.assemble.parts import reasoning_of
from pipelines.ingest.assemble.rows import Message

_HISTORY = ("messages", "input", "contents", "chat_history", "prompts")
_SYSTEM = ("system", "instructions", "system_instruction", "systemInstruction")
_CHOICES = ("choices", "generations", "candidates")
_REASONS = ("finish_reason", "finishReason", "stop_reason")
_ROLE_KEYS = frozenset({"role", "content"})


@dataclass(slots=True)
class Read:
    """What a value says.

    Attributes:
        messages: The messages, in order.
        tools: Tool schemas that stood among them, shown as messages.
        finish_reason: Of an answer, as recorded.
        other: Items that are no messages, verbatim.
        choices: Further choices of an answer, verbatim: alternatives that the conversation did not go on with.
    """

    messages: list[Message] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    other: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    choices: list[Any] = field(default_factory=list)


def read(value: Any, role: str = "user") -> Read:
    """The messages that a value holds: a list, one message, a request, an answer, or a text that is JSON or a Python literal of such.

    Args:
        value: As recorded; it is not changed.
        role: Whose a bare text is.
    """
    value = decoded(value)
    if isinstance(value, str):
        return Read([Message({"role": role, "content": value}, leaves=1)]) if value else Read()
    if isinstance(value, dict):
        return _object(value, role)
    return _listed(value, role) if isinstance(value, list) else Read()


def take_request(body: dict[str, Any]) -> Read:
    """The messages of a request's body, system texts first; they are taken out of it."""
    name = next((each for each in _HISTORY if body.get(each) is not None), None)
    made = Read()
    for each in _SYSTEM:
        if body.get(each):
            made.messages += _system(body.pop(each))
    if name is not None:
        history = read(body.pop(name))
        made.messages += history.messages
        made.tools, made.other = history.tools, history.other
    return made


def take_answer(body: dict[str, Any], role: str = "assistant") -> Read:
    """The messages of a response's body, which are taken out of it: the first choice, an output of items, or a message itself."""
    name = next((each for each in _CHOICES if isinstance(body.get(each), list) and body[each]), None)
    if name is not None:
        return _choices(body.pop(name))
    if isinstance(body.get("output"), list):
        return _listed(body.pop("output"), role)
    if isinstance(body.get("message"), (dict, str)):
        made = read(body.pop("message"), role)
        made.finish_reason = _text(body.pop("finish_reason", None))
        return made
    if "content" in body or "parts" in body:
        message: dict[str, Any] = {
            key: body.pop(key) for key in ("role", "content", "parts", "tool_calls", "id", "type") if key in body
        }
        inner = message.get("content")
        if isinstance(inner, dict) and "parts" in inner:  # Gemini's
            message = inner
        made = Read(messages_of({"role": role, **message}))
        made.finish_reason = _text(body.pop("finish_reason", None) or body.pop("stop_reason", None))
        return made
    return Read()


def _object(value: dict[str, Any], role: str) -> Read:
    """One message, or the body of a request or an answer."""
    if isinstance(value.get("role"), str) or value.get("lc") or _is_message(value):
        return _listed([value], role)
    body = dict(value)
    if _is_request(body):
        return take_request(body)
    if any(body.get(name) for name in _CHOICES) or isinstance(body.get("output"), list):
        return take_answer(body)
    if isinstance(body.get("message"), dict) or (isinstance(body.get("content"), dict) and "parts" in body["content"]):
        return take_answer(body)
    return _listed([value], role) if is_tool_call(value) else Read()


def _is_request(body: dict[str, Any]) -> bool:
    if any(isinstance(decoded(body.get(name)), list) for name in _HISTORY) or isinstance(body.get("messages"), str):
        return True
    return isinstance(body.get("input"), str) and any(body.get(name) for name in _SYSTEM)


def _is_message(value: dict[str, Any]) -> bool:
    kind = value.get("type")
    return kind in ("message", "reasoning", *ITEM_CALLS, *ITEM_RESULTS) or (
        kind in ("human", "ai", "system", "tool") and ("data" in value or "content" in value)
    )


def _listed(values: list[Any], role: str) -> Read:
    made = Read()
    reasoning: list[dict[str, Any]] = []
    for value in values:
        if isinstance(value, dict):
            if not reasoning and _is_plain(value):
                made.messages.append(Message(dict(value), leaves=2))
            else:
                _item(made, value, role, reasoning)
        elif isinstance(value, list):
            inner = _listed(value, role)
            made.messages += inner.messages
            made.tools += inner.tools
            made.other += inner.other
        elif isinstance(value, str):
            made.messages.append(Message({"role": role, "content": value}, leaves=1))
    if reasoning:
        _attach(made.messages, reasoning)
    return made


def _is_plain(value: dict[str, Any]) -> bool:
    """Whether a message is a chat message already, of text and nothing else, as most are."""
    if value.keys() != _ROLE_KEYS or value["role"] not in CHAT_ROLES:
        return False
    content = value["content"]
    return isinstance(content, str) and content[:2] != "[{"


def _item(made: Read, value: dict[str, Any], role: str, reasoning: list[dict[str, Any]]) -> None:
    """Take the next object of a list: a schema, reasoning of the message that comes, a message, or something else."""
    if schema := _schema(value):
        made.tools.append(schema)
    elif value.get("type") == "reasoning" and "role" not in value:
        reasoning.append(reasoning_of(value))
    elif not says_message(value):
        made.other.append(value)
    else:
        _append(made, value, role, reasoning)


def _append(made: Read, value: dict[str, Any], role: str, reasoning: list[dict[str, Any]]) -> None:
    """Take one message or item; calls that a list gives one by one, without a text, are calls of the message before."""
    new = messages_of(value, role)
    first = new[0] if new else None
    if first is not None and reasoning and first.chat["role"] == "assistant":
        first.chat["reasoning"] = [*reasoning, *first.chat.get("reasoning", [])]
        first.leaves += leaves(reasoning)
        reasoning.clear()
    last = made.messages[-1] if made.messages else None
    if first is not None and last is not None and _goes_on(last, first, value):
        calls = [*last.chat.get("tool_calls", []), *first.chat["tool_calls"]]
        thought = [*last.chat.get("reasoning", []), *first.chat.get("reasoning", [])]
        last.chat["tool_calls"] = calls
        if thought:
            last.chat["reasoning"] = thought
        last.leaves += first.leaves
        new = new[1:]
    made.messages += new
    if made.finish_reason is None and first is not None and first.chat["role"] == "assistant":
        made.finish_reason = _text(value.get("finish_reason"))


def _goes_on(last: Message, first: Message, value: dict[str, Any]) -> bool:
    """Whether a message of calls alone is a part of the one before: where a recorder writes each call by itself."""
    if (
        not last.chat["role"] == first.chat["role"] == "assistant"
        or first.chat.get("content")
        or "tool_calls" not in first.chat
    ):
        return False
    return (
        "role" not in value
        or (isinstance(value.get("content"), str) and bool(value["content"]))
        or "finish_reason" in value
    )


def _attach(messages: list[Message], reasoning: list[dict[str, Any]]) -> None:
    """Reasoning after which nothing came is a message of its own."""
    messages.append(Message({"role": "assistant", "content": None, "reasoning": reasoning}, leaves=leaves(reasoning)))


def _schema(value: dict[str, Any]) -> dict[str, Any] | None:
    """A tool's schema that is shown as a message."""
    content = value.get("content")
    if isinstance(content, dict) and isinstance(content.get("function"), dict) and "parameters" in content["function"]:
        return content
    return None


def _choices(choices: list[Any]) -> Read:
    """The first choice; those after it that only call tools are parts of it, the others are alternatives."""
    first = choices[0]
    if isinstance(first, list):  # LangChain's batches
        choices = first or [{}]
        first = choices[0]
    made = Read()
    for n, choice in enumerate(choices):
        if not isinstance(choice, dict):
            made.choices.append(choice)
            continue
        inner = choice.get("message") or choice.get("content") or choice.get("delta") or choice
        one = read([inner] if isinstance(inner, dict) else inner, "assistant")
        reason = next((choice[name] for name in _REASONS if choice.get(name)), one.finish_reason)
        is_calls = bool(one.messages) and all(
            m.chat.get("tool_calls") and not m.chat.get("content") for m in one.messages
        )
        if n == 0:
            made.messages, made.finish_reason = one.messages, _text(reason)
            made.other += one.other
            if inner is not choice and (beside := _beside(choice)):
                made.other.append(beside)
        elif is_calls and reason in ("tool_call", "tool_calls") and made.messages:
            made.messages[0].chat.setdefault("tool_calls", []).extend(
                call for m in one.messages for call in m.chat["tool_calls"]
            )
        else:
            made.choices.append(choice)
    return made


def _beside(choice: dict[str, Any]) -> dict[str, Any]:
    """What the first choice says beside its message and why it ended, as probabilities."""
    message = next(name for name in ("message", "content", "delta") if choice.get(name))
    return said(
        {
            name: value
            for name, value in choice.items()
            if name not in (message, *_REASONS) and not (name == "index" and value == 0)
        }
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _system(value: Any) -> list[Message]:
    """System texts that stand beside the messages: a text, parts, or messages."""
    value = decoded(value)
    if isinstance(value, list) and value and all(isinstance(each, dict) and "role" in each for each in value):
        return [Message(m.chat, m.id, m.at, m.leaves) for m in _listed(value, "system").messages]
    if isinstance(value, dict) and "parts" not in value and "content" not in value:
        value = [value]
    content = value.get("parts", value.get("content")) if isinstance(value, dict) else value
    return [Message({"role": "system", "content": content_of(content)}, leaves=leaves(value))]


def system_messages(value: Any) -> list[Message]:
    """System texts that a form keeps apart from the messages: a text, parts, or messages of that role."""
    return _system(value) if value not in (None, "", [], {}) else []
