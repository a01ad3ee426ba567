"""What `report.html` shows of a version: one HTML file that asks nobody for anything and runs no script.

From the answer to its grounds: estimates with intervals, what both sides did, the biggest changes, segments, what was
left out, and how the numbers were made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.diff.versions import Version
from pipelines.lake.lake import Lake
from pipelines.review.files import report_path, write_report
from pipelines.review.flows import view_flows
from pipelines.review.forest import Axis, Row, axis_around, draw_forest, view_forest
from pipelines.review.headline import Headline, SummaryLine
from pipelines.review.headline_html import view_headline
from pipelines.review.markup import fill_page
from pipelines.review.numbers import interval, metric_name, number, percent
from pipelines.review.pair import Pair
from pipelines.review.pair_html import view_pair
from pipelines.review.report import LeftOut, Report, load_report
from pipelines.review.words import FAILURES, FIDELITY, REASONS, SHARES, UNIT_CLASSES, VERDICTS, in_words, repeated

_TITLE_TOOLS, _TITLE_NAME = 4, 40
_REACH = 200.0
"""Per cent of A's mean up to which a difference is drawn."""
_SEGMENTS = 20
"""Values of segments that are drawn, those with most pairs."""
_SHARE_AXIS = Axis(0, 100, unit=" %")
_COUNTED_AS = {
    "ok": "left out of shares and means",
    "failed": "changed",
    "not_asked": "left out of both sides of everything",
}


def render_report(report: Report) -> str:
    """The file's whole text."""
    title = f"{report.headline.version.experiment}: A against B"
    return fill_page("report.html", title=title, report=view_report(report))


def keep_report(lake: Lake, home: Path, version: Version) -> tuple[Path, Report]:
    """Write the report of a complete version into the home.

    Raises:
        BadInputError: It cannot be written there.
    """
    report = load_report(lake, version)
    path = report_path(home, version.experiment, version.version_id)
    write_report(render_report(report), path)
    return path, report


def view_report(report: Report) -> dict[str, Any]:
    """The values of the template; what is None or empty has no section."""
    headline = report.headline
    return {
        "answer": report.answer,
        "headline": view_headline(headline),
        "shares": view_forest(share_rows(headline), _SHARE_AXIS),
        "metrics": _metrics(headline),
        "segments": _segments(headline),
        "flows": view_flows(report.flows),
        "changed": report.changed,
        "changes_shown": f"{len(report.changes):,}",
        "order": "changed tool calls" if report.order == "calls" else metric_name(report.order),
        "changes": [(_change_title(pair, report.order), view_pair(pair)) for pair in report.changes],
        "left_out": [_left_out(left) for left in report.left_out],
        "firsts": [(in_words(FAILURES, what), f"{told} (first in {unit})") for what, unit, told in report.firsts],
        "cases": _cases(headline),
        "version_id": headline.version.version_id,
        "result_hash": report.result_hash,
        "definition": json.dumps(report.definition, ensure_ascii=False, indent=1, sort_keys=True),
    }


def share_rows(headline: Headline) -> list[Row]:
    """What stayed the same, in per cent."""
    lines = {line.metric: line for line in headline.shares}
    return [_share_row(in_words(SHARES, name), lines[name]) for name in SHARES if name in lines and name != "failed"]


def _share_row(label: str, line: SummaryLine, *, is_whole: bool = False) -> Row:
    told = f"{percent(line.estimate)} [{interval(line.low, line.high, is_share=True)}]"
    return _row(label, line, 100.0, told, _size(line), is_whole=is_whole)


def _row(label: str, line: SummaryLine, factor: float | None, told: str, note: str, *, is_whole: bool = False) -> Row:
    """A line of the summary on an axis whose unit is 1 / factor of the line's; None: the axis has no place for it."""
    if factor is None:
        return Row(label, None, None, None, told=told, note=note, is_whole=is_whole)
    point, low, high = (None if value is None else value * factor for value in (line.estimate, line.low, line.high))
    margins = () if line.margin is None else (-line.margin * factor, line.margin * factor)
    return Row(label, point, low, high, margins, told, note, is_whole)


