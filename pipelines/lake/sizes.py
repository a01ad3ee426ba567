"""How large rows are, and how they are cut into ranges that memory has room for.

How large they may be is told by the files' own lists of contents, so that ordinary texts are not read for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RANGE_SHARE = 0.05
"""Of the memory bound: texts of one range. They are sorted, held while the range before is used, and become Python objects."""
SAID_BYTES = (
    "coalesce(strlen(text), 0) + coalesce(list_sum(list_transform(tool_calls, LAMBDA call: strlen(call.arguments))), 0)"
)
"""Bytes of what a row of `decisions`, `replays` or `replay_steps` says: its text and the arguments of its tool calls."""

# What starts within a range belongs to it, so that a range holds its bound and less than one item more.
_RANGES = """
SELECT min(id), max(id), sum(rows)::BIGINT
FROM (
    SELECT id, rows, (sum(weight) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - weight + $range_rows - $first_rows) // $range_rows AS range
    FROM (SELECT id, rows, greatest(rows, bytes::HUGEINT * $range_rows // $range_bytes)::HUGEINT AS weight FROM ({items}))
)
GROUP BY range
ORDER BY range
"""


@dataclass(frozen=True, slots=True)
class Range:
    """Items that are neighbours in the order of their ids: the first and the last, and how many rows they have."""

    first: str
    last: str
    rows: int


def cut_ranges(
    connection: duckdb.DuckDBPyConnection,
    items: str,
    params: Mapping[str, Any] | None = None,
    *,
    rows: int,
    size: int,
    first_rows: int | None = None,
) -> list[Range]:
    """Ranges that hold all items, in order; each has its bounds and less than one item more.

    Args:
        connection: Where `items` runs.
        items: A SELECT of what is not divided: `id`, once each; `rows`, at least 1; and `bytes`.
        params: Values bound in it.
        rows: Rows of a range.
        size: Bytes of a range.
        first_rows: Rows of the first range, or as many bytes of `size` as are in proportion; by default no fewer.
    """
    bound = {"range_rows": rows, "range_bytes": max(size, 1), "first_rows": first_rows or rows}
    found = connection.execute(_RANGES.format(items=items), {**bound, **(params or {})}).fetchall()
    return [Range(*row) for row in found]


def cut_at_large(rows: pa.Table, size: int, mean: int | None = None) -> Iterator[tuple[pa.Table, bool]]:
    """Pieces of a table, in order, and whether one is a row that has more bytes than a piece may have; the others have fewer.

    Args:
        rows: The table.
        size: Bytes of a piece.
        mean: Bytes of a row of a piece, on average; any by default.
    """
    parts = [rows] if rows.num_rows else []
    while parts:
        part = parts.pop()
        count = part.num_rows
        is_large = part.nbytes > (size if mean is None else min(size, mean * count))
        if is_large and count > 1:
            parts += [part.slice(count // 2), part.slice(0, count // 2)]
        else:
            yield part, is_large


def prepare_for_large(
    connection: duckdb.DuckDBPyConnection, files: Iterable[str], columns: Sequence[str], *, rows: int, size: int
) -> bool:
    """Whether some columns of so many rows of the files may hold more bytes than `size`, or files do not tell.

    Then the connection reads with one thread from here on: each holds several copies of the texts that it reads together.
    """
    is_large = most_bytes(files, columns, rows) > size
    if is_large:
        connection.execute("SET threads = 1")
    return is_large


def most_bytes(files: Iterable[str], columns: Sequence[str], rows: int) -> float:
    """Bytes of some columns of so many neighbouring rows, where they are the most; the rows of a row group are taken to be alike.

    Infinite where files do not tell: values are stored by number there, or a file went since it was listed.
    """
    try:
        found = [pq.read_metadata(path) for path in files]
    except OSError:
        return math.inf
    return max((_most_bytes(file, columns, rows) for file in found), default=0.0)


def most_group_bytes(files: Iterable[str], columns: Sequence[str]) -> float:
    """Bytes of some columns in the row group in which they are the most, values that are stored by number counted once."""
    try:
        found = [pq.read_metadata(path) for path in files]
    except OSError:
        return math.inf
    groups = (file.row_group(number) for file in found for number in range(file.num_row_groups))
    return max((sum(part.total_uncompressed_size for part in _parts(group, columns)) for group in groups), default=0)


def _most_bytes(file: pq.FileMetaData, columns: Sequence[str], rows: int) -> float:
    counts, sizes = [0], [0]
    for group in map(file.row_group, range(file.num_row_groups)):
        wanted = _parts(group, columns)
        if any(part.has_dictionary_page or "RLE_DICTIONARY" in part.encodings for part in wanted):
            return math.inf
        counts.append(group.num_rows)
        sizes.append(sum(part.total_uncompressed_size for part in wanted))
    # of all stretches of so many rows, one that begins or ends where a group does has the most
    until, held = np.cumsum(counts), np.cumsum(sizes)
    begins = np.concatenate((until, until - rows))
    stretches = np.interp(begins + rows, until, held) - np.interp(begins, until, held)
    return float(max(stretches.max(), held[-1] * rows / max(until[-1], 1) if until[-1] < rows else 0.0))


def _parts(group: pq.RowGroupMetaData, columns: Sequence[str]) -> list[pq.ColumnChunkMetaData]:
    parts = (group.column(number) for number in range(group.num_columns))
    return [part for part in parts if part.path_in_schema.split(".", 1)[0] in columns]
