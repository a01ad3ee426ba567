"""Read a message object of Anthropic's Messages: its blocks as one message, and what it counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.canonical.finish_reasons import finish_reason
from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.prices import Price
from pipelines.replay.asking.fault import shown, storable
from pipelines.replay.asking.usage import Usage, read_usage
from pipelines.replay.failure import Answer
from pipelines.replay.wires.answer import NoAnswerError, counted, read_object, usual_usage, word
from pipelines.replay.wires.calls import read_arguments
from pipelines.replay.wires.thoughts import FIELD, keep_order

_KINDS = {"text": "text", "tool_use": "tool_call", "thinking": "reasoning", "redacted_thinking": "reasoning"}
"""What blocks are; others are what a tool of the provider's did, and no part of the message."""


def read_message_object(
    body: bytes, *, price: Price | None = None, cost_usd: float | None = None, latency_ms: float | None = None
) -> Answer:
    """A message object: a reply, also one in which the model declines.

    Args:
        body: The JSON of the response.
        price: What tokens cost; None when not known, or when the cost is given.
        cost_usd: What it cost, when that was found out before.
        latency_ms: How long it took.

    Raises:
        NoAnswerError: It is no complete answer; the message says why.
    """
    document = read_object(body)
    content = document.get("content")
    if document.get("type") == "error" or not isinstance(content, list):
        raise NoAnswerError(f"no message: {shown(body)}", is_worked=False)
    given = word(document.get("stop_reason"))
    blocks = [block for block in content if isinstance(block, dict) and block.get("type") in _KINDS]
    if given is None:
        raise NoAnswerError(f"a message that has not ended: {shown(body)}", is_worked=True)
    kinds = [_KINDS[block["type"]] for block in blocks]
    texts = [storable(block["text"]) for block in blocks if isinstance(block.get("text"), str)]
    thoughts = [_thought(block) for block in blocks if _KINDS[block["type"]] == "reasoning"]
    declined = _declined(document) if given == "refusal" else None
    text = "".join(texts) if texts else None
    reply = Reply(
        (text or declined) if given == "refusal" else text,
        tuple(_call(block) for block in blocks if block["type"] == "tool_use"),
        finish_reason=finish_reason(given),
        model=word(document.get("model")),
        is_refusal=given == "refusal",
        extra={FIELD: thoughts, **keep_order(kinds)} if thoughts else None,
    )
    return counted(reply, _usage(document), price, cost_usd, latency_ms)


def _declined(document: Mapping[str, Any]) -> str | None:
    """Why the model declined, where it says that."""
    details = document.get("stop_details")
    words = details.get("explanation") if isinstance(details, dict) else None
    return storable(words) if isinstance(words, str) and words else None


def _call(block: Mapping[str, Any]) -> ToolCall:
    name, call_id, given = block.get("name"), block.get("id"), block.get("input")
    if not isinstance(name, str):
        raise NoAnswerError("a tool call has no name", is_worked=True)
    return ToolCall(
        storable(name), read_arguments({} if given is None else given), call_id if isinstance(call_id, str) else None
    )


def _thought(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block by the names under which thoughts are recorded."""
    if block["type"] == "redacted_thinking":
        return {"encrypted": block.get("data"), "redacted": True}
    return {"text": block.get("thinking"), "signature": block.get("signature")}


def _usage(document: Mapping[str, Any]) -> Usage:
    """What it counts: tokens that the cache gave or took are counted beside the input here, and are a part of it."""
    usage = document.get("usage")
    if not isinstance(usage, dict) or "output_tokens_details" in usage:
        return read_usage(document)
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    counts = [usage.get(name) or 0 for name in names]
    if any(type(each) is not int or each < 0 for each in counts):
        return read_usage(document)
    given, cached, written, made = counts
    return usual_usage(given + cached + written, made, cached=cached) or read_usage(document)
