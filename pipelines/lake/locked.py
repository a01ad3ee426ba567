"""Run a user's SQL where it can do nothing but read what it was given.

A fresh in-memory connection gets copies of the given tables, then loses access to files, network, extensions and its
own settings. One statement, and only a SELECT, is run on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.lake.table import quote_identifier


@contextmanager
def locked_connection(tables: Mapping[str, pa.Table], *, memory_bytes: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sees `tables` (name → rows) and nothing else."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{memory_bytes}B'")
        connection.execute("SET enable_progress_bar = false")
        for name, rows in tables.items():
            connection.register("given", rows)
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
