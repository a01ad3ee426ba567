"""Several candidates on one page: the answer of each, each beside A and beside each other, as text and as a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.console import counted
from pipelines.diff.candidates import Comparison, Line
from pipelines.diff.gating import Decision
from pipelines.diff.names import SHARES as SHARE_NAMES
from pipelines.diff.result import DiffResult
from pipelines.review.answer import headline, name_window
from pipelines.review.forest import Axis, Row, axis_around, view_forest
from pipelines.review.markup import fill_page
from pipelines.review.numbers import interval, metric_name, number, percent
from pipelines.review.words import REASONS, SHARES, in_words


@dataclass(frozen=True, slots=True)
class Compared:
    """What a page of candidates shows.

    Attributes:
        experiment: The experiment that has them.
        results: The version of each candidate, in their order; all of one window.
        decisions: What each of them comes to.
        comparison: Their estimates together.
    """

    experiment: str
    results: Sequence[DiffResult]
    decisions: Sequence[Decision]
    comparison: Comparison


def render_candidates(found: Compared) -> str:
    """The page as lines of text."""
    first = found.results[0]
    over = f", begun {name_window(first)}, UTC" if any(first.window) else ""
    lines = [
        f"{found.experiment}  {counted(len(found.results), 'candidate')} over {counted(first.pairs, f'{first.unit} pair')}{over}",
        f"A  {first.side_a}",
        *(
            f"   {_name(result.experiment):<24}{headline(decision)}: {result.side_b}"
            for result, decision in zip(found.results, found.decisions, strict=True)
        ),
    ]
    for title, note, groups in _sections(found.comparison):
        lines += ["", f"{title} ({note})"]
        for name, members in groups:
            lines += [f"  {name}", *(f"    {_label(line):<36}{_told(line)}{_why(line)}" for line in members)]
    return "\n".join(lines)


def render_candidates_html(windows: Sequence[Compared]) -> str:
    """The page as one HTML file that asks nobody for anything; a section a window."""
    title = f"{windows[0].experiment}: {counted(len(windows[0].results), 'candidate')}"
    return fill_page("candidates.html", title=title, windows=[_view(each) for each in windows])


def _view(found: Compared) -> dict[str, Any]:
    first = found.results[0]
    return {
        "window": name_window(first) if any(first.window) else None,
        "side_a": first.side_a,
        "size": f"{counted(first.pairs, f'{first.unit} pair')} in {counted(first.conversations, 'conversation')}",
        "candidates": [
            (_name(result.experiment), headline(decision), decision.answer.word, result.side_b, result.version_id)
            for result, decision in zip(found.results, found.decisions, strict=True)
        ],
        "sections": [
            (
                title[:1].upper() + title[1:],
                note[:1].upper() + note[1:],
                [(name, _forest(members)) for name, members in groups],
            )
            for title, note, groups in _sections(found.comparison)
        ],
    }


def _forest(members: Sequence[Line]) -> dict[str, Any] | None:
    factor = 100 if _is_share(members[0]) else 1
    rows = []
    for line in members:
        found = line.estimate
        point, low, high = (None if each is None else each * factor for each in (found.theta, found.low, found.high))
        note = f"{found.n:,} pairs, {found.g:,} clusters{_why(line)}"
        rows.append(Row(_label(line), point, low, high, told=_told(line), note=note))
    is_rate = members[0].first is None and _is_share(members[0])
    return view_forest(rows, Axis(0, 100, unit=" %") if is_rate else axis_around(rows, unit=" %" if factor > 1 else ""))


def _sections(found: Comparison) -> Iterator[tuple[str, str, list[tuple[str, list[Line]]]]]:
    count = len(found.candidates)
    told = "intervals that hold together with 95 %: {level:.2%} each, Bonferroni over {what}"
    yield (
        "each candidate beside A",
        told.format(level=found.level, what=counted(count, "candidate")),
        list(_by_metric(found.beside)),
    )
    if found.pair_level is not None:
        pairs = counted(count * (count - 1) // 2, "pair")
        yield (
            "each candidate beside another, second − first",
            told.format(level=found.pair_level, what=pairs),
            list(_by_metric(found.between)),
        )


def _by_metric(lines: Sequence[Line]) -> Iterator[tuple[str, list[Line]]]:
    for metric in dict.fromkeys(line.metric for line in lines):
        members = [line for line in lines if line.metric == metric]
        yield _metric(members[0]), members


def _metric(line: Line) -> str:
    if line.kind == "change":
        return SHARES[line.metric] if line.first is None else f"{SHARES[line.metric]}, difference"
    if line.kind == "rule":
        return f"rule {line.metric} holds" + ("" if line.first is None else ", difference")
    good = f" ({line.goal} is good)" if line.goal is not None else ""
    return f"{metric_name(line.metric)}{', B − A' if line.first is None else ''}{good}"


def _label(line: Line) -> str:
    return _name(line.second) if line.first is None else f"{_name(line.second)} − {_name(line.first)}"


def _name(experiment: str) -> str:
    return experiment.rpartition("/")[2]


def _is_share(line: Line) -> bool:
    return line.kind == "rule" or line.metric in SHARE_NAMES


def _told(line: Line) -> str:
    found = line.estimate
    if line.first is None and _is_share(line):
        return f"{percent(found.theta)} [{interval(found.low, found.high, is_share=True)}]"
    if _is_share(line):
        points = [None if each is None else 100 * each for each in (found.theta, found.low, found.high)]
        return f"{number(points[0], is_signed=True)} points [{interval(points[1], points[2])}]"
    return f"{number(found.theta, is_signed=True)} [{interval(found.low, found.high)}]"


def _why(line: Line) -> str:
    return f"  ({in_words(REASONS, line.estimate.reason)})" if line.estimate.reason else ""
