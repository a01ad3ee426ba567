"""Why a model stopped, by the names of chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_NAMES = {
    **{name: name for name in ("stop", "tool_calls", "length", "content_filter")},
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "tool-calls": "tool_calls",
    "toolUse": "tool_calls",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "content-filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}


def finish_reason(value: Any) -> str | None:
    """The reason as chat completions name it, whatever the provider calls it; another one as it is, None where there is none."""
    if not isinstance(value, str) or not value:
        return None
    return _NAMES.get(value) or _NAMES.get(value.lower()) or (value.lower() if value.isupper() else value)


def finish_of_items(messages: Sequence[Mapping[str, Any]], reason: str | None) -> str | None:
    """The same of an answer of the Responses API, which says a reason only where it is cut.

    Args:
        messages: What it said, in the shape of chat completions.
        reason: Why it is incomplete.
    """
    if reason is not None:
        return finish_reason(reason)
    return None if not messages else "tool_calls" if messages[-1].get("tool_calls") else "stop"
