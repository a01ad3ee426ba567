"""Read one unit pair: both sides, their aligned tool calls, and what was said before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.diff.versions import Version
from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.review.conversation import Conversation, load_conversations

MAX_CALLS = 500
"""Aligned tool calls that are read; the rest is counted."""

_SIDE = ("text", "calls", "outcome", "cost_usd", "latency_ms", "output_tokens", "metrics")
_UNIT = f"""
SELECT
    unit_id, unit, aggregate_id, recorded_aggregate_id, decision, status, reason, unit_class, text_class, sim_tok,
    source, agent, vertical, channel, task,
    {", ".join(f"{name}_{side}" for side in "ab" for name in _SIDE)}
FROM ab_units_history
WHERE experiment = $experiment AND version_id = $version_id AND list_contains($unit_ids, unit_id)
"""
_CALLS = """
SELECT
    unit_id, "class" AS pair_class, name_a, name_b, arguments_a, arguments_b, position_a, position_b, similarity, arg_ops
FROM ab_tool_calls_history
WHERE experiment = $experiment AND version_id = $version_id AND list_contains($unit_ids, unit_id)
QUALIFY row_number() OVER (PARTITION BY unit_id ORDER BY pair) <= $limit
ORDER BY unit_id, pair
"""
_PLACES = """
SELECT asked.place, min(decisions.first_version)
FROM pairs_asked AS asked
INNER JOIN decisions
    ON asked.stream = decisions.aggregate_id
    AND (asked.decision IS NULL OR asked.decision = decisions.decision)
    AND (asked.turn IS NULL OR asked.turn = decisions.turn)
GROUP BY asked.place
"""
_FIELDS: list[pa.Field[Any]] = [
    pa.field("place", pa.int64()),
    pa.field("stream", pa.string()),
    pa.field("decision", pa.int32()),
    pa.field("turn", pa.int32()),
]
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
    return load_pairs(lake, version, [unit_id])[0]


def load_pairs(lake: Lake, version: Version, unit_ids: Sequence[str]) -> tuple[Pair, ...]:
    """Read some pairs of a version, in the order given.

    Raises:
        BadInputError: The version does not have one of them.
    """
    params = {"experiment": version.experiment, "version_id": version.version_id, "unit_ids": list(unit_ids)}
    if not unit_ids:
        return ()
    with lake.connect() as connection:
        units = {unit["unit_id"]: unit for unit in _rows(connection, _UNIT, params)}
        missing = [unit_id for unit_id in unit_ids if unit_id not in units]
        if missing:
            raise BadInputError(f"version {version.version_id} of {version.experiment} has no pair {missing[0]!r}")
        calls: dict[str, list[dict[str, Any]]] = {unit_id: [] for unit_id in unit_ids}
        for row in _rows(connection, _CALLS, {**params, "limit": MAX_CALLS + 1}):
            calls[row.pop("unit_id")].append(row)
        for unit in units.values():
            place = _TURN.fullmatch(unit["unit_id"]) if unit["unit"] == "turn" else None
            unit["turn"] = int(place[1]) if place else None
        shown = _conversations(connection, [units[unit_id] for unit_id in unit_ids])
    return tuple(_pair(units[unit_id], calls[unit_id], *given) for unit_id, given in zip(unit_ids, shown, strict=True))


def _pair(
    unit: dict[str, Any],
    calls: list[dict[str, Any]],
    context: Conversation | None,
    transcript_a: Conversation | None,
    transcript_b: Conversation | None,
) -> Pair:
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


def _conversations(
    connection: duckdb.DuckDBPyConnection, units: Sequence[dict[str, Any]]
) -> list[tuple[Conversation | None, Conversation | None, Conversation | None]]:
    """Of each unit the context of a decision or turn, or both transcripts of a conversation."""
    starts = _starts(connection, units)
    asked: list[tuple[str, int | None]] = []
    wanted: list[tuple[int | None, int | None, int | None]] = []

    def ask(stream: str | None, before: int | None = None) -> int | None:
        if stream is None:
            return None
        asked.append((stream, before))
        return len(asked) - 1

    for place, unit in enumerate(units):
        if unit["unit"] == "conversation":
            wanted.append((None, ask(unit["aggregate_id"]), ask(unit["recorded_aggregate_id"])))
        else:
            start = starts.get(place)
            wanted.append((None if start is None else ask(unit["aggregate_id"], start), None, None))
    found = load_conversations(connection, asked)
    return [
        (
            None if context is None else found[context],
            None if a is None else found[a],
            None if b is None else found[b],
        )
        for context, a, b in wanted
    ]


def _starts(connection: duckdb.DuckDBPyConnection, units: Sequence[dict[str, Any]]) -> dict[int, int]:
    """By place, the stream version at which the decision or turn of a unit begins, where the fold has it."""
    places = [
        {"place": place, "stream": unit["aggregate_id"], "decision": unit["decision"], "turn": unit["turn"]}
        for place, unit in enumerate(units)
        if unit["decision"] is not None or unit["turn"] is not None
    ]
    if not places:
        return {}
    asked = pa.Table.from_pylist(places, schema=pa.schema(_FIELDS))
    connection.register("pairs_asked", asked)
    try:
        return {place: first for place, first in connection.execute(_PLACES).fetchall() if first is not None}
    finally:
        connection.unregister("pairs_asked")


def _side(values: dict[str, Any]) -> Side:
    return Side(**{**values, "metrics": dict(values["metrics"] or {})})


def _call(row: dict[str, Any]) -> AlignedCall:
    changes = [(change["op"], change["path"], change["old"], change["new"]) for change in row["arg_ops"] or ()]
    values = {name: value for name, value in row.items() if name != "arg_ops"}
    return AlignedCall(**values, changes=tuple(ArgumentChange(*change) for change in changes))
