"""DuckDB where no lake is: a database without data of its own, tables of given rows, names and texts inside of SQL."""

from __future__ import annotations

import atexit
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    import pyarrow as pa

_HANDED_OVER = "refold_handed_over"
_idle: list[duckdb.DuckDBPyConnection] = []
"""Databases that nobody uses, empty, their memory given back."""
_MOST_IDLE = 2
_SPILLED = "duckdb_temp*"
"""What a database spills to."""
atexit.register(_idle.clear)  # the interpreter may end before them: duckdb/duckdb-python#601
_LEAST_MEMORY = "1MB"
"""Bound of a database that is not in use."""
_OUT_OF_MEMORY = "Out of Memory Error"
"""How a message of DuckDB of that kind begins."""


@contextmanager
def scratch() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection, in UTC, to a database without data of its own, for one thread; closed on leaving.

    To make one takes 20 ms, so it is made once in a process; what is asked of it leaves nothing behind.
    """
    with _database().cursor() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@cache
def _database() -> duckdb.DuckDBPyConnection:
    atexit.register(_database.cache_clear)  # the interpreter may end before it: duckdb/duckdb-python#601
    return duckdb.connect()


@contextmanager
def emptied(spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a database that is empty, and that nobody else uses meanwhile; what is made on it is gone on leaving.

    To make a database takes 20 ms, so one that was used goes on to whoever comes next in this process, empty, its memory given back. Its
    time zone and the bound on its memory are to be set. It loads no extension.

    Args:
        spill: Where it puts what does not fit into memory; a database that did is not gone on with.
    """
    database = _take(spill)
    try:
        with database.cursor() as connection:
            yield connection
        if len(_idle) >= _MOST_IDLE or any(spill.glob(_SPILLED)):
            database.close()
            return
    except BaseException:
        database.close()
        raise
    try:
        _empty(database)
    except duckdb.Error:  # its memory cannot be had back as long as somebody reads from it
        database.close()
    else:
        _idle.append(database)


def _take(spill: Path) -> duckdb.DuckDBPyConnection:
    """A database of before, or a new one."""
    folder = f"SET temp_directory = {quote_literal(str(spill))}"
    with suppress(IndexError):
        database = _idle.pop()
        try:
            database.execute(folder)
        except duckdb.Error:  # it spilled once, and stays with that folder
            database.close()
        else:
            return database
    database = duckdb.connect()
    database.execute("SET autoinstall_known_extensions = false")
    database.execute("SET autoload_known_extensions = false")
    database.execute(folder)
    # files never change, and a fold opens each many times: it takes 4 % less CPU
    database.execute("SET parquet_metadata_cache = true")
    return database


def _empty(database: duckdb.DuckDBPyConnection) -> None:
    """Drop what connections to a database in memory have left, all of which are closed, and give back the memory it holds."""
    views = database.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    tables = database.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
    for kind, found in (("VIEW", views), ("TABLE", tables)):
        for (name,) in found:
            database.execute(f"DROP {kind} {quote_identifier(name)}")
    database.execute("RESET threads")
    database.execute(f"SET memory_limit = '{_LEAST_MEMORY}'")  # what is cached goes


def create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table | pa.RecordBatchReader) -> None:
    """Create or replace the temporary table `name` with `rows`."""
    connection.register(_HANDED_OVER, rows)
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM {_HANDED_OVER}")
    finally:
        connection.unregister(_HANDED_OVER)


def create_view(connection: duckdb.DuckDBPyConnection, name: str, query: str) -> None:
    """Create or replace the temporary view `name`; what its query reads is looked up when it is read, which halves what it takes."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} WITH (defer_binding) AS {query}")


def read_batches(
    connection: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, Any] | None, rows: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a query, at most about `rows` at a time; they are never all in memory, and the connection is in use meanwhile.

    Raises:
        duckdb.Error: The query failed, also in the middle, which Arrow alone would tell as an error of the system.
    """
    reader = connection.sql(query, params=dict(params or {})).to_arrow_reader(rows)
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except OSError as error:
            kind = duckdb.OutOfMemoryException if is_out_of_memory(error) else duckdb.Error
            raise kind(str(error)) from error
        yield batch


def unless_none(connection: duckdb.DuckDBPyConnection, wanted: str, query: str) -> str:
    """`query`, which joins payloads with the rows of the SELECT `wanted`; without such rows, a query of its columns that reads nothing.

    DuckDB 2.0 reads a range of all payloads before it notices that there is nothing to look for (no issue known).
    """
    (is_any,) = connection.execute(f"SELECT count(*) > 0 FROM ({wanted})").fetchall()[0]
    query = query.strip().rstrip(";")
    return query if is_any else f"SELECT * FROM ({query}) LIMIT 0"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory: by DuckDB's, Python's or NumPy's exception, or by DuckDB's words in another's.

    What reads a result through Arrow gets an `OSError` with the words of DuckDB's exception.
    """
    return isinstance(error, duckdb.OutOfMemoryException | MemoryError) or _OUT_OF_MEMORY in str(error)


def named_tables(connection: duckdb.DuckDBPyConnection, query: str, known: Collection[str]) -> set[str] | None:
    """Those of the `known` tables that a query names; None when it may read others than it names.

    That is so for everything but one SELECT, for a table function, which may be told what to read, for what shows the catalog,
    and for a name that is not known.

    Args:
        connection: Parses it; nothing is bound.
        query: SQL.
        known: Names in lower case.
    """
    try:
        nodes = syntax(connection, query)
    except (duckdb.Error, RecursionError):
        return None
    if nodes[0]["error"] or len(nodes[0]["statements"]) != 1:
        return None
    if any(node.get("type") in ("TABLE_FUNCTION", "SHOW_REF") for node in nodes):
        return None
    aliases = {each["key"].lower() for node in nodes for each in node.get("cte_map", {}).get("map", ())}
    named = {node["table_name"].lower() for node in nodes if node.get("type") == "BASE_TABLE"}
    return None if named - aliases - set(known) else named & set(known)


def syntax(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """The nodes of what DuckDB's parser makes of SELECTs, the root first; the root's `error` says that they are none."""
    (text,) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0]
    nodes: list[dict[str, Any]] = []
    parts: list[Any] = [json.loads(text)]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            nodes.append(part)
            parts += reversed(part.values())
        elif isinstance(part, list):
            parts += reversed(part)
    return nodes


def quote_literal(text: str) -> str:
    """`text` as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def quote_identifier(name: str) -> str:
    """`name` as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
