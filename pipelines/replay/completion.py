"""Read a chat completion: the bytes of a response as an answer, or as a reason to ask again.

What was paid for is kept as it came; this reading is done anew each time, so a better one reads old responses too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pipelines.replay.decision import Reply, ToolCall
from pipelines.replay.prices import Price
from pipelines.replay.request import Answer, Failure, Reason

_SHOWN = 200
_AGAIN = frozenset({408, 409, 425, 429})
_BROKEN = frozenset({401, 402, 403, 404, 405})


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details = msgspec.field(default_factory=_Details)


class _Completion(msgspec.Struct):
    """A completion as nearly all are; others are read by `_read_document`, which takes whatever comes."""

    choices: list[_Choice]
    usage: _Usage = msgspec.field(default_factory=_Usage)


_decode = msgspec.json.Decoder(_Completion).decode


@dataclass(frozen=True, slots=True)
class Again:
    """No answer yet; asking again may bring one.

    Attributes:
        reason: What the unit's reason is when it is not asked again.
        detail: What happened, for people.
    """

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The endpoint will answer nobody: key, address or account are wrong."""

    detail: str


def read_response(
    status: int, body: bytes, *, price: Price | None = None, latency_ms: float | None = None
) -> Answer | Again | Broken:
    """What a response means.

    Args:
        status: HTTP status.
        body: Its bytes.
        price: What tokens cost.
        latency_ms: How long it took.
    """
    if 200 <= status < 300:
        try:
            return read_completion(body, price=price, latency_ms=latency_ms)
        except ValueError as error:
            return Again("invalid_json", f"HTTP {status}: {error}")
    said = f"HTTP {status}: {_error_text(body)}"
    if status == 429 and b"insufficient_quota" in body:
        return Broken(said)
    if status in _AGAIN or status >= 500:
        return Again("rate_limited" if status == 429 else "unavailable", said)
    return Broken(said) if status in _BROKEN else Failure("rejected", said)


def read_completion(
    body: bytes, *, price: Price | None = None, cost_usd: float | None = None, latency_ms: float | None = None
) -> Answer:
    """The first choice of a chat completion: a reply, or a refusal.

    Args:
        body: The JSON of the response.
        price: What tokens cost; None when not known, or when the cost is given.
        cost_usd: What it cost, when that was found out before.
        latency_ms: How long it took.

    Raises:
        ValueError: It is no complete chat completion; the message says why.
    """
    try:
        completion = _decode(body if body.isascii() else body.decode())
    except (ValueError, RecursionError):  # odd, or none: read with more patience
        return _read_document(body, price, cost_usd, latency_ms)
    if not completion.choices:
        return _read_document(body, price, cost_usd, latency_ms)
    choice, usage = completion.choices[0], completion.usage
    message, details = choice.message, usage.prompt_tokens_details
    calls = tuple(
        [
            ToolCall(_storable(call.function.name), _arguments(call.function.arguments), call.id)
            for call in message.tool_calls or ()
        ]
    )
    tokens = _natural(usage.prompt_tokens), _natural(usage.completion_tokens), _natural(details.cached_tokens) or 0
    text = None if message.content is None else _storable(message.content)
    return _answer(text, calls, tokens, choice.finish_reason, message.refusal, price, cost_usd, latency_ms)


def _read_document(body: bytes, price: Price | None, cost_usd: float | None, latency_ms: float | None) -> Answer:
    """A completion of whatever shape."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON: {_shown(body)}") from None
    choices = document.get("choices") if isinstance(document, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise ValueError(f"no choice with a message: {_shown(body)}")  # noqa: TRY004 -- one error for all of them
    finish_reason, refusal = choice.get("finish_reason"), message.get("refusal")
    reason = finish_reason if isinstance(finish_reason, str) else None
    text, calls = _text(message.get("content")), _tool_calls(message)
    return _answer(text, calls, _usage(document), reason, refusal, price, cost_usd, latency_ms)


def _answer(
    text: str | None,
    calls: tuple[ToolCall, ...],
    tokens: tuple[int | None, int | None, int],
    finish_reason: str | None,
    refusal: Any,
    price: Price | None,
    cost_usd: float | None,
    latency_ms: float | None,
) -> Answer:
    """What was read as an answer."""
    input_tokens, output_tokens, cached = tokens
    if price is not None and input_tokens is not None and output_tokens is not None:
        cost_usd = price.cost(input_tokens, output_tokens, cached)
    reply = Reply(text, calls, input_tokens, output_tokens, cost_usd, latency_ms, finish_reason)
    if refusal or finish_reason == "content_filter":
        return Failure("refused", str(refusal or finish_reason), reply)
    return reply


def _usage(document: Mapping[str, Any]) -> tuple[int | None, int | None, int]:
    """(Input, output, cached input) tokens of a response."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None, None, 0
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), cached or 0


def _tool_calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    listed = message.get("tool_calls") or ()
    if not isinstance(listed, list | tuple):
        raise ValueError("tool_calls is no list")  # noqa: TRY004 -- likewise
    calls = []
    for call in listed:
        function = call.get("function", call.get("custom")) if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str):
            raise ValueError("a tool call has no name")  # noqa: TRY004 -- likewise
        call_id = call.get("id")
        arguments = function.get("arguments", function.get("input"))
        calls.append(ToolCall(_storable(name), _arguments(arguments), call_id if isinstance(call_id, str) else None))
    return tuple(calls)


def _arguments(given: Any) -> Any:
    """A JSON object where the text is one, in every detail; else the text as it came."""
    if not isinstance(given, str):
        return given if given is None or isinstance(given, dict) else json.dumps(given)
    try:
        parsed = json.loads(given, object_pairs_hook=_unique, parse_constant=_refuse)
        if "\\u" in given:
            json.dumps(parsed, ensure_ascii=False).encode()  # an escape can stand for what UTF-8 cannot carry
    except (ValueError, RecursionError):
        return _storable(given)
    return parsed if isinstance(parsed, dict) else _storable(given)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _text(content: Any) -> str | None:
    """Text of a content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return _storable(content)
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return _storable("".join(text for text in texts if isinstance(text, str)))
    return None


def _storable(text: str) -> str:
    """The text with what UTF-8 cannot carry replaced: half of a surrogate pair, cut off by a length stop."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _natural(value: int | None) -> int | None:
    return None if value is None or value < 0 else value


def _error_text(body: bytes) -> str:
    """What an error response says."""
    try:
        error = json.loads(body)["error"]
        said = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError, RecursionError):
        return _shown(body)
    return _shown(str(said).encode("utf-8", "replace"))


def _shown(body: bytes) -> str:
    text = " ".join(body[: _SHOWN * 4].decode("utf-8", "replace").split())
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…") or "an empty body"
