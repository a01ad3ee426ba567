"""The embedded server: shared by processes, stopped by the last, never broken by a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, Store, StoreUnavailable
from pipelines.store.account import Account, let_pass, server_account
from pipelines.store.postmaster import Postmaster
from tests.support.servers import outer_folder
from tests.support.waiting import PATIENCE, wait_until

HOLD = """
import sys
from pathlib import Path
from pipelines.store import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def made_home() -> Iterator[Path]:
    """A home with a cluster, stopped; making one takes seconds where the disk is slow."""
    with outer_folder() as folder:
        with EmbeddedServer(folder, is_durable=False):
            pass
        yield folder


@pytest.fixture
def ready_home(open_folder: Path, made_home: Path) -> Path:
    """A home of its own with a cluster, for tests that are not about making one."""
    subprocess.run(["cp", "-a", made_home / "postgres", open_folder / "postgres"], check=True)
    return open_folder


def hold(home: Path) -> subprocess.Popen[str]:
    """A process that holds the server of `home` until its stdin closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 0


def ask(home: Path) -> object:
    with psycopg.connect(EmbeddedServer(home).dsn) as conn:
        return conn.execute("SELECT current_setting('data_directory')").fetchone()


def test_the_last_to_leave_stops_the_server(ready_home: Path) -> None:
    """Two processes share one server; it outlives the first and not the second."""
    first, second = hold(ready_home), hold(ready_home)
    pid = EmbeddedServer(ready_home).status().pid
    leave(first)
    status = EmbeddedServer(ready_home).status()
    assert (status.is_running, status.is_used, status.pid) == (True, True, pid)
    leave(second)
    status = EmbeddedServer(ready_home).status()
    assert (status.is_running, status.is_used, status.pid) == (False, False, None)
    with pytest.raises(psycopg.OperationalError):
        ask(ready_home)


def test_processes_that_start_at_once_share_one_server(open_folder: Path) -> None:
    """Several processes that find no cluster make one, together."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(open_folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    assert [p.stdout.readline() for p in processes if p.stdout] == ["up\n"] * 3
    assert ask(open_folder) == (str(open_folder / "postgres"),)
    for process in processes:
        leave(process)
    assert not EmbeddedServer(open_folder).status().is_running


def test_a_killed_user_is_not_counted(ready_home: Path) -> None:
    """After `kill -9` of one user the home works for others, and the server stops with the last of them."""
    killed, other = hold(ready_home), hold(ready_home)
    killed.kill()
    killed.communicate()
    ask(ready_home)
    leave(other)
    assert not EmbeddedServer(ready_home).status().is_running

    alone = hold(ready_home)
    alone.kill()
    alone.communicate()
    with EmbeddedServer(ready_home):  # the server that the dead one left behind is taken over
        ask(ready_home)
    assert not EmbeddedServer(ready_home).status().is_running


@pytest.mark.parametrize("fate", ["crash", "number reused"])
def test_a_crashed_server_is_started_again(ready_home: Path, fate: str) -> None:
    """A pid file left by a crash stops nobody, also when its number is another process's by now; data is recovered."""
    with EmbeddedServer(ready_home) as server, psycopg.connect(server.dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        pid = server.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not server.status().is_running)
        time.sleep(0.2)  # its children notice and go
        if fate == "number reused":
            file = ready_home / "postgres" / "postmaster.pid"
            file.write_text(file.read_text().replace(str(pid), str(os.getpid()), 1))
    with EmbeddedServer(ready_home) as server, psycopg.connect(server.dsn) as conn:
        assert conn.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_kept_server_stays_until_it_is_stopped(ready_home: Path) -> None:
    """`keep()` leaves the server up without users; `stop()` ends it, but not under a user unless forced."""
    server = EmbeddedServer(ready_home)
    server.keep()
    with EmbeddedServer(ready_home):
        ask(ready_home)
    assert server.status().is_running
    assert server.status().is_kept
    with EmbeddedServer(ready_home):
        assert server.stop() is False
        ask(ready_home)
    assert not server.status().is_running, "with the mark gone, the last to leave stops it"
    server.keep()
    assert server.stop() is True
    assert not server.status().is_running


