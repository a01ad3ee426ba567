"""The embedded server: a real PostgreSQL inside the home, up while somebody uses it.

Users are counted by shared locks (`flock`) on one file: the kernel frees them however a process ends, also by
`kill -9`, so a count is never wrong. Starting and stopping happen under a second, exclusive lock. The last to leave
stops the server, unless `keep()` marked it to stay. What a server process is, is in `pipelines.store.postmaster`.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pipelines.locks import is_held, open_lock, try_lock
from pipelines.store.account import server_account
from pipelines.store.errors import StoreUnavailable
from pipelines.store.postmaster import DATABASE, START_SECONDS, STOP_SECONDS, Postmaster

GATE_SECONDS = START_SECONDS + STOP_SECONDS
"""How long another process may take to start or stop the server before this one gives up."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The embedded server of a home, as it is now.

    Attributes:
        is_running: It accepts connections.
        is_kept: It stays up when nobody uses it.
        is_used: Some process holds it.
        pid: Its process id, or None when not running.
        dsn: Its connection URI, whether it runs or not.
    """

    is_running: bool
    is_kept: bool
    is_used: bool
    pid: int | None
    dsn: str


class EmbeddedServer:
    """The PostgreSQL of one home, used as a context manager; several processes and threads may hold it at once.

    Attributes:
        home: Its data directory is `postgres` in here.
        tools: Folder with `postgres` and `initdb` of another PostgreSQL than the wheel's; None is the wheel's.
        is_durable: Whether what is committed survives a crash of the machine. Only for homes to be thrown away, as of
            tests, is that given up, for speed; it holds for a server that this object starts.

    Example:
        >>> with EmbeddedServer(Path(".refold")) as server:  # doctest: +SKIP
        ...     psycopg.connect(server.dsn)
    """

    def __init__(self, home: Path, tools: Path | None = None, *, is_durable: bool = True) -> None:
        self.home = home.absolute()
        self.tools = tools
        self.is_durable = is_durable
        self._users: int | None = None

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.home / "postgres"

    @property
    def is_made(self) -> bool:
        """Whether there is a database; nothing is started to tell."""
        return self._postmaster().is_made

    @property
    def dsn(self) -> str:
        """Connection URI of the home's database."""
        return self._postmaster().dsn()

    def dsn_of(self, database: str = DATABASE) -> str:
        """Connection URI of another database of the server."""
        return self._postmaster().dsn(database)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def acquire(self) -> None:
        """Count this user in and start the server if it does not run.

        Raises:
            StoreUnavailable: The server cannot be started; the message ends with the tail of its log.
        """
        if self._users is not None:
            raise RuntimeError("this EmbeddedServer is already held; make one per user")
        self._make_home()
        with self._gate():
            users = _open_lock(self._users_file)
            try:
                fcntl.flock(users, fcntl.LOCK_SH)  # exclusive holders are inside the gate: this never waits
                server = self._postmaster()
                if not server.is_running():
                    server.start()
            except BaseException:
                os.close(users)
                raise
            self._users = users

    def release(self) -> None:
        """Count this user out; the last one stops the server, unless it is kept. Nothing when not held."""
        if self._users is None:
            return
        with self._gate():
            os.close(self._users)
            self._users = None
            if not self._keep_file.exists() and not self._is_used():
                self._postmaster().stop()

    def keep(self) -> None:
        """Start the server if needed and leave it up when nobody uses it."""
        with self:
            self._keep_file.touch()

    def stop(self, *, force: bool = False) -> bool:
        """Stop the server and forget `keep()`; with users and without `force` it stops when the last one leaves.

        Returns:
            Whether the server is stopped now.
        """
        if not self.data.exists():
            return True
        with self._gate():
            self._keep_file.unlink(missing_ok=True)
            if self._is_used() and not force:
                return False
            self._postmaster().stop()
            return True

    def status(self) -> ServerStatus:
        """The server as it is now; starts and changes nothing."""
        server = self._postmaster()
        is_running = server.is_running()
        return ServerStatus(
            is_running=is_running,
            is_kept=self._keep_file.exists(),
            is_used=self._is_used(),
            pid=server.pid() if is_running else None,
            dsn=server.dsn(),
        )

    @property
    def _users_file(self) -> Path:
        return self.home / "postgres.users"

    @property
    def _keep_file(self) -> Path:
        return self.home / "postgres.keep"

    def _postmaster(self) -> Postmaster:
        return Postmaster(self.data, server_account(), self.tools, self.is_durable)

    def _make_home(self) -> None:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"the home {self.home} cannot be made: {error.strerror}; set REFOLD_HOME") from error

    def _is_used(self) -> bool:
        with _telling(self._users_file):
            return is_held(self._users_file)

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        gate = _open_lock(self.home / "postgres.lock")
        try:
            deadline = time.monotonic() + GATE_SECONDS
            while not try_lock(gate):
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        f"another process has been starting or stopping the embedded PostgreSQL in {self.home} "
                        f"for {GATE_SECONDS:.0f} s; see {self._postmaster().log}"
                    )
                time.sleep(0.02)
            yield
        finally:
            os.close(gate)


def _open_lock(path: Path) -> int:
    with _telling(path):
        return open_lock(path)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"the lock file {path} cannot be opened: {error.strerror}") from error
