"""Merge what was folded again into a month of a projection: the current files are copied, with new rows in the place of old ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.fold.columns import Ints, ints
from pipelines.fold.columns import compute as pc
from pipelines.lake.dataset import Dataset
from pipelines.lake.partition import PartitionWriter
from pipelines.lake.sizes import cut_at_large

_VERSIONS = {
    "utterances": "stream_version",
    "tool_calls": "stream_version",
    "decisions": "last_version",
    "snapshots": "stream_version",
}
"""Of tables with several rows of a stream: the column that says after how many of its events a row is final."""


def merge(writer: PartitionWriter, files: Sequence[str], streams: pa.Table, rows: pa.Table) -> None:
    """Write the rows of a partition's current files, with `rows` in the place of what streams had after some version.

    Args:
        writer: Of the partition.
        files: The files, each sorted as the dataset is, together too.
        streams: `aggregate_id` of the streams that were folded again, and `after`: of tables with several rows of a
            stream, those up to this version stay, unless they are stated again. 0 replaces all.
        rows: What was folded, sorted.
    """
    dataset = writer.dataset
    rows = dataset.cast(rows)
    # a stream's rows can be in several row groups: those of the last stream of each wait for the next
    waiting = rows.slice(0, 0)
    with one_behind() as write:
        for old in _groups(dataset, files):
            both = pa.concat_tables([waiting, old])
            kept = np.concatenate((np.arange(waiting.num_rows), waiting.num_rows + _kept(dataset, old, streams, rows)))
            last = old["aggregate_id"][-1]
            count = pc.sum(pc.less(rows["aggregate_id"], last), min_count=0).as_py()
            cut = np.searchsorted(kept, pc.index(both["aggregate_id"], last).as_py())
            write(writer.write, _sorted(writer, both, kept[:cut], rows.slice(0, count)))
            waiting, rows = _take(writer, both, kept[cut:]), rows.slice(count)
        write(writer.write, _sorted(writer, waiting, np.arange(waiting.num_rows), rows))


def _groups(dataset: Dataset, files: Sequence[str]) -> Iterator[pa.Table]:
    """The row groups of the partition's current files."""
    names = dataset.data_schema().names
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                # by one thread: every table that is merged has one
                yield dataset.cast(file.read_row_group(group, columns=names, use_threads=False))


def _kept(dataset: Dataset, old: pa.Table, streams: pa.Table, rows: pa.Table) -> Ints:
    """Which rows stay."""
    folded = pc.index_in(old["aggregate_id"], value_set=streams["aggregate_id"].combine_chunks())
    version = _VERSIONS.get(dataset.name)
    if version is None:
        return np.flatnonzero(pc.is_null(folded))
    after = streams["after"].combine_chunks().take(folded.combine_chunks())
    kept = np.flatnonzero(pc.or_kleene(pc.is_null(folded), pc.less_equal(old[version], after)))
    if pc.max(streams["after"]).as_py():
        keys = list(dataset.key)
        numbered = old.select(keys).take(kept).append_column("row", pa.array(kept))
        kept = np.sort(ints(numbered.join(rows.select(keys), keys, join_type="left anti")["row"]))
    return kept


def _sorted(writer: PartitionWriter, old: pa.Table, kept: Ints, new: pa.Table) -> pa.Table:
    """The kept rows of `old` and the `new` rows, each in order, in one order; every value is copied once."""
    sort_by = list(writer.dataset.sort_by)
    both, order = old, kept
    if new.num_rows:
        both = pa.concat_tables([old, new])
        order = np.concatenate((kept, np.arange(old.num_rows, both.num_rows)))
        if len(kept):
            keys = both.select(sort_by).take(order)
            order = order[pc.sort_indices(keys, [(name, "ascending") for name in sort_by])]
    return both if len(order) == both.num_rows and _ascends(order) else _take(writer, both, order)


def _take(writer: PartitionWriter, rows: pa.Table, order: Ints) -> pa.Table:
    """Rows in an order; those that are large are not copied, and the others without them."""
    cut = list(cut_at_large(rows, writer.large_bytes))
    large = (np.cumsum([part.num_rows for part, _ in cut]) - 1)[[is_large for _, is_large in cut]]
    if not len(large):
        return rows.take(order)
    others = pa.concat_tables([rows.slice(0, 0), *(part for part, is_large in cut if not is_large)])
    places = order - np.searchsorted(large, order)
    parts, start = [], 0
    for end in np.flatnonzero(np.isin(order, large)).tolist():
        parts += [others.take(places[start:end]), rows.slice(order[end], 1)]
        start = end + 1
    return pa.concat_tables([*parts, others.take(places[start:])])


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
