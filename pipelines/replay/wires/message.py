"""The message of a completion, of whatever shape: what was said, called and declined, and what its vendor wants back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.experiment.decision import ToolCall
from pipelines.replay.asking.fault import storable
from pipelines.replay.wires.answer import Said
from pipelines.replay.wires.calls import read_arguments

_SAID = frozenset(("text", "output_text", "refusal"))
"""Types of content parts that are said to the person; others, such as reasoning, are not."""
_OWN = frozenset(
    (
        "annotations",
        "audio",
        "citations",
        "content",
        "error",
        "finish_reason",
        "function_call",
        "id",
        "images",
        "index",
        "logprobs",
        "name",
        "refusal",
        "role",
        "search_results",
        "stop_reason",
        "token_ids",
        "tool_calls",
        "usage",
    )
)
"""Members of a message that are read here, or that no vendor wants back."""
_OWN_OF_CALL = frozenset(("id", "type", "index", "function", "custom"))
_OWN_OF_FUNCTION = frozenset(("name", "arguments", "input", "description", "parsed_arguments"))
_DEEPEST = 50
"""Levels of what is sent back as it came."""


def read_message(messages: Sequence[Mapping[str, Any]]) -> Said:
    """What was said and called. One choice is asked for, so several are the pieces of one message.

    Args:
        messages: The messages of all choices, one at least.

    Raises:
        ValueError: A tool call cannot be read.
    """
    texts = [text for each in messages if (text := _text(each.get("content")))]
    refusals = [refusal for each in messages if (refusal := _refusal(each))]
    calls = _without_repeats([call for each in messages for call in _tool_calls(each)])
    text = texts[0] if texts else _text(messages[0].get("content"))
    if refusals and not text:
        text = refusals[0]
    extra: dict[str, Any] = {}
    for message in reversed(messages):
        extra |= _extra(message)
    return Said(text, calls, is_refusal=bool(refusals), extra=extra or None)


def _tool_calls(message: Mapping[str, Any]) -> Iterator[ToolCall]:
    """The calls of one message, also the one of a `function_call`."""
    listed = message.get("tool_calls") or ()
    if not isinstance(listed, list | tuple):
        raise ValueError("tool_calls is no list")  # noqa: TRY004 -- one error for all of them
    old = message.get("function_call")
    if old and not listed:
        listed = ({"function": old},)
    for call in listed:
        function = call.get("function", call.get("custom")) if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str):
            raise ValueError("a tool call has no name")  # noqa: TRY004 -- likewise
        call_id = call.get("id")
        arguments = function.get("arguments", function.get("input", {}))
        extra = _extra_of_call(call, function) or None
        yield ToolCall(storable(name), read_arguments(arguments), call_id if isinstance(call_id, str) else None, extra)


def _without_repeats(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """The calls but for those that another choice repeats: an id is there once."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for call in calls:
        key = (call.call_id or "", repr((call.name, call.arguments)))
        if call.call_id is None or key not in seen:
            kept.append(call)
        seen.add(key)
    return tuple(kept)


def _refusal(message: Mapping[str, Any]) -> str | None:
    """The words of a refusal: the field of that name, or a part of the content."""
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        return storable(refusal)
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    words = [
        part.get("refusal", part.get("text"))
        for part in parts
        if isinstance(part, dict) and part.get("type") == "refusal"
    ]
    return storable("".join(word for word in words if isinstance(word, str))) or None


def _extra(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a vendor wants back with the message: members that are not read here, and content that holds reasoning."""
    extra = _kept(message, _OWN)
    content = message.get("content")
    if isinstance(content, list) and any(isinstance(part, dict) and _is_thought(part) for part in content):
        extra |= _kept({"content": content})
    return extra


def _extra_of_call(call: Mapping[str, Any], function: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a tool call."""
    extra = _kept(call, _OWN_OF_CALL)
    inner = _kept(function, _OWN_OF_FUNCTION)
    return {**extra, "function": inner} if inner else extra


def _kept(given: Mapping[str, Any], own: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The members that say something and can be written as JSON again, as deep as anybody means them."""
    kept = {}
    for name, value in given.items():
        if name in own or value in (None, "", [], {}, False) or not _is_shallow(value, _DEEPEST):
            continue
        try:
            kept[storable(name)] = json.loads(storable(json.dumps(value, ensure_ascii=False, allow_nan=False)))
        except ValueError:  # NaN is no JSON
            continue
    return kept


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(each, levels - 1) for each in inner)


def _is_said(part: Mapping[str, Any]) -> bool:
    kind = part.get("type", "text")
    return isinstance(kind, str) and kind in _SAID


def _is_thought(part: Mapping[str, Any]) -> bool:
    kind = part.get("type")
    return isinstance(kind, str) and ("think" in kind or "reason" in kind or "thought" in kind)


def _text(content: Any) -> str | None:
    """Text of a content: a string, or those parts of a list that are said."""
    if isinstance(content, str):
        return storable(content)
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and _is_said(part)]
        return storable("".join(text for text in texts if isinstance(text, str)))
    return None
