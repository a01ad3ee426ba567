"""How the plain left folds spell values: JSON text, sums of money, what counts as said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Row = dict[str, Any]

_PICO = Decimal("0.000000000001")
_NUMBER = re.compile(r'("(?:[^"\\]|\\.)*")|(-?[0-9.]+[eE][-+]?[0-9]+)')
"""A string, which stays as it is, or a number with an exponent."""


def is_erased(event: Mapping[str, Any]) -> bool:
    """Whether an event's payload and metadata are gone: its digest is kept instead."""
    return bool(event.get("digest"))


def call_state(call: Row) -> Row:
    """One tool call with its result, as states and tables show it; of what is erased nothing but its place."""
    payload, result, answer = call["payload"], call["result"], call.get("answer", {})
    arguments, _ = arguments_of(payload)
    is_gone = is_erased(call["event"])
    return {
        "stream_version": call["event"]["stream_version"],
        "actor": None if is_gone else call["actor"],
        "call_id": payload.get("call_id"),
        "name": payload.get("name"),
        "arguments": None if is_gone else json_text(arguments),
        "result_version": result["stream_version"] if result else None,
        "output": json_text(answer.get("output")) if result and not is_erased(result) else None,
        "error": text_or_none(answer.get("error")) if result else None,
    }


def arguments_of(payload: Mapping[str, Any]) -> tuple[Any, bool]:
    """The value of a tool call's arguments, and whether they are a string that holds no JSON."""
    given = payload.get("arguments", {})
    if not isinstance(given, str):
        return given, False
    try:
        value = json.loads(given, parse_constant=_refuse) if given else {}
        json_text(value).encode()
    except (ValueError, RecursionError):
        return given, True
    return value, False


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def spent(model_calls: list[Mapping[str, Any]]) -> Row:
    """Sums over model calls; None where nothing was recorded."""
    counted = {
        name: [count for count in (token_count(call, name) for call in model_calls) if count is not None]
        for name in ("input_tokens", "output_tokens")
    }
    sums: Row = {name: sum(counts) if counts else None for name, counts in counted.items()}
    return sums | {"cost_usd": dollars([call.get("cost_usd") for call in model_calls])}


def token_count(model: Mapping[str, Any], name: str) -> int | None:
    """A usage counter, None when not recorded."""
    usage = model.get("usage")
    count = usage.get(name) if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) else None


def dollars(amounts: list[Any]) -> float | None:
    """Sum of the amounts that are numbers, each rounded to 12 places; None when there is none."""
    exact = exact_dollars(amounts)
    return None if exact is None else float(exact)


def exact_dollars(amounts: list[Any]) -> Decimal | None:
    """The same before it is made a float."""
    recorded = [
        Decimal(str(amount)).quantize(_PICO, ROUND_HALF_UP) for amount in amounts if isinstance(amount, (int, float))
    ]
    return sum(recorded, Decimal(0)) if recorded else None


def is_said(text: str | None) -> bool:
    """Whether there is text that is not blank."""
    return text is not None and text.strip() != ""


def json_text(value: Any) -> str:
    """Compact JSON text, numbers as PostgreSQL spells them."""
    return _positional(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def jsonb_text(value: Any) -> str:
    """JSON text as PostgreSQL spells jsonb, but for the order of members."""
    return _positional(json.dumps(value, ensure_ascii=False))


def _positional(text: str) -> str:
    """Numbers without an exponent."""
    return _NUMBER.sub(lambda found: found[1] or format(Decimal(found[2]), "f"), text)


def text_or_none(value: Any) -> str | None:
    """Compact JSON text; None for null."""
    return None if value is None else json_text(value)


def recorded_number(value: Any) -> float | None:
    """A number, None for anything else."""
    return float(value) if isinstance(value, (int, float)) else None