def test_the_server_is_durable_and_private(open_folder: Path) -> None:
    """No TCP, fsync and synchronous commit on, UTC, and a data directory that only its account may enter."""
    with EmbeddedServer(open_folder) as server, psycopg.connect(server.dsn) as conn:
        settings = dict(
            conn.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN "
                "('listen_addresses', 'fsync', 'synchronous_commit', 'full_page_writes', 'TimeZone', 'server_encoding', 'data_checksums')"
            ).fetchall()
        )
    assert settings == {
        "listen_addresses": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "data_checksums": "on",
    }
    assert (open_folder / "postgres").stat().st_mode & 0o777 == 0o700


def test_a_long_path_gets_a_short_private_socket(open_folder: Path) -> None:
    """A open_folder whose path is too long for a socket works; the socket lies in a folder of the account alone."""
    deep = open_folder / ("long folder äöü " * 4) / ("x" * 60)
    with EmbeddedServer(deep) as server, psycopg.connect(server.dsn) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
        folder = Path(conn.info.host)
        assert folder.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(folder)


def test_a_prepared_socket_folder_is_refused(open_folder: Path) -> None:
    """Somebody else's folder at the socket's place is refused, not used."""
    deep = open_folder / ("y" * 120)
    folder = Postmaster((deep / "postgres").absolute(), server_account()).socket_dir
    folder.mkdir(mode=0o777)
    try:
        with pytest.raises(StoreUnavailable, match="private folder"):
            EmbeddedServer(deep).acquire()
    finally:
        folder.rmdir()


def test_a_server_that_cannot_start_shows_its_log(ready_home: Path) -> None:
    """The error ends with what PostgreSQL itself said."""
    with EmbeddedServer(ready_home):
        pass
    with (ready_home / "postgres" / "postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 1\n")
    with pytest.raises(StoreUnavailable, match="no_such_setting"):
        EmbeddedServer(ready_home).acquire()
    assert not EmbeddedServer(ready_home).status().is_used


def test_a_folder_with_other_things_is_left_alone(open_folder: Path) -> None:
    """A `postgres` folder that is no cluster is refused and not touched."""
    (open_folder / "postgres").mkdir()
    (open_folder / "postgres" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreUnavailable, match=r"neither empty|belongs to"):
        EmbeddedServer(open_folder).acquire()
    assert (open_folder / "postgres" / "thesis.txt").read_text() == "mine"


def test_an_interrupted_creation_is_begun_again(open_folder: Path) -> None:
    """A cluster that was cut off while being made is made anew."""
    (open_folder / "postgres.new").mkdir()
    (open_folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedServer(open_folder):
        ask(open_folder)
    assert not (open_folder / "postgres.new").exists()


def test_only_the_traverse_bit_is_given(tmp_path: Path) -> None:
    """Folders the account cannot pass get o+x and nothing else; passable ones are left alone."""
    if os.geteuid() != 0:
        pytest.skip("only root changes modes for another account")
    closed, open_ = tmp_path / "closed", tmp_path / "closed" / "open"
    open_.mkdir(parents=True)
    closed.chmod(0o700)
    open_.chmod(0o751)
    changed = let_pass(Account(uid=65000, gid=65000), [open_ / "postgres"])
    assert closed in changed
    assert open_ not in changed
    assert closed.stat().st_mode & 0o777 == 0o701


def test_a_store_opens_from_an_empty_home(open_folder: Path) -> None:
    """Opening the default store creates, starts and migrates it; opening it again finds the same one."""
    settings = Settings(home=open_folder, dsn=None, lake=open_folder / "lake")
    with Store.open(settings) as store:
        assert store.months()
        assert store.check_cluster()
        made = store.conn.execute("SELECT created_at FROM refold.store").fetchone()
    with Store.open(settings) as store:
        assert store.conn.execute("SELECT created_at FROM refold.store").fetchone() == made
    assert not EmbeddedServer(open_folder).status().is_running
