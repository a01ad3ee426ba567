"""The experiment's own metrics and rules in SQL: one expression each, evaluated for both sides of every unit.

The expressions are the user's, so they run on a connection that sees one table, `unit`, and nothing else. Metrics in Python
are `measure`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipelines.diff.measure import NOT_FINITE, Measured
from pipelines.duck import quote_identifier, scratch
from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment
from pipelines.lake.datasets import REPLAYS
from pipelines.lake.locked import locked_session
from pipelines.settings import SQL_SECONDS
from pipelines.stats.sums import FloatArray

UNIT_COLUMNS = ("text", "tool_calls", "call_count", "output_tokens", "latency_ms", "cost_usd")
"""What a metric's expression can speak of; `tool_calls[i].arguments` is JSON, as `canonical.arguments` reads it."""

VIEW = """
CREATE TEMP VIEW unit AS
SELECT * REPLACE (list_transform(
    tool_calls,
    LAMBDA call: {
        'block': call.block, 'name': call.name, 'arguments': call.arguments::JSON, 'is_invalid_json': call.is_invalid_json
    }
) AS tool_calls)
FROM given_units
"""


def empty_units() -> pa.Table:
    """Units without rows: what an expression is bound on before there are any."""
    types = {column.name: column.type for column in REPLAYS.columns}
    columns = ", ".join(f"CAST(NULL AS {types[name]}) AS {quote_identifier(name)}" for name in UNIT_COLUMNS)
    with scratch() as connection:
        units: pa.Table = connection.sql(f"SELECT 0::BIGINT AS unit_row, {columns} LIMIT 0").to_arrow_table()
        return units


def expressions(experiment: Experiment) -> dict[str, str]:
    """Those of them that are SQL, by name. A rule must be a yes/no expression."""
    rules = {rule.name: f"({rule.sql})::BOOLEAN::INTEGER" for rule in experiment.expect}
    return {name: metric.sql for name, metric in experiment.metrics.items() if metric.sql is not None} | rules


def evaluate_metrics(
    metrics: Mapping[str, str],
    units: pa.Table,
    side: Literal["a", "b"],
    *,
    memory_bytes: int,
    seconds: float = SQL_SECONDS,
) -> Measured:
    """Every metric of every unit that is an expression; NaN or an infinity is a metric that failed there.

    Args:
        metrics: Name → expression; a rule's is 1 where it holds and 0 where it is broken.
        units: `unit_row`, ascending, `unit_id`, and `UNIT_COLUMNS`.
        side: Which side they are.
        memory_bytes: Bound on the memory that the expressions may use.
        seconds: Bound on the time that each may take.

    Raises:
        BadInputError: An expression fails, or is not one number per unit.
    """
    names = sorted(metrics)
    values = np.full((units.num_rows, len(names)), np.nan)
    errors: list[list[tuple[str, str]]] = [[] for _ in range(units.num_rows)]
    first: dict[tuple[str, str], tuple[str, str]] = {}
    if names and units.num_rows:
        with locked_session({"given_units": units}, memory_bytes=memory_bytes, seconds=seconds) as locked:
            locked.execute(VIEW)
            for place, name in enumerate(names):
                expression = metrics[name]
                query = f"SELECT unit_row, CAST((\n{expression}\n) AS DOUBLE) AS {quote_identifier(name)} FROM unit ORDER BY unit_row"
                found = locked.select(query, f"metric {name}", expression, units.num_rows)
                if found.column("unit_row").to_pylist() != units.column("unit_row").to_pylist():
                    raise BadInputError(
                        f"metric {name}: {expression!r} must give one number per unit, not an aggregate over units"
                    )
                column = found.column(name).combine_chunks()
                given = column.fill_null(0).to_numpy()
                is_known = np.isfinite(given) & ~column.is_null().to_numpy(zero_copy_only=False)
                values[:, place] = np.where(is_known, given, np.nan)
                for row in np.flatnonzero(~np.isfinite(given)).tolist():
                    errors[row].append((name, NOT_FINITE))
                    unit = f"{units.column('unit_id')[row].as_py()}, side {side.upper()}"
                    detail = f"it gives {given[row]}; give null where it is undefined"
                    first.setdefault((name, NOT_FINITE), (unit, detail))
    return Measured({name: values[:, place] for place, name in enumerate(names)}, errors, first)


def as_maps(values: Mapping[str, FloatArray], units: int) -> pa.Array[Any]:
    """One map per unit: metrics by name, without those that have no value there."""
    names = sorted(values)
    table = np.column_stack([values[name] for name in names]) if names else np.zeros((units, 0))
    known = ~np.isnan(table)
    offsets = [0, *np.cumsum(known.sum(axis=1)).tolist()]
    keys = [name for line in known.tolist() for name, is_known in zip(names, line, strict=True) if is_known]
    make: Any = pa.MapArray.from_arrays  # its type stub asks for offsets of 64 bits
    maps: pa.Array[Any] = make(
        pa.array(offsets, pa.int32()), pa.array(keys, pa.string()), pa.array(table[known].tolist(), pa.float64())
    )
    return maps
