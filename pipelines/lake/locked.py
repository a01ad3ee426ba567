"""Run what a user wrote where it can do nothing but read what it was given, and where it can be stopped.

A child process gets copies of the given tables on a fresh in-memory connection, which then loses access to files,
network, extensions and its own settings. Its address space, its rows and its time are bounded: what takes too long, or is
interrupted, ends with the process. One child does one session after the other, so that a verb starts one.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import duckdb

from pipelines.duck import is_out_of_memory
from pipelines.errors import BadInputError
from pipelines.lake.locked_child import Bounds, UserCodeError, batches, bind, execute, fetch, select, type_of
from pipelines.lake.sql_errors import without_values
from pipelines.settings import SQL_SECONDS

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
Rows: TypeAlias = "pa.Table | Callable[[], pa.RecordBatchReader]"

_START = "from pipelines.lake.locked_child import main; main()"
_BATCH = 50_000
_KEPT = 3
"""Children that wait for the next session: a projection in Polars takes one for SQL and two of its own."""
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "HOME", "TMPDIR")
"""What a child that runs SQL inherits; keys are not among it."""

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""NumPy's threads spin as they start, and its buffers are one a thread; what a function of the user's is called with is its own matter."""
_BOUNDED = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system", "POLARS_ROW_GROUP_PREFETCH_SIZE": "2"}
"""Reserves of the allocator, and no other allocator for Arrow, whose own takes a GiB of the bound with its first byte (mimalloc's first
arena, in pyarrow 26); row groups that Polars reads ahead: 2.1 bounds them by 512 and 64 MB as they are compressed, not by what they
unpack to. Not needed any more once pola-rs/polars#28569 is closed."""


class StoppedError(BadInputError):
    """A user's code took too long, wanted too much memory, or ended its process."""


class Locked:
    """A session: tables, and what runs on them.

    Args:
        child: The process.
        seconds: How long each statement may take.
    """

    def __init__(self, child: _Child, seconds: float) -> None:
        self._child = child
        self._seconds = seconds

    def select(self, query: str, what: str, fragment: str, most_rows: int) -> pa.Table:
        """The rows of `query`, which holds the user's `fragment`.

        Args:
            query: The whole statement.
            what: What the fragment is, for the error: `where`, `metric refund_usd`.
            fragment: What the user wrote, for the error.
            most_rows: How many rows there may be.

        Raises:
            BadInputError: It is not one SELECT, it fails, or it gives more rows; values are not told.
            StoppedError: It took too long or too much.
        """
        import pyarrow as pa  # noqa: PLC0415 - see `pipelines.arrow`

        named = f"{what}: {fragment!r}"
        schema, *rows = self._each(named, select, query, most_rows)
        return pa.Table.from_batches(rows, schema)

    def bind(self, query: str, what: str, fragment: str) -> None:
        """Bind `query` without running it; as `select`."""
        self.call(f"{what}: {fragment!r}", bind, query)

    def type_of(self, query: str, what: str, fragment: str) -> str:
        """The type of the first column of a query, which is not run; as `select`."""
        return self.call(f"{what}: {fragment!r}", type_of, query)

    def execute(self, statement: str) -> None:
        """Run one of our own statements."""
        self.call("a statement", execute, statement)

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of one of our own queries, as tuples."""
        return self.call("a query", fetch, query)

    def read(self, query: str, rows: int = _BATCH) -> pa.RecordBatchReader:
        """The rows of one of our own queries, in batches of at most so many; they stay in the child until they are read."""
        import pyarrow as pa  # noqa: PLC0415 - see `pipelines.arrow`

        items = self._each("a query", batches, query, rows)
        return pa.RecordBatchReader.from_batches(next(items), items)

    def call(self, what: str, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function of ours, by its name, with the child's connection and these arguments.

        Raises:
            BadInputError: It fails with `UserCodeError`.
            StoppedError: It took too long or too much.
        """
        (found,) = self._each(what, function, *arguments)
        return found  # type: ignore[no-any-return]

    def each(self, what: str, function: Callable[..., Iterator[T]], *arguments: Any) -> Iterator[T]:
        """The same for a function that gives one thing after the other; each may take its time."""
        return self._each(what, function, *arguments)

    def _each(self, what: str, function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        return self._child.ask(what, self._seconds, ("call", function, *arguments))


@contextmanager
def locked_session(
    tables: Mapping[str, Rows],
    *,
    memory_bytes: int,
    seconds: float = SQL_SECONDS,
    spill: Path | None = None,
    locates_errors: bool = False,
) -> Iterator[Locked]:
    """A session that sees `tables` and nothing else.

    Args:
        tables: Name → rows, or what reads them; one after another they are copied into the child.
        memory_bytes: Bound on its memory.
        seconds: Bound on each statement's time.
        spill: Folder for what does not fit; without one, what does not fit fails.
        locates_errors: Whether errors say where in the statement they are.
    """
    with ExitStack() as held:
        folder = None if spill is None else held.enter_context(spill_folder(spill))
        bounds = Bounds(memory_bytes, folder, locates_errors)
        child = held.enter_context(_session(bounds, None))
        for name, rows in tables.items():
            child.load(name, rows)
        child.do("lock")
        yield Locked(child, seconds)


@contextmanager
def spill_folder(spill: Path) -> Iterator[Path]:
    """A folder of this process in `spill`; gone on leaving, or, should the process be killed, with the next `vacuum`."""
    spill.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"locked-{os.getpid()}-", dir=spill))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def python_session(key: Hashable, *, memory_bytes: int, seconds: float = SQL_SECONDS) -> Iterator[Locked]:
    """A session for Python of the user's, without a connection; what it loads stays loaded for the next one of the same `key`."""
    with _session(Bounds(memory_bytes, is_sql=False), (key,), has_environment=True) as child:
        yield Locked(child, seconds)


