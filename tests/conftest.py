"""Fixtures of all tests: a home, a real PostgreSQL, a fresh store, the real data.

The server is the embedded one and is stopped at the end; every `store` is its own database, copied from a migrated
template, so tests neither see each other nor pay for migrations.

`REFOLD_TEST_PG_BIN=/usr/lib/postgresql/15/bin pytest tests/integration tests/sql` runs them on another PostgreSQL, 14 or
newer: the folder holds its `postgres` and `initdb`. Homes that a test makes for itself keep the wheel's.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import hypothesis
import psycopg
import pytest

from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, Store, connect
from tests.support.databases import copied_database
from tests.support.freezing import freeze, thaw
from tests.support.pace import longest_first, mark_slow
from tests.support.rewriting import rewrite_share
from tests.support.servers import fresh_server, outer_folder
from tests.support.spent import Spent
from tests.support.verbs import Verbs, run_verb

# What is imported and collected stays until the end: to look for cycles in it, again and again, takes two fifths of the collection.
gc.disable()

# Where the environment forbids to keep what is compiled, each of the many processes that the tests start would compile the package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A job in the background of a shell ignores it, and so would the programs that the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("refold", deadline=None)
hypothesis.settings.load_profile("refold")

_TEMPLATE = "refold_template"
_numbers = count(1)


def pytest_configure(config: pytest.Config) -> None:
    """What each module takes is counted."""
    config.pluginmanager.register(Spent(Path(__file__).parent.as_posix()))


@pytest.hookimpl(tryfirst=True)
def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes that are no text are named by their argument: packed ones hold the second, and two workers would differ."""
    is_packed = isinstance(val, bytes) and not (val.isascii() and all(byte >= ord(" ") for byte in val.strip()))
    return argname if is_packed else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """A worker rewrites its share of the assertions before it reads all modules."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker:
        rewrite_share(session.config, session.config.args, int(worker), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests and begin with the longest, by the rules of `tests.support.pace`."""
    mark_slow(items, Path(__file__).parent.as_posix())
    longest_first(items, Path(__file__).parent.as_posix())


def pytest_collection_finish() -> None:
    """From here on cycles are looked for, in what the tests make: not in the items and the modules."""
    freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """At the end all is given back, or libraries that count what is left would tell of it."""
    thaw()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a home under the test's own folder; its store is the embedded server of that home."""
    home = tmp_path / "home"
    return Settings(home=home, dsn=None, lake=home / "lake", memory_bytes=3 * 10**9)


@pytest.fixture(scope="session")
def postgres_tools() -> Path | None:
    """The folder with the programs of the PostgreSQL under test; None is the wheel's."""
    folder = os.environ.get("REFOLD_TEST_PG_BIN")
    return Path(folder) if folder else None


@pytest.fixture(scope="session")
def server(postgres_tools: Path | None) -> Iterator[EmbeddedServer]:
    """One embedded PostgreSQL per test process."""
    with fresh_server(postgres_tools) as running:
        yield running


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> str:
    """Name of a migrated, empty database to copy."""
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{_TEMPLATE}"')
    dsn = server.dsn_of(_TEMPLATE)
    with connect(dsn) as conn:
        Store(conn, dsn).migrate()
    return _TEMPLATE


@pytest.fixture
def empty_dsn(server: EmbeddedServer) -> Iterator[str]:
    """A new database without anything of Refold."""
    name = f"refold_empty_{next(_numbers)}"
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield server.dsn_of(name)
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def store_settings(settings: Settings, server: EmbeddedServer, template: str) -> Iterator[Settings]:
    """Settings whose `dsn` is a fresh migrated database of the session's server."""
    with copied_database(server, template) as name:
        yield replace(settings, dsn=server.dsn_of(name))


@pytest.fixture
def store(store_settings: Settings) -> Iterator[Store]:
    """An open, migrated, empty store."""
    with Store.open(store_settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def history_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of `HISTORY`, not folded, for `copy_lake`: made once, and only read."""
    from tests.support.history import HISTORY, write_log  # noqa: PLC0415 -- most tests need no lake

    return write_log(tmp_path_factory.mktemp("history") / "lake", HISTORY).root


@pytest.fixture(scope="session")
def folded_history(history_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with what projections of one's own read folded."""
    from tests.support.history import copy_lake  # noqa: PLC0415 -- most tests need no lake
    from tests.support.own_projections import fold_built_in  # noqa: PLC0415

    return fold_built_in(copy_lake(history_lake, tmp_path_factory.mktemp("folded") / "lake")).root


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder outside of pytest's own, for homes with a server of their own."""
    with outer_folder() as folder:
        yield folder


@pytest.fixture
def refold(
    store_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Verbs:
    """Runs a verb in this process on the test's store, in its own folder: exit code, stdout, stderr."""
    assert store_settings.dsn is not None
    monkeypatch.setenv("REFOLD_HOME", str(store_settings.home))
    monkeypatch.setenv("REFOLD_DSN", store_settings.dsn)
    for name in ("REFOLD_LAKE", "REFOLD_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_verb(monkeypatch, *arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recorded conversations beside the checkout; the test is skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "conversations.jsonl.gz").exists():
        pytest.skip(f"no real data: {folder} is not there")
    return folder
