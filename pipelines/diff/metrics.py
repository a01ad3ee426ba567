"""The experiment's own metrics: one SQL expression each, evaluated for both sides of every unit.

The expressions are the user's, so they run on a connection that sees one table, `unit`, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.lake.locked import locked_connection, run_user_sql
from pipelines.lake.table import quote_identifier
from pipelines.replay.experiment import Metric

_CALLS = pa.list_(pa.struct([("block", pa.int32()), ("name", pa.string()), ("arguments", pa.string())]))
UNIT_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("tool_calls", _CALLS),
        ("call_count", pa.int32()),
        ("output_tokens", pa.int64()),
        ("latency_ms", pa.float64()),
        ("cost_usd", pa.float64()),
    ]
)
"""What a metric's expression can speak of; `tool_calls[i].arguments` is JSON."""

Values = list[tuple[str, float]]
"""One unit's metrics, in the order of their names; a metric that is null there is left out."""


def evaluate_metrics(
    metrics: Mapping[str, Metric], units: Sequence[Mapping[str, Any]], *, memory_bytes: int
) -> list[Values]:
    """Every metric of every unit.

    Args:
        metrics: Name → expression.
        units: One mapping per unit with the columns of `UNIT_SCHEMA`.
        memory_bytes: Bound on the memory that the expressions may use.

    Raises:
        BadInputError: An expression fails, is not one number per unit, or gives NaN or an infinity.
    """
    if not metrics or not units:
        return [[] for _ in units]
    rows = [{name: unit[name] for name in UNIT_SCHEMA.names} for unit in units]
    table = pa.Table.from_pylist(rows, schema=UNIT_SCHEMA).append_column(
        "row_number", pa.array(range(len(rows)), pa.int64())
    )
    values: list[Values] = [[] for _ in units]
    with locked_connection({"given_units": table}, memory_bytes=memory_bytes) as connection:
        connection.execute(
            "CREATE TEMP VIEW unit AS SELECT * REPLACE (list_transform(tool_calls, "
            "LAMBDA call: {'block': call.block, 'name': call.name, 'arguments': call.arguments::JSON}) AS tool_calls) "
            "FROM given_units"
        )
        for name, metric in sorted(metrics.items()):
            query = f"SELECT row_number, CAST((\n{metric.sql}\n) AS DOUBLE) AS {quote_identifier(name)} FROM unit ORDER BY row_number"
            found = run_user_sql(connection, query, f"metric {name}", metric.sql)
            if found.column("row_number").to_pylist() != list(range(len(rows))):
                raise BadInputError(
                    f"metric {name}: {metric.sql!r} must give one number per unit, not an aggregate over units"
                )
            for unit_values, value in zip(values, found.column(name).to_pylist(), strict=True):
                if value is not None and not math.isfinite(value):
                    raise BadInputError(
                        f"metric {name}: {metric.sql!r} is {value} for a unit; give null where it is undefined"
                    )
                if value is not None:
                    unit_values.append((name, value))
    return values
