"""Where a value stands in the files of a home, whatever they are: for proofs that it is nowhere.

A search of bytes is blind to compression, so files are decoded: Parquet (every column, and what its footer tells of them),
SQLite (every table, and the bytes of the file, of its free pages and its log), DuckDB (every table and definition), what is packed
in any of them, JSON within JSON, HTML, addresses. A value is found in upper and lower case alike. Encryption, pictures and what is
cut in two are not seen through.
"""

from __future__ import annotations

import bz2
import gzip
import html
import json
import lzma
import re
import sqlite3
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.duck import quote_identifier

_SQLITE = b"SQLite format 3\0"
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_NESTED = 4
"""How often a text may be JSON within JSON."""
_UNPACK = (zlib.decompress, gzip.decompress, bz2.decompress, lzma.decompress)
_STORE = "postgres"
"""The store's own files; what they keep is a matter of its own."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value was found: a file, and what of it."""

    path: Path
    part: str


def find_value(home: Path, value: str, without: Collection[str] = (_STORE,)) -> list[Place]:
    """Every place under a folder where a value stands, in any spelling; `without` names folders right in it that are left out."""
    return find_values(home, [value], without)[value]


def find_values(home: Path, values: Collection[str], without: Collection[str] = (_STORE,)) -> dict[str, list[Place]]:
    """`find_value` of many values, reading everything once."""
    found: dict[str, set[Place]] = {value: set() for value in values}
    wanted = [(value, value.lower()) for value in values]
    for path in sorted(home.rglob("*")):
        if not path.is_file() or path.relative_to(home).parts[0] in without:
            continue
        for part, text in _texts(path):
            spelled = "\0".join(_spellings(text)).lower()
            for value, lower in wanted:
                if lower in spelled:
                    found[value].add(Place(path, part))
    return {value: sorted(places) for value, places in found.items()}


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """All that a file holds, as texts, with what part of it each is."""
    content = path.read_bytes()
    yield from (("bytes", text) for text in _decoded(content))
    if content[:4] == b"PAR1":
        yield from _in_parquet(path)
    elif content.startswith(_SQLITE):
        yield from _in_sqlite(path)
    elif content[8:12] == b"DUCK":
        yield from _in_duckdb(path)


def _decoded(content: bytes) -> Iterator[str]:
    yield content.decode("utf-8", "replace")
    if b"\0" in content:
        yield content.decode("utf-16-le", "replace")
        yield content[1:].decode("utf-16-le", "replace")
    for unpack in _UNPACK:
        with suppress(Exception):  # each says in its own way that it was not packed by it
            yield unpack(content).decode("utf-8", "replace")


def _in_parquet(path: Path) -> Iterator[tuple[str, str]]:
    with pq.ParquetFile(path) as file:
        for name in file.schema_arrow.names:
            for batch in file.iter_batches(columns=[name]):
                yield name, "\0".join(_leaves(batch.column(0)))
        yield "footer", "\0".join(_leaves(file.schema_arrow.metadata or {}))
        for group in range(file.metadata.num_row_groups):
            for column in range(file.metadata.num_columns):
                part = file.metadata.row_group(group).column(column)
                told: Any = part.statistics
                if told is not None and told.has_min_max:
                    yield f"bounds of {part.path_in_schema}", "\0".join(_leaves([told.min, told.max]))


def _in_sqlite(path: Path) -> Iterator[tuple[str, str]]:
    # what waits in a log beside it counts, and nothing is changed by looking
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in tables:
            table = name.decode()
            rows = connection.execute(f"SELECT * FROM {quote_identifier(table)}").fetchall()
            yield table, "\0".join(_leaves(rows))


def _in_duckdb(path: Path) -> Iterator[tuple[str, str]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        listed = "SELECT coalesce(sql, '') FROM duckdb_views() UNION ALL SELECT coalesce(sql, '') FROM duckdb_tables()"
        yield "definitions", "\0".join(_leaves(connection.sql(listed).fetchall()))
        for (table,) in connection.sql("SELECT table_name FROM duckdb_tables()").fetchall():
            rows = connection.sql(f"FROM {quote_identifier(table)}")
            yield table, "\0".join(_leaves(rows.fetchall()))


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


def _plain(array: pa.Array[Any]) -> list[Any]:
    """Values of an array; each once, of texts."""
    return (array.unique() if pa.types.is_string(array.type) else array).to_pylist()


def _spellings(text: str) -> Iterator[str]:
    """A text as it stands, and as readers of JSON, HTML and addresses read it."""
    yield text
    for _ in range(_NESTED):
        if "\\" not in text:
            break
        text = _ESCAPE.sub(_unescaped, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        yield text
    if "&" in text:
        yield html.unescape(text)
    if "%" in text:
        yield unquote(text)


def _unescaped(escape: re.Match[str]) -> str:
    code, letter = escape.groups()
    return chr(int(code, 16)) if code else _PLAIN.get(letter, letter)


def json_spelled(value: str) -> str:
    """A value as a cautious writer of JSON spells it: every letter by its code."""
    return "".join(f"\\u{ord(letter):04x}" for letter in value) if value.isascii() else json.dumps(value)[1:-1]
