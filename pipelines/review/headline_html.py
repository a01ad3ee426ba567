"""What `headline.html` shows of a version: what was compared, shares with intervals, classes as bars, metrics A against B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipelines.console import counted
from pipelines.review.answer import headline as answer_in_words
from pipelines.review.answer import tell
from pipelines.review.forest import Axis, Mark, Row, axis_around, place_marks
from pipelines.review.headline import Headline, SummaryLine
from pipelines.review.markup import fill_part
from pipelines.review.noise import noise_in_order, tell_noise
from pipelines.review.numbers import interval, metric_name, number, percent
from pipelines.review.words import (
    NOISE,
    REASONS,
    SHARES,
    UNIT_CLASSES,
    VERDICTS,
    count_streams,
    in_words,
    tell_flat,
)

_UNCHANGED = "same_calls"
_SHARE_AXIS = Axis(0, 1)


def render_message(message: str) -> str:
    """Something that the reviewer must know before the rest, or instead of it."""
    return fill_part("widgets.html", "message", message)


def render_headline(headline: Headline) -> str:
    """The version at a glance, its answer first."""
    return fill_part("headline.html", "overview", view_headline(headline))


def view_headline(headline: Headline) -> dict[str, Any]:
    """The values of the template's parts by their names; None for a part about which the version says nothing."""
    return {
        "glance": _glance(headline),
        "shares": [_share(line) for name in SHARES for line in headline.shares if line.metric == name],
        "classes": _classes(headline),
        "noise": _noise(headline.noise),
        "differences": _differences(headline),
    }


def _glance(headline: Headline) -> dict[str, Any]:
    version, decision = headline.version, headline.decision
    start, stop = (f"{bound:%Y-%m-%d %H:%M}" if bound else "…" for bound in headline.window)
    numbers = [
        (counted(version.pairs, f"{version.unit} pair"), ""),
        *((told, "") for told in count_streams(headline.conversations, headline.calls)),
        (counted(version.pairs - headline.failed - version.same_calls, "pair"), "with other tool calls"),
        (counted(headline.failed, "pair"), "without an answer of B"),
    ]
    if headline.not_asked > headline.not_asked_erased:
        numbers.append(
            (
                counted(headline.not_asked - headline.not_asked_erased, version.unit),
                "with nothing said before, left out",
            )
        )
    if headline.not_asked_erased:
        numbers.append((counted(headline.not_asked_erased, version.unit), "erased in part, or after what is, left out"))
    notes = [] if version.revision is None else [f"{version.revision.describe(version.unit)}."]
    notes += headline.notes
    if version.unit == "decision":
        notes.append(
            "Each decision was put before B as it was put before A. No tool ran, and what would have come of it was not observed."
        )
    return {
        "answer": None if decision is None else answer_in_words(decision),
        "reasons": [] if decision is None else tell(decision),
        "facts": [
            ("A", headline.side_a),
            ("B", headline.side_b),
            ("Conversations begun", "any time" if headline.window == (None, None) else f"{start} to {stop} UTC"),
            ("Only where", headline.where or "all"),
            ("Version", f"{version.version_id}, complete since {version.committed_at:%Y-%m-%d %H:%M} UTC"),
        ],
        # the number is what is to be seen, and what is counted stands under it
        "numbers": [(told.partition(" ")[0], f"{told.partition(' ')[2]} {more}".strip()) for told, more in numbers],
        "notes": [*notes, *(f"{told}." for told in tell_flat(headline.flat_metrics))],
    }


def _share(line: SummaryLine) -> dict[str, Any]:
    return {
        "name": in_words(SHARES, line.metric),
        "pairs": None if line.estimate is None else f"{round(line.estimate * line.n):,} of {line.n:,}",
        "share": percent(line.estimate),
        "marks": _marks(line, _SHARE_AXIS),
        "interval": interval(line.low, line.high, is_share=True),
        "remarks": _remarks(line),
    }


def _classes(headline: Headline) -> list[dict[str, Any]]:
    """Pairs by what changed in their tool calls, the deepest change first."""
    known = [name for name in UNIT_CLASSES if name in headline.classes]
    total = sum(headline.classes.values()) or 1
    most = max(headline.classes.values(), default=1) or 1
    return [
        {
            "name": in_words(UNIT_CLASSES, name),
            "pairs": headline.classes[name],
            "share": percent(headline.classes[name] / total),
            "marks": [
                Mark(f"bar rf-{'same' if name == _UNCHANGED else 'changed'}", 0.0, headline.classes[name] / most)
            ],
        }
        for name in known + sorted(set(headline.classes) - set(known))
    ]


