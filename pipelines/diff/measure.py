"""Metrics in Python: what a function of one's own is given, and what becomes of what it returns.

It runs in this process, once for each side of each unit that has an answer. What it cannot measure it returns as None. An
exception, or what is no finite number, is no value either: the unit's row says why, in one word, and the others go on.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipelines.replay.candidate import PythonMetric
from pipelines.stats.sums import FloatArray

_BATCH = 2_000
"""Sides held as Python objects at once."""


@dataclass(frozen=True, slots=True)
class MadeCall:
    """One tool call of a side.

    Attributes:
        block: Calls of one message share a block; blocks ascend.
        name: The tool's name.
        arguments: The JSON value; the raw string where the model sent something that is not JSON.
        is_invalid_json: Whether it is that.
    """

    block: int
    name: str
    arguments: Any
    is_invalid_json: bool = False


@dataclass(frozen=True, slots=True)
class UnitSide:
    """What one side did in one unit.

    Attributes:
        unit_id: The unit.
        aggregate_id: A's stream.
        side: `a` (baseline) or `b` (candidate).
        text: The final text; None when there is none.
        tool_calls: The tool calls, in order.
        output_tokens: Tokens of the reply; None when not known.
        latency_ms: Milliseconds; None when not known.
        cost_usd: US dollars; None when not known.
    """

    unit_id: str
    aggregate_id: str
    side: Literal["a", "b"]
    text: str | None
    tool_calls: tuple[MadeCall, ...]
    output_tokens: int | None
    latency_ms: float | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What the functions gave.

    Attributes:
        values: By metric, one value per unit; NaN where there is none.
        errors: Per unit, metrics that failed: name and why.
    """

    values: dict[str, FloatArray]
    errors: list[list[tuple[str, str]]]


def measure_units(measures: Mapping[str, PythonMetric], units: pa.Table, side: Literal["a", "b"]) -> Measured:
    """Call every function with every unit's side.

    Args:
        measures: By name.
        units: `unit_id, aggregate_id, text, tool_calls, output_tokens, latency_ms, cost_usd`.
        side: Which side they are.
    """
    values = {name: np.full(units.num_rows, np.nan) for name in measures}
    errors: list[list[tuple[str, str]]] = [[] for _ in range(units.num_rows)]
    for start in range(0, units.num_rows if measures else 0, _BATCH):
        for place, row in enumerate(units.slice(start, _BATCH).to_pylist(), start):
            for name, measure in measures.items():
                value, why = _measure(
                    measure.measure, _side(row, side)
                )  # of its own: a function may change what it gets
                if value is not None:
                    values[name][place] = value
                elif why is not None:
                    errors[place].append((name, why))
    return Measured(values, errors)


def _measure(function: Callable[[UnitSide], Any], given: UnitSide) -> tuple[float | None, str | None]:
    """The value, or why there is none; neither for None, which is the function's own word for it."""
    try:
        found = function(given)
        if found is None:
            return None, None
        if not isinstance(found, numbers.Real | np.bool_):
            return None, "not_a_number"
        value = float(found)
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- the user's code; its message may hold anything, its type does not
        return None, type(error).__name__
    return (value, None) if math.isfinite(value) else (None, "not_finite")


def _side(row: Mapping[str, Any], side: Literal["a", "b"]) -> UnitSide:
    calls = tuple(
        MadeCall(call["block"], call["name"], _value(call["arguments"]), bool(call["is_invalid_json"]))
        for call in row["tool_calls"]
    )
    return UnitSide(
        unit_id=row["unit_id"],
        aggregate_id=row["aggregate_id"],
        side=side,
        text=row["text"],
        tool_calls=calls,
        output_tokens=row["output_tokens"],
        latency_ms=row["latency_ms"],
        cost_usd=row["cost_usd"],
    )


def _value(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):  # digits or levels beyond what Python reads
        return arguments
