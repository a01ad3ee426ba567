"""What an answer counts: tokens in and out, cached ones, a price, wherever and by whatever name an endpoint says it.

Counts are read so that a cost is never too low: what several places say is taken at its largest, what is told beside a
count is added to it, and a total that is larger than its parts was billed as output. What cannot be a count (negative, not
whole, no text is that long, nothing for something) is not known, and what is not known is charged at the most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MOST_TOKENS = 10**9
"""No request and no reply is that long."""
_MOST_USD = 1e5
_PLACES = ("usage", "usageMetadata", "usage_metadata")
_INPUT = ("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "promptTokenCount", "prompt_token_count")
_OUTPUT = (
    "completion_tokens",
    "output_tokens",
    "completionTokens",
    "outputTokens",
    "candidatesTokenCount",
    "candidates_token_count",
)
_TOTAL = ("total_tokens", "totalTokens", "totalTokenCount", "total_token_count")
_THOUGHT = ("reasoning_tokens", "thinking_tokens", "thoughtsTokenCount", "thoughts_token_count", "reasoningTokens")
_WRITTEN = ("cache_creation_input_tokens", "cache_write_tokens", "cache_creation_tokens")
_LONG = ("ephemeral_1h_input_tokens",)
_CACHED = ("cached_tokens", "cached_input_tokens", "cachedContentTokenCount", "cached_content_token_count")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_COSTS = ("cost", "total_cost", "cost_usd", "estimated_cost")


class Usage(NamedTuple):
    """What one answer was counted at; None where it is not known.

    Attributes:
        input_tokens: Of the request, cached ones included.
        output_tokens: Of the reply, reasoning included.
        cached_tokens: Those of the request that a cache gave.
        cost_usd: US dollars, where the endpoint says that.
        reasoning_tokens: Those of the reply that were reasoning.
        written_tokens: Those of the request that a cache took.
        long_written_tokens: Those of them that it keeps for an hour.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    reasoning_tokens: int | None = None
    written_tokens: int | None = None
    long_written_tokens: int | None = None


_UNKNOWN = Usage()


def read_usage(document: Mapping[str, Any]) -> Usage:
    """Everything that a response counts, in whatever place.

    Args:
        document: A completion, whole.
    """
    found = [_sum(document.get(place)) for place in _PLACES]
    found += [_sum(vendor.get("usage")) for vendor in document.values() if isinstance(vendor, dict)]
    choices = document.get("choices")
    if isinstance(choices, list):
        found.append(_sum([each.get("usage") for each in choices if isinstance(each, dict)]))
        messages = [each.get("message") for each in choices if isinstance(each, dict)]
        found.append(_sum([each.get("usage") for each in messages if isinstance(each, dict)]))
    return largest_usage(found)


def largest_usage(found: list[Usage]) -> Usage:
    """The largest of what several places say; what a cache gave and took is that of the largest input."""
    told = [each for each in found if each != _UNKNOWN]
    if len(told) <= 1:
        return told[0] if told else _UNKNOWN
    most = max(told, key=lambda each: each.input_tokens or 0)
    return Usage(
        most.input_tokens,
        max((each.output_tokens for each in told if each.output_tokens is not None), default=None),
        most.cached_tokens,
        max((each.cost_usd for each in told if each.cost_usd is not None), default=None),
        max((each.reasoning_tokens for each in told if each.reasoning_tokens is not None), default=None),
        most.written_tokens,
        most.long_written_tokens,
    )


