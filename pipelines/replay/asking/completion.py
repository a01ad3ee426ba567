"""Read a chat completion: the bytes of a response as an answer.

What was paid for is kept as it came; this reading is done anew each time, so a better one reads old responses too. What a
response means that is no answer is said in `fault`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.prices import Price
from pipelines.replay.asking.fault import Again, Broken, error_in, is_interrupted, judge, judge_error, shown, storable
from pipelines.replay.asking.message import read_arguments, read_message
from pipelines.replay.asking.usage import MOST_TOKENS, Usage, read_usage
from pipelines.replay.request import Answer, Failure

MAX_ODD_BYTES = 2 * 2**20
"""A response of another shape than the usual one is read as a whole, which takes twenty times its size."""
_WORD = 100
"""Characters of a model's name or of a finish reason that are kept."""
_DECLINED = frozenset(
    (
        "blocklist",
        "content-filter",
        "content_filter",
        "content_filtered",
        "guardrail_intervened",
        "prohibited_content",
        "refusal",
        "safety",
        "sensitive",
        "spii",
    )
)
"""Finish reasons of a filter, in lower case."""


class _Function(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: str


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    function: _Function
    id: str | None = None
    type: str | None = None
    index: int | None = None


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    content: str | None = None
    tool_calls: list[_Call] | None = None
    role: str | None = None
    refusal: None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None
    reasoning: None = None
    reasoning_content: None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    error: None = None
    usage: None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, forbid_unknown_fields=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Completion(msgspec.Struct):
    """A completion as nearly all are; others are read by `_read_document`, which takes whatever comes."""

    choices: list[_Choice]
    usage: _Usage
    model: str | None = None
    error: None = None
    x_groq: None = None
    usageMetadata: None = None  # noqa: N815 -- the endpoint's word
    usage_metadata: None = None


_decode = msgspec.json.Decoder(_Completion).decode


class NoAnswerError(ValueError):
    """A response is no complete chat completion.

    Args:
        message: Why.
        is_worked: Whether a model worked for it all the same: what that costs is not known.
    """

    def __init__(self, message: str, *, is_worked: bool = False) -> None:
        super().__init__(message)
        self.is_worked = is_worked


def read_completion(
    body: bytes, *, price: Price | None = None, cost_usd: float | None = None, latency_ms: float | None = None
) -> Answer:
    """A chat completion: a reply, or `refused` where a filter took it back.

    Args:
        body: The JSON of the response.
        price: What tokens cost; None when not known, or when the cost is given.
        cost_usd: What it cost, when that was found out before.
        latency_ms: How long it took.

    Raises:
        NoAnswerError: It is no complete chat completion; the message says why.
    """
    try:
        completion = _decode(body if body.isascii() else body.decode())
        usage = _usual_usage(completion.usage)
    except (ValueError, RecursionError):  # odd, or none: read with more patience
        return _read_document(body, price, cost_usd, latency_ms)
    choices = completion.choices
    if len(choices) != 1 or usage is None:
        return _read_document(body, price, cost_usd, latency_ms)
    choice = choices[0]
    message = choice.message
    is_silent = message.content is None and not message.tool_calls and choice.finish_reason is None
    if is_silent or is_interrupted(choice.finish_reason or ""):
        return _read_document(body, price, cost_usd, latency_ms)
    calls = tuple(
        [
            ToolCall(storable(call.function.name), read_arguments(call.function.arguments), call.id)
            for call in message.tool_calls or ()
        ]
    )
    text = None if message.content is None else storable(message.content)
    reply = Reply(text, calls, finish_reason=_word(choice.finish_reason), model=_word(completion.model))
    return _counted(reply, usage, price, cost_usd, latency_ms)


def read_response(
    status: int,
    body: bytes,
    *,
    price: Price | None = None,
    latency_ms: float | None = None,
    location: str | None = None,
) -> Answer | Again | Broken:
    """What a response means.

    Args:
        status: HTTP status.
        body: Its bytes.
        price: What tokens cost.
        latency_ms: How long it took.
        location: Where a redirect points.
    """
    if not 200 <= status < 300:
        return judge(status, body, location)
    try:
        return read_completion(body, price=price, latency_ms=latency_ms)
    except NoAnswerError as error:
        return _no_answer(f"HTTP {status}: {error}", error, body, price)


def _no_answer(detail: str, why: NoAnswerError, body: bytes, price: Price | None) -> Answer | Again | Broken:
    """What a body means that promised an answer and holds none; it is billed for what it counts."""
    try:
        document = _read_object(body)
    except NoAnswerError:
        return Again("invalid_json", detail, why.is_worked)
    said, usage = error_in(document), read_usage(document)
    meant = Again("invalid_json", detail, why.is_worked) if said is None else judge_error(said)
    if not isinstance(meant, Again) or (usage.input_tokens is None and usage.cost_usd is None):
        return meant
    counted = price.cost(usage.input_tokens or 0, usage.output_tokens or 0, usage.cached_tokens) if price else 0.0
    return replace(meant, is_worked=False, cost_usd=max(counted, usage.cost_usd or 0.0))


def _read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a response, read as a whole.

    Raises:
        NoAnswerError: It is none.
    """
    if len(body) > MAX_ODD_BYTES:
        raise NoAnswerError(f"{len(body):,} bytes of an unusual shape", is_worked=True)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        # what was cut off was being written by somebody
        raise NoAnswerError(f"not JSON: {shown(body)}", is_worked=b'"choices"' in body) from None
    if not isinstance(document, dict):
        raise NoAnswerError(f"no object: {shown(body)}")
    return document


def _read_document(body: bytes, price: Price | None, cost_usd: float | None, latency_ms: float | None) -> Answer:
    """A completion of whatever shape."""
    document = _read_object(body)
    listed = document.get("choices")
    choices = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    messages = [message for each in choices if isinstance(message := each.get("message"), dict)]
    if error_in(document) is not None:
        raise NoAnswerError(f"an error: {shown(body)}")
    if not messages:
        raise NoAnswerError(f"no choice with a message: {shown(body)}", is_worked=bool(choices))
    try:
        reply = read_message(messages)
    except ValueError as error:
        raise NoAnswerError(str(error), is_worked=True) from None
    reply = replace(reply, finish_reason=_finish_reason(choices), model=_word(document.get("model")))
    if reply.text is None and not reply.tool_calls and reply.finish_reason is None:
        raise NoAnswerError(f"a message that says nothing: {shown(body)}", is_worked=True)
    return _counted(reply, read_usage(document), price, cost_usd, latency_ms)


def _counted(
    reply: Reply, usage: Usage, price: Price | None, cost_usd: float | None, latency_ms: float | None
) -> Answer:
    """The reply with what it cost; a filter's stop is a failure that has one."""
    input_tokens, output_tokens = usage.input_tokens, usage.output_tokens
    if not output_tokens and (reply.text or reply.tool_calls):
        output_tokens = None  # nothing was not said
    if cost_usd is None:
        cost_usd = usage.cost_usd
        if price is not None:
            known = input_tokens is not None and output_tokens is not None
            counted = price.cost(input_tokens or 0, output_tokens or 0, usage.cached_tokens) if known else None
            cost_usd = max(counted, cost_usd or 0.0) if counted is not None else None
    reply = Reply(
        reply.text,
        reply.tool_calls,
        input_tokens,
        output_tokens,
        cost_usd,
        latency_ms,
        reply.finish_reason,
        reply.model,
        reply.is_refusal,
        reply.extra,
    )
    if (reply.finish_reason or "").lower() in _DECLINED and not reply.is_refusal:
        return Failure("refused", reply.finish_reason or "", reply)
    return reply


def _usual_usage(usage: _Usage) -> Usage | None:
    """Counts that add up, as nearly all do; None where `read_usage` has to look."""
    given, made = usage.prompt_tokens, usage.completion_tokens
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details is not None else None
    thought = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details is not None else None
    is_usual = (
        0 < given <= MOST_TOKENS
        and 0 <= made <= MOST_TOKENS
        and given + made == usage.total_tokens
        and 0 <= (cached or 0) <= given
        and 0 <= (thought or 0) <= made
    )
    return Usage(given, made, cached or 0) if is_usual else None


def _finish_reason(choices: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the model stopped: of several choices, what says that the message is not whole, else of the one that calls tools."""
    told = [(_word(each.get("finish_reason")), each) for each in choices]
    for reason, _ in told:
        if reason is not None and (reason == "length" or reason.lower() in _DECLINED):
            return reason
    for reason, each in told:
        message = each.get("message")
        if (
            reason is not None
            and isinstance(message, dict)
            and (message.get("tool_calls") or message.get("function_call"))
        ):
            return reason
    return told[0][0]


def _word(value: Any) -> str | None:
    """A name that an endpoint gives, in storable form and of bounded length."""
    return storable(value[:_WORD]) if isinstance(value, str) and value else None
