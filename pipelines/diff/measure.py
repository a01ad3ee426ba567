"""Metrics in Python: what a function of one's own is given, and what becomes of what it returns.

It runs in a process of its own, once for each side of each unit that has an answer. What it cannot measure it returns as
None. An exception, or what is no finite number, is no value either: the unit's row says why, in one word, and the others go
on. A call that does not end, or ends its process, ends the comparison.

A function of two arguments is given both sides of many units at once, as Polars frames, and returns how far B is from A in each:
that is B's value then, and A's is 0.
"""

from __future__ import annotations

import json
import math
import numbers
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.experiment.code import CandidateEndedError, PythonMetric, load_measures, measuring, takes_frames
from pipelines.experiment.source import describe_exception
from pipelines.settings import SQL_SECONDS
from pipelines.stats.sums import FloatArray

NOT_FINITE = "not_finite"
"""Why there is no value where a metric, in SQL too, gives NaN or an infinity."""
_BATCH = 2_000
"""Sides held as Python objects at once."""
_MOMENT = 1.0
"""Seconds between two words of the process: a bound on a call's time is seen so much later."""


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
    """What metrics gave.

    Attributes:
        values: By metric, one value per unit; NaN where there is none.
        errors: Per unit, metrics that failed: name and why.
        first: By name and why, the first unit and side where that was so, and where in the user's file or what was given.
    """

    values: dict[str, FloatArray]
    errors: list[list[tuple[str, str]]]
    first: dict[tuple[str, str], tuple[str, str]]

    def joined(self, other: Measured) -> Measured:
        """What both gave of the same units; where both have a metric, the other's."""
        errors = [one + two for one, two in zip(self.errors, other.errors, strict=True)]
        return Measured(self.values | other.values, errors, self.first | other.first)


def measure_units(
    measures: Mapping[str, PythonMetric],
    units: pa.Table,
    side: Literal["a", "b"],
    *,
    memory_bytes: int,
    seconds: float = SQL_SECONDS,
) -> Measured:
    """Call every function with every unit's side, in a process of their own.

    Args:
        measures: By name.
        units: `unit_id, aggregate_id, text, tool_calls, output_tokens, latency_ms, cost_usd`.
        side: Which side they are.
        memory_bytes: What bounds the process, which may reserve several times as much.
        seconds: Bound on the time of each call.

    Raises:
        StoppedError: A call took longer, or ended the process.
    """
    values = {name: np.full(units.num_rows, np.nan) for name in measures}
    errors: list[list[tuple[str, str]]] = [[] for _ in range(units.num_rows)]
    first: dict[tuple[str, str], tuple[str, str]] = {}
    if measures and units.num_rows:
        what = f"metric {', '.join(sorted(measures))}"
        with measuring(measures, memory_bytes=memory_bytes, seconds=seconds) as session:
            for start in range(0, units.num_rows, _BATCH):
                given = units.slice(start, _BATCH)
                for place, name, value, why, detail in chain.from_iterable(
                    session.each(what, measure_each, dict(measures), given, side)
                ):
                    if why is None:
                        values[name][start + place] = value
                    else:
                        errors[start + place].append((name, why))
                        unit_id = given.column("unit_id")[place].as_py()
                        first.setdefault((name, why), (f"{unit_id}, side {side.upper()}", detail))
    return Measured(values, errors, first)


def measure_pairs(
    measures: Mapping[str, PythonMetric],
    a: pa.Table,
    b: pa.Table,
    *,
    memory_bytes: int,
    seconds: float = SQL_SECONDS,
) -> Measured:
    """Call the functions that take frames with both sides of the units that both have; the others are left out.

    Args:
        measures: By name.
        a: Side A: `unit_row, unit_id, aggregate_id`, and what an expression can speak of.
        b: Side B of the same units in the same order.
        memory_bytes: What bounds the process, which may reserve several times as much.
        seconds: Bound on the time of each call.

    Returns:
        By name of a function that takes frames, how far B is from A in each unit.

    Raises:
        BadInputError: What a function returns is no Series of numbers, one for each row.
        StoppedError: A call took longer, or ended the process.
    """
    values: dict[str, FloatArray] = {}
    errors: list[list[tuple[str, str]]] = [[] for _ in range(a.num_rows)]
    first: dict[tuple[str, str], tuple[str, str]] = {}
    if not measures or not a.num_rows:
        return Measured(values, errors, first)
    what = f"metric {', '.join(sorted(measures))}"
    names = [str(each) for each in a.column("unit_id").to_pylist()]
    order = sorted(range(len(names)), key=lambda row: names[row])
    with measuring(measures, memory_bytes=memory_bytes, seconds=seconds) as session:
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            given = [side.drop_columns("unit_row").take(rows) for side in (a, b)]
            for name, found, why, detail in session.each(what, measure_frames, dict(measures), *given):
                values.setdefault(name, np.full(len(order), np.nan))[rows] = np.where(np.isfinite(found), found, np.nan)
                failed = range(len(rows)) if why is not None else np.flatnonzero(np.isinf(found))
                for place in failed:
                    errors[rows[place]].append((name, why or NOT_FINITE))
                    first.setdefault((name, why or NOT_FINITE), (names[rows[place]], detail))
    return Measured(values, errors, first)


