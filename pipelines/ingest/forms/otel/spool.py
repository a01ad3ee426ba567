"""Records of OTLP files in the order of their conversations, however large the files: a spool on disk and an index in DuckDB.

A record is parsed once, written to the spool in Python's own binary form, and read again when its conversation's turn has come.
What needs the whole of the files, which conversation a record belongs to and where it stands there, is a query over the index
(`sql/forms/otlp.sql`).
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

import duckdb
import msgspec
import pyarrow as pa

from pipelines.arrow import leave_pandas_out
from pipelines.duck import quote_literal
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.forms.otel.values import plain_log, plain_span
from pipelines.sqlfiles import read_sql

leave_pandas_out()  # before the first array
RECORDS = "records"
"""Name of the spool's file in its folder."""
_decode = msgspec.json.Decoder().decode
_MARSHAL = 2
"""The version that looks for no shared objects: half the time."""
_INDEXED_TOGETHER = 20_000
_DUCKDB_SHARE = 0.25
_LEAST_DUCKDB_BYTES = 64_000_000
_BUFFER = 1 << 20
_SIZE = Struct(">Q")
_SURROUNDINGS_HELD = 256
_TYPES: dict[str, pa.DataType] = {
    "is_log": pa.bool_(),
    "trace": pa.string(),
    "span": pa.string(),
    "parent": pa.string(),
    "start_ns": pa.int64(),
    "end_ns": pa.int64(),
    "session": pa.string(),
    "session_rank": pa.int32(),
    "position": pa.int64(),
    "length": pa.int64(),
    "is_raw": pa.bool_(),
    "around": pa.int32(),
    "file": pa.int32(),
    "line": pa.int64(),
    "ordinal": pa.int64(),
}
_COLUMNS = pa.schema(_TYPES)


class Entry(NamedTuple):
    """A record's entry in the index.

    Attributes:
        is_log: Whether it is a log record.
        trace, span, parent: Ids in hex; empty where there is none.
        start_ns, end_ns: Of a log record, its time twice.
        session: What names its conversation, where it says so.
        session_rank: Which attribute said it; a lower one counts more.
    """

    is_log: bool
    trace: str
    span: str
    parent: str
    start_ns: int | None
    end_ns: int | None
    session: str | None
    session_rank: int


class Placed(NamedTuple):
    """A record where it stands, as the query has it."""

    conversation_key: str
    has_session: bool
    is_ambiguous: bool
    order_ns: int
    trace: str
    span: str
    parent: str
    is_log: bool
    end_ns: int | None
    position: int
    length: int
    is_raw: bool
    around: int
    file: int
    line: int
    ordinal: int


@dataclass(slots=True)
class Read:
    """A record as it was read again.

    Attributes:
        value: The record, or the list of log records.
        around: What its blocks say of it, outer first: places in the spool, by which each is read with `surroundings`.
    """

    value: Any
    around: tuple[int, ...]

    def written(self) -> bytes:
        """The record in bytes that two copies of it share, however they were encoded in their files."""
        return marshal.dumps(self.value, _MARSHAL)


class Records:
    """Reads the records of a spool.

    Args:
        path: Its file.
        arounds: For the number that an entry has as its `around`, the places of its surroundings, outer first.
    """

    def __init__(self, path: Path, arounds: Sequence[tuple[int, ...]] | Mapping[int, tuple[int, ...]]) -> None:
        self.path = path
        self.arounds = arounds
        self._file = os.open(path, os.O_RDONLY)
        self._held: dict[int, tuple[dict[str, Any], int]] = {}

    def read(self, placed: Placed) -> Read:
        """The record of an entry.

        Raises:
            NotOtlpError, ValueError, TypeError, KeyError, AttributeError, RecursionError: It was kept as it is written, and is not
                what OTLP has there.
        """
        raw = os.pread(self._file, placed.length, placed.position)
        around = self.arounds[placed.around]
        if not placed.is_raw:
            return Read(marshal.loads(raw), around)  # noqa: S302 -- written below, in a private folder
        value = _decode(raw)
        if placed.is_log:
            return Read([plain_log(each) for each in value], around)
        return Read(plain_span(value, (placed.trace, placed.span, placed.parent)), around)

    def surroundings(self, place: int) -> tuple[dict[str, Any], int]:
        """What a block said, and its leaves; the same object while it is held, so not to be changed."""
        held = self._held
        if place not in held:
            if len(held) >= _SURROUNDINGS_HELD:
                held.pop(next(iter(held)))
            (size,) = _SIZE.unpack(os.pread(self._file, _SIZE.size, place))
            said = marshal.loads(os.pread(self._file, size, place + _SIZE.size))  # noqa: S302 -- as above
            held[place] = said, leaves(said)
        return held[place]

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


