"""Render a version's headline as HTML: what was compared, shares with intervals, classes as bars, metrics A against B."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from pipelines.console import counted
from pipelines.review.answer import headline as answer_in_words
from pipelines.review.answer import tell
from pipelines.review.headline import Headline, SummaryLine
from pipelines.review.markup import Markup, details, join, tag
from pipelines.review.noise import noise_in_order, tell_noise
from pipelines.review.numbers import interval, metric_name, number, percent
from pipelines.review.words import NOISE, REASONS, SHARES, UNIT_CLASSES, VERDICTS, in_words, tell_flat

_UNCHANGED = "same_calls"


def render_message(message: str) -> Markup:
    """Something that the reviewer must know before the rest, or instead of it."""
    return tag("p", message, css="rf rf-message-box", role="status")


def render_headline(headline: Headline) -> Markup:
    """The version at a glance."""
    version = headline.version
    start, stop = (f"{bound:%Y-%m-%d %H:%M}" if bound else "…" for bound in headline.window)
    facts = [
        ("A", headline.side_a),
        ("B", headline.side_b),
        ("Conversations begun", "any time" if headline.window == (None, None) else f"{start} to {stop} UTC"),
        ("Only where", headline.where or "all"),
        ("Version", f"{version.version_id}, complete since {version.committed_at:%Y-%m-%d %H:%M} UTC"),
    ]
    numbers = [
        (counted(version.pairs, f"{version.unit} pair"), ""),
        (counted(headline.conversations, "conversation"), ""),
        (counted(version.pairs - headline.failed - version.same_calls, "pair"), "with other tool calls"),
        (counted(headline.failed, "pair"), "without an answer of B"),
        *(
            [(counted(headline.not_asked, version.unit), "with nothing said before, left out")]
            if headline.not_asked
            else []
        ),
    ]
    return tag(
        "section",
        _answer(headline),
        tag("dl", *(join([tag("dt", name), tag("dd", value)]) for name, value in facts), css="rf-facts"),
        tag("div", *(_number(each, more) for each, more in numbers), css="rf-numbers"),
        *(tag("p", note, css="rf-note") for note in headline.notes),
        _decided_without_tools(headline),
        *(tag("p", f"{told}.", css="rf-note") for told in tell_flat(headline.flat_metrics)),
        css="rf",
    )


def _number(told: str, more: str) -> Markup:
    """A number that is to be seen, and under it what is counted."""
    number, _, noun = told.partition(" ")
    return tag("div", tag("b", number), tag("span", f"{noun} {more}".strip()))


def _answer(headline: Headline) -> Markup | None:
    """Ship, do not ship or not enough data, and what that rests on."""
    decision = headline.decision
    if decision is None:
        return None
    reasons = join(tag("p", told, css="rf-note") for told in tell(decision))
    return tag("div", tag("b", f"Answer: {answer_in_words(decision)}"), reasons, css="rf-answer")


def _decided_without_tools(headline: Headline) -> Markup | None:
    if headline.version.unit != "decision":
        return None
    note = "Each decision was put before B as it was put before A. No tool ran, and what would have come of it was not observed."
    return tag("p", note, css="rf-note")


def render_shares(headline: Headline) -> Markup:
    """What stayed the same, each share with its 95 % interval on a line from 0 to 100 %."""
    rows = [
        tag(
            "tr",
            tag("th", in_words(SHARES, line.metric), scope="row"),
            tag("td", _count(line), css="rf-number"),
            tag("td", percent(line.estimate), css="rf-number"),
            tag("td", _share_line(line), css="rf-line"),
            tag("td", interval(line.low, line.high, is_share=True), _remark(line)),
        )
        for name in SHARES
        for line in headline.shares
        if line.metric == name
    ]
    return _table(
        ("What stayed the same", "Pairs", "Share", "0 to 100 %", "95 % interval"), rows, numeric=(1, 2), drawn=3
    )


def _count(line: SummaryLine) -> str:
    return "–" if line.estimate is None else f"{round(line.estimate * line.n):,} of {line.n:,}"


def render_classes(headline: Headline) -> Markup:
    """Pairs by what changed in their tool calls, as bars with their counts, the deepest change first."""
    known = [name for name in UNIT_CLASSES if name in headline.classes]
    names = known + sorted(set(headline.classes) - set(known))
    total = sum(headline.classes.values()) or 1
    most = max(headline.classes.values(), default=1) or 1
    rows = [
        tag(
            "tr",
            tag("th", in_words(UNIT_CLASSES, name), scope="row"),
            tag("td", f"{count:,}", css="rf-number"),
            tag("td", percent(count / total), css="rf-number"),
            tag("td", _bar(count / most, "same" if name == _UNCHANGED else "changed"), css="rf-line"),
        )
        for name in names
        for count in (headline.classes[name],)
    ]
    return _table(("Tool calls of B beside A's", "Pairs", "Share", ""), rows, numeric=(1, 2), drawn=3)


def render_noise(headline: Headline) -> Markup | None:
    """How often draws of the same decision differ, and what is left of the change; None without a noise floor."""
    lines = {line.metric: asdict(line) for line in headline.noise}
    if not lines:
        return None
    rows = []
    for name, line in noise_in_order(lines):
        is_share = name != "noise_excess"  # the energy distance is no share: it reaches 2
        shown = percent(line["estimate"]) if is_share else number(line["estimate"])
        rows.append(
            tag(
                "tr",
                tag("th", in_words(NOISE, name), scope="row"),
                tag("td", shown, css="rf-number"),
                tag("td", interval(line["low"], line["high"], is_share=is_share)),
                tag("td", tag("small", in_words(REASONS, line["reason"])) if line["reason"] else None),
            )
        )
    sample = lines["noise_excess"]
    note = (
        f"Drawn again at {sample['n']:,} points in {sample['g']:,} clusters; {sample['excluded']:,} points left out. "
        + " ".join(tell_noise(lines))
    )
    table = _table(("Tool calls differ", "Share", "95 % interval", ""), rows, numeric=(1,))
    return join([table, tag("p", note, css="rf rf-note")])


def render_differences(headline: Headline) -> Markup | None:
    """Metrics of A and B with the interval of their difference; None when there is none."""
    if not headline.differences:
        return None
    rows = [_difference(line, is_primary=line.metric == headline.primary) for line in headline.differences]
    heads = (f"Mean per {headline.version.unit}", "A", "B", "B − A", "around 0", "95 % interval", "Verdict")
    return join([_table(heads, rows, numeric=(1, 2, 3), drawn=4), _outcomes(headline), _by_segment(headline.segments)])


def _difference(line: SummaryLine, *, is_primary: bool = False) -> Markup:
    totals = None
    if line.total_a is not None and line.total_b is not None:
        totals = tag("small", f"all pairs: {number(line.total_a)} → {number(line.total_b)}")
    return tag(
        "tr",
        tag("th", metric_name(line.metric), tag("small", "decides") if is_primary else None, totals, scope="row"),
        tag("td", number(line.mean_a), css="rf-number"),
        tag("td", number(line.mean_b), css="rf-number"),
        tag("td", number(line.estimate, is_signed=True), css="rf-number"),
        tag("td", _difference_line(line), css="rf-line"),
        tag("td", interval(line.low, line.high)),
        tag("td", _verdict(line), _remark(line)),
    )


def _verdict(line: SummaryLine) -> Markup:
    if line.goal is None and line.verdict is None:
        return tag("span", "no direction declared" if line.estimate is not None else "")
    goal = "no direction declared" if line.goal is None else f"{line.goal} is better"
    margin = "" if line.margin is None else f", a difference of {number(line.margin)} does not matter"
    verdict = in_words(VERDICTS, line.verdict) if line.verdict else "no verdict"
    return join([tag("b", verdict), tag("small", goal + margin)])


def _remark(line: SummaryLine) -> Markup:
    remarks = [in_words(REASONS, line.reason)] if line.reason and line.reason != "no_goal" else []
    if line.excluded:
        remarks.append(f"{counted(line.excluded, 'pair')} without a value on both sides left out")
    if line.verdict in (None, "inconclusive") and line.goal and line.g_needed and line.g_needed > line.g:
        remarks.append(f"about {counted(line.g_needed, 'conversation')} needed, {line.g:,} seen")
    return join(tag("small", remark) for remark in remarks)


def _outcomes(headline: Headline) -> Markup | None:
    good = headline.outcomes
    if not any(good.values()):
        return None
    names = {"both": "both", "only_a": "only A", "only_b": "only B", "neither": "neither"}
    shown = ", ".join(f"{words} {good.get(name, 0):,}" for name, words in names.items())
    return tag("p", f"Good outcome as recorded: {shown}.", css="rf rf-note")


def _by_segment(lines: Sequence[SummaryLine]) -> Markup | None:
    rows = [
        tag(
            "tr",
            tag("th", f"{line.segment}: {line.segment_value}", scope="row"),
            tag("td", in_words(SHARES, line.metric) if line.kind == "change" else metric_name(line.metric)),
            tag("td", f"{line.n:,}", css="rf-number"),
            tag("td", _estimate(line), css="rf-number"),
            tag("td", interval(line.low, line.high, is_share=line.kind == "change"), _remark(line)),
        )
        for line in lines
    ]
    if not rows:
        return None
    heads = ("Segment", "What", "Pairs", "Share, or B − A", "95 % interval")
    return tag("div", details("By segment", _table(heads, rows, numeric=(2, 3))), css="rf")


def _estimate(line: SummaryLine) -> str:
    return percent(line.estimate) if line.kind == "change" else number(line.estimate, is_signed=True)


def _table(
    heads: Sequence[str], rows: Iterable[Markup], numeric: Sequence[int] = (), drawn: int | None = None
) -> Markup:
    """A table; columns at the places `numeric` are aligned to the right, the one at `drawn` holds lines; heads as well."""
    styles = {**dict.fromkeys(numeric, "rf-number"), **({} if drawn is None else {drawn: "rf-line"})}
    cells = (tag("th", name, scope="col", css=styles.get(at, "")) for at, name in enumerate(heads))
    head = tag("thead", tag("tr", *cells))
    return tag("div", tag("table", head, tag("tbody", *rows)), css="rf rf-wide")


def _bar(share: float, kind: str) -> Markup:
    return tag(
        "div", tag("i", css=f"rf-bar rf-{kind}", style=f"width:{_at(share)}"), css="rf-track", aria_hidden="true"
    )


def _share_line(line: SummaryLine) -> Markup | None:
    if line.estimate is None or line.low is None or line.high is None:
        return None
    return _marked_line(line.low, line.high, line.estimate)


def _difference_line(line: SummaryLine) -> Markup | None:
    """The interval on a line whose middle is 0; dashes are the margin."""
    bounds = [value for value in (line.low, line.high) if value is not None]
    if line.estimate is None or not bounds:
        return None
    reach = 1.1 * max(*map(abs, [*bounds, line.estimate]), line.margin or 0) or 1

    def place(value: float) -> float:
        return (value / reach + 1) / 2

    zero = tag("i", css="rf-zero", style="left:50%")
    margins = [
        tag("i", css="rf-margin", style=f"left:{_at(place(sign * line.margin))}")
        for sign in (-1, 1)
        if line.margin is not None
    ]
    low, high = 0.0 if line.low is None else place(line.low), 1.0 if line.high is None else place(line.high)
    return _marked_line(low, high, place(line.estimate), zero, *margins)


def _marked_line(low: float, high: float, point: float, *more: Markup) -> Markup:
    band = tag("i", css="rf-band", style=f"left:{_at(low)};width:{_at(high - low)}")
    mark = tag("i", css="rf-point", style=f"left:{_at(point)}")
    return tag("div", *more, band, mark, css="rf-track", aria_hidden="true")


def _at(share: float) -> str:
    return f"{100 * min(max(share, 0), 1):.2f}%"
