"""Columns of numbers from Arrow to NumPy by their buffers: the usual ways import pandas where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray


def to_numpy(column: pa.ChunkedArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """A column without nulls as an array.

    Args:
        column: Numbers of a fixed width.
        dtype: The same type in NumPy's words.
    """
    assert column.null_count == 0
    chunks: list[Any] = [chunk for chunk in column.chunks if len(chunk)]
    parts = [np.frombuffer(chunk.buffers()[1], dtype)[chunk.offset : chunk.offset + len(chunk)] for chunk in chunks]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