class Spool:
    """Records on disk, written once in any order and read in the order of their conversations.

    Args:
        folder: A private folder, empty; whoever made it removes it.
        memory_bytes: Memory that the index may take.
    """

    def __init__(self, folder: Path, memory_bytes: int) -> None:
        self._path = folder / RECORDS
        self._writing = self._path.open("xb", buffering=_BUFFER)
        self._size = 0
        self._known: dict[bytes, int] = {}
        self._around: dict[tuple[int, ...], int] = {}
        self._pending: list[tuple[Any, ...]] = []
        self._connection = duckdb.connect()
        for setting in (
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "enable_progress_bar = false",
            f"memory_limit = '{max(int(memory_bytes * _DUCKDB_SHARE), _LEAST_DUCKDB_BYTES)}B'",
            f"temp_directory = {quote_literal(str(folder / 'index'))}",
        ):
            self._connection.execute(f"SET {setting}")
        nothing = _COLUMNS.empty_table()
        self._connection.register("nothing", nothing)
        self._connection.execute("CREATE TABLE records AS FROM nothing")
        self._connection.unregister("nothing")

    def surround(self, value: dict[str, Any]) -> int:
        """Keep what a block says of its records; the same is kept once. Gives its place."""
        raw = marshal.dumps(value, _MARSHAL)
        key = sha256(raw).digest()
        if key not in self._known:
            self._known[key] = self._write(_SIZE.pack(len(raw)) + raw)
        return self._known[key]

    def add(self, entry: Entry, value: Any, around: tuple[int, ...], place: tuple[int, int, int]) -> None:
        """Keep a record.

        Args:
            entry: What the index says of it.
            value: The record, or a list of log records: what `marshal` writes.
            around: Places of its surroundings, outer first.
            place: Number of the file, of the line, and of the record in the line.
        """
        self._keep(entry, marshal.dumps(value, _MARSHAL), around, place, is_raw=False)

    def add_raw(
        self, entry: Entry, raw: bytes | msgspec.Raw, around: tuple[int, ...], place: tuple[int, int, int]
    ) -> None:
        """As `add`, of a record that nobody parsed; `raw` is its JSON."""
        self._keep(entry, raw, around, place, is_raw=True)

    def _keep(
        self,
        entry: Entry,
        raw: bytes | msgspec.Raw,
        around: tuple[int, ...],
        place: tuple[int, int, int],
        *,
        is_raw: bool,
    ) -> None:
        number = self._around.get(around)
        if number is None:
            number = self._around[around] = len(self._around)
        position = self._write(raw)
        self._pending.append((*entry, position, self._size - position, is_raw, number, *place))
        if len(self._pending) == _INDEXED_TOGETHER:
            self._flush()

    def _write(self, raw: bytes | msgspec.Raw) -> int:
        place = self._size
        length = self._writing.write(raw)
        self._size += length
        return place

    def _flush(self) -> None:
        columns = [
            pa.array(each, kind) for each, kind in zip(zip(*self._pending, strict=True), _COLUMNS.types, strict=True)
        ]
        batch = pa.Table.from_arrays(columns, schema=_COLUMNS)
        self._connection.register("batch", batch)
        self._connection.execute("INSERT INTO records FROM batch")
        self._connection.unregister("batch")
        self._pending.clear()

    def conversations(self) -> Iterator[Iterator[Placed]]:
        """The records of each conversation in their order; nothing can be added any more."""
        if self._pending:
            self._flush()
        self._writing.close()
        rows = self._rows()
        for _, records in groupby(rows, key=lambda row: (row.conversation_key, row.has_session)):
            yield records

    def _rows(self) -> Iterator[Placed]:
        result = self._connection.sql(read_sql("forms/otlp.sql"))
        for batch in result.to_arrow_reader(_INDEXED_TOGETHER):
            yield from map(Placed._make, zip(*(column.to_pylist() for column in batch.columns), strict=True))

    def records(self) -> Records:
        """What reads the records, once `conversations` has begun."""
        return Records(self._path, [*self._around])

    def close(self) -> None:
        """Let go of files and memory."""
        self._writing.close()
        self._connection.close()


def in_order(tied: Sequence[Placed], size: Callable[[Placed], int]) -> Iterable[Placed]:
    """Records that began at the same instant, a parent before its child, then by end, size and id; copies and logs stay together.

    Args:
        tied: The records.
        size: How much a record says; asked only of those that nothing else puts in an order.
    """
    if len(tied) == 1:
        return tied
    spans: dict[tuple[str, str], list[Placed]] = {}
    for number, row in enumerate(tied):
        spans.setdefault((row.trace, row.span or f"#{number}"), []).append(row)
    if len(spans) == 1:
        return tied
    parents = {key: (key[0], rows[0].parent) for key, rows in spans.items()}
    depths: dict[tuple[str, str], int] = {}
    for key in spans:
        chain: list[tuple[str, str]] = []
        walked: set[tuple[str, str]] = set()
        at = key
        while at in parents and at not in depths and at not in walked:
            walked.add(at)
            chain.append(at)
            at = parents[at]
        depth = depths.get(at, -1)
        for each in reversed(chain):
            depth += 1
            depths[each] = depth
    places: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for key, rows in spans.items():
        places.setdefault((depths[key], rows[0].end_ns or 0), []).append(key)
    ordered: list[Placed] = []
    for _, keys in sorted(places.items()):
        if len(keys) > 1:
            keys.sort(key=lambda key: (_least(spans[key], size), key))
        ordered += [row for key in keys for row in spans[key]]
    return ordered


def _least(rows: Sequence[Placed], size: Callable[[Placed], int]) -> int:
    """The size of a span: of its copies that ended last, the smallest one's."""
    first = rows[0]
    return min(size(row) for row in rows if (row.is_log, row.end_ns) == (first.is_log, first.end_ns))
