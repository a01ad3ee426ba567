"""A DuckDB database without data of its own, for questions about types and small files.

To make one takes 20 ms, so this one is made once in a process; what is asked of it leaves nothing behind.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import duckdb


@contextmanager
def scratch() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to it, in UTC, for one thread; closed on leaving."""
    with _database().cursor() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@cache
def _database() -> duckdb.DuckDBPyConnection:
    atexit.register(_database.cache_clear)  # else the interpreter ends before it, and its bindings complain of leaks
    return duckdb.connect()
