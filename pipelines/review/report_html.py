"""Render a version's report: one HTML file that asks nobody for anything and runs no script.

From the answer to its grounds: estimates with intervals, what both sides did, the biggest changes, segments, what was
left out, and how the numbers were made. The style sheet forbids the file everything but its own styles.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.diff.versions import Version
from pipelines.lake.lake import Lake
from pipelines.review.files import report_path, write_report
from pipelines.review.flows import render_flows
from pipelines.review.forest import Axis, Row, axis_around, draw_forest, render_forest
from pipelines.review.headline import Headline, SummaryLine
from pipelines.review.headline_html import render_classes, render_differences, render_headline, render_noise
from pipelines.review.markup import Content, Markup, cut, details, join, tag, text
from pipelines.review.numbers import interval, metric_name, number, percent
from pipelines.review.pair import Pair
from pipelines.review.pair_html import render_pair
from pipelines.review.report import Answer, LeftOut, Report, load_report
from pipelines.review.style import report_style, style_sheet
from pipelines.review.words import FAILURES, FIDELITY, REASONS, SHARES, UNIT_CLASSES, VERDICTS, in_words, repeated

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
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
_MARKS = {"ship": "✓", "do_not_ship": "✕", "not_enough_data": "…"}
_METHODS = (
    "A difference is B − A over the pairs with a value on both sides; a share is of all pairs fed as recorded.",
    "Pairs of one conversation resemble each other: the conversation, or the experiment's cluster, is the observation.",
    "Intervals hold the truth in 95 % of repetitions: cluster jackknife with t(N² / Σ n² − 1) for differences, Wilson's for shares.",
    "q-values are Benjamini-Hochberg adjusted over segments and secondary metrics; the primary metric as a whole is not.",
    "Only intervals decide. Change is not harm: nothing is better or worse without a metric that has a direction.",
    "What is undefined has a reason and is never 0. Fewer than 20 clusters allow no verdict.",
)


def render_report(report: Report) -> str:
    """The file's whole text."""
    headline = report.headline
    name = f"{headline.version.experiment}: A against B"
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{text(_POLICY).html}">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        tag("title", name),
        style_sheet(),
        report_style(),
    )
    body = tag("body", tag("main", tag("h1", name), *_sections(report), css="rf rf-report"))
    return f'<!DOCTYPE html>\n<html lang="en">{head.html}{body.html}</html>\n'


def keep_report(lake: Lake, home: Path, version: Version) -> tuple[Path, Report]:
    """Write the report of a complete version into the home.

    Raises:
        BadInputError: It cannot be written there.
    """
    report = load_report(lake, version)
    path = report_path(home, version.experiment, version.version_id)
    write_report(render_report(report), path)
    return path, report


def _sections(report: Report) -> list[Content]:
    headline = report.headline
    return [
        _answer(report.answer),
        render_headline(replace(headline, decision=None)),  # told above
        _section("What stayed the same", _forest(share_rows(headline), _SHARE_AXIS)),
        _section("How the metrics differ", _metrics(headline), _numbers(headline)),
        _section("By segment", _segments(headline)),
        _section("What both sides did", render_flows(report.flows), render_classes(headline)),
        _section("Beyond the model's own noise", render_noise(headline)),
        _section(f"The biggest changes ({len(report.changes):,} of {report.changed:,})", _changes(report)),
        _section("What was left out", _left_out(report)),
        _section("How the numbers were made", _methods(report)),
    ]


def _section(title: str, *parts: Markup | None) -> Markup | None:
    given = [part for part in parts if part is not None]
    return tag("section", tag("h2", title), *given) if given else None


def _answer(answer: Answer | None) -> Markup | None:
    if answer is None:
        return None
    clauses = [
        tag("li", tag("b", "holds" if passed else "fails"), f": {clause} (seen: {seen})")
        for clause, seen, passed in answer.clauses
    ]
    return tag(
        "section",
        tag(
            "p", tag("span", _MARKS.get(answer.word, ""), aria_hidden="true"), " ", answer.title, css="rf-verdict-word"
        ),
        tag("ul", *(tag("li", reason) for reason in answer.reasons)) if answer.reasons else None,
        details("The gate, clause by clause", tag("ul", *clauses)) if clauses else None,
        css=f"rf-verdict rf-verdict-{answer.word}",
        aria_label="The answer",
    )


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


def _metrics(headline: Headline) -> Markup | None:
    rows = metric_rows(headline)
    if not rows:
        return None
    note = "B − A in per cent of A's mean, with 95 % intervals. Dashes: the difference that does not matter."
    return join([_forest(rows, axis_around(rows, unit=" %", limit=_REACH)), tag("p", note, css="rf-note")])


def _numbers(headline: Headline) -> Markup | None:
    table = render_differences(headline)
    return None if table is None else details("In numbers", table)


