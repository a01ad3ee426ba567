"""The parts of a month's Parquet files: runs of row groups, in the order of their rows, and whether that order is sorted.

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
    "salt",
    "digest",
)
"""The columns of an event that a data file holds."""
_BATCH_BYTES = 16 * 2**20
_BATCH_ROWS = 32_768
_PART_ROWS = 122_880
"""Row groups are small, so that one stream is read cheaply; a part holds several, so that its file is opened once for them."""


@dataclass(frozen=True, slots=True)
class Part:
    """Adjacent row groups: their file (absolute path) and numbers, the first row's place in the month, and their rows."""

    file: str
    groups: tuple[int, ...]
    offset: int
    rows: int
    batch_rows: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A month's parts in order.

    Attributes:
        parts: By file and number of the row groups; files by the first event in them.
        rows: Rows of all parts, as the footers say.
        is_sorted: Whether, by the footers, no stream of a row group comes before one of the group before it.
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
            low, high = group_bounds(footer, group)
            is_sorted = is_sorted and last <= low
            last = max(last, high)
        for groups in _runs(footer):
            described = [footer.row_group(group) for group in groups]
            rows = sum(group.num_rows for group in described)
            parts.append(Part(file, groups, offset, rows, _batch_rows(described)))
            offset += rows
    return Layout(tuple(parts), offset, is_sorted, unreadable)


def read_part(part: Part) -> Iterator[pa.RecordBatch]:
    """The rows of a part, in batches that fit in memory however large its payloads are.

    Raises:
        OSError: The file cannot be read, or its bytes are damaged.
        pa.ArrowException: Likewise.
    """
    # what is read ahead stays in memory, compressed, until the file is closed
    with pq.ParquetFile(part.file, pre_buffer=False) as file:
        yield from file.iter_batches(
            part.batch_rows, row_groups=list(part.groups), columns=list(COLUMNS), use_threads=False
        )


def _reason(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _first(file: str, footer: pq.FileMetaData) -> tuple[str, int]:
    """Stream and version of a file's first event: a stream may go on from one file to the next."""
    if not footer.num_rows:
        return "", 0
    with pq.ParquetFile(file, pre_buffer=False) as opened:
        row = next(opened.iter_batches(1, columns=["aggregate_id", "stream_version"])).to_pylist()[0]
    return row["aggregate_id"] or "", row["stream_version"] or 0


def group_bounds(footer: pq.FileMetaData, group: int) -> tuple[str, str]:
    """First and last stream of a row group; ("", "￿") where the footer does not say, which reads as unsorted."""
    column = footer.row_group(group).column(footer.schema.names.index("aggregate_id"))
    statistics = column.statistics
    if statistics is None or not statistics.has_min_max:
        return "", "\uffff"
    return str(statistics.min), str(statistics.max)


def _runs(footer: pq.FileMetaData) -> Iterator[tuple[int, ...]]:
    """The numbers of a file's row groups, in runs of at most `_PART_ROWS` rows unless a group alone holds more."""
    run: list[int] = []
    rows = 0
    for group in range(footer.num_row_groups):
        more = footer.row_group(group).num_rows
        if run and rows + more > _PART_ROWS:
            yield tuple(run)
            run, rows = [], 0
        run.append(group)
        rows += more
    if run:
        yield tuple(run)


def _batch_rows(groups: Sequence[pq.RowGroupMetaData]) -> int:
    """Rows of the group with the largest rows that make about `_BATCH_BYTES`."""
    each = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=1)
    return int(min(max(_BATCH_BYTES // max(each, 1), 1), _BATCH_ROWS))
