"""Where the parts and fields of a recorded message say what, in the dialects that chat logs are written in.

One place for the fields and parts in which a log says a tool call, its result, or the agent's words. What is understood here becomes events in `messages`; what is a tool call in a form that nobody here reads
is refused with its place, because a call that is taken and lost makes a wrong history. Everything else stays where it is: in
the message's content, or among the fields kept verbatim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.ingest.faults import BadLineError, json_path, shown

Steps = tuple[str | int, ...]

CALL_PART, RESULT_PART = "tool_use", "tool_result"
"""Types of the parts by which Anthropic's messages say a tool call and its result."""

_UNREAD_PARTS = frozenset(
    {
        "custom_tool_call",
        "custom_tool_call_output",
        "dynamic-tool",
        "function",
        "functionCall",
        "functionResponse",
        "function_call",
        "function_call_output",
        "function_response",
        "mcp_tool_result",
        "mcp_tool_use",
        "server_tool_use",
        "tool-call",
        "tool-invocation",
        "tool-result",
        "toolCall",
        "toolResult",
        "toolUse",
        "tool_call",
        "tool_call_response",
        "tool_response",
        "tooluse",
    }
)
"""Types of parts that are tool calls or results of other dialects."""
UNREAD_FIELDS = (
    "functionCall",
    "function_calls",
    "functionCalls",
    "function_response",
    "functionResponse",
    "invalid_tool_calls",
    "parts",
    "toolCalls",
    "toolInvocations",
    "toolResults",
    "toolUse",
    "tool_call",
    "tool_calls_results",
    "tool_invocations",
    "tool_outputs",
    "tool_responses",
    "tool_results",
    "tool_use",
    "tool_uses",
)
"""Fields of a message in which other dialects say tool calls or results."""
_UNREAD = frozenset(UNREAD_FIELDS)
_HINT = "a tool call or result in a form that is not read here; write it as tool_calls, or as a message of role tool"


def spoken_field(message: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The field beside an empty content in which the agent's words stand: a refusal, or the transcript of spoken sound."""
    if message.get("content") not in (None, "", []):
        return None
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        return ("refusal",)
    audio = message.get("audio")
    if isinstance(audio, Mapping) and isinstance(audio.get("transcript"), str) and audio["transcript"]:
        return ("audio", "transcript")
    return None


def check_fields(message: Mapping[str, Any], steps: Steps) -> None:
    """Refuse a message that says a tool call or a result in a form that is not read.

    Raises:
        BadLineError: With the place.
    """
    for path in _unread(message):
        raise BadLineError(json_path((*steps, *path)), f"is {shown(_at(message, path))}: {_HINT}")


def _unread(message: Mapping[str, Any]) -> Iterator[Steps]:
    if not _UNREAD.isdisjoint(message):
        yield from ((name,) for name in UNREAD_FIELDS if message.get(name))
    more = message.get("additional_kwargs")
    if isinstance(more, Mapping) and not message.get("tool_calls"):
        yield from (("additional_kwargs", name) for name in ("tool_calls", "function_call") if more.get(name))
    role, content = message.get("role"), message.get("content")
    if role in ("user", "system", "developer"):
        yield from ((name,) for name in ("tool_call_id", "function_call") if message.get(name))
    if role in ("tool", "function"):  # what a tool answers is its own, whatever it looks like
        yield from ((name,) for name in ("tool_calls", "function_call") if message.get(name))
        return
    readable = {"assistant": CALL_PART, "user": RESULT_PART}.get(str(role))
    for index, part in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(part, Mapping):
            continue
        kind = part.get("type")
        if (
            (isinstance(kind, str) and kind in _UNREAD_PARTS)
            or (kind in (CALL_PART, RESULT_PART) and kind != readable)
            or (isinstance(kind, str) and kind.endswith("_tool_result"))
            or (kind is None and _is_bare_call(part))
        ):
            yield ("content", index)


def _is_bare_call(part: Mapping[str, Any]) -> bool:
    return any(
        isinstance(part.get(name), Mapping) for name in ("functionCall", "functionResponse", "toolUse", "toolResult")
    )


def _at(value: Any, path: Steps) -> Any:
    for step in path:
        value = value[step]
    return value