def draw_headline(headline: Headline) -> str:
    """The two headline plots as text, without a word of what was recorded."""
    out = ["what stayed the same, per cent", *draw_forest(share_rows(headline), _SHARE_AXIS)]
    rows = metric_rows(headline)
    if rows:
        title = "B − A in per cent of A's mean, 95 % intervals"
        out += ["", title, *draw_forest(rows, axis_around(rows, unit=" %", limit=_REACH))]
    return "\n".join(out)


def _segments(headline: Headline) -> Markup | None:
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
    return join([tag("p", f"{what}.{more}", css="rf-note"), _forest(rows, axis)])


def _segment_row(line: SummaryLine, label: str, *, is_whole: bool = False) -> Row:
    if line.kind == "change":
        return _share_row(label, line, is_whole=is_whole)
    told = f"{number(line.estimate, is_signed=True)} [{interval(line.low, line.high)}]"
    return _row(label, line, 1.0, told, _size(line), is_whole=is_whole)


def _size(line: SummaryLine) -> str:
    reason = f"; {in_words(REASONS, line.reason)}" if line.reason and line.reason != "no_goal" else ""
    return f"{line.n:,} pairs, {line.g:,} clusters{reason}"


def _forest(rows: Sequence[Row], axis: Axis) -> Markup | None:
    return render_forest(rows, axis) if rows else None


def _changes(report: Report) -> Markup | None:
    if not report.changes:
        return None
    order = "changed tool calls" if report.order == "calls" else metric_name(report.order)
    parts = [tag("p", f"Ordered by {order}. Open one to see both sides.", css="rf-note")]
    parts += [details(_change(place, pair, report), render_pair(pair)) for place, pair in enumerate(report.changes, 1)]
    return tag("div", *parts, css="rf-biggest")


def _change(place: int, pair: Pair, report: Report) -> Markup:
    a, b = pair.a.metrics.get(report.order), pair.b.metrics.get(report.order)
    moved = f"{metric_name(report.order)} {number(a)} → {number(b)}; " if a is not None and b is not None else ""
    called = [
        _short_list(repeated(name for name in names if name is not None))
        for names in ([call.name_a for call in pair.calls], [call.name_b for call in pair.calls])
    ]
    done = called[0] if called[0] == called[1] else f"{called[0]} → {called[1]}"
    return join([tag("b", f"{place}. "), f"{moved}{in_words(UNIT_CLASSES, pair.unit_class)}: {done}"])


def _short_list(names: list[str]) -> str:
    """Tools of one side in a title: the first few."""
    more = f" + {len(names) - _TITLE_TOOLS} more" if len(names) > _TITLE_TOOLS else ""
    return (" + ".join(cut(name, _TITLE_NAME)[0] for name in names[:_TITLE_TOOLS]) + more) or "no tool"


def _left_out(report: Report) -> Markup:
    lines = {line.metric: line for line in report.headline.shares}
    rows = [_left_out_row(left) for left in report.left_out]
    table = None
    if rows:
        head = tag(
            "tr",
            tag("th", "Why"),
            tag("th", "Pairs", css="rf-number"),
            tag("th", "Clusters", css="rf-number"),
            tag("th", "Counted as"),
        )
        table = tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), css="rf-wide")
    cases = [
        (name, lines[code])
        for name, code in (
            ("as counted", "same_calls"),
            ("complete case", "same_calls_answered"),
            ("worst case", "same_calls_worst"),
        )
        if code in lines
    ]
    told = "; ".join(f"{name} {percent(line.estimate)}" for name, line in cases)
    nothing = "" if rows else "Nothing: every pair was answered and fed as it was recorded. "
    note = f"{nothing}Same tool calls and arguments: {told}."
    firsts = [
        tag("li", tag("b", f"{in_words(FAILURES, what)}: "), f"{told} (first in {unit})")
        for what, unit, told in report.firsts
    ]
    return join([table, tag("ul", *firsts) if firsts else None, tag("p", note, css="rf-note")])


def _left_out_row(left: LeftOut) -> Markup:
    words = FIDELITY if left.status == "ok" else FAILURES
    counted = _COUNTED_AS[left.status]
    return tag(
        "tr",
        tag("th", in_words(words, left.code), scope="row"),
        tag("td", f"{left.pairs:,}", css="rf-number"),
        tag("td", f"{left.clusters:,}", css="rf-number"),
        tag("td", counted),
    )


def _methods(report: Report) -> Markup:
    version = report.headline.version
    definition = json.dumps(report.definition, ensure_ascii=False, indent=1, sort_keys=True)
    settings = details("Every setting that determines this version", tag("pre", definition, css="rf-text"))
    hashes = f"version_id {version.version_id} · result_hash {report.result_hash}"
    return join([tag("ul", *(tag("li", method) for method in _METHODS)), tag("p", tag("code", hashes)), settings])
