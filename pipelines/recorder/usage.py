"""Tokens that a response counts, on one basis for all APIs: input with cached tokens, output with reasoning. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.ingest import beside
from pipelines.recorder.exchange import Api

_DETAILS = {
    **beside.DETAILS,
    "cache_write_tokens": (("prompt_tokens_details", "input_tokens_details"), "cache_write_tokens"),
}
_THINKING = (("output_tokens_details",), "thinking_tokens")
"""Where the Messages API counts what others call reasoning."""


def read_usage(usage: Mapping[str, Any] | None, api: Api) -> dict[str, int] | None:
    """The counters of `model.decision`; None where nothing is counted."""
    is_messages = api == "messages"
    counted = beside.usage_of(usage, {**_DETAILS, "reasoning_tokens": _THINKING} if is_messages else _DETAILS)
    return (beside.with_cache(counted) if is_messages else counted) or None