def measure_frames(
    connection: None, measures: Mapping[str, PythonMetric], a: pa.Table, b: pa.Table
) -> Iterator[tuple[str, FloatArray, str | None, str]]:
    """Call the functions that take frames; asked of the child.

    Yields:
        (metric, values, why there are none, where in the user's file): NaN where it is null, infinite where it is no number.

    Raises:
        BadInputError: What one returns is no Series of numbers, one for each row.
    """
    functions = {name: each for name, each in load_measures(connection, measures).items() if takes_frames(each)}
    for name, function in functions.items():
        import polars as pl  # noqa: PLC0415 -- only where a function takes frames

        try:
            found = function(pl.from_arrow(a), pl.from_arrow(b))
        except CandidateEndedError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- the user's code; its message may hold anything, its type does not
            detail = describe_exception(error, measures[name].folder).kept
            yield name, np.full(a.num_rows, np.nan), type(error).__name__, detail
            continue
        what = f"metric {name}: {measures[name].spec}"
        if not isinstance(found, pl.Series):
            raise BadInputError(
                f"{what} gives a {type(found).__name__}; a function of both sides gives a polars.Series"
            )
        if len(found) != a.num_rows:
            raise BadInputError(
                f"{what} gives {len(found):,} values for {a.num_rows:,} units; give one for each row, in order"
            )
        if not (found.dtype.is_numeric() or found.dtype in (pl.Boolean, pl.Null)):
            raise BadInputError(f"{what} gives a Series of {found.dtype}; give numbers, null where there is none")
        if found.dtype.is_unsigned_integer():
            raise BadInputError(
                f"{what} gives a Series of {found.dtype}, in which less than 0 is a huge number; cast to Int64 before subtracting"
            )
        numbers = found.cast(pl.Float64)
        is_odd = (numbers.is_nan() | numbers.is_infinite()).fill_null(value=False)
        yield name, np.where(is_odd.to_numpy(), np.inf, numbers.to_numpy()), None, "it gives NaN or an infinity"


def measure_each(
    connection: None, measures: Mapping[str, PythonMetric], units: pa.Table, side: Literal["a", "b"]
) -> Iterator[list[tuple[int, str, float | None, str | None, str]]]:
    """Call the functions; asked of the child. What is found comes every moment, so that a call that hangs is seen.

    Yields:
        (row, metric, value, why there is none, where in the user's file).
    """
    functions = load_measures(connection, measures)
    measures = {name: metric for name, metric in measures.items() if not takes_frames(functions[name])}
    found: list[tuple[int, str, float | None, str | None, str]] = []
    told = time.monotonic()
    for place, row in enumerate(units.to_pylist() if measures else ()):
        for name, metric in measures.items():
            # a side of its own: a function may change what it gets
            value, why, detail = _measure(functions[name], _side(row, side), metric.folder)
            if value is not None or why is not None:
                found.append((place, name, value, why, detail))
        if time.monotonic() - told > _MOMENT:
            yield found
            found, told = [], time.monotonic()
    yield found


def _measure(
    function: Callable[[UnitSide], Any], given: UnitSide, folder: Path
) -> tuple[float | None, str | None, str]:
    """The value, or why there is none and where; neither for None, which is the function's own word for it."""
    try:
        found = function(given)
        if found is None:
            return None, None, ""
        if not isinstance(found, numbers.Real | np.bool_):
            return None, "not_a_number", f"it gives {type(found).__name__}"
        value = float(found)
    except CandidateEndedError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- the user's code; its message may hold anything, its type does not
        return None, type(error).__name__, describe_exception(error, folder).kept
    return (value, None, "") if math.isfinite(value) else (None, NOT_FINITE, f"it gives {value}")


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
