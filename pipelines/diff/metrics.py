"""The experiment's own metrics and rules in SQL: one expression each, evaluated for both sides of every unit.

The expressions are the user's, so they run on a connection that sees one table, `unit`, and nothing else. Metrics in Python
are `measure`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.lake.datasets import REPLAYS
from pipelines.lake.locked import locked_session
from pipelines.lake.quoting import quote_identifier
from pipelines.lake.scratch import scratch
from pipelines.replay.experiment import Experiment
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


def metric_names(experiment: Experiment) -> list[str]:
    """What is evaluated for every side of every unit: metrics, then rules."""
    return [*experiment.metrics, *(rule.name for rule in experiment.expect)]


def expressions(experiment: Experiment) -> dict[str, str]:
    """Those of them that are SQL, by name. A rule must be a yes/no expression."""
    rules = {rule.name: f"({rule.sql})::BOOLEAN::INTEGER" for rule in experiment.expect}
    return {name: metric.sql for name, metric in experiment.metrics.items() if metric.sql is not None} | rules


def evaluate_metrics(
    metrics: Mapping[str, str], units: pa.Table, *, memory_bytes: int, seconds: float = SQL_SECONDS
) -> dict[str, FloatArray]:
    """Every metric of every unit that is an expression.

    Args:
        metrics: Name → expression; a rule's is 1 where it holds and 0 where it is broken.
        units: `unit_row`, ascending, and `UNIT_COLUMNS`.
        memory_bytes: Bound on the memory that the expressions may use.
        seconds: Bound on the time that each may take.

    Returns:
        By metric, one value per unit in their order; NaN where it is null.

    Raises:
        BadInputError: An expression fails, is not one number per unit, or gives NaN or an infinity.
    """
    names = sorted(metrics)
    values = np.full((units.num_rows, len(names)), np.nan)
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
                if not np.isfinite(given).all():
                    value = given[~np.isfinite(given)][0]
                    raise BadInputError(
                        f"metric {name}: {expression!r} is {value} for a unit; give null where it is undefined"
                    )
                values[:, place] = np.where(column.is_null().to_numpy(zero_copy_only=False), np.nan, given)
    return {name: values[:, place] for place, name in enumerate(names)}


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
