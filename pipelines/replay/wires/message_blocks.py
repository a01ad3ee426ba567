"""Read a message object of Anthropic's Messages: its blocks as one message, and what it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from pipelines.canonical.finish_reasons import finish_reason
from pipelines.experiment.decision import ToolCall
from pipelines.replay.asking.fault import shown, storable
from pipelines.replay.asking.usage import Usage
from pipelines.replay.wires.answer import NoAnswerError, Said, usual_usage, word
from pipelines.replay.wires.calls import read_arguments
from pipelines.replay.wires.thoughts import FIELD, keep_order

_KINDS = {"text": "text", "tool_use": "tool_call", "thinking": "reasoning", "redacted_thinking": "reasoning"}
"""What blocks are; others are what a tool of the provider's did, and no part of the message."""


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None
    reasoning_tokens: None = None


class _Written(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Written | None = None
    output_tokens_details: _OutputDetails | None = None
    total_tokens: None = None
    cost: None = None


class _Message(msgspec.Struct):
    """A message as nearly all are, as far as it is read; others are read by `read_document`, which takes whatever comes."""

    content: list[Any]
    stop_reason: str
    usage: _Usage
    type: Literal["message"] = "message"
    model: str | None = None
    stop_details: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Message).decode


def read_usual(body: bytes) -> tuple[Said, Usage] | None:
    """What a message object of the usual shape says and counts; None of another one.

    Raises:
        ValueError: It is of another shape.
    """
    usual = _decode(body if body.isascii() else body.decode())
    usage = _usual(usual.usage)
    return None if usage is None else (_reply(usual.content, usual.stop_reason, usual.stop_details, usual.model), usage)


def read_document(document: Mapping[str, Any], body: bytes) -> Said:
    """What a message of whatever shape says, also one in which the model declines.

    Raises:
        NoAnswerError: It is no complete answer; the message says why.
    """
    content, given = document.get("content"), word(document.get("stop_reason"))
    if document.get("type") == "error" or not isinstance(content, list):
        raise NoAnswerError(f"no message: {shown(body)}")
    if given is None:
        raise NoAnswerError(f"a message that has not ended: {shown(body)}", is_worked=True)
    return _reply(content, given, document.get("stop_details"), document.get("model"))


def _reply(content: Sequence[Any], given: str, details: Any, model: Any) -> Said:
    """What the blocks say, as one message."""
    blocks = [block for block in content if isinstance(block, dict) and str(block.get("type")) in _KINDS]
    kinds = [_KINDS[block["type"]] for block in blocks]
    texts = [
        storable(block["text"]) for block in blocks if block["type"] == "text" and isinstance(block.get("text"), str)
    ]
    thoughts = [_thought(block) for block in blocks if _KINDS[block["type"]] == "reasoning"]
    text = "".join(texts) if texts else None
    return Said(
        (text or _declined(details)) if given == "refusal" else text,
        tuple([_call(block) for block in blocks if block["type"] == "tool_use"]),
        finish_reason=finish_reason(word(given)),
        model=word(model),
        is_refusal=given == "refusal",
        extra={FIELD: thoughts, **keep_order(kinds)} if thoughts else None,
    )


def _declined(details: Any) -> str | None:
    """Why the model declined, where it says that."""
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


def _usual(usage: _Usage) -> Usage | None:
    """Counts as nearly all are: tokens that the cache gave or took are beside the input here, and a part of it elsewhere."""
    cached, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    if min(usage.input_tokens, cached or 0, written or 0) < 0:
        return None
    return usual_usage(
        usage.input_tokens + (cached or 0) + (written or 0),
        usage.output_tokens,
        cached=cached,
        thought=usage.output_tokens_details.thinking_tokens if usage.output_tokens_details is not None else None,
        written=written,
        kept=usage.cache_creation.ephemeral_1h_input_tokens if usage.cache_creation is not None else None,
    )
