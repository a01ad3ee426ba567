"""Dagster's databases as a run makes and keeps them are those that Dagster would make."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import dagster as dg  # noqa: TID251 - these tests are of the code location
import pytest
from alembic.script import ScriptDirectory
from dagster._core.storage.runs.sqlite import sqlite_run_storage  # noqa: TID251
from dagster._core.storage.sql import get_alembic_config  # noqa: TID251
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage  # noqa: TID251

from assets.internals import newest_revision
from assets.storage import Storage

DATABASES = ("history/runs.db", "history/runs/index.db", "history/runs/one.db", "schedules/schedules.db")
_SCHEMA = "SELECT name, sql FROM sqlite_schema ORDER BY name"
_TIMES = {"create_timestamp", "migration_completed"}
"""Columns that say when a row was made."""


def _made(base: Path, storage: Callable[[str], DagsterSqliteStorage]) -> dict[str, list]:
    """Tables, indexes and rows of the databases that a storage makes for an instance and for one run."""
    made = storage(str(base))
    made.event_log_storage.store_event(
        dg.EventLogEntry(None, "DEBUG", "said", "one", time.time(), None, "job", None)  # type: ignore[arg-type]
    )
    made.dispose()
    return {name: _contents(base / name) for name in DATABASES}


def _contents(path: Path) -> list:
    with closing(sqlite3.connect(path)) as connection:
        schema = [(name, "".join((sql or "").split())) for name, sql in connection.execute(_SCHEMA)]
        mode = connection.execute("PRAGMA journal_mode").fetchone()
        rows = {}
        for name, sql in schema:
            if sql.startswith("CREATETABLE") and name not in {"event_logs", "sqlite_sequence"}:
                found = connection.execute(f'SELECT * FROM "{name}"')
                kept = [i for i, (column, *_) in enumerate(found.description) if column not in _TIMES | {"id"}]
                rows[name] = sorted(tuple(row[i] for i in kept) for row in found)
    return [mode, schema, rows]


def test_databases_are_those_that_dagster_makes(tmp_path):
    """Schema, revision, journal, and what is noted as converted: all of it is what Dagster's own storage leaves."""
    ours, theirs = _made(tmp_path / "ours", Storage), _made(tmp_path / "theirs", DagsterSqliteStorage)
    assert ours == theirs
    assert all(rows["alembic_version"] for _, _, rows in ours.values())
    assert not list((tmp_path / "ours").rglob(".*"))


def test_the_newest_revision_is_that_of_alembic():
    """What is read from the files of Dagster's migrations is what Alembic finds by running them."""
    config = get_alembic_config(sqlite_run_storage.__file__)
    assert newest_revision() == ScriptDirectory.from_config(config).get_current_head()


def test_those_who_make_the_databases_at_once_get_the_same(tmp_path):
    """Several first runs of a home at a time: each opens whole databases, and nothing but them is left."""
    with ThreadPoolExecutor(4) as pool:
        storages = list(pool.map(lambda _: Storage(str(tmp_path)), range(4)))
    for number, storage in enumerate(storages):
        storage.event_log_storage.add_dynamic_partitions("experiments", [str(number)])
    assert storages[0].event_log_storage.get_dynamic_partitions("experiments") == ["0", "1", "2", "3"]
    for storage in storages:
        storage.dispose()
    assert not list(tmp_path.rglob(".*"))


def test_a_database_that_was_not_made_to_its_end_is_mended(tmp_path):
    """Without its revision, as Dagster leaves it when it is killed in the middle, a database is finished by Dagster."""
    (tmp_path / "history").mkdir(parents=True)
    with closing(sqlite3.connect(tmp_path / "history" / "runs.db")) as connection:
        connection.execute("CREATE TABLE half (made INTEGER)")
    storage = Storage(str(tmp_path))
    assert storage.run_storage.get_runs_count() == 0
    storage.dispose()


@pytest.mark.parametrize("name", DATABASES[:2])
def test_only_a_new_home_reads_migrations(tmp_path, monkeypatch, name):
    """Where the databases are there, opening them asks for no revision."""
    Storage(str(tmp_path)).dispose()

    def ask() -> str:
        raise AssertionError(name)

    monkeypatch.setattr("assets.storage.newest_revision", ask)
    Storage(str(tmp_path)).dispose()
    (tmp_path / name).unlink()
    with pytest.raises(AssertionError, match=name):
        Storage(str(tmp_path))
