"""Read one unit pair: both sides, their aligned tool calls, and what was said before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import duckdb

from pipelines.diff.versions import Version
from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.review.conversation import Conversation, load_conversation

MAX_CALLS = 500
"""Aligned tool calls that are read; the rest is counted."""

_SIDE = ("text", "calls", "outcome", "cost_usd", "latency_ms", "output_tokens", "metrics")
_UNIT = f"""
SELECT
    unit_id, unit, aggregate_id, recorded_aggregate_id, decision, status, reason, unit_class, text_class, sim_tok,
    source, agent, vertical, channel, task,
    {", ".join(f"{name}_{side}" for side in "ab" for name in _SIDE)}
FROM ab_units_history
WHERE experiment = $experiment AND version_id = $version_id AND unit_id = $unit_id
"""
_CALLS = """
SELECT "class" AS pair_class, name_a, name_b, arguments_a, arguments_b, position_a, position_b, similarity, arg_ops
FROM ab_tool_calls_history
WHERE experiment = $experiment AND version_id = $version_id AND unit_id = $unit_id
ORDER BY pair
LIMIT $limit
"""
_PLACE = """
SELECT min(first_version)
FROM decisions
WHERE aggregate_id = $stream AND ($decision IS NULL OR decision = $decision) AND ($turn IS NULL OR turn = $turn)
"""
_TURN = re.compile(r".*/t(\d+)")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a pair.

    Attributes:
        text: What it said; None when it said nothing or gave no answer.
        calls: Tool calls; None when it gave no answer.
        outcome: Whether its outcome was good; None when not observed.
        cost_usd: Cost, US dollars; None when not known.
        latency_ms: Latency, milliseconds; None when not known.
        output_tokens: Tokens written; None when not known.
        metrics: The experiment's own metrics.
    """

    text: str | None
    calls: int | None
    outcome: bool | None
    cost_usd: float | None
    latency_ms: float | None
    output_tokens: int | None
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class ArgumentChange:
    """One argument that differs: kind (code), JSON Pointer, and both values as JSON text."""

    kind: str
    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class AlignedCall:
    """Two tool calls that answer each other, or one of one side alone.

    Attributes:
        pair_class: How they differ, as a code.
        name_a: A's tool; None when only B calls.
        name_b: B's tool; None when only A calls.
        arguments_a: JSON text; None when there is no call or it has none.
        arguments_b: JSON text; likewise.
        position_a: Place among A's calls, from 0.
        position_b: Place among B's calls, from 0.
        similarity: Of the arguments, 0 to 1; None for a call of one side alone.
        changes: The arguments that differ.
    """

    pair_class: str
    name_a: str | None
    name_b: str | None
    arguments_a: str | None
    arguments_b: str | None
    position_a: int | None
    position_b: int | None
    similarity: float | None
    changes: tuple[ArgumentChange, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """One unit pair with everything that a reviewer needs to judge it.

    Attributes:
        unit_id: The pair.
        unit: What is paired: decision, turn or conversation.
        aggregate_id: A's stream.
        recorded_aggregate_id: B's stream when B is a recorded run.
        decision: The decision; None for a turn or a conversation.
        turn: The turn; None for a decision or a conversation.
        status: ok, failed when B gave no answer, or not_asked when nothing was said before it that could be asked about.
        reason: Code of the failure; None when ok.
        unit_class: What changed in the tool calls, as a code; None when nobody could be asked.
        text_class: How the texts differ, as a code; None when a side has none.
        sim_tok: Share of words in common, 0 to 1; None when a side has no text.
        labels: Segment columns that are known: source, agent, vertical, channel, task.
        a: What happened.
        b: What was tried.
        calls: Aligned tool calls, at most `MAX_CALLS`.
        has_more_calls: Whether there are more.
        context: What was said before the decision or turn; None for a conversation, or when the fold no longer has it.
        transcript_a: All of A's conversation; None for a decision or a turn.
        transcript_b: All of B's conversation; None unless B is a recorded run.
    """

    unit_id: str
    unit: str
    aggregate_id: str
    recorded_aggregate_id: str | None
    decision: int | None
    turn: int | None
    status: str
    reason: str | None
    unit_class: str | None
    text_class: str | None
    sim_tok: float | None
    labels: dict[str, str]
    a: Side
    b: Side
    calls: tuple[AlignedCall, ...]
    has_more_calls: bool
    context: Conversation | None
    transcript_a: Conversation | None
    transcript_b: Conversation | None


def load_pair(lake: Lake, version: Version, unit_id: str) -> Pair:
    """Read one pair of a version.

    Raises:
        BadInputError: The version has no such pair.
    """
    params = {"experiment": version.experiment, "version_id": version.version_id, "unit_id": unit_id}
    with lake.connect() as connection:
        units = _rows(connection, _UNIT, params)
        if not units:
            raise BadInputError(f"version {version.version_id} of {version.experiment} has no pair {unit_id!r}")
        unit = units[0]
        calls = _rows(connection, _CALLS, {**params, "limit": MAX_CALLS + 1})
        is_conversation = unit["unit"] == "conversation"
        place = _TURN.fullmatch(unit["unit_id"]) if unit["unit"] == "turn" else None
        unit["turn"] = int(place[1]) if place else None
        context = None if is_conversation else _context(connection, unit)
        other = unit["recorded_aggregate_id"]
        transcript_a = load_conversation(connection, unit["aggregate_id"]) if is_conversation else None
        transcript_b = load_conversation(connection, other) if is_conversation and other else None
    labels = {name: unit.pop(name) for name in ("source", "agent", "vertical", "channel", "task")}
    side_a, side_b = (_side({name: unit.pop(f"{name}_{side}") for name in _SIDE}) for side in "ab")
    return Pair(
        **unit,
        a=side_a,
        b=side_b,
        labels={name: value for name, value in labels.items() if value is not None},
        calls=tuple(_call(row) for row in calls[:MAX_CALLS]),
        has_more_calls=len(calls) > MAX_CALLS,
        context=context,
        transcript_a=transcript_a,
        transcript_b=transcript_b,
    )


def _rows(connection: duckdb.DuckDBPyConnection, query: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    found = connection.sql(query, params=params)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def _context(connection: duckdb.DuckDBPyConnection, unit: dict[str, Any]) -> Conversation | None:
    stream = unit["aggregate_id"]
    if unit["decision"] is None and unit["turn"] is None:
        return None
    params = {"stream": stream, "decision": unit["decision"], "turn": unit["turn"]}
    ((first_version,),) = connection.sql(_PLACE, params=params).fetchall()
    return None if first_version is None else load_conversation(connection, stream, first_version)


def _side(values: dict[str, Any]) -> Side:
    return Side(**{**values, "metrics": dict(values["metrics"] or {})})


def _call(row: dict[str, Any]) -> AlignedCall:
    changes = [(change["op"], change["path"], change["old"], change["new"]) for change in row["arg_ops"] or ()]
    values = {name: value for name, value in row.items() if name != "arg_ops"}
    return AlignedCall(**values, changes=tuple(ArgumentChange(*change) for change in changes))
