"""Connections go on with one database, which keeps nothing of the one before."""

from __future__ import annotations

import duckdb
import pytest

from pipelines import duck
from pipelines.lake.lake import Lake

_LEFT = """
SELECT view_name FROM duckdb_views() WHERE NOT internal
UNION ALL SELECT table_name FROM duckdb_tables() WHERE NOT internal
UNION ALL SELECT name || value FROM duckdb_settings() WHERE name = 'threads' AND value <> $threads
"""


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """The databases that are opened, in order; none is there yet."""
    found = []
    connect = duckdb.connect

    def note(*args, **named):
        found.append(connect(*args, **named))
        return found[-1]

    monkeypatch.setattr(duck, "_idle", [])
    monkeypatch.setattr(duckdb, "connect", note)
    return found


def is_open(database):
    """Whether a database is still there."""
    try:
        database.execute("SELECT 1")
    except duckdb.ConnectionException:
        return False
    return True


def test_the_next_connection_has_nothing_of_the_one_before(tmp_path, opened):
    """Views, tables, temporary ones, registered rows, threads, where it spills: each begins as in a database of its own, also of another lake."""
    lakes = [Lake(tmp_path / name) for name in ("first", "second", "third")]
    with lakes[0].connect("FROM events") as alone:
        (threads,) = alone.execute("SELECT current_setting('threads')::VARCHAR").fetchall()[0]
    for lake in lakes:
        with lake.connect("FROM events") as connection:
            assert connection.execute(_LEFT, {"threads": threads}).fetchall() == [("events",)]
            spill, memory = connection.execute(
                "SELECT current_setting('temp_directory'), current_setting('memory_limit')"
            ).fetchall()[0]
            assert (spill, "MiB" in memory) == (str(lake.spill), True)
            connection.execute("CREATE TEMP TABLE mine AS SELECT 1 AS a")
            connection.execute("CREATE TABLE ours AS SELECT 1 AS a")
            connection.execute("CREATE VIEW theirs AS FROM ours")
            connection.execute("SET threads = 1")
    assert len(opened) == 1


def test_connections_at_once_have_databases_of_their_own(tmp_path, opened):
    """Whoever connects while another is at work gets a database of its own; two serve those after them, and no more are kept."""
    lake = Lake(tmp_path / "lake")
    with lake.connect("FROM events") as first, lake.connect("FROM events") as second, lake.connect("FROM events"):
        first.execute("CREATE TABLE mine AS SELECT 1 AS a")
        assert not second.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'mine'").fetchall()
    with lake.connect("FROM events"), lake.connect("FROM events"):
        pass
    assert len(opened) == 3
    assert sum(map(is_open, opened)) == 2


def test_a_database_of_an_error_is_not_gone_on_with(tmp_path, opened):
    """After an error a connection begins with another database."""
    lake = Lake(tmp_path / "lake")
    with pytest.raises(duckdb.CatalogException), lake.connect("FROM events") as connection:
        connection.execute("FROM nothing")
    with lake.connect("FROM events") as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchall() == [(0,)]
    assert list(map(is_open, opened)) == [False, True]


@pytest.mark.parametrize("is_there_still", [True, False])
def test_a_database_that_spilled_is_not_gone_on_with(tmp_path, opened, is_there_still):
    """It cannot spill elsewhere, and would leave its folder."""
    lakes = [Lake(tmp_path / name, memory_bytes=10**8) for name in ("first", "second")]
    lakes[0].root.mkdir()
    with lakes[0].connect("FROM events") as connection:
        connection.execute("SET memory_limit = '40MB'")
        connection.execute("CREATE TABLE large AS SELECT repeat('x', 1000) || range AS text FROM range(100_000)")
        assert list(lakes[0].spill.iterdir())
        if not is_there_still:
            connection.execute("DROP TABLE large")
    with lakes[1].connect("FROM events"):
        pass
    assert list(map(is_open, opened)) == [False, True]
    assert not lakes[0].spill.exists() or not list(lakes[0].spill.iterdir())


def test_what_a_connection_held_is_given_back(tmp_path, opened):
    """A database that waits holds no memory of what was read."""
    lake = Lake(tmp_path / "lake")
    with lake.connect("FROM events") as connection:
        connection.execute("CREATE TABLE large AS SELECT repeat('x', 1000) || range AS text FROM range(50_000)")
    (database,) = opened
    held = database.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchall()[0][0]
    assert held < 2**20
