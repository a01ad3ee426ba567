"""The page's parts: what is counted put into words and lengths of bars, and filled into a template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.console import duration
from pipelines.explore.choices import shown
from pipelines.explore.overview import FLAGS, Decided, Freshness, Overview, Step, Tool
from pipelines.review.markup import fill_page, fill_part

_FORMATS: dict[Step, str] = {"day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}
_FLAGS = {
    "content_missing": "what was said in a model call was not recorded",
    "history_compacted": "a context was shortened",
    "reasoning_lost": "a model thought, and nothing of it was recorded",
    "is_truncated": "a text is not whole",
    "session_ambiguous": "which conversation it is of is not said",
}
_MOST_MEMBERS = 4


@dataclass(frozen=True, slots=True)
class Series:
    """A number over time.

    Attributes:
        title: What it is, with its unit.
        bars: When, in words; the number in words; and its share of the largest, 0 to 1, or None where there is none.
        most: The largest in words.
        told: The series in a sentence, for who does not see it.
    """

    title: str
    bars: list[tuple[str, str, float | None]]
    most: str
    told: str

    @property
    def first(self) -> str:
        """When it begins, in words."""
        return self.bars[0][0]

    @property
    def last(self) -> str:
        """When it ends; nothing where that is when it begins."""
        return self.bars[-1][0] if len(self.bars) > 1 else ""


def style_sheet() -> str:
    """The `style` element that the page needs once."""
    return fill_page("explore_style.html")


def render_overview(overview: Overview, behind: Sequence[str] = ()) -> str:
    """All parts of the page.

    Args:
        overview: What was counted.
        behind: What the lake lacks, a sentence each.
    """
    return fill_part("explore.html", "overview", view_overview(overview, behind))


def view_overview(overview: Overview, behind: Sequence[str] = ()) -> dict[str, Any]:
    """What `explore.html` shows; every name is a recorded text, and is escaped as it enters the template."""
    volume = overview.volume
    rows = [flag for flag in FLAGS if volume.flags.get(flag)]
    return {
        "is_empty": not volume.started,
        "numbers": _numbers(overview),
        "series": _series(overview),
        "outcomes": _outcomes(overview),
        "without_outcome": f"{overview.without_outcome:,}" if overview.without_outcome else None,
        "tools": [_tool_row(tool, overview.tools[0].calls) for tool in overview.tools],
        "models": [_model_row(name, each) for name, each in overview.models.items()],
        "verified": _verified(overview.decided),
        "flags": [
            (_FLAGS[flag], f"{volume.flags[flag]:,}", _share(volume.flags[flag], volume.started)) for flag in rows
        ],
        "erased": f"{volume.erased_events:,}" if volume.erased_events else None,
        "freshness": _freshness(overview.freshness),
        "behind": list(behind),
    }


def _numbers(overview: Overview) -> list[tuple[str, str, str]]:
    """The figures at the top: a number, what it is, and more about it."""
    volume, decided = overview.volume, overview.decided
    calls = overview.tools[0] if overview.tools else None
    found = [(f"{volume.started:,}", "conversations and calls", f"{_share(volume.ended, volume.started)} ended")]
    if decided is not None:
        found.append((f"{decided.decisions:,}", "decisions", f"{decided.errors:,} model calls failed"))
        if decided.cost_usd is not None:
            each = f"{_usd(decided.cost_usd / volume.started)} each"
            found.append((_usd(decided.cost_usd), "cost of models", each))
        if decided.p95_ms is not None:
            found.append((_ms(decided.p95_ms), "95 % of model calls within", f"half within {_ms(decided.p50_ms)}"))
    if calls is not None:
        found.append((f"{calls.calls:,}", "tool calls", f"{_share(calls.failed, calls.calls)} failed"))
    return found


def _series(overview: Overview) -> list[Series]:
    steps, volumes, decisions = overview.steps, overview.volumes, overview.decisions
    named = [at.strftime(_FORMATS[overview.step]) if at.year >= 1000 else at.isoformat()[:10] for at in steps]
    started = [float(volumes[at].started) if at in volumes else 0.0 for at in steps]
    cost = [decisions[at].cost_usd if at in decisions else None for at in steps]
    slow = [decisions[at].p95_ms if at in decisions else None for at in steps]
    errors = [float(decisions[at].errors) if at in decisions else None for at in steps]
    a = f"a {overview.step}"
    series = [_one(f"Conversations and calls {a}", named, started, lambda value: f"{value:,.0f}")]
    series.append(_one(f"Cost of models {a}, US dollars", named, cost, _usd))
    series.append(_one(f"95th percentile of model latency {a}", named, slow, _ms))
    series.append(_one(f"Failed model calls {a}", named, errors, lambda value: f"{value:,.0f}"))
    return [each for each in series if any(share for _, _, share in each.bars)]


def _one(title: str, names: Sequence[str], values: Sequence[float | None], words: Any) -> Series:
    largest = max((value for value in values if value is not None), default=0.0)
    bars = [
        (name, words(value) if value is not None else "–", value / largest if value else None)
        for name, value in zip(names, values, strict=True)
    ]
    told = f"{title}: from {names[0]} to {names[-1]}, at most {words(largest)}" if names else title
    return Series(title, bars, words(largest), told)


def _outcomes(overview: Overview) -> list[tuple[str, list[tuple[str, str, str, float]]]]:
    """Member → its values: in words, how many, their share in words and as a number."""
    return [
        (
            shown(name) if name else "outcome",
            [
                (
                    shown(json.loads(value)) if value.startswith('"') else value,
                    f"{number:,}",
                    _share(number, total),
                    number / total,
                )
                for value, number in counts.items()
            ],
        )
        for name, counts in list(overview.outcomes.items())[:_MOST_MEMBERS]
        if (total := sum(counts.values()))
    ]


def _tool_row(tool: Tool, most: int) -> dict[str, Any]:
    return {
        "name": "all tools" if tool.name is None else shown(tool.name),
        "is_all": tool.name is None,
        "calls": f"{tool.calls:,}",
        "share": tool.calls / most,
        "failed": _share(tool.failed, tool.calls),
        "failed_share": tool.failed / tool.calls,
        "unanswered": _share(tool.unanswered, tool.calls),
        "p50": _ms(tool.p50_ms),
        "p95": _ms(tool.p95_ms),
    }


def _model_row(name: str | None, each: Decided) -> dict[str, str]:
    return {
        "name": shown(name),
        "decisions": f"{each.decisions:,}",
        "errors": _share(each.errors, each.decisions),
        "p50": _ms(each.p50_ms),
        "p95": _ms(each.p95_ms),
        "input": _count(each.input_tokens),
        "output": _count(each.output_tokens),
        "cost": _usd(each.cost_usd),
    }


def _verified(decided: Decided | None) -> list[tuple[str, str, str, float]]:
    if decided is None:
        return []
    unknown = decided.decisions - decided.verified - decided.differing
    rows = {
        "the request's hash says the same": decided.verified,
        "the request's hash says otherwise": decided.differing,
        "no hash was recorded": unknown,
    }
    return [
        (name, f"{number:,}", _share(number, decided.decisions), number / decided.decisions)
        for name, number in rows.items()
    ]


def _freshness(found: Freshness) -> list[tuple[str, str]]:
    now = datetime.now(UTC)
    named: Mapping[str, datetime | None] = {
        "newest conversation of those shown": found.newest,
        "last export": found.exported_at,
        "last fold": found.folded_at,
    }
    return [(name, _ago(at, now)) for name, at in named.items()]


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "none"
    seconds = (now - at).total_seconds()
    text = f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if seconds < 0:
        return f"{text}, in the future"
    return f"{text}, {duration(seconds) if seconds < 172_800 else f'{seconds / 86_400:,.0f} days'} ago"


def _share(part: int, whole: int) -> str:
    if not whole:
        return "–"
    share = part / whole
    return f"{share:.0%}" if part in (0, whole) or 0.1 <= share <= 0.995 else f"{share:.1%}"


def _usd(value: float | None) -> str:
    if value is None:
        return "–"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.2g}"


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.0f} s"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
