"""Decide an experiment's gate on a finished version, and whether to ship."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pipelines.diff.names import ALL
from pipelines.diff.versions import find_definition, read_summary
from pipelines.lake.datasets import AB_SUMMARY
from pipelines.lake.lake import Lake
from pipelines.stats.answer import Answer, Evidence, decide
from pipelines.stats.estimate import Estimate
from pipelines.stats.gate import CheckHolds, Gate, GateResult, Summary, evaluate, parse_gate

_RENAMED = {"theta": "estimate", "theta_a": "mean_a", "theta_b": "mean_b", "p": "p_value", "q": "q_value"}
"""Fields of an estimate whose column in `ab_summary` has another name."""
_NOT_RECORDED = Estimate("difference", "unit", n=0, g=0, g_changed=0, reason="no_units")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a version comes to.

    Attributes:
        answer: Ship, do not ship, or not enough data.
        gate: The gate's outcome, clause by clause; None without a gate.
        cluster: What counted as one observation.
    """

    answer: Answer
    gate: GateResult | None
    cluster: str


def decide_version(lake: Lake, experiment: str, version_id: str, gate: str | None) -> Decision:
    """The answer of a complete version.

    What the gate asks of the version that it does not have is undefined, and fails: a gate is no input of a version, so it may
    have been written for a later one.

    Args:
        lake: Where the version is.
        experiment: Its name.
        version_id: The version.
        gate: The experiment's gate as it is now.
    """
    partition = {"experiment": experiment, "version_id": version_id}
    commit = lake.last_commit(AB_SUMMARY.name, partition)
    kept: Mapping[str, Any] = commit.provenance if commit is not None else {}
    definition = find_definition(lake, partition)
    with lake.connect("FROM ab_summary_history") as connection:
        lines = read_summary(connection, partition)
    whole = {line["metric"]: line for line in lines if line["segment"] == ALL}
    estimates = {name: _estimate(line) for name, line in whole.items()}
    rules = {name: estimates[name] for name, line in whole.items() if line["kind"] == "rule"}
    result = None if gate is None else _evaluate(parse_gate(gate), lines, estimates, rules)
    primary = definition.get("primary")
    declared = definition.get("metrics") or {}
    units = estimates.get("failed")
    evidence = Evidence(
        metrics={
            name: estimates[name]
            for name, line in whole.items()
            if line["kind"] == "metric" and (line["goal"] is not None or name == primary)
        },
        declared=frozenset(name for name, metric in declared.items() if metric.get("goal") is not None),
        primary=primary,
        rules=rules,
        gate=result,
        g=0 if units is None else units.g,
        missing=_missing(kept),
        drift=estimates.get("noise_drift"),
    )
    return Decision(decide(evidence), result, definition.get("cluster", "conversation"))


def _evaluate(
    gate: Gate, lines: Iterable[Mapping[str, Any]], metrics: Mapping[str, Estimate], rules: Mapping[str, Estimate]
) -> GateResult:
    segments = {
        (line["metric"], line["segment"], line["segment_value"]): _estimate(line)
        for line in lines
        if line["segment"] != ALL
    }
    subjects = [clause.subject for clause in gate.clauses if not isinstance(clause, CheckHolds)]
    checks: dict[str, bool | None] = {clause.name: None for clause in gate.clauses if isinstance(clause, CheckHolds)}
    checks |= {name: None if held.theta is None else held.theta == 1 for name, held in rules.items()}
    return evaluate(
        gate,
        Summary(
            metrics={**{subject.metric: _NOT_RECORDED for subject in subjects}, **metrics},
            segments=segments,
            checks=checks,
            segment_names=frozenset(subject.segment for subject in subjects if subject.segment is not None),
        ),
    )


def _missing(kept: Mapping[str, Any]) -> float | None:
    """Share of pairs that B did not answer, or that were not fed as recorded."""
    if not kept.get("pairs"):
        return None
    unlike = sum(count for fidelity, count in (kept.get("fidelity") or {}).items() if fidelity != "exact")
    return float((kept.get("failed", 0) + unlike) / kept["pairs"])


def _estimate(line: Mapping[str, Any]) -> Estimate:
    """An estimate as far as the summary's columns hold it."""
    names = [field.name for field in fields(Estimate)]
    values = {name: line[_RENAMED.get(name, name)] for name in names if _RENAMED.get(name, name) in line}
    return Estimate(weighting="unit", **values)