def _sum(given: Any) -> Usage:
    """One place: an object, or a list of objects that add up, as a stream sends them."""
    if isinstance(given, dict):
        return _read(given)
    parts = [_read(each) for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    parts = [each for each in parts if each != _UNKNOWN]
    if len(parts) <= 1:
        return parts[0] if parts else _UNKNOWN
    return Usage(
        _bounded([each.input_tokens for each in parts]),
        _bounded([each.output_tokens for each in parts]),
        _bounded([each.cached_tokens for each in parts]),
        sum(costs) if (costs := [each.cost_usd for each in parts if each.cost_usd is not None]) else None,
        _bounded([each.reasoning_tokens for each in parts]),
        _bounded([each.written_tokens for each in parts]),
        _bounded([each.long_written_tokens for each in parts]),
    )


def _bounded(counts: list[int | None]) -> int | None:
    told = [count for count in counts if count is not None]
    return min(sum(told), MOST_TOKENS) if told else None


def _read(usage: Mapping[str, Any]) -> Usage:
    """One object."""
    cached = _largest(usage, _CACHED, _INPUT_DETAILS)
    given, beside = _with_cached(usage, _largest(usage, _INPUT), cached or 0)
    made = _with_thoughts(usage, _largest(usage, _OUTPUT))
    total = _largest(usage, _TOTAL)
    if total is not None and given is not None:
        made = max(made or 0, total - given) if made is not None or total > given else None
    elif total is not None and made is not None and total > made:
        given = total - made
    thought = _largest(usage, _THOUGHT, _OUTPUT_DETAILS)
    is_part = thought is not None and made is not None and thought <= made
    written, kept = _written(usage)
    return Usage(
        given or None,
        made,
        _part(max((each for each in (cached, beside) if each is not None), default=None), given),
        _cost(usage),
        thought if is_part else None,
        _part(written, given),
        _part(kept, given),
    )


def _part(count: int | None, whole: int | None) -> int | None:
    """A count of some of the whole: never more than that, and not known where it is not told."""
    return None if count is None or not whole else min(count, whole)


def _written(usage: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """(What a cache took, what it keeps for an hour of that)."""
    lives = usage.get("cache_creation")
    return _largest(usage, _WRITTEN, _INPUT_DETAILS), _largest(lives, _LONG) if isinstance(lives, dict) else None


def _with_cached(usage: Mapping[str, Any], given: int | None, cached: int) -> tuple[int | None, int | None]:
    """(Input with what the cache gave and took, what it gave), where that is counted beside the input.

    `prompt_tokens` holds cached tokens already, unless there are more of those; `input_tokens` of an endpoint that tells
    `cache_read_input_tokens` does not.
    """
    hit, missed = _count(usage.get("prompt_cache_hit_tokens")), _count(usage.get("prompt_cache_miss_tokens"))
    if hit is not None and missed is not None:
        given, cached = max(given or 0, hit + missed), max(cached, hit)
    told = _count(usage.get("cache_read_input_tokens"))
    read, written = told or 0, _count(usage.get("cache_creation_input_tokens")) or 0
    if given is None:
        return None, None
    if "prompt_tokens" not in usage:
        given += read + written
    elif read + written > given or cached > given:
        given += max(read + written, cached)
    return given, max((each for each in (told, hit) if each is not None), default=None)


def _with_thoughts(usage: Mapping[str, Any], made: int | None) -> int | None:
    """Output with the reasoning, where that is counted beside it.

    A detail of the output is a part of it, unless it is larger; a count of its own is not, unless the total says so.
    """
    if made is None:
        return None
    inside, beside = _largest({}, _THOUGHT, _OUTPUT_DETAILS, usage), _largest(usage, _THOUGHT)
    if inside is not None and inside > made:
        return made + inside
    if beside is None or beside == inside:
        return made
    total, given = _largest(usage, _TOTAL), _largest(usage, _INPUT)
    is_part = total is not None and given is not None and total == given + made and beside <= made
    return made if is_part else made + beside


def _largest(
    usage: Mapping[str, Any],
    names: tuple[str, ...],
    details: tuple[str, ...] = (),
    holder: Mapping[str, Any] | None = None,
) -> int | None:
    """The largest count by any of the names, in the object and in its details."""
    holder = usage if holder is None else holder
    places = [usage, *(inner for name in details if isinstance(inner := holder.get(name), dict))]
    return max(
        (count for each in places for name in names if (count := _count(each.get(name))) is not None), default=None
    )


def _count(value: Any) -> int | None:
    """A whole number of tokens that can be meant, also where it is written as 12.0 or "12"."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MOST_TOKENS)):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if is_count else None


def _cost(usage: Mapping[str, Any]) -> float | None:
    """US dollars, where the endpoint tells what the call cost it or its account."""
    told = list(_amounts(usage))
    details = usage.get("cost_details")
    upstream = _amount(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
    if upstream is not None:  # with a key of one's own, another account pays that
        told.append(upstream + (max(told, default=0.0) if usage.get("is_byok") is True else 0.0))
    return max(told, default=None)


def _amounts(usage: Mapping[str, Any]) -> Iterator[float]:
    for name in _COSTS:
        given = usage.get(name)
        amount = _amount(given.get("total_cost") if isinstance(given, dict) else given)
        if amount is not None:
            yield amount


def _amount(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < _MOST_USD and math.isfinite(value) else None
