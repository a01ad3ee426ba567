"""What is made of the body of a response, on every wire: what it cost, whether it is an answer, and what it means if not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.prices import Price
from pipelines.replay.asking.fault import Again, Broken, error_in, judge_error, shown, storable
from pipelines.replay.asking.usage import MOST_TOKENS, Usage, read_usage
from pipelines.replay.failure import Answer, Failure

MAX_ODD_BYTES = 2 * 2**20
"""A response of another shape than the usual one is read as a whole, which takes twenty times its size."""
_BEGUN = (b'"choices"', b'"output"', b'"stop_reason"')
"""Members of a body that a model has begun to write."""
_WORD = 100
"""Characters of a model's name or of a finish reason that are kept."""
DECLINED = frozenset(
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


class NoAnswerError(ValueError):
    """A response is no complete answer.

    Args:
        message: Why.
        is_worked: Whether a model worked for it all the same: what that costs is not known.
    """

    def __init__(self, message: str, *, is_worked: bool = False) -> None:
        super().__init__(message)
        self.is_worked = is_worked


class Said(NamedTuple):
    """What an answer says; `counted` makes a reply of it.

    Attributes:
        text: As in `Reply`, like the others.
        tool_calls: In order.
        finish_reason: By the names of chat completions.
        model: Which answered.
        is_refusal: Whether the endpoint marks it as one.
        extra: What goes back with it.
    """

    text: str | None
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: str | None = None
    model: str | None = None
    is_refusal: bool = False
    extra: Mapping[str, Any] | None = None


def no_answer(detail: str, why: NoAnswerError, body: bytes, price: Price | None) -> Answer | Again | Broken:
    """What a body means that promised an answer and holds none; it is billed for what it counts."""
    try:
        document = read_object(body)
    except NoAnswerError:
        return Again("invalid_json", detail, why.is_worked)
    said, usage = error_in(document), read_usage(document)
    meant = Again("invalid_json", detail, why.is_worked) if said is None else judge_error(said)
    if not isinstance(meant, Again) or (usage.input_tokens is None and usage.cost_usd is None):
        return meant
    counted = _priced(usage, usage.output_tokens, price) if price else 0.0
    return replace(meant, is_worked=False, cost_usd=max(counted, usage.cost_usd or 0.0))


def read_object(body: bytes) -> dict[str, Any]:
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
        raise NoAnswerError(f"not JSON: {shown(body)}", is_worked=any(mark in body for mark in _BEGUN)) from None
    if not isinstance(document, dict):
        raise NoAnswerError(f"no object: {shown(body)}")
    return document


def usual_usage(
    given: int,
    made: int,
    total: int | None = None,
    cached: int | None = None,
    thought: int | None = None,
    written: int | None = None,
    kept: int | None = None,
) -> Usage | None:
    """Counts that add up, as nearly all do; None where `read_usage` has to look.

    Args:
        given: Tokens of the request, cached ones included.
        made: Of the reply, reasoning included.
        total: Both, where that is told.
        cached: Those of the request that a cache gave.
        thought: Those of the reply that were reasoning.
        written: Those of the request that a cache took.
        kept: Those of them that it keeps for an hour.
    """
    is_usual = (
        0 < given <= MOST_TOKENS
        and 0 <= made <= MOST_TOKENS
        and (total is None or given + made == total)
        and 0 <= (cached or 0) <= given
        and 0 <= (kept or 0) <= (written or 0) <= given
        and 0 <= (thought or 0) <= made
    )
    return Usage(given, made, cached, None, thought, written, kept) if is_usual else None


def counted(said: Said, usage: Usage, price: Price | None, cost_usd: float | None, latency_ms: float | None) -> Answer:
    """The reply: what was said, with what it cost; a filter's stop is a failure that has one."""
    input_tokens, output_tokens = usage.input_tokens, usage.output_tokens
    if not output_tokens and (said.text or said.tool_calls):
        output_tokens = None  # nothing was not said
    if cost_usd is None:
        cost_usd = usage.cost_usd
        if price is not None:
            known = input_tokens is not None and output_tokens is not None
            counted = _priced(usage, output_tokens, price) if known else None
            cost_usd = max(counted, cost_usd or 0.0) if counted is not None else None
    reply = Reply(
        said.text,
        said.tool_calls,
        input_tokens,
        output_tokens,
        cost_usd,
        latency_ms,
        said.finish_reason,
        said.model,
        said.is_refusal,
        said.extra,
        usage.cached_tokens,
        usage.written_tokens,
        usage.reasoning_tokens,
    )
    if (said.finish_reason or "").lower() in DECLINED and not said.is_refusal:
        return Failure("refused", said.finish_reason or "", reply)
    return reply


def _priced(usage: Usage, output_tokens: int | None, price: Price) -> float:
    """US dollars for what was counted; what is not known costs nothing here."""
    return price.cost(
        usage.input_tokens or 0,
        output_tokens or 0,
        usage.cached_tokens or 0,
        usage.written_tokens or 0,
        usage.long_written_tokens or 0,
    )


def word(value: Any) -> str | None:
    """A name that an endpoint gives, in storable form and of bounded length."""
    return storable(value[:_WORD]) if isinstance(value, str) and value else None
