"""What a version came to, and whether it is there already: read from what its commits remember, without its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.diff.revised import Revision, find_revision
from pipelines.experiment.file import Experiment
from pipelines.lake.datasets import AB_SUMMARY, REPLAYS
from pipelines.lake.lake import Lake

if TYPE_CHECKING:
    from pipelines.experiment.plan import Plan

Bounds = tuple[datetime | None, datetime | None]
"""Of a version's window, UTC; None for no bound."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Pairs by recorded outcome; pairs in which a side has none are in no field."""

    both: int
    only_a: int
    only_b: int
    neither: int


@dataclass(frozen=True, slots=True)
class DiffResult:
    """One version's headline.

    Attributes:
        experiment: Name.
        version_id: Hash of everything that determines the version.
        result_hash: Hash of what came out.
        is_written: False when the version was complete already.
        side_a: The baseline, in words.
        side_b: The candidate, in words.
        window: Half-open UTC bounds of the conversations' start, ISO 8601; None for no bound.
        unit: What is paired.
        pairs: Unit pairs.
        not_asked: Units beside them about which nobody could be asked; they are in no other number.
        not_asked_erased: Those of them of which a part, or a part of what was before, is erased.
        conversations: Conversations of side A that have a pair.
        changed_conversations: Those of them in which some pair that B answered has other tool calls.
        failed: Pairs that side B did not answer.
        same_names: Pairs with the same tool names in order.
        same_calls: Pairs with the same tool calls and arguments in order (L1).
        same_final: Pairs with the same final text.
        outcomes: Pairs by recorded outcome.
        classes: Pairs by unit class.
        fidelity: Answered pairs by how side B was fed; headline numbers use the `exact` ones.
        metric_errors: Metrics that failed on a side of a pair: name, why, how often.
        flat_metrics: Metrics with one value, or none (None), on a whole side that called tools: name, side (a, b), value.
        first_metric_errors: Of each of them the first: name, why, unit and side, where in the metric's file.
        first_failures: Of the replay's failures that are the candidate's, or of what it was given, the first of each kind:
            reason, unit, what is told of it, without recorded values.
        seconds: Time taken.
        revision: What erasures changed of it since it was made; None when nothing.
    """

    experiment: str
    version_id: str
    result_hash: str
    is_written: bool
    side_a: str
    side_b: str
    window: tuple[str | None, str | None]
    unit: str
    pairs: int
    not_asked: int
    not_asked_erased: int
    conversations: int
    changed_conversations: int
    failed: int
    same_names: int
    same_calls: int
    same_final: int
    outcomes: Outcomes
    classes: dict[str, int]
    fidelity: dict[str, int]
    metric_errors: list[tuple[str, str, int]]
    flat_metrics: list[tuple[str, str, float | None]]
    first_metric_errors: list[tuple[str, str, str, str]]
    first_failures: list[tuple[str, str, str]]
    seconds: float
    revision: Revision | None = None


def find_diff(lake: Lake, plan: Plan) -> DiffResult | None:
    """The result of a version that is replayed and diffed; None when it is not complete, or of other replays."""
    return find_result(lake, plan.experiment, plan.version_id, plan.window)


def find_result(lake: Lake, experiment: Experiment, version_id: str, window: Bounds) -> DiffResult | None:
    """As `find_diff`, of a version whose window is known."""
    partition = {"experiment": experiment.experiment, "version_id": version_id}
    replayed = lake.last_commit(REPLAYS.name, partition)
    last = lake.last_commit(AB_SUMMARY.name, partition)
    if replayed is None or last is None or last.input_hash != input_hash_of(version_id, replayed.number):
        return None
    told = (last.provenance, replayed.provenance)
    return result_of(experiment, version_id, window, *told, is_written=False, seconds=0.0)


def has_failures(lake: Lake, plan: Plan) -> bool:
    """Whether units of a replayed version failed."""
    replayed = lake.last_commit(REPLAYS.name, plan.partition)
    return replayed is not None and bool(replayed.provenance["failures"])


def input_hash_of(version_id: str, replay: int) -> str:
    """What a diff is a function of: the version, and which of its replays."""
    return f"{version_id}/{replay}"


def result_of(
    experiment: Experiment,
    version_id: str,
    window: Bounds,
    headline: Mapping[str, Any],
    replayed: Mapping[str, Any],
    *,
    is_written: bool,
    seconds: float,
) -> DiffResult:
    """The headline of a version.

    Args:
        experiment: What the version is of.
        version_id: The version.
        window: Its bounds.
        headline: What its summary's commit remembers.
        replayed: What its replays' commit remembers.
        is_written: Whether it was made just now.
        seconds: Time taken.
    """
    names = (
        "result_hash",
        "unit",
        "pairs",
        "not_asked",
        "conversations",
        "changed_conversations",
        "failed",
        "same_names",
        "same_calls",
        "same_final",
        "classes",
        "fidelity",
    )
    return DiffResult(
        experiment=experiment.experiment,
        version_id=version_id,
        is_written=is_written,
        side_a=experiment.baseline.recorded.describe(),
        side_b=experiment.candidate.describe(),
        window=(_iso(window[0]), _iso(window[1])),
        outcomes=Outcomes(**headline["outcomes"]),
        first_metric_errors=[(n, why, unit, told) for n, why, unit, told in headline.get("first_metric_errors", ())],
        first_failures=[(reason, unit, told) for reason, unit, told in replayed.get("first_failures", ())],
        metric_errors=[(name, why, count) for name, why, count in headline["metric_errors"]],
        flat_metrics=[(name, side, value) for name, side, value in headline.get("flat_metrics", ())],
        seconds=seconds,
        revision=find_revision(headline),
        not_asked_erased=headline.get("not_asked_erased", 0),
        **{name: headline[name] for name in names},
    )


def _iso(bound: datetime | None) -> str | None:
    return None if bound is None else bound.isoformat()
