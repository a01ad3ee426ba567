"""Write a partition: sorted rows come in, files are made of them, and together they take the place of what was there, or none does.

Memory is bounded by the setting and not by the rows. A row group ends at the dataset's number of rows, or when what waits has
a share of the memory bound, whichever is first. Parquet keeps a row's list of texts in one page, which is there several times
while it is made: rows that take a larger share are written to files of their own, in the way that takes the least.

No file is the table's before the commit. One that was not offered to a commit is removed; one that was stays, whatever was
answered, for the commit may have landed: `vacuum` knows what the log names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.duck import quote_identifier, read_batches
from pipelines.lake.files import DataFile, NewFile, for_large_rows
from pipelines.lake.memory import give_back
from pipelines.lake.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.lake.lake import Commit

LARGE_SHARE, _LARGE_BYTES = 0.03, 2**21
"""A row that has more bytes, of the memory bound or at all, is in a file of such rows, but for one among many small ones."""
_MOST_BYTES, _WAITING_SHARE = 2**25, 0.01
"""Bytes of rows that wait until they fill a row group, at most and by the memory bound; several tables are written at once. The
state of one long stream is as large as thousands of others."""
_BATCH = 2_048
"""Rows that a query gives at a time: DuckDB's own number, for they may be wide."""


class PartitionWriter:
    """The new files of one partition, made by `Lake.replacing`; nothing is visible before `commit`.

    Args:
        table: The table.
        partition: Value of every partition column.
        number: Of the commit: one above the partition's last when the writer looked at what it builds on.
        memory_bytes: Bound on the memory of the process.
        commit: `Lake`'s: makes files the partition's and remembers what they come from.

    Attributes:
        dataset: The table's.
        large_bytes: A row that has more is in a file of such rows.
    """

    def __init__(
        self,
        table: Table,
        partition: Mapping[str, str],
        *,
        number: int,
        memory_bytes: int,
        commit: Callable[..., Commit],
    ) -> None:
        self.dataset = table.dataset
        self._table, self._partition = table, dict(partition)
        self._number = number
        self._commit = commit
        self._started = time.monotonic()
        self._most_bytes = min(_MOST_BYTES, int(memory_bytes * _WAITING_SHARE))
        self.large_bytes = int(memory_bytes * LARGE_SHARE)
        self._files: list[NewFile] = []
        self._current: NewFile | None = None
        self._is_large = False
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._waiting_bytes = 0

    def write(self, rows: pa.Table) -> None:
        """Add rows, which come sorted as the dataset says, after those that were added before."""
        from pipelines.lake.sizes import cut_at_large  # noqa: PLC0415 - it needs Arrow

        for part, is_large in cut_at_large(self.dataset.cast(rows), self.large_bytes, _LARGE_BYTES):
            (self._write_large if is_large else self._wait)(part)

    def write_query(
        self, connection: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, Any] | None = None
    ) -> None:
        """Add the rows of a query, at least the dataset's data columns, sorted and cast; a sort of more than memory holds spills.

        The dataset's order holds among them; where it should hold over all, they must come after those that were added before.
        """
        import pyarrow as pa  # noqa: PLC0415 - not for verbs that only read

        columns = ", ".join(
            f"CAST({quote_identifier(column.name)} AS {column.type}) AS {quote_identifier(column.name)}"
            for column in self.dataset.data_columns
        )
        order = ", ".join(map(quote_identifier, self.dataset.sort_by))
        for batch in read_batches(connection, f"SELECT {columns} FROM ({query}) ORDER BY {order}", params, _BATCH):
            self.write(pa.Table.from_batches([batch]))

    def new_file(self, schema: pa.Schema | None = None, **options: Any) -> NewFile:
        """One more file, which whoever asked writes; it comes after those that were asked for before.

        Args:
            schema: Of its rows; default: the dataset's.
            options: Of Parquet's writer.
        """
        path = self._table.new_path(self._partition, len(self._files))
        self._files.append(
            NewFile(self._table.path, path, schema or self.dataset.data_schema(), self.dataset.bounded, **options)
        )
        return self._files[-1]

    def commit(
        self, *, input_hash: str, provenance: Mapping[str, Any] | None = None, kept: Sequence[DataFile] = ()
    ) -> Commit:
        """Replace the partition by what was written, or add it.

        Args:
            input_hash: Hash of what the rows are a function of.
            provenance: What to remember beside the commit; JSON values.
            kept: Files of the partition that stay in it: all of them, or none.

        Raises:
            CommitLostError: Another writer committed the partition meanwhile.
        """
        self._flush(self._waiting_rows)
        files = [file.close() for file in self._files if file.rows]
        for file in self._files:
            if not file.rows:
                file.discard()
        self._files = []
        return self._commit(
            self.dataset,
            self._partition,
            files,
            number=self._number,
            input_hash=input_hash,
            provenance=provenance or {},
            started=self._started,
            kept=kept,
        )

    def discard(self) -> None:
        """Remove what was not offered to a commit."""
        for file in self._files:
            file.discard()
        self._files = []

    def _wait(self, rows: pa.Table) -> None:
        """Keep rows until they fill a row group."""
        self._waiting.append(rows)
        self._waiting_rows += rows.num_rows
        self._waiting_bytes += rows.nbytes
        if self._waiting_rows >= self.dataset.row_group_size:
            self._flush(self._waiting_rows // self.dataset.row_group_size * self.dataset.row_group_size)
        elif self._waiting_bytes >= self._most_bytes:
            self._flush(self._waiting_rows)

    def _flush(self, count: int) -> None:
        if not count:
            return
        import pyarrow as pa  # noqa: PLC0415 - not for verbs that only read

        waiting = pa.concat_tables(self._waiting)
        self._open(is_large=False).write(waiting.slice(0, count), self.dataset.row_group_size)
        # an empty slice would keep all that it is cut from
        self._waiting = [waiting.slice(count)] if count < self._waiting_rows else []
        self._waiting_rows -= count
        self._waiting_bytes = sum(each.nbytes for each in self._waiting)

    def _write_large(self, row: pa.Table) -> None:
        """Write a row to a file of large rows; those that follow one another share it."""
        self._flush(self._waiting_rows)
        self._open(is_large=True).write(row, 1)
        give_back()

    def _open(self, *, is_large: bool) -> NewFile:
        """The file that is written, if it is of that kind; else the next one."""
        if self._current is None or self._is_large != is_large:
            if self._current is not None:
                self._current.close()
            dataset = self.dataset
            options = for_large_rows(dataset.data_schema(), dataset.sort_by) if is_large else {}
            self._current, self._is_large = self.new_file(**options), is_large
        return self._current
