"""Decide an experiment's gate on a finished version."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pipelines.diff.dataset import DiffResult
from pipelines.diff.metrics import metric_names
from pipelines.diff.noise import NOISE
from pipelines.diff.summary import ALL, DIFFERENCES, SHARES
from pipelines.lake.lake import Lake
from pipelines.replay.experiment import Experiment
from pipelines.stats.estimate import Estimate
from pipelines.stats.gate import GateResult, Summary, check_names, evaluate, parse_gate

_RENAMED = {"theta": "estimate", "theta_a": "mean_a", "theta_b": "mean_b", "p": "p_value", "q": "q_value"}
"""Fields of an estimate whose column in `ab_summary` has another name."""
_NOT_RECORDED = Estimate("difference", "unit", n=0, g=0, g_changed=0, reason="no_units")


def require_known_names(experiment: Experiment) -> None:
    """Check the names in an experiment's gate before anything is replayed.

    Raises:
        BadInputError: The gate speaks of a metric or segment that the experiment does not have.
    """
    if experiment.gate is not None:
        rules = dict.fromkeys(rule.name for rule in experiment.expect)
        metrics = dict.fromkeys(known_metrics(experiment))
        segments = frozenset(experiment.segments)
        check_names(parse_gate(experiment.gate), metrics=metrics, segments=segments, checks=rules)


def known_metrics(experiment: Experiment) -> list[str]:
    """Names that a gate of the experiment can speak of; of some there may be no value."""
    noise = NOISE if experiment.noise is not None else ()
    return [*SHARES, *DIFFERENCES, *noise, *metric_names(experiment)]


def decide_gate(lake: Lake, experiment: Experiment, result: DiffResult) -> GateResult | None:
    """The gate's outcome, clause by clause; None when the experiment has no gate."""
    if experiment.gate is None:
        return None
    with lake.connect() as connection:
        rows = connection.sql(
            "SELECT * FROM ab_summary_history WHERE experiment = $experiment AND version_id = $version",
            params={"experiment": result.experiment, "version": result.version_id},
        )
        lines = [dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()]
    metrics = dict.fromkeys(known_metrics(experiment), _NOT_RECORDED)
    metrics |= {line["metric"]: _estimate(line) for line in lines if line["segment"] == ALL}
    segments = {
        (line["metric"], line["segment"], line["segment_value"]): _estimate(line)
        for line in lines
        if line["segment"] != ALL
    }
    held = {rule.name: metrics[rule.name].theta for rule in experiment.expect}
    checks = {name: None if share is None else share == 1 for name, share in held.items()}
    summary = Summary(metrics, segments, checks, segment_names=frozenset(experiment.segments))
    return evaluate(parse_gate(experiment.gate), summary)


def _estimate(line: dict[str, Any]) -> Estimate:
    """An estimate as far as the summary's columns hold it."""
    names = [field.name for field in fields(Estimate)]
    values = {name: line[_RENAMED.get(name, name)] for name in names if _RENAMED.get(name, name) in line}
    return Estimate(weighting="unit", **values)
