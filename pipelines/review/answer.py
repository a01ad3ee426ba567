"""An answer in words: ship, do not ship or not enough data, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.diff.gating import Decision
from pipelines.diff.result import DiffResult
from pipelines.review.numbers import interval, number, percent
from pipelines.review.words import REASONS, in_words
from pipelines.stats.answer import MAX_MISSING, Finding, combine
from pipelines.stats.estimate import MIN_CLUSTERS, Estimate
from pipelines.stats.gate import ClauseResult

WORDS = {"ship": "ship", "do_not_ship": "do not ship", "not_enough_data": "not enough data"}
_CLUSTERS = {"conversation": "conversations", "customer": "customers"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a version comes to, in words.

    Attributes:
        word: ship, do_not_ship or not_enough_data.
        title: The answer as a sentence.
        reasons: Why, what decides first.
        clauses: Clauses of the gate: text, what was seen, whether it passed.
    """

    word: str
    title: str
    reasons: Sequence[str] = ()
    clauses: Sequence[tuple[str, str, bool]] = ()


def answer_of(decision: Decision) -> Answer:
    """What a version comes to, for a page."""
    clauses = decision.gate.clauses if decision.gate is not None else ()
    title = headline(decision)
    return Answer(
        word=decision.answer.word,
        title=title[:1].upper() + title[1:],
        reasons=tell(decision),
        clauses=[(clause.text, seen_in_words(clause), clause.passed) for clause in clauses],
    )


def render_decision(decision: Decision) -> str:
    """Gate and answer of one version, as lines of text."""
    lines = [
        f"gate {'passed' if clause.passed else 'FAILED'}: {clause.text}  (seen: {seen_in_words(clause)})"
        for clause in (decision.gate.clauses if decision.gate is not None else ())
    ]
    return "\n".join([*lines, f"answer: {headline(decision)}", *(f"  {told}" for told in tell(decision))])


def render_windows(results: Sequence[DiffResult], decisions: Sequence[Decision]) -> str:
    """The answer over several windows, as lines of text."""
    answers = {name_window(result): decision.answer for result, decision in zip(results, decisions, strict=True)}
    widest = name_window(max(results, key=lambda result: result.conversations))
    lines = [f"answer over {len(results)} windows: {WORDS[combine(answers, widest)]}"]
    lines += [f"  {window}: {headline(found)}" for window, found in zip(answers, decisions, strict=True)]
    return "\n".join(lines)


def name_window(result: DiffResult) -> str:
    """A version's window: its bounds, dates alone where they are midnight."""
    start, stop = (
        "…" if bound is None else bound.removesuffix("+00:00").removesuffix("T00:00:00") for bound in result.window
    )
    return f"{start} to before {stop}"


def headline(decision: Decision) -> str:
    """The answer in a few words, with what would be needed."""
    answer = decision.answer
    more = f" (about {rounded(answer.g_more):,} more {cluster_word(decision)})" if answer.g_more is not None else ""
    return WORDS[answer.word] + more


def tell(decision: Decision) -> list[str]:
    """One sentence per finding, those that decide first; and, of what may ship, how rare a loss could not have been seen."""
    told = [_sentence(finding, decision) for finding in decision.answer.findings]
    unseen = decision.answer.unseen
    if decision.answer.word == "ship" and unseen:
        told.append(
            f"what happens in fewer than about 1 of {max(1, round(1 / unseen)):,} {cluster_word(decision)} may not have been "
            "among these: no number here speaks of it"
        )
    return told


def cluster_word(decision: Decision) -> str:
    """What is counted as observations, in the plural."""
    return _CLUSTERS.get(decision.cluster, f"clusters by {decision.cluster}")


def seen_in_words(clause: ClauseResult) -> str:
    """What a clause of the gate was compared with; a number with more digits than any that is written by hand."""
    if clause.seen is None:
        return "nothing"
    return f"{clause.seen:.6g}" if isinstance(clause.seen, float) else str(clause.seen)


def rounded(count: int) -> int:
    """A count that is an estimate: two digits, upwards."""
    step: int = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return math.ceil(count / step) * step


def _sentence(finding: Finding, decision: Decision) -> str:
    name, clusters = finding.subject, cluster_word(decision)
    numbers = _numbers(finding.estimate) if finding.estimate is not None else ""
    needed = f"; about {rounded(finding.g_needed):,} {clusters} would settle it" if finding.g_needed else ""
    sentences = {
        "gate_refuted": f"the gate's clause `{name}` fails, and the interval leaves no doubt",
        "gate_open": f"the gate's clause `{name}` is not shown to hold{needed}",
        "gate_passed": f"the gate's clause `{name}` holds",
        "rule_broken": f"B breaks the rule {name}: it holds in {numbers}",
        "rule_holds": f"the rule {name} holds wherever it applies to B",
        "rule_never_applied": f"the rule {name} applied to nothing that B did",
        "regressed": f"{name} is worse: {numbers}",
        "not_shown": f"{name} is not shown to be better or no worse: {numbers}{needed}{_without_margin(finding)}",
        "improved": f"{name} is better: {numbers}",
        "equivalent": f"{name} does not differ by more than its margin: {numbers}",
        "non_inferior": f"{name} is not worse by more than its margin: {numbers}",
        "few_clusters": f"fewer than {MIN_CLUSTERS} {clusters}",
        "missing_units": f"{percent(finding.share)} of the pairs have no answer of B or were not fed as recorded; "
        f"the others speak for all up to {percent(MAX_MISSING)}",
        "drift": "the model changed since the recording, so what differs is not B's doing alone",
        "nothing_declared": "nothing says what is good: give a metric a goal, add a rule, or write a gate",
    }
    return sentences[finding.code]


def _without_margin(finding: Finding) -> str:
    """What helps where no number of clusters does."""
    found = finding.estimate
    is_same = found is not None and found.reason == "no_change" and found.margin is None
    return "; give it a margin, the largest difference that does not matter" if is_same else ""


def _numbers(estimate: Estimate) -> str:
    if estimate.estimand == "rate":
        beside = f" (A: {percent(estimate.theta_a)})" if estimate.theta_a is not None else ""
        return f"{percent(estimate.theta)} of {estimate.n:,} pairs{beside}"
    margin = f", margin {number(estimate.margin)}" if estimate.margin is not None else ""
    if estimate.low is None and estimate.high is None:
        return f"{in_words(REASONS, estimate.reason)}{margin}"
    reason = f" ({in_words(REASONS, estimate.reason)})" if estimate.reason in ("skewed", "no_change") else ""
    return f"{number(estimate.theta, is_signed=True)} [{interval(estimate.low, estimate.high)}]{margin}{reason}"
