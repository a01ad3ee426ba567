"""How much of a month is read and held at a time, within the memory bound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow.parquet as pq

from pipelines.folds.current import RESUMED_FROM
from pipelines.folds.plan import RangeSize
from pipelines.folds.reading import AHEAD
from pipelines.lake.lake import Lake
from pipelines.lake.memory import free_bytes
from pipelines.lake.sizes import most_bytes, most_group_bytes
from pipelines.settings import parse_size

_OF_STATES = frozenset(RESUMED_FROM)
_BATCH_SHARE, _FLAT_BATCH_SHARE = 0.05, 0.035
"""A batch's events, as columns in the file, by the memory; less when flat tables are made of them, which hold them again."""
_MOST_EVENTS = 400_000
"""More gain nothing."""

_VECTOR_EVENTS = 2_048
_VECTOR_SHARE = 0.05
"""Of the memory bound: payloads that DuckDB's threads read at a time, of which each holds several copies."""

_ALONE_SHARE = 0.85
"""Of the memory that is left: what DuckDB may take before there are batches."""


def limit_readers(lake: Lake, connection: duckdb.DuckDBPyConnection) -> int:
    """How many ranges are read at a time: one, by one thread, where events are so large that there is no room for more."""
    if not _are_large(lake):
        return AHEAD
    connection.execute("SET threads = 1")
    return 1


def _are_large(lake: Lake) -> bool:
    """Whether what DuckDB reads of payloads at a time may be too much for it to be read beside something else."""
    files = lake.files("events")
    vector = most_bytes(files, ("payload",), _VECTOR_EVENTS)
    if not math.isfinite(vector):
        vector = most_group_bytes(files, ("payload",))
    return vector * AHEAD > lake.memory_bytes * _VECTOR_SHARE


@contextmanager
def alone(lake: Lake, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let DuckDB have most of what is left of the memory bound, while nothing else is held."""
    (usual,) = connection.execute("SELECT current_setting('memory_limit')").fetchall()[0]
    more = int(free_bytes(lake.memory_bytes) * _ALONE_SHARE)
    if more > parse_size("memory_limit", usual):
        connection.execute(f"SET memory_limit = '{more}B'")
    try:
        yield
    finally:
        connection.execute(f"SET memory_limit = '{usual}'")


def plan_batches(lake: Lake, month: str, names: list[str]) -> tuple[RangeSize, list[str]]:
    """How much of the month fits into a batch, and where the row groups of its largest file begin."""
    files = [pq.read_metadata(path) for path in lake.files("events", {"month": month})]
    groups = [[file.row_group(number) for number in range(file.num_row_groups)] for file in files]
    rows = sum(file.num_rows for file in files)
    event_bytes = max(sum(group.total_byte_size for file in groups for group in file) / max(rows, 1), 1.0)
    most_bytes = int(lake.memory_bytes * (_BATCH_SHARE if set(names) <= _OF_STATES else _FLAT_BATCH_SHARE))
    events = min(max(int(most_bytes / event_bytes), 1), _MOST_EVENTS)
    largest = max(groups, key=lambda file: sum(group.num_rows for group in file), default=[])
    firsts = [_first_id(group) for group in largest]
    size = RangeSize(events, most_bytes if _are_large(lake) else 0)
    return size, [first for first in firsts if first is not None]


def _first_id(group: pq.RowGroupMetaData) -> str | None:
    columns = (group.column(number) for number in range(group.num_columns))
    found = next(column.statistics for column in columns if column.path_in_schema == "aggregate_id")
    return str(found.min) if found is not None and found.has_min_max else None
