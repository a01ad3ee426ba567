"""How large the rows of a dataset are, told by its files' own lists of contents, so that no text is read for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pyarrow.parquet as pq


def most_row_bytes(files: Iterable[str], columns: Sequence[str]) -> float:
    """Mean bytes of some columns of a row, in the row group in which it is the largest.

    Infinite where files do not tell: values are stored by number there, or a file went since it was listed.
    """
    try:
        found = [pq.read_metadata(path) for path in files]
    except OSError:
        return math.inf
    groups = (file.row_group(number) for file in found for number in range(file.num_row_groups))
    return max((_mean(group, columns) for group in groups), default=0.0)


def _mean(group: pq.RowGroupMetaData, columns: Sequence[str]) -> float:
    parts = (group.column(number) for number in range(group.num_columns))
    wanted = [part for part in parts if part.path_in_schema.split(".", 1)[0] in columns]
    if any(part.has_dictionary_page or "RLE_DICTIONARY" in part.encodings for part in wanted):
        return math.inf
    return sum(part.total_uncompressed_size for part in wanted) / max(group.num_rows, 1)
