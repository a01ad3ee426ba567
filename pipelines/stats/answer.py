"""One answer for a comparison: ship, do not ship, or not enough data, and why.

Every finding speaks against shipping, leaves it open, or for it; the answer is the worst of them. What was declared decides:
the gate, the rules, the primary metric. Where nothing was declared there is nothing to decide by, and the answer stays open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.stats.estimate import MIN_CLUSTERS, Estimate
from pipelines.stats.gate import GateResult, clusters_to_judge

Word = Literal["ship", "do_not_ship", "not_enough_data"]
Effect = Literal["against", "open", "for"]
Code = Literal[
    "gate_refuted",  # against: a clause fails, with its whole interval on the wrong side
    "rule_broken",  # against: B breaks an expected rule
    "regressed",  # against: a metric is worse
    "gate_open",  # open: a clause fails, and the data do not say that it must
    "few_clusters",  # open: fewer than MIN_CLUSTERS
    "missing_units",  # open: more than MAX_MISSING of the pairs have no answer, or were not fed as recorded
    "drift",  # open: the model changed since the recording, so what differs is not B's alone
    "not_shown",  # open: a metric is not shown to be better, equivalent or not inferior
    "rule_never_applied",  # open: an expected rule applied to nothing
    "nothing_declared",  # open: no gate, no rule, and no metric with a goal
    "gate_passed",  # for
    "rule_holds",  # for
    "improved",  # for
    "equivalent",  # for
    "non_inferior",  # for
]

MAX_MISSING = 0.05
"""Share of pairs without a usable answer up to which the others may speak for all."""
MISSED_CHANCE = 0.05
"""Chance with which an event of the share `Answer.unseen` is in no cluster of the sample."""
FALSE_DISCOVERY_RATE = 0.05
"""Adjusted p up to which a metric other than the primary counts as regressed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that bears on the answer.

    Attributes:
        effect: Against shipping, open, or for it.
        code: What it is.
        subject: The metric, rule or gate clause; empty for what concerns all.
        estimate: The numbers behind it; None where there are none.
        share: Share of pairs, for `missing_units`; else None.
        g_needed: Clusters that would settle it; None where more data alone do not, or their number is not known.
    """

    effect: Effect
    code: Code
    subject: str = ""
    estimate: Estimate | None = None
    share: float | None = None
    g_needed: int | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an answer is made of.

    Attributes:
        metrics: Judged estimates over everything of the metrics with a goal, those declared and those made without asking.
        declared: Names of those that the experiment declared.
        primary: The metric that decides; None when none was named.
        rules: How often each expected rule holds on B where it applies.
        gate: Its outcome; None without a gate.
        g: Clusters compared.
        missing: Share of pairs that B did not answer or that were not fed as recorded; None without pairs.
        drift: The noise floor's drift; None without one.
    """

    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()
    primary: str | None = None
    rules: Mapping[str, Estimate] = field(default_factory=dict)
    gate: GateResult | None = None
    g: int = 0
    missing: float | None = None
    drift: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer and what it rests on.

    Attributes:
        word: The answer.
        findings: Everything that bears on it: against, open, for.
        g_more: Clusters that about would be needed on top, by the finding that needs most; None where more data alone would not
            settle it, or their number is not known.
        unseen: Share of clusters up to which something may happen and still not be in these (5 %: about 3 in g); None without any.
    """

    word: Word
    findings: tuple[Finding, ...]
    g_more: int | None
    unseen: float | None = None


def decide(evidence: Evidence) -> Answer:
    """Weigh the evidence.

    `do_not_ship` if anything speaks against it; else `not_enough_data` if anything is open; else `ship`. A metric or rule that a
    clause of the gate names over everything is judged by the gate alone, otherwise:

    - a rule that B breaks speaks against, one that holds wherever it applies for it;
    - the primary metric speaks against when it regressed, for it when it improved, is equivalent or not inferior; else it is open;
    - other metrics with a goal speak against when they regressed with an adjusted p of at most 5 %. Without primary and gate,
      all that were declared must be shown like a primary.

    Fewer than 20 clusters, more than 5 % of the pairs missing, drift, and clauses that fail without being refuted leave it open.
    """
    findings = [*_gate(evidence), *_rules(evidence), *_metrics(evidence), *_limits(evidence)]
    if not (evidence.gate or evidence.rules or evidence.declared or evidence.primary):
        findings.append(Finding("open", "nothing_declared"))
    against, still_open, speaking_for = (
        tuple(found for found in findings if found.effect == effect) for effect in ("against", "open", "for")
    )
    word: Word = "do_not_ship" if against else "not_enough_data" if still_open else "ship"
    needed = [found.g_needed - evidence.g for found in still_open if found.g_needed is not None]
    is_about_data = all(found.code not in ("missing_units", "drift", "nothing_declared") for found in still_open)
    more = max((each for each in needed if each > 0), default=None) if is_about_data else None
    return Answer(
        word,
        against + still_open + speaking_for,
        more if word == "not_enough_data" else None,
        unseen=1 - MISSED_CHANCE ** (1 / evidence.g) if evidence.g else None,
    )


def combine(answers: Mapping[str, Answer], widest: str) -> Word:
    """One word for several windows: against when any of them is; for it when the widest is; else open.

    Args:
        answers: By window.
        widest: The window with the most clusters.
    """
    words = {answer.word for answer in answers.values()}
    return "do_not_ship" if "do_not_ship" in words else answers[widest].word


def _gate(evidence: Evidence) -> list[Finding]:
    if evidence.gate is None:
        return []
    found = []
    for clause in evidence.gate.clauses:
        if clause.passed:
            found.append(Finding("for", "gate_passed", clause.text))
        elif clause.is_refuted:
            found.append(Finding("against", "gate_refuted", clause.text))
        else:
            found.append(Finding("open", "gate_open", clause.text, g_needed=clause.g_needed))
    return found


def _left_to(evidence: Evidence, names: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Those that the gate does not judge."""
    judged = {clause.names for clause in evidence.gate.clauses} if evidence.gate is not None else set()
    return {name: estimate for name, estimate in names.items() if name not in judged}


