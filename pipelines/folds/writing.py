"""Write a month of a projection batch by batch: one Parquet file, committed when all batches are in it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.folds.columns import compute as pc
from pipelines.lake.dataset import Dataset
from pipelines.lake.lake import Commit, Lake

_VERSIONS = {
    "utterances": "stream_version",
    "tool_calls": "stream_version",
    "decisions": "last_version",
    "snapshots": "stream_version",
}
"""Of tables with several rows of a stream: the column that says after how many of its events a row is final."""


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
        for path in files:
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    old = file.read_row_group(group, columns=self._schema.names).cast(self._schema)
                    last = old["aggregate_id"][-1]
                    kept = pa.concat_tables([waiting, self._kept(old, streams, rows)])
                    is_before = pc.less(kept["aggregate_id"], last)
                    count = pc.sum(pc.less(rows["aggregate_id"], last), min_count=0).as_py()
                    self._write_sorted(kept.filter(is_before), rows.slice(0, count))
                    waiting, rows = kept.filter(pc.invert(is_before)), rows.slice(count)
        self._write_sorted(waiting, rows)

    def _kept(self, old: pa.Table, streams: pa.Table, rows: pa.Table) -> pa.Table:
        """The rows that stay."""
        folded = pc.index_in(old["aggregate_id"], value_set=streams["aggregate_id"].combine_chunks())
        version = _VERSIONS.get(self._dataset.name)
        if version is None:
            return old.filter(pc.is_null(folded))
        after = streams["after"].combine_chunks().take(folded.combine_chunks())
        kept = old.filter(pc.or_kleene(pc.is_null(folded), pc.less_equal(old[version], after)))
        if pc.max(streams["after"]).as_py():
            keys = list(self._dataset.key)
            numbered = kept.select(keys).append_column("row", pa.array(range(kept.num_rows), pa.int64()))
            left = numbered.join(rows.select(keys), keys, join_type="left anti")["row"]
            kept = kept.take(left.take(pc.sort_indices(left)))
        return kept

    def _write_sorted(self, kept: pa.Table, new: pa.Table) -> None:
        both = pa.concat_tables([kept, new])
        if kept.num_rows and new.num_rows:
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