@contextmanager
def frame_session(key: Hashable, *, memory_bytes: int, seconds: float = SQL_SECONDS) -> Iterator[Locked]:
    """As `python_session`, for a function that is given all that it needs: of this process's environment it has what SQL has."""
    with _session(Bounds(memory_bytes, is_sql=False), ("frames", key), has_environment=False) as child:
        yield Locked(child, seconds)


@contextmanager
def _session(bounds: Bounds, key: Hashable, *, has_environment: bool = False) -> Iterator[_Child]:
    child = _take(key, has_environment=has_environment)
    try:
        child.do("open", bounds)
        yield child
        if not child.is_ended:
            child.do("close")
    except BaseException:
        child.end()
        raise
    if not child.is_ended:
        _give(child, key)


class _Child:
    """One process, and the connection to it."""

    is_ended = False

    def __init__(self, *, has_environment: bool) -> None:
        ours, its = socket.socketpair()
        package = str(Path(__file__).resolve().parents[2])
        if has_environment:  # a function finds what it would find here
            env = dict(os.environ)
            path = os.pathsep.join([package, *(entry or str(Path.cwd()) for entry in sys.path)])
        else:
            env = {**_ONE_THREAD, **{name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}}
            path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        with its:
            self.process = subprocess.Popen(  # noqa: S603 -- our own module, by this interpreter
                # -P: what lies in the current folder is not imported in place of this package
                [sys.executable, "-P", "-c", _START, str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what it prints is for people
                env={**env, "PYTHONPATH": path, **_BOUNDED},
                pass_fds=[its.fileno()],
                start_new_session=True,  # Ctrl-C is for the parent, who ends it
            )
        self.connection = Connection(ours.detach())

    def do(self, what: str, *arguments: Any) -> None:
        """Have something of our own done."""
        for _ in self.ask(what, None, (what, *arguments)):
            pass

    def load(self, name: str, rows: Rows) -> None:
        """Send a table."""
        import pyarrow as pa  # noqa: PLC0415 - see `pipelines.arrow`

        reader = rows.to_reader(_BATCH) if isinstance(rows, pa.Table) else rows()
        self._send("load", ("load", name))
        self._send("load", reader.schema)
        try:
            for batch in reader:
                self._send("load", batch)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if is_out_of_memory(error):
                raise duckdb.OutOfMemoryException(name) from None
            told = without_values(error) if isinstance(error, duckdb.Error) else "a value cannot be read …"
            raise BadInputError(
                f"{name} cannot be read: {told} (`refold events upcast --check` says which upcaster fails on which event)"
            ) from None
        self._send("load", None)
        for _ in self._answers("load", None):
            pass

    def ask(self, what: str, seconds: float | None, message: tuple[Any, ...]) -> Iterator[Any]:
        """Send a message; what comes back, until all is done."""
        self._send(what, message)
        return self._answers(what, seconds)

    def _send(self, what: str, message: Any) -> None:
        try:
            self.connection.send(message)
        except OSError:
            raise self._gone(what) from None
        except BaseException:
            self.end()
            raise

    def _answers(self, what: str, seconds: float | None) -> Iterator[Any]:
        is_done = False
        try:
            while True:
                if not self.connection.poll(seconds):
                    raise StoppedError(
                        f"{what}: stopped after {seconds:g} s; make it cheaper, or allow more with REFOLD_SQL_SECONDS"
                    )
                kind, value = self.connection.recv()
                if kind == "item":
                    yield value
                    continue
                is_done = not (isinstance(value, UserCodeError) and value.is_memory)
                if kind == "done":
                    return
                if isinstance(value, UserCodeError):
                    raise self._without_memory(what) if value.is_memory else BadInputError(f"{what}: {value}") from None
                raise value
        except (EOFError, ConnectionResetError):
            raise self._gone(what) from None
        finally:
            if not is_done:  # in the middle of something, or not to be trusted with more
                self.end()

    def _without_memory(self, what: str) -> StoppedError:
        return StoppedError(
            f"{what}: wants more memory than it may use; make it cheaper, or set a larger REFOLD_MEMORY"
        )

    def _gone(self, what: str) -> StoppedError:
        self.process.wait()
        code = self.process.returncode
        self.end()
        if code < 0:
            name = signal.Signals(-code).name
            return StoppedError(
                f"{what}: its process was ended by {name}, most likely for want of memory (REFOLD_MEMORY)"
            )
        return StoppedError(
            f"{what}: its process ended with code {code}; perhaps it called exit itself, or ran out of memory"
        )

    def end(self) -> None:
        """End the process, whatever it does."""
        self.is_ended = True
        self.connection.close()
        self.process.kill()
        self.process.wait()


_idle: list[tuple[int, Hashable, _Child]] = []
_idle_lock = threading.Lock()


def _take(key: Hashable, *, has_environment: bool) -> _Child:
    """A child that waits, or a new one."""
    with _idle_lock:
        for place, (owner, known, child) in enumerate(_idle):
            if owner == os.getpid() and known == key and child.process.poll() is None:
                del _idle[place]
                return child
    return _Child(has_environment=has_environment)


def _give(child: _Child, key: Hashable) -> None:
    with _idle_lock:
        _idle.append((os.getpid(), key, child))
        if len(_idle) > _KEPT:
            owner, _, oldest = _idle.pop(0)
        else:
            return
    if owner == os.getpid():
        oldest.end()


@atexit.register
def _end_all() -> None:
    for owner, _, child in _idle:
        if owner == os.getpid():
            child.end()
    _idle.clear()
