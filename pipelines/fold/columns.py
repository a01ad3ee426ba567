"""Arithmetic on columns of rows that are sorted by stream: what came before, running counts, lists by owner.

Pure and without knowledge of events. Rows of one owner (a stream, a message) are adjacent; `owners` is ascending. Nothing
here compares text: texts are numbered first, by `encode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from pipelines.arrow import leave_pandas_out

leave_pandas_out()  # before the first array, which modules make when they are imported

compute: Any = pyarrow.compute
"""Arrow's functions; their stubs refuse columns in chunks, which the functions take."""

Column: TypeAlias = Any
"""An Arrow array, in one piece or in chunks."""
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Values = TypeVar("Values", npt.NDArray[np.int64], npt.NDArray[np.bool_])

_LONG = 2**30
"""Texts of more bytes get offsets of 64 bits before they are put together."""


def ints(column: Column) -> Ints:
    """A column of integers without nulls."""
    values: Ints = column.cast(pa.int64()).to_numpy()
    return values


def bools(column: Column) -> Bools:
    """A column of booleans; null is false."""
    return np.asarray(compute.fill_null(column, fill_value=False).to_numpy(zero_copy_only=False), dtype=bool)


def one_array(column: Column) -> Column:
    """A column in one piece."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def encode(*columns: Column) -> list[Ints]:
    """Number the texts of several columns alike: equal texts get equal numbers from 1, null is 0."""
    arrays = [one_array(column) for column in columns]
    told = [array for array in arrays if array.null_count < len(array)]
    if sum(array.nbytes for array in told) > _LONG:
        told = [array.cast(pa.large_string()) for array in told]
    if not told:
        return [np.zeros(len(array), np.int64) for array in arrays]
    coded = (told[0] if len(told) == 1 else pa.concat_arrays(told)).dictionary_encode().indices
    numbers = iter(np.split(_numbers(coded), np.cumsum([len(array) for array in told])[:-1]))
    return [next(numbers) if array.null_count < len(array) else np.zeros(len(array), np.int64) for array in arrays]


def _numbers(indices: Column) -> Ints:
    return ints(indices if indices.null_count == 0 else compute.fill_null(indices, -1)) + 1


def firsts(owners: Ints) -> Bools:
    """Which rows are the first of their owner."""
    is_first = np.ones(len(owners), bool)
    is_first[1:] = owners[1:] != owners[:-1]
    return is_first


def ends(starts: Ints, count: int) -> Ints:
    """The last row of each piece, from the first row of each and the number of rows."""
    return np.append(starts[1:], count)[: len(starts)] - 1


def is_said(texts: Column) -> Bools:
    """Which texts are there and not blank; blank is what Python, hence Unicode, counts as white space."""
    texts = one_array(texts)
    is_long = np.asarray(compute.fill_null(compute.greater(compute.binary_length(texts), 0), fill_value=False), bool)
    rows = np.flatnonzero(is_long)
    if not len(rows):
        return is_long
    wide = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    starts = np.frombuffer(texts.buffers()[1], wide)[texts.offset :][rows]
    begins = np.frombuffer(texts.buffers()[2], np.uint8)[starts]
    # nearly every text begins with a letter; the others are looked at whole
    others = rows[(begins <= ord(" ")) | (begins > ord("~"))]
    is_long[others] = [not text.isspace() for text in take(texts, others).to_pylist()]
    return is_long


def first_rows(owners: Ints) -> Ints:
    """For every row the number of the first row of its owner."""
    starts = np.flatnonzero(firsts(owners))
    rows: Ints = np.repeat(starts, np.diff(starts, append=len(owners)))
    return rows


def previous(values: Values, counts: Bools, first: Ints, otherwise: Values) -> Values:
    """For every row the value of the newest row before it, of the same owner, that counts; else `otherwise`.

    `first` is the owners' `first_rows`: made once, it serves every column of the same rows.
    """
    rows = np.flatnonzero(counts)
    before = np.append(-1, rows)[np.cumsum(counts) - counts]  # as many of them are before a row
    return np.where(before >= first, values[before], otherwise)


def running(values: Ints | Bools, first: Ints) -> Ints:
    """Running sum within each owner, this row included; `first` as in `previous`. Python's integers stay such."""
    total = np.cumsum(values, dtype=object if values.dtype == object else np.int64)
    sums: Ints = total - (total - values)[first] if len(total) else total
    return sums


def running_most(values: Ints, owners: Ints) -> Ints:
    """Running maximum within each owner of values between 0 and the number of rows."""
    lift = (np.cumsum(firsts(owners)) - 1) * (len(values) + 1)
    most: Ints = np.maximum.accumulate(values + lift) - lift
    return most


def offsets(owners: Ints, count: int) -> Ints:
    """Where the rows of owners 0 … count-1 begin, and where the last ends."""
    return np.searchsorted(owners, np.arange(count + 1))


def lists(owners: Ints, count: int, fields: Sequence[tuple[str, Column]]) -> Column:
    """One list of structs for each of the owners 0 … count-1: its rows, in order."""
    names = [name for name, _ in fields]
    rows = pa.StructArray.from_arrays([one_array(values) for _, values in fields], names=names)
    return pa.ListArray.from_arrays(pa.array(offsets(owners, count), pa.int32()), rows)


def nullable(values: npt.NDArray[Any], is_known: Bools, kind: pa.DataType | None = None) -> Column:
    """Values as a column that is null where they are not known."""
    return pa.array(values, type=kind, mask=~is_known)


def take(column: Column, rows: Ints | Column) -> Column:
    """The values at `rows`; null where the row is null or negative."""
    if not isinstance(rows, pa.Array):
        rows = nullable(rows, rows >= 0) if len(rows) and rows.min() < 0 else pa.array(rows)
    return one_array(one_array(column).take(rows))
