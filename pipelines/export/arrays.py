"""Arrow columns as numpy arrays and back, by their buffers.

`pa.array` and `to_numpy` would do the same and load pandas for it, which takes 60 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Number = TypeVar("Number", bound=np.generic)


def numbers_in(column: pa.Array[Any], dtype: str, kind: type[Number], per_row: int = 1) -> npt.NDArray[Number]:
    """The fixed-size values of a column without nulls, `per_row` numbers each, converted to `kind`.

    Args:
        column: The column.
        dtype: What a number is stored as, for example `>u8`.
        kind: What it is wanted as; nothing is copied when that is the same.
        per_row: Numbers in a value.
    """
    data: Any = column.buffers()[1]
    if not len(column):
        return np.empty(0, kind)
    width = np.dtype(dtype).itemsize * per_row
    stored = np.frombuffer(data, dtype, len(column) * per_row, column.offset * width)
    return stored.astype(kind, copy=False)


def integers(numbers: npt.NDArray[np.int32] | npt.NDArray[np.int64]) -> pa.Array[Any]:
    """The numbers as an Arrow array of their width; they are not copied."""
    data: Any = np.ascontiguousarray(numbers)
    kind = pa.int32() if data.dtype == np.int32 else pa.int64()
    return pa.Array.from_buffers(kind, len(data), [None, pa.py_buffer(data)])


def concat_batches(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """All rows in one batch."""
    arrow: Any = pa  # the stubs lack it
    joined: pa.RecordBatch = arrow.concat_batches(batches)
    return joined
