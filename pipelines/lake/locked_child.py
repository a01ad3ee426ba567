"""The process in which a user's code runs, started by `pipelines.lake.locked`.

It does one thing after the other that its parent asks for, within the memory it was given, and ends when the parent is
gone. It imports DuckDB and Arrow, and what the asked function's module imports.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb

from pipelines.duck import is_out_of_memory, quote_identifier, quote_literal
from pipelines.lake.sql_errors import read_error, without_values

SLACK_BYTES = 384 * 2**20
"""Address space beside DuckDB's own bound: stacks of threads, the allocator's reserve, rows on their way."""
_SPILLED = 20
"""Times its memory that a statement may put on disk."""


_end_process = os._exit
"""Kept: where a user's code is loaded, `os._exit` is refused."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a session may use.

    Attributes:
        memory_bytes: DuckDB's memory; the process's address space is bounded beside it.
        spill: Folder for what does not fit; None: what does not fit fails.
        locates_errors: Whether errors say where in the statement they are.
        is_sql: Whether there is a connection; else Python alone, whose libraries reserve more than they use.
    """

    memory_bytes: int
    spill: Path | None = None
    locates_errors: bool = False
    is_sql: bool = True


class UserCodeError(Exception):
    """What may be told of a failure, and whether it was for want of memory."""

    def __init__(self, message: str, *, is_memory: bool = False) -> None:
        super().__init__(message, is_memory)
        self.message, self.is_memory = message, is_memory

    def __reduce__(self) -> Any:
        return _user_code_error, (self.message, self.is_memory)

    def __str__(self) -> str:
        return self.message


def _user_code_error(message: str, is_memory: bool) -> UserCodeError:
    return UserCodeError(message, is_memory=is_memory)


def execute(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Run one of our own statements."""
    connection.execute(statement)


def fetch(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """The rows of one of our own queries."""
    rows: list[tuple[Any, ...]] = connection.sql(query).fetchall()
    return rows


def batches(connection: duckdb.DuckDBPyConnection, query: str, size: int) -> Iterator[Any]:
    """The schema of one of our own queries, then its rows."""
    reader = connection.sql(query).to_arrow_reader(size)
    yield reader.schema
    yield from reader


def select(connection: duckdb.DuckDBPyConnection, query: str, most_rows: int) -> Iterator[Any]:
    """The schema and then the rows of a query with a user's expression in it, at most so many.

    Raises:
        UserCodeError: It is not one SELECT, cannot be bound (told whole), or fails (told without values).
    """
    bind(connection, query)
    count = 0
    try:
        reader = connection.sql(query).to_arrow_reader(50_000)
        yield reader.schema
        for batch in reader:
            count += batch.num_rows
            if count > most_rows:
                raise UserCodeError(f"it gives more than {most_rows:,} rows")
            yield batch
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise UserCodeError(f"{without_values(error)} (a value is not shown; TRY(…) gives null instead)") from None


def bind(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Parse and bind a query without running it.

    Raises:
        UserCodeError: It is not one SELECT, or names what is not there; DuckDB's message is whole.
    """
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UserCodeError("it is not a single expression")
        connection.execute(f"PREPARE refold_bound AS {query}")
        connection.execute("DEALLOCATE refold_bound")
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise UserCodeError(read_error(error)[0]) from None


def type_of(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """The type of the first column of a query that can be bound; it is not run."""
    return str(connection.sql(query).types[0])


def _open(bounds: Bounds) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET memory_limit = '{bounds.memory_bytes}B'")
    if bounds.spill is not None:
        connection.execute(f"SET temp_directory = {quote_literal(str(bounds.spill))}")
        connection.execute(f"SET max_temp_directory_size = '{bounds.memory_bytes * _SPILLED}B'")
    else:
        connection.execute("SET temp_directory = ''")
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"SET errors_as_json = {str(bounds.locates_errors).lower()}")
    return connection


def _load(connection: duckdb.DuckDBPyConnection, parent: Connection, name: str) -> None:
    """Copy the rows that the parent sends; all are taken from it, whatever becomes of them."""
    import pyarrow as pa  # noqa: PLC0415 - see `pipelines.arrow`

    schema = parent.recv()
    rows = iter(parent.recv, None)
    try:
        connection.register("given", pa.RecordBatchReader.from_batches(schema, rows))
        connection.execute(f"CREATE TABLE {quote_identifier(name)} AS SELECT * FROM given")
        connection.unregister("given")
    finally:
        for _ in rows:
            pass


def _lock(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _bound_memory(bounds: Bounds) -> None:
    """Bound the address space, where the system can: what one function allocates at once, DuckDB does not count.

    Python's libraries reserve far more addresses than they use, so there what may be written to is bounded as well.
    """
    try:
        pages = [int(each) for each in Path("/proc/self/statm").read_text().split()]
    except (OSError, ValueError):
        return
    size, data = (pages[place] * os.sysconf("SC_PAGE_SIZE") for place in (0, 5))
    room = bounds.memory_bytes + SLACK_BYTES
    if bounds.is_sql:
        _bound(resource.RLIMIT_AS, size + room)
    else:
        _bound(resource.RLIMIT_AS, size + 4 * (bounds.memory_bytes + 2**30))
        _bound(resource.RLIMIT_DATA, data + room)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump of memory would hold texts


def _bound(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _serve(parent: Connection) -> None:
    """Do what is asked until the parent closes the connection."""
    connection: duckdb.DuckDBPyConnection | None = None
    while True:
        try:
            what, *arguments = parent.recv()
        except EOFError:
            return
        try:
            if what == "open":
                (bounds,) = arguments
                _bound_memory(bounds)
                connection = _open(bounds) if bounds.is_sql else None
            elif what == "load":
                assert connection is not None
                _load(connection, parent, *arguments)
            elif what == "lock":
                assert connection is not None
                _lock(connection)
            elif what == "close":
                if connection is not None:
                    connection.close()
                connection = None
            else:
                _call(parent, connection, *arguments)
            parent.send(("done", None))
        except Exception as error:  # noqa: BLE001 -- the parent says what it means
            parent.send(("failed", _told(error)))


def _call(
    parent: Connection, connection: duckdb.DuckDBPyConnection | None, function: Callable[..., Any], *arguments: Any
) -> None:
    found = function(connection, *arguments)
    if isinstance(found, Iterator):
        for each in found:
            parent.send(("item", each))
    else:
        parent.send(("item", found))


def _told(error: Exception) -> Exception:
    """An error as the parent may have it: those of our own as they are, others by their kind."""
    if is_out_of_memory(error):
        return UserCodeError("", is_memory=True)
    if type(error).__module__.startswith("pipelines."):
        error.__cause__ = error.__context__ = None
        return error
    return UserCodeError(without_values(error) if isinstance(error, duckdb.Error) else type(error).__name__)


def _end_with(parent: int) -> None:
    """A parent that was killed asks nobody to end."""
    while os.getppid() == parent:
        time.sleep(1)
    _end_process(1)


def main() -> None:
    """Serve the parent whose connection is named."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _serve(Connection(int(sys.argv[1])))
