"""Connections of a run go on with one database, which keeps nothing of the one before."""

from __future__ import annotations

import duckdb
import pytest

from pipelines.lake.lake import Lake

_LEFT = """
SELECT view_name FROM duckdb_views() WHERE NOT internal
UNION ALL SELECT table_name FROM duckdb_tables() WHERE NOT internal
UNION ALL SELECT name || value FROM duckdb_settings() WHERE name = 'threads' AND value <> $threads
"""


@pytest.fixture
def opened(monkeypatch):
    """The databases that are opened, in order."""
    found = []
    connect = duckdb.connect

    def note(*args, **named):
        found.append(connect(*args, **named))
        return found[-1]

    monkeypatch.setattr(duckdb, "connect", note)
    return found


def test_the_next_connection_has_nothing_of_the_one_before(tmp_path, opened):
    """Views, tables, temporary ones, registered rows, threads: each connection begins as in a database of its own."""
    lake = Lake(tmp_path / "lake")
    with lake.connect("FROM events") as alone:
        (threads,) = alone.execute("SELECT current_setting('threads')::VARCHAR").fetchall()[0]
    with lake.keeping_open():
        for _ in range(3):
            with lake.connect("FROM events") as connection:
                assert connection.execute(_LEFT, {"threads": threads}).fetchall() == [("events",)]
                connection.execute("CREATE TEMP TABLE mine AS SELECT 1 AS a")
                connection.execute("CREATE TABLE ours AS SELECT 1 AS a")
                connection.execute("CREATE VIEW theirs AS FROM ours")
                connection.execute("SET threads = 1")
    assert len(opened) == 2


def test_connections_at_once_have_databases_of_their_own(tmp_path, opened):
    """Whoever connects while another is at work gets a database of its own; both serve those after them, and close at the end."""
    lake = Lake(tmp_path / "lake")
    with lake.keeping_open():
        with lake.connect("FROM events") as first, lake.connect("FROM events") as second:
            first.execute("CREATE TABLE mine AS SELECT 1 AS a")
            assert not second.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'mine'").fetchall()
        with lake.connect("FROM events"), lake.connect("FROM events"):
            pass
    assert len(opened) == 2
    for database in opened:
        with pytest.raises(duckdb.ConnectionException):
            database.execute("SELECT 1")


def test_a_database_of_an_error_is_not_gone_on_with(tmp_path, opened):
    """After an error a connection begins with another database."""
    lake = Lake(tmp_path / "lake")
    with lake.keeping_open():
        with pytest.raises(duckdb.CatalogException), lake.connect("FROM events") as connection:
            connection.execute("FROM nothing")
        with lake.connect("FROM events") as connection:
            assert connection.execute("SELECT count(*) FROM events").fetchall() == [(0,)]
    assert len(opened) == 2


def test_what_a_connection_held_is_given_back(tmp_path, opened):
    """A database that waits holds no memory of what was read."""
    lake = Lake(tmp_path / "lake")
    with lake.keeping_open():
        with lake.connect("FROM events") as connection:
            connection.execute("CREATE TABLE large AS SELECT repeat('x', 1000) || range AS text FROM range(50_000)")
        (database,) = opened
        held = database.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchall()[0][0]
        assert held < 2**20
