"""One connection to the lake that is held while questions are asked, and can be interrupted."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import duckdb

from pipelines.duck import quote_identifier
from pipelines.errors import BadInputError
from pipelines.lake.catalog import describe, state_of
from pipelines.lake.errors import told_when_full
from pipelines.lake.lake import Lake
from pipelines.lake.query import WITH_ROWS, Connect, add_own, asked, result_text, told_as_one, write_result
from pipelines.shell.script import leading_words

T = TypeVar("T")
_BETWEEN = 0.2
"""Seconds after which a query that goes on is interrupted once more: an interrupt that comes before it begins is lost."""
_MOST_INTERRUPTS = 3
"""Interrupts by a person, the last of which ends the process."""
_MAKES = {"TABLE", "VIEW", "MACRO", "FUNCTION"}
_KINDS = {"OR", "REPLACE", "TEMP", "TEMPORARY"}


class StoppedQueryError(BadInputError):
    """A query was interrupted."""

    def __init__(self) -> None:
        super().__init__("stopped")


class Asking:
    """The lake as it is now at every question, or as of a time; what is made on the connection is gone at the end.

    Args:
        lake: The lake.
        connect: Makes the connection, which then stays as it is; default: the lake's own, which follows the lake.
    """

    def __init__(self, lake: Lake, connect: Connect | None = None) -> None:
        self.lake = lake
        self._connect = connect
        self._open = ExitStack()
        self._state = ""
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    @property
    def state(self) -> str:
        """What tells the lake that is shown from every other."""
        return self._state

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection."""
        assert self._connection is not None
        return self._connection

    def text(self, statement: str, output_format: str) -> str:
        """What a statement gives, in a format that is text; empty for one that makes something.

        Raises:
            BadInputError: It fails, or is none that may be run here.
            StoppedQueryError: It was interrupted.
        """
        return self._run(lambda: self._ask(statement, lambda: result_text(self.connection, output_format)) or "")

    def write(self, statement: str, output_format: str, output: Path | None, *, is_csv_safe: bool = False) -> None:
        """Write what a statement gives, as `run_query` does; nothing for one that makes something. Raises as `text`."""
        self._run(
            lambda: self._ask(
                statement, lambda: write_result(self.connection, output_format, output, is_csv_safe=is_csv_safe)
            )
        )

    def rows(self, query: str) -> list[tuple[str, ...]]:
        """The rows of a query of the shell's own."""
        return self.connection.execute(query).fetchall()

    def made(self) -> list[str]:
        """Names of the tables and views that were made here."""
        query = (
            "SELECT table_name FROM duckdb_tables() WHERE NOT internal "
            "UNION SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
        )
        known = describe(self.lake)
        return [name for (name,) in self.rows(query) if name not in known]

    def columns(self, name: str) -> list[tuple[str, ...]]:
        """Names and types of the columns of what was made here."""
        return self.rows(f"SELECT column_name, column_type FROM (DESCRIBE {quote_identifier(name)})")

    def _ask(self, statement: str, answer: Callable[[], T]) -> T | None:
        with told_when_full(self.lake.root):
            self._follow()
            with told_as_one(self.lake):
                found = self.connection.extract_statements(statement)
            if len(found) == 1 and found[0].type not in WITH_ROWS and _is_made_here(statement):
                with told_as_one(self.lake):
                    self.connection.execute(statement)
                return None
            if len(found) == 1 and found[0].type not in WITH_ROWS:
                raise BadInputError(
                    f"{statement!r} gives no rows; write a SELECT, or CREATE TEMP TABLE, VIEW or MACRO, SET VARIABLE"
                )
            with asked(self.lake, self.connection, statement):
                return answer()

    def _begin(self) -> None:
        self._state = state_of(self.lake)
        self._connection = self._open.enter_context(self._connect() if self._connect else self.lake.connect())
        with told_as_one(self.lake):
            add_own(self.lake, self._connection)

    def _follow(self) -> None:
        """Show the lake as it is now."""
        if self._connect is not None or self._state == (state := state_of(self.lake)):
            return
        self.lake.with_current_views(lambda views: [self.connection.execute(view) for view in views])
        add_own(self.lake, self.connection)
        self._state = state

    def _begin_anew(self) -> None:
        """Go on with another connection: the one that there was is past use."""
        self._open.close()
        self._begin()

    def _run(self, work: Callable[[], T]) -> T:
        """Do it in a thread of its own, so that an interrupt is heard at once."""
        done: list[T] = []
        faults: list[BaseException] = []
        ended = threading.Event()

        def run() -> None:
            try:
                done.append(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                faults.append(error)
            finally:
                ended.set()

        threading.Thread(target=run, name="query", daemon=True).start()
        is_interrupted = self._wait(ended)
        if not faults:
            return done[0]
        if is_interrupted:
            raise StoppedQueryError from faults[0]
        if isinstance(faults[0], duckdb.FatalException | duckdb.InternalException):
            self._begin_anew()
        raise faults[0]

    def _wait(self, ended: threading.Event) -> bool:
        """Wait for a query, and interrupt it as often as a person does; whether one did."""
        interrupts = 0
        while not ended.is_set():
            try:
                ended.wait(_BETWEEN if interrupts else None)
            except KeyboardInterrupt:
                interrupts += 1
            if interrupts and not ended.is_set():
                if interrupts >= _MOST_INTERRUPTS:
                    _end_process()
                self.connection.interrupt()
        return interrupts > 0


def _end_process() -> NoReturn:
    """What does not end is no query: a pipe that nobody reads, a network."""
    sys.stderr.write("refold: stopped\n")
    sys.stderr.flush()
    os._exit(130)


def _is_made_here(statement: str) -> bool:
    """Whether a statement makes or drops something of the connection, or sets a variable of it."""
    first, *rest = [*leading_words(statement), ""]
    if first in ("SET", "RESET"):
        return rest[0] == "VARIABLE"
    made = next((word for word in rest if word not in _KINDS), "")
    return first in ("CREATE", "DROP") and made in _MAKES