def _rules(evidence: Evidence) -> list[Finding]:
    found = []
    for name, held in _left_to(evidence, evidence.rules).items():
        if held.theta is None:
            found.append(Finding("open", "rule_never_applied", name, held))
        elif held.theta < 1:
            found.append(Finding("against", "rule_broken", name, held))
        else:
            found.append(Finding("for", "rule_holds", name, held))
    return found


def _metrics(evidence: Evidence) -> list[Finding]:
    is_all_due = evidence.primary is None and evidence.gate is None
    found = []
    for name, estimate in _left_to(evidence, evidence.metrics).items():
        is_due = name == evidence.primary or (is_all_due and name in evidence.declared)
        if estimate.verdict == "regressed" and (is_due or _is_significant(estimate)):
            found.append(Finding("against", "regressed", name, estimate))
        elif is_due:
            found.append(_shown(name, estimate))
    return found


def _is_significant(estimate: Estimate) -> bool:
    return estimate.q is not None and estimate.q <= FALSE_DISCOVERY_RATE


def _shown(name: str, estimate: Estimate) -> Finding:
    """A metric that has to be shown to be good enough, and has not regressed."""
    if estimate.verdict == "improved":
        return Finding("for", "improved", name, estimate)
    if estimate.verdict == "equivalent":
        return Finding("for", "equivalent", name, estimate)
    if estimate.is_non_inferior:
        return Finding("for", "non_inferior", name, estimate)
    return Finding("open", "not_shown", name, estimate, g_needed=clusters_to_judge(estimate))


def _limits(evidence: Evidence) -> list[Finding]:
    found = []
    if evidence.g < MIN_CLUSTERS:
        found.append(Finding("open", "few_clusters", g_needed=MIN_CLUSTERS))
    if evidence.missing is not None and evidence.missing > MAX_MISSING:
        found.append(Finding("open", "missing_units", share=evidence.missing))
    if evidence.drift is not None and _is_above(evidence.drift):
        found.append(Finding("open", "drift", estimate=evidence.drift))
    return found


def _is_above(estimate: Estimate) -> bool:
    """Whether an estimate is above 0, by an interval that its number of clusters can carry."""
    return estimate.has_bounds and estimate.low is not None and estimate.low > 0
