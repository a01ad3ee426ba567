"""Names of what a version's summary can hold: what a gate and a primary metric may speak of.

Known from the experiment alone, before there is a version; what the names mean is `summary`'s, `noise`'s and `metrics`'.
"""

from __future__ import annotations

from dataclasses import fields

from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment
from pipelines.stats.estimate import NoiseFloor
from pipelines.stats.gate import check_names, parse_gate

ALL = "all"
"""Segment and value of the whole."""

SHARES = ("same_names", "same_calls", "same_calls_answered", "same_calls_worst", "same_final", "failed")
DIFFERENCES = (
    "calls",
    "invalid_calls",
    "refusals",
    "money",
    "cost_usd",
    "latency_ms",
    "output_tokens",
    "outcome_good",
)
NOISE = tuple(f"noise_{field.name}" for field in fields(NoiseFloor))
"""Lines of the noise floor, in their order."""


def metric_names(experiment: Experiment) -> list[str]:
    """What is evaluated for every side of every unit: metrics, then rules."""
    return [*experiment.metrics, *(rule.name for rule in experiment.expect)]


def require_known_primary(experiment: Experiment) -> None:
    """Check that the primary is a metric.

    Raises:
        BadInputError: It is none.
    """
    differences = [*DIFFERENCES, *experiment.metrics]
    if experiment.primary is not None and experiment.primary not in differences:
        raise BadInputError(
            f"primary {experiment.primary!r} is no metric of this experiment; there are {', '.join(differences)}"
        )


def require_known_gate(experiment: Experiment) -> None:
    """Check the names in the gate.

    Raises:
        BadInputError: It speaks of a metric or segment that the experiment does not have.
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
