"""Write a month of a projection batch by batch: one Parquet file, committed when all batches are in it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.folds.columns import Column
from pipelines.folds.columns import compute as pc
from pipelines.lake.dataset import Dataset
from pipelines.lake.lake import Commit, Lake


class MonthWriter:
    """The new file of one partition; nothing is visible before `commit`.

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
        self._number = self._table.number(self._partition) + 1
        schema = dataset.arrow_schema()
        self._schema = pa.schema([schema.field(column.name) for column in dataset.data_columns])
        self._path = self._table.new_path(self._partition)
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._rows = 0
        self._bounds: dict[str, tuple[int, int]] = {}
        self._seconds = 0.0
        self._is_handed_over = False

    def write(self, rows: pa.Table) -> None:
        """Add rows; they come after those of the batch before."""
        started = time.monotonic()
        if rows.num_rows:
            rows = rows.cast(self._schema)
            self._note(rows)
            self._waiting.append(rows)
            self._waiting_rows += rows.num_rows
            if self._waiting_rows >= self._dataset.row_group_size:
                self._flush(self._waiting_rows // self._dataset.row_group_size * self._dataset.row_group_size)
        self._seconds += time.monotonic() - started

    def merge(self, files: Sequence[str], streams: Column, rows: pa.Table) -> None:
        """Copy the partition's current files, with `rows` in the place of all rows of the given streams.

        Args:
            files: The files, each sorted as the dataset is, together too.
            streams: Ids of the streams that are replaced.
            rows: Their new rows, sorted.
        """
        rows = rows.cast(self._schema)
        for path in files:
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    old = file.read_row_group(group, columns=self._schema.names)
                    until = old["aggregate_id"][-1].as_py()
                    count = pc.sum(pc.less_equal(rows["aggregate_id"], until), min_count=0).as_py()
                    kept = old.filter(pc.invert(pc.is_in(old["aggregate_id"], value_set=streams)))
                    self._write_sorted(kept, rows.slice(0, count))
                    rows = rows.slice(count)
        self.write(rows)

    def _write_sorted(self, kept: pa.Table, new: pa.Table) -> None:
        both = pa.concat_tables([kept.cast(self._schema), new])
        if new.num_rows:
            both = both.take(pc.sort_indices(both, [(name, "ascending") for name in self._dataset.sort_by]))
        self.write(both)

    def commit(self, *, input_hash: str, provenance: Mapping[str, Any]) -> Commit:
        """Replace the month by what was written."""
        started = time.monotonic()
        self._flush(self._waiting_rows)
        files = []
        if self._writer is not None:
            self._writer.close()
            files = [self._table.describe_file(self._path, self._rows, self._bounds)]
        # From here on the file may be the table's, also when an error comes after the commit: it is not ours to remove.
        self._is_handed_over = True
        return self._lake.commit_files(
            self._dataset,
            self._partition,
            files,
            number=self._number,
            input_hash=input_hash,
            provenance=provenance,
            seconds=self._seconds + time.monotonic() - started,
        )

    def discard(self) -> None:
        """Remove what was written, unless it was handed over to be committed."""
        if self._is_handed_over:
            return
        if self._writer is not None:
            self._writer.close()
        (self._table.path / self._path).unlink(missing_ok=True)

    def _note(self, rows: pa.Table) -> None:
        """Keep count, and the bounds of integer columns, by which readers leave files out."""
        self._rows += rows.num_rows
        for column in self._dataset.data_columns:
            if column.type in ("INTEGER", "BIGINT"):
                found = pc.min_max(rows[column.name]).as_py()
                if found["min"] is not None:
                    low, high = self._bounds.get(column.name, (found["min"], found["max"]))
                    self._bounds[column.name] = min(low, found["min"]), max(high, found["max"])

    def _flush(self, count: int) -> None:
        if not count:
            return
        if self._writer is None:
            path = str(self._table.path / self._path)
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", compression_level=1)
        waiting = pa.concat_tables(self._waiting)
        self._writer.write_table(waiting.slice(0, count), row_group_size=self._dataset.row_group_size)
        self._waiting = [waiting.slice(count)]
        self._waiting_rows -= count