def _noise(noise: Sequence[SummaryLine]) -> dict[str, Any] | None:
    lines = {line.metric: asdict(line) for line in noise}
    if not lines:
        return None
    shown = []
    for name, line in noise_in_order(lines):
        is_share = name != "noise_excess"  # the energy distance is no share: it reaches 2
        shown.append(
            {
                "name": in_words(NOISE, name),
                "share": percent(line["estimate"]) if is_share else number(line["estimate"]),
                "interval": interval(line["low"], line["high"], is_share=is_share),
                "remarks": [in_words(REASONS, line["reason"])] if line["reason"] else [],
            }
        )
    sample = lines["noise_excess"]
    drawn = (
        f"Drawn again at {sample['n']:,} points in {sample['g']:,} clusters; {sample['excluded']:,} points left out."
    )
    return {"lines": shown, "note": " ".join([drawn, *tell_noise(lines)])}


def _differences(headline: Headline) -> dict[str, Any] | None:
    if not headline.differences:
        return None
    good = headline.outcomes
    names = {"both": "both", "only_a": "only A", "only_b": "only B", "neither": "neither"}
    shown = ", ".join(f"{words} {good.get(name, 0):,}" for name, words in names.items())
    return {
        "unit": headline.version.unit,
        "lines": [_difference(line, is_primary=line.metric == headline.primary) for line in headline.differences],
        "outcomes": f"Good outcome as recorded: {shown}." if any(good.values()) else None,
        "segments": [_segment(line) for line in headline.segments],
    }


def _difference(line: SummaryLine, *, is_primary: bool) -> dict[str, Any]:
    has_totals = line.total_a is not None and line.total_b is not None
    return {
        "name": metric_name(line.metric),
        "is_primary": is_primary,
        "totals": f"all pairs: {number(line.total_a)} → {number(line.total_b)}" if has_totals else None,
        "a": number(line.mean_a),
        "b": number(line.mean_b),
        "difference": number(line.estimate, is_signed=True),
        "marks": _marks(line, axis_around([_row(line)])),
        "interval": interval(line.low, line.high),
        **_verdict(line),
        "remarks": _remarks(line),
    }


def _verdict(line: SummaryLine) -> dict[str, str | None]:
    if line.goal is None and line.verdict is None:
        return {"verdict": None, "goal": "no direction declared" if line.estimate is not None else ""}
    goal = "no direction declared" if line.goal is None else f"{line.goal} is better"
    margin = "" if line.margin is None else f", a difference of {number(line.margin)} does not matter"
    return {"verdict": in_words(VERDICTS, line.verdict) if line.verdict else "no verdict", "goal": goal + margin}


def _remarks(line: SummaryLine) -> list[str]:
    remarks = [in_words(REASONS, line.reason)] if line.reason and line.reason != "no_goal" else []
    if line.excluded:
        remarks.append(f"{counted(line.excluded, 'pair')} without a value on both sides left out")
    if line.verdict in (None, "inconclusive") and line.goal and line.g_needed and line.g_needed > line.g:
        remarks.append(f"about {counted(line.g_needed, 'conversation')} needed, {line.g:,} seen")
    return remarks


def _segment(line: SummaryLine) -> dict[str, Any]:
    is_share = line.kind == "change"
    return {
        "name": f"{line.segment}: {line.segment_value}",
        "what": in_words(SHARES, line.metric) if is_share else metric_name(line.metric),
        "pairs": line.n,
        "estimate": percent(line.estimate) if is_share else number(line.estimate, is_signed=True),
        "interval": interval(line.low, line.high, is_share=is_share),
        "remarks": _remarks(line),
    }


def _row(line: SummaryLine) -> Row:
    margins = () if line.margin is None else (-line.margin, line.margin)
    return Row("", line.estimate, line.low, line.high, margins)


def _marks(line: SummaryLine, axis: Axis) -> list[Mark]:
    """An estimate and its interval; nothing where one of them is not known."""
    is_known = line.estimate is not None and not (line.low is None and line.high is None)
    return place_marks(_row(line), axis) if is_known else []
