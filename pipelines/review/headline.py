"""Read what a version says on one page: what was compared, what stayed the same, how the metrics differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import duckdb

from pipelines.diff.gating import Decision, decide_version
from pipelines.diff.names import ALL
from pipelines.diff.versions import Version, find_definition, list_versions, read_summary
from pipelines.errors import BadInputError
from pipelines.experiment.agents import AgentSide
from pipelines.experiment.registry import find_gate
from pipelines.lake.datasets import AB_SUMMARY, REPLAYS
from pipelines.lake.lake import Lake
from pipelines.review.words import answers_in_words, is_idle

MAX_LINES = 500
"""Lines of the summary that are read: the whole, and then segments, in order."""

_CALLS = """
SELECT count(DISTINCT aggregate_id)
FROM ab_units_history
WHERE experiment = $experiment AND version_id = $version_id AND aggregate_id IN (SELECT calls.aggregate_id FROM calls)
"""


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """One metric over the whole or over one value of a segment.

    Attributes:
        metric: What is estimated.
        kind: `change` (a share of pairs, no direction), `metric` (A against B), `rule` or `noise`.
        segment: Segment column, or `all`.
        segment_value: Its value, or `all`.
        n: Pairs with a value on both sides.
        excluded: Pairs without.
        g: Conversations.
        mean_a: Mean of A; None for a change.
        mean_b: Mean of B; None for a change.
        total_a: Sum over A; None for a change.
        total_b: Sum over B; None for a change.
        estimate: Share, or mean of B − A; None with a reason.
        low: Lower 95 % bound.
        high: Upper 95 % bound.
        q_value: p adjusted for the number of comparisons; None for the primary metric and for changes.
        goal: `higher` or `lower` is good; None when there is no direction.
        margin: Largest difference that does not matter; None when none was declared.
        verdict: Code; None for a change.
        g_needed: Conversations that would be enough; None without a margin.
        reason: Code: why a number is missing or a verdict withheld.
    """

    metric: str
    kind: str
    segment: str
    segment_value: str
    n: int
    excluded: int
    g: int
    mean_a: float | None
    mean_b: float | None
    total_a: float | None
    total_b: float | None
    estimate: float | None
    low: float | None
    high: float | None
    q_value: float | None
    goal: str | None
    margin: float | None
    verdict: str | None
    g_needed: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Headline:
    """One version at a glance.

    Attributes:
        version: The version.
        side_a: What side A is, in words.
        side_b: What side B is, in words.
        window: Bounds of the conversations' start, UTC, half-open; None for no bound.
        where: The experiment's filter; None for all.
        primary: The metric that the experiment is decided by; None when it named none.
        conversations: Conversations of side A that have a pair, voice calls among them.
        calls: Those that are voice calls.
        failed: Pairs that side B did not answer.
        not_asked: Units about which nobody could be asked; they are in no other number.
        not_asked_erased: Those of them of which a part, or a part of what was before, is erased.
        flat_metrics: Metrics with one value, or none, on a whole side that called tools: name, side (a, b), value.
        classes: Pairs by unit class.
        outcomes: Pairs by recorded outcome: both good, only A, only B, neither; all 0 when none was recorded.
        shares: What stayed the same, over the whole.
        differences: Metrics, over the whole; the primary first.
        segments: Everything again by segment.
        noise: The noise floor; empty when the experiment asked for none.
        rules: The rules on actions, over the whole.
        decision: The answer, by the gate that the experiment has now; None where it was not worked out.
        notes: What there is to say of the answers that were replayed.
    """

    version: Version
    side_a: str
    side_b: str
    window: tuple[datetime | None, datetime | None]
    where: str | None
    primary: str | None
    conversations: int
    calls: int
    failed: int
    not_asked: int
    not_asked_erased: int
    flat_metrics: tuple[tuple[str, str, float | None], ...]
    classes: Mapping[str, int]
    outcomes: Mapping[str, int]
    shares: tuple[SummaryLine, ...]
    differences: tuple[SummaryLine, ...]
    segments: tuple[SummaryLine, ...]
    noise: tuple[SummaryLine, ...] = ()
    rules: tuple[SummaryLine, ...] = ()
    decision: Decision | None = None
    notes: tuple[str, ...] = ()


def find_version(lake: Lake, experiment: str | None = None, version_id: str | None = None) -> Version:
    """The version asked for; by default the newest complete one.

    Raises:
        BadInputError: There is no such complete version.
    """
    versions = list_versions(lake, experiment)
    found = [version for version in versions if version_id in (None, version.version_id)]
    if not found:
        raise BadInputError(
            f"no complete version {version_id or ''} of {experiment or 'any experiment'}; "
            f"there are: {', '.join(version.version_id for version in versions) or 'none'}"
        )
    return found[0]


def load_headline(lake: Lake, version: Version) -> Headline:
    """Read the headline of a complete version."""
    partition = {"experiment": version.experiment, "version_id": version.version_id}
    commit = lake.last_commit(AB_SUMMARY.name, partition)
    kept: Mapping[str, Any] = commit.provenance if commit is not None else {}
    replayed = lake.last_commit(REPLAYS.name, partition)
    definition = find_definition(lake, partition)
    with lake.connect() as connection:
        found = read_summary(connection, partition)[:MAX_LINES]
        calls = count_calls(connection, partition)
    lines = [SummaryLine(**{field.name: line[field.name] for field in fields(SummaryLine)}) for line in found]
    whole = [line for line in lines if line.segment == ALL]
    primary = definition.get("primary")
    start, stop = definition.get("window") or (None, None)
    return Headline(
        version=version,
        side_a=describe_side(definition.get("baseline") or {}),
        side_b=describe_side(definition.get("candidate") or {}),
        window=(_time(start), _time(stop)),
        where=definition.get("where"),
        primary=primary,
        conversations=kept.get("conversations", 0),
        calls=calls,
        failed=kept.get("failed", 0),
        not_asked=kept.get("not_asked", 0),
        not_asked_erased=kept.get("not_asked_erased", 0),
        flat_metrics=tuple((name, side, value) for name, side, value in kept.get("flat_metrics", ())),
        classes=kept.get("classes") or {},
        outcomes=kept.get("outcomes") or {},
        shares=tuple(line for line in whole if line.kind == "change"),
        differences=tuple(
            sorted(
                (
                    line
                    for line in whole
                    if line.kind == "metric" and not is_idle(line.metric, line.total_a, line.total_b)
                ),
                key=lambda line: line.metric != primary,
            )
        ),
        segments=tuple(line for line in lines if line.segment != ALL),
        noise=tuple(line for line in whole if line.kind == "noise"),
        rules=tuple(line for line in whole if line.kind == "rule"),
        notes=tuple(answers_in_words(replayed.provenance.get("answers"))) if replayed is not None else (),
        decision=decide_version(lake, version.experiment, version.version_id, find_gate(lake, version.experiment)),
    )


def count_calls(connection: duckdb.DuckDBPyConnection, partition: Mapping[str, Any]) -> int:
    """How many of the conversations of a version's pairs are voice calls."""
    ((calls,),) = connection.execute(_CALLS, dict(partition)).fetchall()
    return int(calls)


def describe_side(side: Mapping[str, Any]) -> str:
    """A baseline or candidate of an experiment in words."""
    if side.get("python"):
        return f"the Python agent {side['python']}"
    if side.get("agent") or side.get("command"):
        given = {name: side[name] for name in ("agent", "command", "protocol", "answers", "sandbox") if side.get(name)}
        return f"the {AgentSide.model_validate(given).describe_agent()}"
    if side.get("echo"):
        return "the recording itself"
    if side.get("model"):
        return f"the model {side['model']}"
    recorded = side.get("recorded") or {}
    parts = [f"{name} {recorded[name]}" for name in ("source", "variant") if recorded.get(name)]
    return f"what was recorded ({', '.join(parts)})" if parts else "what was recorded"


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
