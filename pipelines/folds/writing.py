"""Write a month of a projection batch by batch: a Parquet file, committed when all batches are in it.

Parquet keeps a row's list of texts in one page, which is there several times while it is made. So a row that takes a large share of
the memory bound, the state of a very long stream, is written to a file of its own, in the way that takes the least.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.fold.columns import Ints, ints
from pipelines.fold.columns import compute as pc
from pipelines.lake.dataset import Dataset
from pipelines.lake.lake import Commit, Lake
from pipelines.lake.memory import give_back
from pipelines.lake.table import DataFile, Table

_VERSIONS = {
    "utterances": "stream_version",
    "tool_calls": "stream_version",
    "decisions": "last_version",
    "snapshots": "stream_version",
}
"""Of tables with several rows of a stream: the column that says after how many of its events a row is final."""

_MOST_BYTES, _WAITING_SHARE = 2**25, 0.01
"""Bytes of rows that wait until they fill a row group, at most and by the memory bound; every table has its own. The state of one
long stream is as large as thousands of others."""
LARGE_SHARE = 0.03
"""Of the memory bound: a row that has more bytes is written to a file of its own."""


class _File:
    """One Parquet file of rows, while it is written.

    Args:
        table: Whose.
        path: Where, relative to the table.
        schema: Of the rows.
        is_large: Whether it is for a row that is large: there are no dictionaries, which would hold its texts once more, and pages
            are made of compressed parts, of which the whole is not put together before.
    """

    def __init__(self, table: Table, path: str, schema: pa.Schema, *, is_large: bool) -> None:
        self._table = table
        self._path = path
        self._rows = 0
        self._bounds: dict[str, tuple[int, int]] = {}
        self._writer = pq.ParquetWriter(
            str(table.path / path),
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=not is_large,
            data_page_version="2.0" if is_large else "1.0",
        )

    def write(self, rows: pa.Table, row_group_size: int) -> None:
        """Add row groups; keep count, and the bounds of integer columns, by which readers leave files out."""
        self._writer.write_table(rows, row_group_size=row_group_size)
        self._rows += rows.num_rows
        for field in rows.schema:
            if field.type in (pa.int32(), pa.int64()):
                found = pc.min_max(rows[field.name]).as_py()
                if found["min"] is not None:
                    low, high = self._bounds.get(field.name, (found["min"], found["max"]))
                    self._bounds[field.name] = min(low, found["min"]), max(high, found["max"])

    def close(self) -> DataFile:
        """End it."""
        self._writer.close()
        return self._table.describe_file(self._path, self._rows, self._bounds)

    def discard(self) -> None:
        """Remove it."""
        self._writer.close()
        (self._table.path / self._path).unlink(missing_ok=True)


class MonthWriter:
    """The new file of one partition, or files where rows are large; nothing is visible before `commit`.

    Args:
        lake: Where to. The caller is in `writing`.
        dataset: The table; rows come sorted as it says.
        month: The partition.
    """

    def __init__(self, lake: Lake, dataset: Dataset, month: str) -> None:
        self._lake = lake
        self._dataset = dataset
        self._partition = {"month": month}
        self._table = lake.table(dataset.name)
        self._most_bytes = min(_MOST_BYTES, int(lake.memory_bytes * _WAITING_SHARE))
        self._number = self._table.number(self._partition) + 1
        schema = dataset.arrow_schema()
        self._schema = pa.schema([schema.field(column.name) for column in dataset.data_columns])
        self._large_bytes = int(lake.memory_bytes * LARGE_SHARE)
        self._file: _File | None = None
        self._written: list[DataFile] = []
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._seconds = 0.0
        self._is_handed_over = False

    def write(self, rows: pa.Table) -> None:
        """Add rows; they come after those of the batch before."""
        started = time.monotonic()
        if rows.num_rows:
            rows = rows.cast(self._schema)
            if rows.nbytes > self._large_bytes * rows.num_rows:
                self._write_large(rows)
            else:
                self._wait(rows)
        self._seconds += time.monotonic() - started

    def _wait(self, rows: pa.Table) -> None:
        """Keep rows until they fill a row group."""
        self._waiting.append(rows)
        self._waiting_rows += rows.num_rows
        if self._waiting_rows >= self._dataset.row_group_size:
            self._flush(self._waiting_rows // self._dataset.row_group_size * self._dataset.row_group_size)
        elif sum(each.nbytes for each in self._waiting) >= self._most_bytes:
            self._flush(self._waiting_rows)

    def merge(self, files: Sequence[str], streams: pa.Table, rows: pa.Table) -> None:
        """Copy the partition's current files, with `rows` in the place of what streams had after some version.

        Args:
            files: The files, each sorted as the dataset is, together too.
            streams: `aggregate_id` of the streams that were folded again, and `after`: of tables with several rows of a
                stream, those up to this version stay, unless they are stated again. 0 replaces all.
            rows: What was folded, sorted.
        """
        rows = rows.cast(self._schema)
        # a stream's rows can be in several row groups: those of the last stream of each wait for the next
        waiting = rows.slice(0, 0)
        with one_behind() as write:
            for old in self._groups(files):
                both = pa.concat_tables([waiting, old])
                kept = np.concatenate((np.arange(waiting.num_rows), waiting.num_rows + self._kept(old, streams, rows)))
                last = old["aggregate_id"][-1]
                count = pc.sum(pc.less(rows["aggregate_id"], last), min_count=0).as_py()
                cut = np.searchsorted(kept, pc.index(both["aggregate_id"], last).as_py())
                write(self.write, self._sorted(both, kept[:cut], rows.slice(0, count)))
                waiting, rows = both.take(kept[cut:]), rows.slice(count)
            write(self.write, self._sorted(waiting, np.arange(waiting.num_rows), rows))

    def _groups(self, files: Sequence[str]) -> Iterator[pa.Table]:
        """The row groups of the partition's current files."""
        for path in files:
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    # by one thread: every table that is merged has one
                    yield file.read_row_group(group, columns=self._schema.names, use_threads=False).cast(self._schema)

    def _kept(self, old: pa.Table, streams: pa.Table, rows: pa.Table) -> Ints:
        """Which rows stay."""
        folded = pc.index_in(old["aggregate_id"], value_set=streams["aggregate_id"].combine_chunks())
        version = _VERSIONS.get(self._dataset.name)
        if version is None:
            return np.flatnonzero(pc.is_null(folded))
        after = streams["after"].combine_chunks().take(folded.combine_chunks())
        kept = np.flatnonzero(pc.or_kleene(pc.is_null(folded), pc.less_equal(old[version], after)))
        if pc.max(streams["after"]).as_py():
            keys = list(self._dataset.key)
            numbered = old.select(keys).take(kept).append_column("row", pa.array(kept))
            kept = np.sort(ints(numbered.join(rows.select(keys), keys, join_type="left anti")["row"]))
        return kept

    def _sorted(self, old: pa.Table, kept: Ints, new: pa.Table) -> pa.Table:
        """The kept rows of `old` and the `new` rows, each in order, in one order; every value is copied once."""
        both, order = old, kept
        if new.num_rows:
            both = pa.concat_tables([old, new])
            order = np.concatenate((kept, np.arange(old.num_rows, both.num_rows)))
            if len(kept):
                keys = both.select(list(self._dataset.sort_by)).take(order)
                order = order[pc.sort_indices(keys, [(name, "ascending") for name in self._dataset.sort_by])]
        return both if len(order) == both.num_rows and _ascends(order) else both.take(order)

    def commit(self, *, input_hash: str, provenance: Mapping[str, Any]) -> Commit:
        """Replace the month by what was written."""
        started = time.monotonic()
        self._flush(self._waiting_rows)
        self._end_file()
        # From here on the file may be the table's, also when an error comes after the commit: it is not ours to remove.
        self._is_handed_over = True
        return self._lake.commit_files(
            self._dataset,
            self._partition,
            self._written,
            number=self._number,
            input_hash=input_hash,
            provenance=provenance,
            seconds=self._seconds + time.monotonic() - started,
        )

    def discard(self) -> None:
        """Remove what was written, unless it was handed over to be committed."""
        if self._is_handed_over:
            return
        if self._file is not None:
            self._file.discard()
        for written in self._written:
            (self._table.path / written.path).unlink(missing_ok=True)

    def _write_large(self, rows: pa.Table) -> None:
        """Write rows, each of them large, to a file of their own."""
        self._flush(self._waiting_rows)
        self._end_file()
        self._open_file(is_large=True).write(rows, 1)
        self._end_file()
        give_back()

    def _open_file(self, *, is_large: bool = False) -> _File:
        """The file that is written, or a new one."""
        if self._file is None:
            path = self._table.new_path(self._partition, len(self._written))
            self._file = _File(self._table, path, self._schema, is_large=is_large)
        return self._file

    def _end_file(self) -> None:
        if self._file is not None:
            self._written.append(self._file.close())
            self._file = None

    def _flush(self, count: int) -> None:
        if not count:
            return
        waiting = pa.concat_tables(self._waiting)
        self._open_file().write(waiting.slice(0, count), self._dataset.row_group_size)
        # an empty slice would keep all that it is cut from
        self._waiting = [waiting.slice(count)] if count < self._waiting_rows else []
        self._waiting_rows -= count


@contextmanager
def one_behind() -> Iterator[Callable[..., None]]:
    """Make calls on a thread of its own, in order, while the caller goes on; one waits at most, so that memory stays bounded."""
    with ThreadPoolExecutor(1) as pool:
        last: Future[None] | None = None

        def call(function: Callable[..., None], *arguments: Any) -> None:
            nonlocal last
            if last is not None:
                last.result()
            last = pool.submit(function, *arguments)

        yield call
        if last is not None:
            last.result()


def _ascends(order: Ints) -> bool:
    return bool(np.all(order[1:] > order[:-1]))
