"""Run a user's SQL where it can do nothing but read what it was given.

A fresh in-memory connection gets copies of the given tables, then loses access to files, network, extensions and its
own settings. One statement, and only a SELECT, is run on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.lake.table import quote_identifier, quote_literal


@contextmanager
def locked_connection(
    tables: Mapping[str, pa.Table | Callable[[], pa.RecordBatchReader]],
    *,
    memory_bytes: int,
    spill: Path | None = None,
    locates_errors: bool = False,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sees `tables` and nothing else.

    Args:
        tables: Name → rows, or what reads them; one after another they are copied into the connection.
        memory_bytes: Bound on its memory.
        spill: Folder for what does not fit; without one, what does not fit fails.
        locates_errors: Whether errors are JSON text that says where in the statement they are.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{memory_bytes}B'")
        if spill is not None:
            connection.execute(f"SET temp_directory = {quote_literal(str(spill))}")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET errors_as_json = {str(locates_errors).lower()}")
        for name, rows in tables.items():
            connection.register("given", rows if isinstance(rows, pa.Table) else rows())
            connection.execute(f"CREATE TABLE {quote_identifier(name)} AS SELECT * FROM given")
            connection.unregister("given")
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET autoload_known_extensions = false")
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def run_user_sql(connection: duckdb.DuckDBPyConnection, query: str, what: str, fragment: str) -> pa.Table:
    """The rows of `query`, which holds the user's `fragment`.

    Args:
        connection: From `locked_connection`.
        query: The whole statement.
        what: What the fragment is, for the error: `where`, `metric refund_usd`.
        fragment: What the user wrote, for the error.

    Raises:
        BadInputError: It is not one SELECT, or it fails.
    """
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise BadInputError(f"{what}: {fragment!r} is not a single expression")
        rows: pa.Table = connection.sql(query).to_arrow_table()
    except duckdb.Error as error:
        raise BadInputError(f"{what}: {fragment!r}: {first_line(error)}") from error
    return rows


def first_line(error: Exception) -> Any:
    """The first line of a database error: the rest repeats the statement."""
    return str(error).strip().splitlines()[0]
