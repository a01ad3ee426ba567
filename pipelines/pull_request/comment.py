"""The comment that a pull request gets: the answer, the numbers with their intervals, the largest changes, where the report is.

GitHub takes `LIMIT` characters of a comment. What is of more weight is written first, what does not fit any more is left out, and
the comment says so. Names of metrics and rules are of a closed alphabet; every other text goes through `markdown`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.console import counted
from pipelines.pull_request.markdown import block, code, prose, table
from pipelines.pull_request.told import Told
from pipelines.review.answer import WORDS, headline, seen_in_words, tell
from pipelines.review.changes import Change
from pipelines.review.headline import SummaryLine
from pipelines.review.numbers import UNKNOWN, interval, metric_name, number, percent
from pipelines.review.words import FAILURES, REASONS, SHARES, UNIT_CLASSES, VERDICTS, in_words, repeated
from pipelines.stats.answer import combine

LIMIT = 65_536
"""Characters of a comment that GitHub takes, here of UTF-16, which counts what is beyond the first plane twice."""

_SIGNS = {"ship": "✅", "do_not_ship": "❌", "not_enough_data": "⏳"}
_ROWS, _REASONS, _CLAUSES = 40, 12, 20
"""Lines of a table, sentences of why, and clauses of a gate that are shown."""
_TOOLS, _PATHS = 8, 12
_NAME, _TEXT = 200, 300
"""Characters of a name and of a text that are shown."""
_RESERVED = 400
"""Characters kept for what says that something is left out."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the comment; of those that do not all fit, the ones of lower rank come first."""

    rank: int
    text: str


def marker(experiment: str) -> str:
    """The first line of an experiment's comments, which nobody sees: by it a comment is found again."""
    return f"<!-- refold ab: {experiment} -->"


def render_comment(
    told: Sequence[Told], *, link: str | None = None, with_texts: bool = True, limit: int = LIMIT
) -> str:
    """The comment on an experiment's versions, one a window, or one a candidate and window, as Markdown.

    Args:
        told: The versions, in the order of candidates and windows; one at least.
        link: Where the report can be opened, http or https; None: the comment names the verb that writes it.
        with_texts: Whether it quotes what was recorded and what B said; without, changes are named by their tools alone.
        limit: Most characters.
    """
    experiment = told[0].headline.version.experiment.partition("/")[0]
    pieces = [_Piece(0, marker(experiment)), _Piece(0, _title(told, experiment))]
    for each in told:
        pieces += _version(each, is_one_of_many=len(told) > 1, with_texts=with_texts)
    pieces.append(_Piece(0, _report_line(experiment, link)))
    return _fitted(pieces, limit)


def _fitted(pieces: Sequence[_Piece], limit: int) -> str:
    left, kept = limit - _RESERVED, set()
    for place in sorted(range(len(pieces)), key=lambda place: pieces[place].rank):
        size = _size(pieces[place].text) + 2
        if size <= left:
            kept.add(place)
            left -= size
    lines = [piece.text for place, piece in enumerate(pieces) if place in kept]
    gone = len(pieces) - len(kept)
    if gone:
        lines.append(f"{counted(gone, 'part')} of this comment did not fit into it; the report has everything.")
    return "\n\n".join(lines) + "\n"