def metric_rows(headline: Headline) -> list[Row]:
    """Differences in per cent of A's mean; those whose A is 0 have no place on the axis."""
    rows = []
    for line in headline.differences:
        factor = 100 / abs(line.mean_a) if line.mean_a else None
        verdict = f"; {in_words(VERDICTS, line.verdict)}" if line.verdict and line.goal else ""
        told = f"{number(line.estimate, is_signed=True)} [{interval(line.low, line.high)}]{verdict}"
        note = _size(line) + ("" if factor is not None else "; A's mean is 0 or unknown")
        decides = ", decides" if line.metric == headline.primary else ""
        rows.append(_row(metric_name(line.metric) + decides, line, factor, told, note))
    return rows


def _metrics(headline: Headline) -> dict[str, Any] | None:
    rows = metric_rows(headline)
    return view_forest(rows, axis_around(rows, unit=" %", limit=_REACH))


def draw_headline(headline: Headline) -> str:
    """The two headline plots as text, without a word of what was recorded."""
    out = ["what stayed the same, per cent", *draw_forest(share_rows(headline), _SHARE_AXIS)]
    rows = metric_rows(headline)
    if rows:
        title = "B − A in per cent of A's mean, 95 % intervals"
        out += ["", title, *draw_forest(rows, axis_around(rows, unit=" %", limit=_REACH))]
    return "\n".join(out)


def _segments(headline: Headline) -> dict[str, Any] | None:
    """The metric that decides, or the share that stayed the same, by segment below the whole."""
    whole = next((line for line in headline.differences if line.metric == headline.primary), None)
    whole = whole or next((line for line in headline.shares if line.metric == "same_calls"), None)
    if whole is None:
        return None
    lines = [line for line in headline.segments if line.metric == whole.metric]
    drawn = sorted((line for line in lines if line.low is not None or line.high is not None), key=lambda line: -line.n)[
        :_SEGMENTS
    ]
    if not drawn:
        return None
    is_share = whole.kind == "change"
    rows = [_segment_row(whole, "everything", is_whole=True)]
    rows += [_segment_row(line, f"{line.segment}: {line.segment_value}") for line in lines if line in drawn]
    axis = _SHARE_AXIS if is_share else axis_around(rows)
    what = in_words(SHARES, whole.metric) if is_share else f"{metric_name(whole.metric)}, B − A"
    others = len(lines) - len(drawn)
    more = f" {others:,} more have fewer pairs, or too few for an interval." if others else ""
    return {"note": f"{what}.{more}", "forest": view_forest(rows, axis)}


def _segment_row(line: SummaryLine, label: str, *, is_whole: bool = False) -> Row:
    if line.kind == "change":
        return _share_row(label, line, is_whole=is_whole)
    told = f"{number(line.estimate, is_signed=True)} [{interval(line.low, line.high)}]"
    return _row(label, line, 1.0, told, _size(line), is_whole=is_whole)


def _size(line: SummaryLine) -> str:
    reason = f"; {in_words(REASONS, line.reason)}" if line.reason and line.reason != "no_goal" else ""
    return f"{line.n:,} pairs, {line.g:,} clusters{reason}"


def _change_title(pair: Pair, order: str) -> str:
    a, b = pair.a.metrics.get(order), pair.b.metrics.get(order)
    moved = f"{metric_name(order)} {number(a)} → {number(b)}; " if a is not None and b is not None else ""
    called = [
        _short_list(repeated(name for name in names if name is not None))
        for names in ([call.name_a for call in pair.calls], [call.name_b for call in pair.calls])
    ]
    done = called[0] if called[0] == called[1] else f"{called[0]} → {called[1]}"
    return f"{moved}{in_words(UNIT_CLASSES, pair.unit_class)}: {done}"


def _short_list(names: list[str]) -> str:
    """Tools of one side in a title: the first few."""
    more = f" + {len(names) - _TITLE_TOOLS} more" if len(names) > _TITLE_TOOLS else ""
    return (" + ".join(name[:_TITLE_NAME] for name in names[:_TITLE_TOOLS]) + more) or "no tool"


def _left_out(left: LeftOut) -> dict[str, Any]:
    return {
        "why": in_words(FIDELITY if left.status == "ok" else FAILURES, left.code),
        "pairs": left.pairs,
        "clusters": left.clusters,
        "counted_as": in_words(_COUNTED_AS, left.status),
    }


def _cases(headline: Headline) -> str:
    """The share that stayed the same, by what is made of what was left out."""
    lines = {line.metric: line for line in headline.shares}
    cases = {
        "as counted": "same_calls",
        "complete case": "same_calls_answered",
        "worst case": "same_calls_worst",
    }
    return "; ".join(f"{name} {percent(lines[code].estimate)}" for name, code in cases.items() if code in lines)
