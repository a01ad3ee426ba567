"""What makes two recorded messages the same message: role, text without its blanks, tools and arguments; not ids, not spelling."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from pipelines.canonical.content import is_text_part, text_of

Key = tuple[Any, ...]

AGENT: Key = ("assistant",)
"""Key of any message of the agent, where these need agree in place alone: recorders render them anew."""
_ENCODE = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str).encode
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


def canonical(value: Any) -> str:
    """A JSON value as the text that all its spellings share."""
    try:
        return _encode(value).decode()
    except (
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ):  # half a surrogate pair, beyond 64 bits, keys that are no text
        return str(_ENCODE(value))


def arguments_key(arguments: Any) -> str:
    """Arguments of a tool, whether they were recorded as an object or as the text of one; none are `{}`."""
    if isinstance(arguments, str):
        if not arguments:
            return "{}"
        try:
            arguments = _decode(arguments)
        except (ValueError, RecursionError):
            return str(arguments)
    return canonical({} if arguments is None else arguments)


def key_of(chat: dict[str, Any]) -> Key:
    """The key of a message in chat shape: role, trimmed text, calls, and what else its content holds."""
    content, role = chat.get("content"), chat["role"]
    role = "system" if role == "developer" else role
    others = ""
    if isinstance(content, str):
        text = content.strip()
    elif not content:
        text = ""
    elif isinstance(content, list):
        text = text_of(content).strip()
        strange = [part for part in content if isinstance(part, dict) and not is_text_part(part)]
        others = canonical(strange) if strange else ""
    else:
        text = canonical(content)
    calls = chat.get("tool_calls")
    if not calls:
        return (role, text, (), others) if others else (role, text)
    return role, text, calls_key(calls), others


def calls_key(calls: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Names and arguments of calls, in an order of their own: parallel calls have none."""
    return tuple(sorted(call_key(call) for call in calls))


def call_key(call: dict[str, Any]) -> tuple[str, str]:
    """Name and arguments of one call."""
    function = call.get("function") or call.get("custom") or {}
    return str(function.get("name")), arguments_key(function.get("arguments", function.get("input")))
