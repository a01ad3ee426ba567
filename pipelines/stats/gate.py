"""The gate: rules on a summary that decide an exit code, as one line of text.

    gate    = clause {";" clause}
    clause  = subject ["is" | "not"] word        word: equivalent, improved, regressed, inconclusive, non_inferior
            | subject op number                  op: >= > <= < == !=
            | check                              a named yes/no fact, for example a rule of `expect`
    subject = metric [".low" | ".high"] ["@" segment "=" value]

A metric alone is its estimate; `.low` and `.high` are its 95 % bounds. Bounds and words are undefined where the estimate has a
reason that forbids a verdict (too few clusters, too few that differ, a bound that the skewness takes away). What is undefined
fails its clause, whichever way the clause points: missing evidence never passes a gate. `not regressed` is refused, because a run too small to see
anything would pass it; `non_inferior` is the word for that wish. Nothing here computes a statistic.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, cast, get_args

from pipelines.errors import BadInputError
from pipelines.stats.estimate import MIN_CHANGED, MIN_CLUSTERS, Estimate, Verdict

Word = Literal["equivalent", "improved", "regressed", "inconclusive", "non_inferior"]
Part = Literal["theta", "low", "high"]

_WORDS: tuple[Word, ...] = (*get_args(Verdict), "non_inferior")
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "==": operator.eq, "!=": operator.ne}
)
_NAME = r"[A-Za-z_]\w*"
_SUBJECT = (
    rf"(?P<metric>{_NAME})(?:\.(?P<part>low|high))?(?:@(?P<segment>{_NAME})=(?P<value>\"[^\"]*\"|[^\s;\"<>=!]+))?"
)
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_COMPARISON = re.compile(rf"{_SUBJECT}\s*(?P<op>>=|<=|==|!=|>|<)\s*(?P<number>{_NUMBER})")
_VERDICT = re.compile(rf"{_SUBJECT}\s+(?:(?P<how>is|not)\s+)?(?P<word>{'|'.join(_WORDS)})")
_CHECK = re.compile(_NAME)
_CLAUSES = re.compile(r"(?:[^;\"]|\"[^\"]*\"?)+")
_FORMS = (
    "write `metric[.low|.high][@segment=value] >= number`, "
    f"`metric[@segment=value] [is|not] word` with word one of {', '.join(_WORDS)}, or the name of a check"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a clause speaks of: a metric, over everything or within one value of one segment."""

    metric: str
    segment: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`subject op number`."""

    text: str
    subject: Subject
    part: Part
    op: str
    number: float


@dataclass(frozen=True, slots=True)
class VerdictIs:
    """`subject is word`, or `subject not word` when negated."""

    text: str
    subject: Subject
    word: Word
    negated: bool


@dataclass(frozen=True, slots=True)
class CheckHolds:
    """The bare name of a yes/no fact."""

    text: str
    name: str


Clause = Comparison | VerdictIs | CheckHolds


@dataclass(frozen=True, slots=True)
class Gate:
    """All clauses must pass."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a gate can ask about.

    Attributes:
        metrics: Judged estimate of each metric over everything.
        segments: Judged estimates by (metric, segment, value).
        checks: Named facts; None means undefined.
        segment_names: Segments that were asked for, also those without a unit.
    """

    metrics: Mapping[str, Estimate]
    segments: Mapping[tuple[str, str, str], Estimate] = field(default_factory=dict)
    checks: Mapping[str, bool | None] = field(default_factory=dict)
    segment_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClauseResult:
    """One clause's outcome.

    Attributes:
        text: The clause as written.
        passed: Whether it holds; False if undefined.
        seen: The value that was compared; None if undefined.
        reason: Why it is undefined (an estimate's reason code, or `undefined`), else None.
        names: The metric or check that it speaks of over everything; None for one within a segment.
        is_refuted: Whether it fails and more data like these would not let it pass: the whole 95 % interval is on the wrong
            side. What fails otherwise has only not been shown.
        g_needed: Clusters that would settle it either way; None where that is not known.
    """

    text: str
    passed: bool
    seen: float | bool | str | None
    reason: str | None
    names: str | None = None
    is_refuted: bool = False
    g_needed: int | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """Every clause's outcome, in the order written."""

    clauses: tuple[ClauseResult, ...]

    @property
    def passed(self) -> bool:
        """Whether all clauses passed."""
        return all(clause.passed for clause in self.clauses)


def parse_gate(text: str) -> Gate:
    """Read a gate; names are checked by `check_names` and `evaluate`, which know them.

    Raises:
        BadInputError: A clause has none of the forms, asks `not regressed`, or there is no clause.
    """
    written = [clause.strip() for clause in _CLAUSES.findall(text)]
    clauses = tuple(_parse_clause(clause) for clause in written if clause)
    if not clauses:
        raise BadInputError(f"gate {text!r} holds no clause; {_FORMS}")
    return Gate(clauses)


def check_names(
    gate: Gate, *, metrics: Mapping[str, object], segments: AbstractSet[str], checks: Mapping[str, object]
) -> None:
    """Refuse names that do not exist, before anything is run or paid.

    Raises:
        BadInputError: A clause names an unknown metric, segment or check; the message lists what is allowed.
    """
    for clause in gate.clauses:
        if isinstance(clause, CheckHolds):
            if clause.name in metrics and clause.name not in checks:
                raise BadInputError(f"gate clause {clause.text!r} compares a metric with nothing; {_FORMS}")
            _known("check", clause.name, checks, clause.text)
        else:
            _known("metric", clause.subject.metric, metrics, clause.text)
            if clause.subject.segment is not None:
                _known("segment", clause.subject.segment, segments, clause.text)


def evaluate(gate: Gate, summary: Summary) -> GateResult:
    """Compare every clause with the summary.

    A known segment's value that does not occur is undefined: it fails its clause and is no bad input, for what occurs
    differs from window to window.

    Raises:
        BadInputError: A clause names an unknown metric, segment or check; the message lists what is allowed.
    """
    segments = summary.segment_names | {segment for _, segment, _ in summary.segments}
    check_names(gate, metrics=summary.metrics, segments=segments, checks=summary.checks)
    return GateResult(tuple(_evaluate(clause, summary) for clause in gate.clauses))


def _parse_clause(text: str) -> Clause:
    if match := _COMPARISON.fullmatch(text):
        part = cast("Part", match["part"] or "theta")
        return Comparison(text, _subject(match), part, match["op"], float(match["number"]))
    if match := _VERDICT.fullmatch(text):
        if match["part"]:
            raise BadInputError(f"gate clause {text!r}: a bound has no verdict; leave .{match['part']} out")
        if match["how"] == "not" and match["word"] == "regressed":
            raise BadInputError(
                f"gate clause {text!r} would pass a run too small to see anything; write "
                f"`{match['metric']} non_inferior` and give the metric a margin"
            )
        return VerdictIs(text, _subject(match), cast("Word", match["word"]), match["how"] == "not")
    if _CHECK.fullmatch(text):
        return CheckHolds(text, text)
    raise BadInputError(f"gate clause {text!r} cannot be read; {_FORMS}")


def _subject(match: re.Match[str]) -> Subject:
    value = match["value"]
    return Subject(match["metric"], match["segment"], None if value is None else value.strip('"'))


def _known(kind: str, name: str, allowed: Mapping[str, object] | AbstractSet[str], text: str) -> None:
    if name not in allowed:
        names = ", ".join(sorted(allowed)) or f"none: there is no {kind} here"
        raise BadInputError(f"gate clause {text!r} names the unknown {kind} {name!r}; allowed: {names}")


def _evaluate(clause: Clause, summary: Summary) -> ClauseResult:
    if isinstance(clause, CheckHolds):
        holds = summary.checks[clause.name]
        reason = "undefined" if holds is None else None
        return ClauseResult(clause.text, holds is True, holds, reason, clause.name, is_refuted=holds is False)
    subject = clause.subject
    if subject.segment is None or subject.value is None:
        estimate, names = summary.metrics[subject.metric], subject.metric
    else:
        found = summary.segments.get((subject.metric, subject.segment, subject.value))
        if found is None:
            return ClauseResult(clause.text, passed=False, seen=None, reason="no_units")
        estimate, names = found, None
    seen: float | bool | str | None
    if isinstance(clause, Comparison):
        number = _part(estimate, clause.part)
        seen, passed = number, number is not None and _OPERATORS[clause.op](number, clause.number)
        is_refuted, needed = _is_out_of_reach(clause, estimate), _until(estimate, clause.number)
    else:
        seen = _word(estimate, clause.word)
        holds = seen is True if clause.word == "non_inferior" else seen == clause.word
        passed = seen is not None and holds != clause.negated
        is_refuted, needed = _is_contradicted(clause, estimate), clusters_to_judge(estimate)
    reason = (estimate.reason or "undefined") if seen is None else None
    if passed:
        return ClauseResult(clause.text, passed, seen, reason, names)
    return ClauseResult(clause.text, passed, seen, reason, names, is_refuted, None if is_refuted else needed)


def _part(estimate: Estimate, part: Part) -> float | None:
    """The number that a clause speaks of; None for a bound that decides nothing."""
    number: float | None = getattr(estimate, part)
    return number if part == "theta" or estimate.has_bounds else None


def _word(estimate: Estimate, word: Word) -> bool | str | None:
    """The fact or verdict that a clause speaks of; None where it is withheld."""
    if not estimate.has_bounds:
        return None
    return estimate.is_non_inferior if word == "non_inferior" else estimate.verdict


def _is_out_of_reach(clause: Comparison, estimate: Estimate) -> bool:
    """Whether the number asked for lies outside the interval, on the failing side; a bound that is missing is no limit."""
    if not estimate.has_bounds:
        return False
    low = -math.inf if estimate.low is None else estimate.low
    high = math.inf if estimate.high is None else estimate.high
    return {
        ">=": high < clause.number,
        ">": high <= clause.number,
        "<=": low > clause.number,
        "<": low >= clause.number,
        "==": not low <= clause.number <= high,
        "!=": low == high == clause.number,
    }[clause.op]


def _is_contradicted(clause: VerdictIs, estimate: Estimate) -> bool:
    """Whether a verdict stands that excludes the one asked for."""
    if not estimate.has_bounds:
        return False
    if clause.negated:  # it fails because the word holds, and only `inconclusive` passes with more data
        return clause.word != "inconclusive" and estimate.verdict == clause.word
    low, high, margin = estimate.low, estimate.high, estimate.margin
    if clause.word == "non_inferior" or (clause.word == "equivalent" and margin is not None):
        if margin is None:
            return False
        is_below, is_above = high is not None and high < -margin, low is not None and low > margin
        if clause.word == "equivalent":
            return is_below or is_above
        return is_below if estimate.goal == "higher" else is_above
    return estimate.verdict not in (None, "inconclusive", clause.word)


def _until(estimate: Estimate, number: float) -> int | None:
    """Clusters with which the estimate, if it stays, would be told from `number`."""
    if estimate.theta is None or not estimate.se or estimate.theta == number:
        return None
    from pipelines.stats.power import clusters_needed  # noqa: PLC0415 -- SciPy; a gate is read where nothing is estimated

    return clusters_needed(estimate.se, estimate.g, abs(estimate.theta - number))


def clusters_to_judge(estimate: Estimate) -> int | None:
    """Clusters with which a metric would get its verdict, above those seen; None where that is not known.

    Those with which a difference of the margin is found; when as many were seen, those with which the estimate, if it stays, is
    told from the margin on its bad side; without a margin, from 0. With too few clusters that differ: until there are enough.
    """
    if estimate.reason == "few_changes":
        return math.ceil(estimate.g * MIN_CHANGED / estimate.g_changed) if estimate.g_changed else None
    if estimate.g_needed is not None and estimate.g_needed > estimate.g:
        return estimate.g_needed
    bound = 0.0 if estimate.margin is None or estimate.goal is None else estimate.margin
    needed = _until(estimate, -bound if estimate.goal == "higher" else bound)
    return None if needed is None else max(needed, MIN_CLUSTERS, estimate.g + 1)
