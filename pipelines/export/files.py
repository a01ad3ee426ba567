"""Write sorted buckets as Parquet files, in row groups that end between two streams, and note the head of every stream."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.export.arrays import integers
from pipelines.export.reading import SCHEMA
from pipelines.export.sorting import Keys
from pipelines.lake.partition import PartitionWriter

_HEAD_FIELDS: list[tuple[str, pa.DataType]] = [
    ("aggregate_id", pa.string()),
    ("aggregate_type", pa.string()),
    ("first_version", pa.int32()),
    ("last_version", pa.int32()),
    ("event_count", pa.int32()),
    ("last_hash", pa.binary()),
    ("erased_events", pa.int32()),
]
HEADS = pa.schema(_HEAD_FIELDS)
"""What a bucket holds of each of its streams; a stream larger than a bucket has a head in each."""

_FILE_SCHEMA = SCHEMA.set(0, pa.field("aggregate_id", pa.dictionary(pa.int32(), pa.string())))
_REPEATED = ["aggregate_type", "event_type", "event_version", "epoch", "digest"]
_COUNTED = dict.fromkeys(("stream_version", "created_at", "xid", "position"), "DELTA_BINARY_PACKED")
_RANDOM = ("hash", "salt")
_OWN_TEXT = dict.fromkeys(("payload", "metadata"), "PLAIN")
_OWN_BYTES = dict.fromkeys(_RANDOM, "DELTA_LENGTH_BYTE_ARRAY")  # their lengths, all the same, take nothing
_BOUNDED: Any = [field.name for field in SCHEMA if field.name not in ("payload", "metadata", *_RANDOM)]
"""Columns with bounds: those of long texts say nothing, and take six times the text while it is written."""
_COMPRESSION: Any = {field.name: "zstd" for field in SCHEMA} | dict.fromkeys(_RANDOM, "none")
_HEX = np.array([list(b"%02x" % byte) for byte in range(256)], dtype=np.uint8)
"""Two digits for every byte."""
_LARGE_BYTES = 2**22
"""A payload with more has a row group of its own. Folds take ten times its bytes while they read it, and must know of it before."""
_LEVEL = {field.name: 1 for field in SCHEMA if field.name not in _RANDOM}  # 3 takes half as long again for 5 % less


_ORDER: list[tuple[str, Literal["ascending", "descending"]]] = [
    ("aggregate_id", "ascending"),
    ("stream_version", "ascending"),
]
_OPTIONS: dict[str, Any] = {
    "compression": _COMPRESSION,
    "compression_level": _LEVEL,
    "use_dictionary": ["aggregate_id", *_REPEATED],
    "column_encoding": _COUNTED | _OWN_TEXT | _OWN_BYTES,
    "write_statistics": _BOUNDED,
    "store_schema": False,  # readers shall see text, not the dictionary that it was written from
    "sorting_columns": pq.SortingColumn.from_ordering(_FILE_SCHEMA, _ORDER),
}


class EventFile:
    """One file of events, written a bucket at a time, in order.

    Args:
        writer: Of the month; its row groups have as many rows as the dataset says at most, and a stream is in several only if
            it alone has more, or has a large payload, which has a row group of its own: so files tell where large events are.
    """

    def __init__(self, writer: PartitionWriter) -> None:
        self._file = writer.new_file(_FILE_SCHEMA, **_OPTIONS)
        self._group_rows = writer.dataset.row_group_size

    def write(self, batch: pa.RecordBatch, keys: Keys) -> pa.RecordBatch:
        """Write a sorted bucket; answers the heads of its streams, a batch of `HEADS`."""
        streams, heads = _describe(batch, keys)
        large = np.flatnonzero(_lengths(batch.column("payload")) > _LARGE_BYTES)
        for first, end in pairwise(_cuts(streams.starts, large, batch.num_rows, self._group_rows)):
            self._file.write(pa.Table.from_batches([streams.name(batch, first, end)]), end - first)
        return heads

    def close(self) -> int:
        """End it; how many rows it has."""
        return self._file.close().row_count


def id_texts(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> pa.Array[Any]:
    """Ids as PostgreSQL and DuckDB write them: 8-4-4-4-12 lower-case hexadecimal digits."""
    halves = np.empty((len(high), 2), dtype=">u8")
    halves[:, 0], halves[:, 1] = high, low
    digits = _HEX[halves.view(np.uint8).reshape(len(high), 16)].reshape(len(high), 32)
    text = np.full((len(high), 36), ord("-"), dtype=np.uint8)
    at = 0
    for start, stop in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)):
        text[:, at : at + stop - start] = digits[:, start:stop]
        at += stop - start + 1
    offsets = np.arange(0, 36 * (len(high) + 1), 36, dtype=np.int32)
    return pa.StringArray.from_buffers(len(high), pa.py_buffer(offsets.data), pa.py_buffer(text.data))


@dataclass(frozen=True, slots=True)
class _Streams:
    """The streams of a bucket: the row each begins at, its id, and the stream of every row."""

    starts: npt.NDArray[np.intp]
    ids: pa.Array[Any]
    of_rows: npt.NDArray[np.int32]

    def name(self, batch: pa.RecordBatch, first: int, end: int) -> pa.RecordBatch:
        """The rows from `first` to before `end` as a file holds them, with their own ids alone as a dictionary."""
        streams = self.of_rows[first:end]
        texts = self.ids.slice(int(streams[0]), int(streams[-1] - streams[0]) + 1)
        ids = pa.DictionaryArray.from_arrays(integers(streams - streams[0]), texts)
        return batch.slice(first, end - first).set_column(0, "aggregate_id", ids)


def _describe(batch: pa.RecordBatch, keys: Keys) -> tuple[_Streams, pa.RecordBatch]:
    """A sorted bucket's streams, and its heads."""
    starts = keys.starts_stream()
    first = np.flatnonzero(starts)
    last = np.append(first[1:], len(keys)) - 1
    texts = id_texts(keys.high[first], keys.low[first])
    at_last = integers(last)
    heads = pa.RecordBatch.from_arrays(
        [
            texts,
            batch.column("aggregate_type").take(at_last),
            integers(keys.version[first]),
            integers(keys.version[last]),
            integers((last - first + 1).astype(np.int32)),
            batch.column("hash").take(at_last),
            integers(np.add.reduceat(_lengths(batch.column("digest")) > 0, first, dtype=np.int32)),
        ],
        schema=HEADS,
    )
    return _Streams(first, texts, np.cumsum(starts, dtype=np.int32) - 1), heads


def _lengths(texts: Any) -> npt.NDArray[np.int32]:
    """Bytes of each text or value; none is null."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.diff(offsets)


def _cuts(starts: npt.NDArray[np.intp], large: npt.NDArray[np.intp], rows: int, most: int) -> list[int]:
    """Where row groups of at most `most` rows begin, and the end.

    That is before and after each of the rows `large`, and else between two streams, unless one has more rows than that.
    """
    cuts = [0]
    for end in (*large.tolist(), rows):
        while end - cuts[-1] > most:
            until = cuts[-1] + most
            start = int(starts[np.searchsorted(starts, until, side="right") - 1])
            cuts.append(start if start > cuts[-1] else until)
        cuts += [end] if end > cuts[-1] else []
        cuts += [end + 1] if end < rows else []
    return cuts
