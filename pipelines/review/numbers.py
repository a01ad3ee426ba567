"""Numbers as a reviewer reads them: a minus sign, thousands apart, no more digits than matter, a dash for unknown."""

from __future__ import annotations

from pipelines.review.words import METRICS

UNKNOWN = "–"
_SUFFIXES = {"_usd": " (USD)", "_ms": " (ms)", "_seconds": " (s)", "_bytes": " (bytes)"}


def number(value: float | None, *, is_signed: bool = False) -> str:
    """A number with about four digits; signed, `+` or `−` comes first."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if size >= 1000 or value == int(value):
        shown = f"{size:,.0f}"
    elif size >= 1:
        shown = f"{size:,.2f}"
    else:
        shown = f"{size:.3g}"
    sign = "−" if value < 0 else "+" if is_signed and value > 0 else ""
    return sign + shown


def percent(share: float | None, *, is_signed: bool = False) -> str:
    """A share of 1 as percent, one decimal; signed, `+` or `−` comes first."""
    if share is None:
        return UNKNOWN
    return ("−" if share < 0 else "+" if is_signed and share > 0 else "") + f"{abs(share):.1%}"


def interval(low: float | None, high: float | None, *, is_share: bool = False) -> str:
    """Two bounds in words; one alone when only that is known."""

    def bound(value: float) -> str:
        return percent(value) if is_share else number(value, is_signed=True)

    if low is not None and high is not None:
        return f"{bound(low)} to {bound(high)}"
    if low is not None:
        return f"at least {bound(low)}"
    return UNKNOWN if high is None else f"at most {bound(high)}"


def metric_name(metric: str) -> str:
    """A metric's name in words, its unit in brackets."""
    if metric in METRICS:
        return METRICS[metric]
    for suffix, unit in _SUFFIXES.items():
        if metric.endswith(suffix):
            return metric.removesuffix(suffix).replace("_", " ").capitalize() + unit
    return metric.replace("_", " ").capitalize()
