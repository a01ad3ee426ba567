"""The parts of a month's Parquet files: its row groups, in the order of their rows, and whether that order is sorted.

Only footers and first rows are read here. A file whose footer cannot be read is named, and the others are laid out without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = (
    "aggregate_id",
    "aggregate_type",
    "stream_version",
    "event_type",
    "event_version",
    "payload",
    "metadata",
    "created_at",
    "epoch",
    "xid",
    "position",
    "hash",
)
"""The columns of an event that a data file holds."""
_BATCH_BYTES = 16 * 2**20
_BATCH_ROWS = 32_768


@dataclass(frozen=True, slots=True)
class Part:
    """One row group: its file (absolute path), its number in it, its first row's place in the month, and its rows."""

    file: str
    group: int
    offset: int
    rows: int
    batch_rows: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A month's parts in order.

    Attributes:
        parts: Row groups, by file and number; files by the first event in them.
        rows: Rows of all parts, as the footers say.
        is_sorted: Whether, by the footers, no stream of a part comes before one of the part before it.
        unreadable: Files whose footer cannot be read, with the reason.
    """

    parts: tuple[Part, ...]
    rows: int
    is_sorted: bool
    unreadable: dict[str, str]


def lay_out(files: Sequence[str]) -> Layout:
    """Order the row groups of a month's files: by what they begin with, since names say nothing."""
    footers: list[tuple[tuple[str, int], str, pq.FileMetaData]] = []
    unreadable = {}
    for file in files:
        try:
            footer = pq.read_metadata(file)
            missing = set(COLUMNS) - set(footer.schema.names)
            if missing:
                unreadable[file] = f"it has no column {', '.join(sorted(missing))}"
                continue
            footers.append((_first(file, footer) if len(files) > 1 else ("", 0), file, footer))
        except (OSError, pa.ArrowException) as error:
            unreadable[file] = _reason(error)
    parts, offset, last, is_sorted = [], 0, "", True
    for _, file, footer in sorted(footers, key=lambda item: item[:2]):
        for group in range(footer.num_row_groups):
            low, high = _bounds(footer, group)
            is_sorted = is_sorted and last <= low
            last = max(last, high)
            described = footer.row_group(group)
            parts.append(Part(file, group, offset, described.num_rows, _batch_rows(described)))
            offset += described.num_rows
    return Layout(tuple(parts), offset, is_sorted, unreadable)


def read_part(part: Part) -> Iterator[pa.RecordBatch]:
    """The rows of a part, in batches that fit in memory however large its payloads are.

    Raises:
        OSError: The file cannot be read, or its bytes are damaged.
        pa.ArrowException: Likewise.
    """
    with pq.ParquetFile(part.file) as file:
        yield from file.iter_batches(part.batch_rows, row_groups=[part.group], columns=list(COLUMNS), use_threads=False)


def _reason(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _first(file: str, footer: pq.FileMetaData) -> tuple[str, int]:
    """Stream and version of a file's first event: a stream may go on from one file to the next."""
    if not footer.num_rows:
        return "", 0
    with pq.ParquetFile(file) as opened:
        row = next(opened.iter_batches(1, columns=["aggregate_id", "stream_version"])).to_pylist()[0]
    return row["aggregate_id"] or "", row["stream_version"] or 0


def _bounds(footer: pq.FileMetaData, group: int) -> tuple[str, str]:
    """First and last stream of a row group; ("", "￿") where the footer does not say, which reads as unsorted."""
    column = footer.row_group(group).column(footer.schema.names.index("aggregate_id"))
    statistics = column.statistics
    if statistics is None or not statistics.has_min_max:
        return "", "\uffff"
    return str(statistics.min), str(statistics.max)


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """Rows of this group that make about `_BATCH_BYTES`."""
    each = max(group.total_byte_size // max(group.num_rows, 1), 1)
    return int(min(max(_BATCH_BYTES // each, 1), _BATCH_ROWS))
