"""The search that proofs of erasure stand on finds a value planted in each kind of file, in each spelling."""

from __future__ import annotations

import gzip
import html
import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.redaction.places import find_value, find_values

NAME = 'Zoë "Quill" O’Hara'
SPELLED = {
    "plain": NAME,
    "upper": NAME.upper(),
    "lower": NAME.lower(),
    "json": json.dumps(NAME),
    "json_letters": json.dumps(NAME, ensure_ascii=False),
    "json_in_json": json.dumps({"payload": json.dumps({"arguments": json.dumps({"name": NAME})})}),
    "html": html.escape(f"<b>{NAME}</b>"),
    "html_numbers": "".join(f"&#{ord(letter)};" for letter in NAME),
}
FILLER = [f"somebody else {number}" for number in range(5_000)]
"""So that what is beside them in a file is really packed."""


def parquet(path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"column": column}), path, compression="zstd")


@pytest.mark.parametrize("spelling", SPELLED)
@pytest.mark.parametrize("kind", ["text", "html", "gzip", "parquet", "sqlite", "duckdb"])
def test_every_spelling_is_found_in_every_kind_of_file(tmp_path, spelling, kind):
    """One file holds the value, among others that do not."""
    text, path = SPELLED[spelling], tmp_path / "deep" / "down" / f"file.{kind}"
    path.parent.mkdir(parents=True)
    (tmp_path / "other.txt").write_text("nobody", encoding="utf-8")
    if kind in ("text", "html"):
        path.write_text("\n".join([*FILLER, text]), encoding="utf-8")
    elif kind == "gzip":
        path.write_bytes(gzip.compress("\n".join([*FILLER, text]).encode()))
    elif kind == "parquet":
        parquet(path, pa.array([*FILLER, text]))
    elif kind == "sqlite":
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE kept (body BLOB)")
            connection.execute("INSERT INTO kept VALUES (?)", [zlib.compress("\n".join([*FILLER, text]).encode())])
    else:
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE kept AS SELECT unnest($texts) AS body", {"texts": [*FILLER, text]})
    assert {place.path for place in find_value(tmp_path, NAME)} == {path}
    assert find_value(tmp_path, "Quilliam") == []


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[{"name": "x", "arguments": json.dumps({"who": NAME})}]]),
        pa.array([[("key", NAME)]], pa.map_(pa.string(), pa.string())),
        pa.array([[(NAME, "value")]], pa.map_(pa.string(), pa.string())),
        pa.array([NAME.encode()]),
        pa.array([None, NAME]).dictionary_encode(),
    ],
    ids=["list of structs", "value of a map", "key of a map", "bytes", "dictionary"],
)
def test_it_is_found_within_columns(tmp_path, column):
    """However deep in a value."""
    parquet(tmp_path / "file.parquet", column)
    assert "column" in [place.part for place in find_value(tmp_path, NAME)]


def test_a_number_is_found(tmp_path):
    """A value that is a number to its column."""
    parquet(tmp_path / "file.parquet", pa.array([1, 4_915_112_345_678]))
    assert find_value(tmp_path, "4915112345678") != []


def test_what_a_footer_tells_is_found(tmp_path):
    """Bounds of a column, and words beside the schema, which are no rows."""
    table = pa.table({"column": ["aaa", NAME]}).replace_schema_metadata({"made for": NAME})
    pq.write_table(table, tmp_path / "file.parquet", compression="zstd")
    assert {"bounds of column", "footer"} <= {place.part for place in find_value(tmp_path, NAME)}


def test_logs_of_delta_tables_are_read(tmp_path):
    """An entry and a checkpoint tell bounds of a file that is gone."""
    table = tmp_path / "table"
    write_deltalake(str(table), pa.table({"name": [NAME]}))
    DeltaTable(str(table)).create_checkpoint()
    for file in table.glob("*.parquet"):
        file.unlink()
    assert {place.path.suffix for place in find_value(tmp_path, NAME)} == {".json", ".parquet"}
    assert {place.path.parent.name for place in find_value(tmp_path, NAME)} == {"_delta_log"}


def test_free_pages_and_the_log_beside_a_database_are_read(tmp_path):
    """A row that was deleted stands in its page until that is used again, and in the write-ahead log."""
    marked = "planted and deleted"
    free, logged = tmp_path / "free.db", tmp_path / "logged.db"
    with closing(sqlite3.connect(free)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE kept (body TEXT)")
        connection.execute("INSERT INTO kept VALUES (?)", [marked])
        connection.commit()
        connection.execute("DELETE FROM kept")
        connection.commit()
    assert [place.part for place in find_value(tmp_path, marked)] == ["bytes"]
    free.unlink()
    with closing(sqlite3.connect(logged)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE kept (body TEXT)")
        connection.execute("INSERT INTO kept VALUES (?)", [marked])
        connection.commit()
        assert {place.path.name for place in find_value(tmp_path, marked)} == {"logged.db", "logged.db-wal"}


def test_definitions_in_duckdb_are_read(tmp_path):
    """A view may name a value."""
    with duckdb.connect(str(tmp_path / "lake.duckdb")) as connection:
        connection.execute("CREATE VIEW mine AS SELECT 'planted' AS name")
    assert "definitions" in [place.part for place in find_value(tmp_path, "planted")]


def test_many_values_are_found_in_one_reading(tmp_path):
    """Each where it stands; the store's folder is left out unless it is asked for."""
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "heap").write_text("first", encoding="utf-8")
    spelled = "".join(f"\\u{ord(letter):04x}" for letter in "third")
    (tmp_path / "log.txt").write_text(f"second {spelled}", encoding="utf-8")
    found = find_values(tmp_path, ["first", "second", "third", "fourth"])
    assert {value: len(places) for value, places in found.items()} == {
        "first": 0,
        "second": 1,
        "third": 1,
        "fourth": 0,
    }
    assert len(find_value(tmp_path, "first", without=())) == 1


@pytest.mark.parametrize("zeros", [0, 1, 2, 15, 16, 17, 33, 8_191])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_value_among_zeros_is_found(tmp_path, zeros, encoding):
    """Pages of databases are mostly zeros: those before a value and behind it hide nothing of it."""
    (tmp_path / "page").write_bytes(b"x" + bytes(zeros) + NAME.encode(encoding) + bytes(zeros) + b"y")
    assert [place.part for place in find_value(tmp_path, NAME)] == ["bytes"]