def _size(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _title(told: Sequence[Told], experiment: str) -> str:
    answers = {str(place): each.decision.answer for place, each in enumerate(told)}
    names = {_candidate(each) for each in told}
    if len(told) == 1:
        word, words = told[0].decision.answer.word, headline(told[0].decision)
    elif names == {""}:
        widest = max(answers, key=lambda place: told[int(place)].headline.conversations)
        word = combine(answers, widest)
        words = f"{WORDS[word]}, over {len(told)} windows"
    else:
        return f"### {len(names)} candidates of {code(experiment)}"
    return f"### {_SIGNS[word]} {_sentence_case(words)}: {code(experiment)}"


def _candidate(told: Told) -> str:
    """The name of a version's candidate; empty where the experiment has one alone."""
    return told.headline.version.experiment.partition("/")[2]


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def _version(told: Told, *, is_one_of_many: bool, with_texts: bool) -> Iterator[_Piece]:
    glance = told.headline
    if is_one_of_many:
        word = told.decision.answer.word
        of = " ".join(part for part in (code(_candidate(told)) if _candidate(told) else "", _window(told)) if part)
        yield _Piece(0, f"#### {_SIGNS[word]} {of}: {headline(told.decision)}")
    reasons = _reasons(told)
    if reasons:
        yield _Piece(1, "\n".join(f"- {each}" for each in reasons))
    clauses = _clauses(told)
    if clauses:
        yield _Piece(1, "\n".join(clauses))
    if glance.differences:
        yield _Piece(2, _metrics(told))
    if glance.rules:
        yield _Piece(2, _rules(told))
    if glance.shares:
        yield _Piece(3, _shares(told))
    yield _Piece(1, _facts(told))
    yield from _changes(told, with_texts=with_texts)


def _window(told: Told) -> str:
    if told.headline.window == (None, None):
        return ""
    start, stop = (f"{bound:%Y-%m-%d %H:%M}" if bound else "…" for bound in told.headline.window)
    return f"{start} to before {stop} UTC"


def _reasons(told: Told) -> list[str]:
    """The sentences of the answer; a clause of the gate in them is code."""
    sentences = tell(told.decision)
    subjects = [finding.subject for finding in told.decision.answer.findings]
    subjects += [""] * (len(sentences) - len(subjects))
    shown = []
    for sentence, subject in list(zip(sentences, subjects, strict=True))[:_REASONS]:
        before, quoted, after = sentence.partition(f"`{subject}`")
        shown.append(prose(before) + (f" {_short_code(subject)} {prose(after)}" if quoted else ""))
    if len(sentences) > _REASONS:
        shown.append(f"and {len(sentences) - _REASONS:,} more in the report")
    return shown


def _clauses(told: Told) -> list[str]:
    gate = told.decision.gate
    if gate is None:
        return []
    lines = [
        f"- gate {'passed' if clause.passed else '**failed**'}: {_short_code(clause.text)} (seen: {prose(seen_in_words(clause))})"
        for clause in gate.clauses[:_CLAUSES]
    ]
    more = len(gate.clauses) - _CLAUSES
    return [*lines, f"- and {more:,} more clauses in the report"] if more > 0 else lines


def _metrics(told: Told) -> str:
    primary = told.headline.primary
    rows = []
    for line in told.headline.differences[:_ROWS]:
        decides = " **decides**" if line.metric == primary else ""
        rows.append(
            (
                prose(metric_name(line.metric)) + decides,
                number(line.mean_a),
                number(line.mean_b),
                number(line.estimate, is_signed=True),
                interval(line.low, line.high),
                _verdict(line),
            )
        )
    return table((f"mean per {told.headline.version.unit}", "A", "B", "B − A", "95 % interval", ""), rows)


def _verdict(line: SummaryLine) -> str:
    verdict = in_words(VERDICTS, line.verdict) if line.verdict and line.goal else ""
    reason = in_words(REASONS, line.reason) if line.reason and line.reason != "no_goal" else ""
    return prose("; ".join(part for part in (verdict, reason) if part))


def _rules(told: Told) -> str:
    rows = [
        (
            prose(line.metric),
            percent(line.mean_a),
            percent(line.mean_b),
            interval(line.low, line.high, is_share=True),
            f"{line.n:,}",
        )
        for line in told.headline.rules[:_ROWS]
    ]
    return table(("rule holds", "A", "B", "95 % interval of B", "pairs"), rows)


def _shares(told: Told) -> str:
    lines = {line.metric: line for line in told.headline.shares}
    rows = [
        (
            prose(SHARES[name]),
            percent(lines[name].estimate),
            interval(lines[name].low, lines[name].high, is_share=True),
            f"{lines[name].n:,}",
        )
        for name in SHARES
        if name in lines
    ]
    return table(("what stayed the same", "share", "95 % interval", "pairs"), rows)


def _facts(told: Told) -> str:
    glance = told.headline
    facts = [
        f"A: {_short_code(glance.side_a)}",
        f"B: {_short_code(glance.side_b)}",
        (
            f"{counted(glance.version.pairs, f'{glance.version.unit} pair')} in {counted(glance.conversations, 'conversation')}, "
            f"{glance.failed:,} without an answer of B"
        ),
        f"version {code(glance.version.version_id)}",
    ]
    if glance.where:
        facts.insert(2, f"only where {_short_code(glance.where)}")
    return "\n".join(f"- {fact}" for fact in facts)


def _changes(told: Told, *, with_texts: bool) -> Iterator[_Piece]:
    if not told.changes:
        return
    by = "changed tool calls" if told.order == "calls" else metric_name(told.order)
    yield _Piece(
        4, f"**Largest changes**, by {prose(by)}: {len(told.changes):,} of {counted(told.changed, 'changed pair')}"
    )
    for place, change in enumerate(told.changes):
        yield _Piece(5 + place, _change(told, change, with_texts=with_texts))


def _change(told: Told, change: Change, *, with_texts: bool) -> str:
    title = in_words(UNIT_CLASSES, change.unit_class)
    if change.status != "ok":
        title += f" ({in_words(FAILURES, change.reason)})"
    a, b = change.metrics_a.get(told.order), change.metrics_b.get(told.order)
    if a is not None and b is not None:
        title = f"{metric_name(told.order)} {number(a)} → {number(b)}; {title}"
    lines = [
        *_called("-", [call.name_a for call in change.calls]),
        *_called("+", [call.name_b for call in change.calls]),
    ]
    if with_texts:
        paths = list(dict.fromkeys(path for call in change.calls for path in call.paths))
        lines += [f"  arguments that differ: {_cut(', '.join(paths[:_PATHS]), _TEXT)}"] if paths else []
        lines += [f"{sign} says: {_quoted(text)}" for sign, text in (("-", change.text_a), ("+", change.text_b))]
    head = f"{prose(title)} {_short_code(change.unit_id)}"
    return f"{head}\n\n{block(lines, 'diff')}" if lines else head


def _called(sign: str, names: Sequence[str | None]) -> list[str]:
    shown = repeated(_cut(name, _NAME) for name in names if name is not None)
    more = f", and {len(shown) - _TOOLS:,} more" if len(shown) > _TOOLS else ""
    return [f"{sign} calls: {', '.join(shown[:_TOOLS])}{more}"] if shown else []


def _quoted(text: str | None) -> str:
    return UNKNOWN if text is None else _cut(text, _TEXT)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _short_code(text: str) -> str:
    return code(_cut(text, _NAME))


def _report_line(experiment: str, link: str | None) -> str:
    if link is not None:
        return f"[Report]({link})"
    return f"Report: {code(f'refold report {experiment}')}"
