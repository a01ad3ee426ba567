"""Outcomes as tables: `replayed_units` and `replayed_steps`, filled batch by batch, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from operator import itemgetter
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import REPLAY_STEPS, REPLAYS
from pipelines.replay.ledger import Outcome, Row

UNITS = "replayed_units"
STEPS = "replayed_steps"
_BATCH = 5_000
_BATCH_CHARACTERS = 8_000_000
"""Of texts and arguments: rows of more than usual are fewer in a batch."""
_DEFAULTS: Mapping[str, Any] = {"attempt": 1, "is_tainted": False, "is_off_policy": False}


class OutcomeTables:
    """Two temporary tables with the data columns of `replays` and `replay_steps`, as a context manager.

    A batch is inserted by a thread of its own while the next one is made.

    Args:
        connection: Where they are made; between the first row and `flush` nothing is asked of it but cursors.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.done = 0
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="replay-rows")
        self._units = _Sink(connection, REPLAYS, UNITS, self._writer)
        self._steps = _Sink(connection, REPLAY_STEPS, STEPS, self._writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown()

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
    def __init__(
        self, connection: duckdb.DuckDBPyConnection, dataset: Dataset, name: str, writer: ThreadPoolExecutor
    ) -> None:
        self._connection, self._name, self._writer = connection, name, writer
        self._written: Future[None] | None = None
        self._schema = dataset.data_schema()
        self._rows: list[Row] = []
        self._characters = 0
        columns = ", ".join(
            f'"{column.name}" {column.type}'
            + (f" DEFAULT {_DEFAULTS[column.name]}" if column.name in _DEFAULTS else "")
            for column in dataset.data_columns
        )
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({columns})")

    def add(self, row: Row) -> None:
        self._rows.append(row)
        self._characters += len(row.get("text") or "")
        for call in row.get("tool_calls") or ():
            self._characters += len(call["arguments"])
        if len(self._rows) >= _BATCH or self._characters >= _BATCH_CHARACTERS:
            self._write()

    def flush(self) -> None:
        self._write()
        self._wait()

    def _write(self) -> None:
        """Have the rows inserted; the batch before is waited for, so that two are in memory at most."""
        if self._rows:
            columns = _transpose(self._rows)
            given = [field for field in self._schema if field.name in columns]
            arrays = [pa.array(columns[field.name], field.type) for field in given]
            self._rows.clear()
            self._characters = 0
            self._wait()
            self._written = self._writer.submit(self._insert, pa.Table.from_arrays(arrays, schema=pa.schema(given)))

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()
            self._written = None

    def _insert(self, batch: pa.Table) -> None:
        self._connection.register("batch", batch)
        self._connection.execute(f"INSERT INTO {self._name} BY NAME SELECT * FROM batch")
        self._connection.unregister("batch")


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
