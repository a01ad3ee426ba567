"""Read one stream's rows out of files that are sorted by stream, and nothing else of them.

Row groups are found by their bounds, and the stream's stretch in them by its id's number in the group's dictionary. Times
are read as microseconds since 1970. Nothing here makes a `pa.scalar`, a time of Arrow's or a NumPy array of Arrow's: any of
these imports pandas where it is installed, which takes a hundred times as long as the reading.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Column: TypeAlias = Any  # Arrow's stubs know neither a chunk's dictionary nor that a column without nulls has a buffer


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stream's rows in one row group.

    Attributes:
        stream: Its id.
        month: YYYY-MM, the file's.
        file: Open.
        group: The row group.
        first: The stream's first row in it.
        count: How many rows it has there.
    """

    stream: str
    month: str
    file: pq.ParquetFile
    group: int
    first: int
    count: int

    def bytes(self, column: str, least: int) -> int:
        """Bytes of a column of the rows; if the row group has less than `least`, as if all its rows were alike."""
        group = self.file.metadata.row_group(self.group)
        size = group.column(self.file.schema_arrow.names.index(column)).total_uncompressed_size
        is_told = size < least or self.count == group.num_rows
        return size * self.count // group.num_rows if is_told else self.read([column]).nbytes

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows, in order; cutting out the stretch copies nothing."""
        return plain(self.file.read_row_group(self.group, columns=list(columns)).slice(self.first, self.count))


def find_stretches(files: Iterable[str], streams: Sequence[str], opened: ExitStack) -> list[Stretch]:
    """Where the rows of some streams are; the files stay open as long as `opened`."""
    found = []
    for path in files:
        month = Path(path).parent.name.removeprefix("month=")
        file = opened.enter_context(pq.ParquetFile(path, memory_map=True, read_dictionary=["aggregate_id"]))
        for stream in streams:
            for group in _groups(file, stream):
                place = _place(file.read_row_group(group, columns=["aggregate_id"])["aggregate_id"], stream)
                if place is not None:
                    found.append(Stretch(stream, month, file, group, *place))
    return found


def plain(rows: pa.Table) -> pa.Table:
    """The rows with times, also those within lists, as numbers."""
    schema = pa.schema([field.with_type(_plain(field.type)) for field in rows.schema])
    return rows if schema == rows.schema else rows.cast(schema)


def numbers(column: Column) -> npt.NDArray[np.int64]:
    """Integers without nulls, of a column in one piece."""
    whole = column.cast(pa.int64())
    found: npt.NDArray[np.int64] = np.frombuffer(whole.buffers()[1], np.int64)
    return found[whole.offset : whole.offset + len(whole)]


def as_time(microseconds: int | None) -> datetime | None:
    """A time as it was read."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def as_number(time: datetime) -> int:
    """A time as it is read."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def _groups(file: pq.ParquetFile, stream: str) -> range:
    """The row groups that can hold a stream: those whose bounds, which ascend, are around it."""
    place = file.schema_arrow.names.index("aggregate_id")
    every = range(file.num_row_groups)

    def bounds(group: int) -> Any:
        return file.metadata.row_group(group).column(place).statistics

    if any(stats is None or not stats.has_min_max for stats in map(bounds, every[:1])):
        return every
    first = bisect_left(every, stream, key=lambda group: bounds(group).max)
    return range(first, bisect_right(every, stream, lo=first, key=lambda group: bounds(group).min))


def _place(ids: Column, stream: str) -> tuple[int, int] | None:
    """Where the rows of a stream begin and how many there are; None for none. Numbers are compared, not ids."""
    rows, before = [], 0
    for chunk in ids.chunks:
        names = chunk.dictionary.to_pylist()
        if stream in names:
            rows += [before + np.flatnonzero(numbers(chunk.indices) == names.index(stream))]
        before += len(chunk)
    found = np.concatenate(rows) if rows else np.empty(0, np.int64)
    return (int(found[0]), len(found)) if len(found) else None


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type with times, also those within lists, as numbers."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct(
            [field.with_type(_plain(field.type)) for field in (kind.field(n) for n in range(kind.num_fields))]
        )
    return kind
