"""Outcomes as tables: `replayed_units` and `replayed_steps`, filled batch by batch, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import REPLAY_STEPS, REPLAYS
from pipelines.replay.ledger import Outcome, Row

UNITS = "replayed_units"
STEPS = "replayed_steps"
_BATCH = 5_000
_DEFAULTS: Mapping[str, Any] = {"attempt": 1, "is_tainted": False, "is_off_policy": False}


class OutcomeTables:
    """Two temporary tables with the data columns of `replays` and `replay_steps`.

    Args:
        connection: Where they are made.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.done = 0
        self._units = _Sink(connection, REPLAYS, UNITS)
        self._steps = _Sink(connection, REPLAY_STEPS, STEPS)

    def add(self, outcome: Outcome) -> None:
        """Take the rows of one unit."""
        self._units.add(outcome.row)
        for step in outcome.steps:
            self._steps.add({**step, "side": outcome.row["side"], "draw": outcome.row["draw"]})
        self.done += 1

    def flush(self) -> None:
        """Make everything that was taken visible in the tables."""
        self._units.flush()
        self._steps.flush()


class _Sink:
    def __init__(self, connection: duckdb.DuckDBPyConnection, dataset: Dataset, name: str) -> None:
        self._connection, self._name = connection, name
        self._schema = pa.schema([dataset.arrow_schema().field(column.name) for column in dataset.data_columns])
        self._rows: list[Row] = []
        columns = ", ".join(
            f'"{column.name}" {column.type}'
            + (f" DEFAULT {_DEFAULTS[column.name]}" if column.name in _DEFAULTS else "")
            for column in dataset.data_columns
        )
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({columns})")

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            columns = _transpose(self._rows)
            given = [field for field in self._schema if field.name in columns]
            arrays = [pa.array(columns[field.name], field.type) for field in given]
            self._connection.register("batch", pa.Table.from_arrays(arrays, schema=pa.schema(given)))
            self._connection.execute(f"INSERT INTO {self._name} BY NAME SELECT * FROM batch")
            self._connection.unregister("batch")
            self._rows.clear()


def _transpose(rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
    """Values by column, of the columns that are given; rows have the same keys, or are filled up with defaults."""
    names = list(rows[0])
    if all(len(row) == len(names) for row in rows):
        try:
            return dict(zip(names, zip(*map(itemgetter(*names), rows), strict=True), strict=True))
        except KeyError:
            pass  # as many keys, but others
    names = sorted(set().union(*rows))
    return {name: [row.get(name, _DEFAULTS.get(name)) for row in rows] for name in names}
