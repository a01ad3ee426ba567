"""Where values stand in the files of a home, whatever they are: for proofs that they are nowhere.

A search of bytes is blind to compression, so files are decoded: Parquet (every column, and what its footer tells of them),
SQLite (every table, and the bytes of the file, of its free pages and its log), DuckDB (every table and definition), what is packed
in any of them, JSON within JSON, HTML, addresses. Encryption, pictures and what is cut in two are not seen through.

Files are read in pieces: memory is bounded by the longest single value, not by a file.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.duck import quote_identifier
from pipelines.redaction.spelling import Spelled
from pipelines.redaction.value import Value

STORE = "postgres"
"""The folder of the store's own files; what they keep is a matter of its own."""
_SQLITE, _PARQUET, _DUCKDB = b"SQLite format 3\0", b"PAR1", b"DUCK"
_PIECE = 2**22
"""Bytes of a file that are looked at together."""
_ZEROS = re.compile(rb"\0{16,}")
"""What files of databases are mostly made of; no value has two of them in a row, in no encoding."""
_ROWS = 1_000
"""Rows that are looked at together: each may hold long texts."""
_PACKED: Mapping[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
"""How files of which format are unpacked, by their first bytes."""
_UNPACK = (zlib.decompress, gzip.decompress, bz2.decompress, lzma.decompress)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value was found.

    Attributes:
        path: The file.
        part: What of it: `bytes`, `name` (of the file), a column, a table, `footer`, `bounds of COLUMN`, `definitions`.
    """

    path: Path
    part: str


def find_value(home: Path, value: str, without: Collection[str] = (STORE,)) -> list[Place]:
    """Every place under a folder where a value stands, in any spelling.

    Args:
        home: The folder.
        value: The value; see `Value` for what is the same.
        without: Folders right in it that are left out.

    Returns:
        The places, by path and part, each once.
    """
    return find_values(home, [value], without)[value]


def find_values(home: Path, values: Collection[str], without: Collection[str] = (STORE,)) -> dict[str, list[Place]]:
    """`find_value` of many values, reading everything once."""
    found: dict[str, set[Place]] = {value: set() for value in values}
    wanted = {value: Value(value) for value in values}
    overlap = 16 * max(map(len, values), default=0)
    for path in sorted(home.rglob("*")):
        if not path.is_file() or path.relative_to(home).parts[0] in without:
            continue
        with suppress(FileNotFoundError):  # removed since it was listed
            for part, text in _texts(path, overlap):
                place, spelled = Place(path, part), Spelled(text)
                for value, each in wanted.items():
                    if place not in found[value] and each.stands_in(spelled):
                        found[value].add(place)
    return {value: sorted(places) for value, places in found.items()}


def _texts(path: Path, overlap: int) -> Iterator[tuple[str, str]]:
    """All that a file holds, as texts, with what part of it each is."""
    yield "name", path.name
    with path.open("rb") as file:
        start = file.read(16)
    yield from (("bytes", text) for text in _in_bytes(path.open, overlap))
    for magic, unpacked in _PACKED.items():
        if start.startswith(magic):
            with suppress(OSError, EOFError, zlib.error, lzma.LZMAError):  # it only begins as such a file does
                yield from (("bytes", text) for text in _in_bytes(partial(unpacked, path), overlap))
    if start.startswith(_PARQUET):
        with suppress(pa.ArrowException, OSError):  # half-written: its bytes were looked at
            yield from _in_parquet(path)
    elif start.startswith(_SQLITE):
        with suppress(sqlite3.DatabaseError):
            yield from _in_sqlite(path)
    elif start[8:12] == _DUCKDB:
        with suppress(duckdb.Error):
            yield from _in_duckdb(path)


def _in_bytes(opened: Callable[[str], Any], overlap: int) -> Iterator[str]:
    """A file's bytes as text, in pieces that overlap by more than any spelling of a value takes."""
    end_of_last = b""
    with opened("rb") as file:
        while piece := file.read(_PIECE):
            content = end_of_last + _ZEROS.sub(bytes(2), piece)
            yield content.decode("utf-8", "replace")
            if b"\0" in content:
                yield content.decode("utf-16-le", "replace")
                yield content[1:].decode("utf-16-le", "replace")
            end_of_last = content[-overlap:] if overlap else b""


def _in_parquet(path: Path) -> Iterator[tuple[str, str]]:
    with pq.ParquetFile(path) as file:
        for name in file.schema_arrow.names:
            for batch in file.iter_batches(_ROWS, columns=[name]):
                yield name, _joined(batch.column(0))
        yield "footer", _joined(file.schema_arrow.metadata or {})
        for group in range(file.metadata.num_row_groups):
            for column in range(file.metadata.num_columns):
                part = file.metadata.row_group(group).column(column)
                told: Any = part.statistics
                if told is not None and told.has_min_max:
                    yield f"bounds of {part.path_in_schema}", _joined([told.min, told.max])


def _in_sqlite(path: Path) -> Iterator[tuple[str, str]]:
    # what waits in a log beside it counts, and nothing is changed by looking
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        tables = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
        yield "definitions", _joined(tables)
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            table = name.decode()
            rows = connection.execute(f"SELECT * FROM {quote_identifier(table)}")
            while some := rows.fetchmany(_ROWS):
                yield table, _joined(some)


def _in_duckdb(path: Path) -> Iterator[tuple[str, str]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        listed = "SELECT coalesce(sql, '') FROM duckdb_views() UNION ALL SELECT coalesce(sql, '') FROM duckdb_tables()"
        yield "definitions", _joined(connection.sql(listed).fetchall())
        for schema, table in connection.sql("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
            rows = connection.execute(f"FROM {quote_identifier(schema)}.{quote_identifier(table)}")
            while some := rows.fetchmany(_ROWS):
                yield table, _joined(some)


def _joined(value: Any) -> str:
    return "\0".join(_leaves(value))


def _leaves(value: Any) -> Iterator[str]:
    """Every single value, as text; names of fields, too."""
    if isinstance(value, pa.Array):
        yield from _leaves(_plain(value))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(name)
            yield from _leaves(inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, bytes):
        yield from _decoded(value)
    elif value is not None:
        yield str(value)


def _decoded(content: bytes) -> Iterator[str]:
    yield content.decode("utf-8", "replace")
    if b"\0" in content:
        yield content.decode("utf-16-le", "replace")
        yield content[1:].decode("utf-16-le", "replace")
    for unpack in _UNPACK:
        with suppress(Exception):  # each says in its own way that it was not packed by it
            yield unpack(content).decode("utf-8", "replace")


def _plain(array: pa.Array[Any]) -> Sequence[Any]:
    """Values of an array; each once, of texts."""
    return (array.unique() if pa.types.is_string(array.type) else array).to_pylist()
