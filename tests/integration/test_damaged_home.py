"""A home that is damaged, read-only or half somebody else's: one sentence, exit code 1, and nothing made worse."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest

from pipelines.lake.lake import Lake
from tests.support.lake_rows import contents, replace_month
from tests.support.two_months import FEBRUARY, say


@pytest.fixture
def lake(store_settings) -> Lake:
    """One month of one table."""
    lake = Lake.from_settings(store_settings)
    replace_month(lake)
    return lake


@pytest.fixture
def refold(refold):
    """Run a verb; (exit code, object on stdout, the last line on stderr: before it a lake without events is said)."""

    def run(*arguments: str):
        code, out, err = refold(*arguments, "--json")
        assert "Traceback" not in err
        return code, json.loads(out), err.splitlines()[-1:]

    return run


QUERY = ("sql", "SELECT sum(last_version) AS n FROM stream_months")


def test_a_parquet_file_that_is_gone_or_cut_short(lake, refold):
    """Not the query's fault: exit code 1, the file is named, and what finds the rest; a mistake in a query is still 2."""
    (path,) = map(Path, lake.files("stream_months"))
    whole = path.read_bytes()
    for damaged in (whole[:-50], whole[:4], b"", None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        for verb in (QUERY, ("vacuum",)) if damaged is None else (QUERY,):
            code, out, err = refold(*verb)
            assert (code, len(err)) == (1, 1)
            assert path.name in err[0]
            assert "`refold verify`" in err[0]
            assert out["message"] == err[0].removeprefix("refold: ")
    path.write_bytes(whole)
    assert refold(*QUERY)[1]["rows"] == [{"n": 21}]
    assert refold("sql", "SELECT x FROM stream_months")[0] == 2
    assert refold("sql", "SELECT * FROM read_csv('/not/there.csv')")[0] == 2


@pytest.mark.parametrize("content", [b"this is not a database" * 300, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_database_of_dagster(content, refold, store, store_settings):
    """Named with its folder and what it is worth; moved away, the verb goes on. Who has nothing to do does not open it."""
    say(store, uuid4(), FEBRUARY)
    assert refold("export")[0] == 0
    databases = sorted((store_settings.home / "dagster").rglob("*.db"))
    assert databases
    for database in databases:
        database.write_bytes(content)
    assert refold("export")[0] == 0
    say(store, uuid4(), FEBRUARY)
    code, _, err = refold("export")
    assert (code, len(err)) == (1, 1)
    assert "dagster" in err[0]
    (store_settings.home / "dagster").rename(store_settings.home / "dagster.old")
    assert refold("export")[0] == 0


def test_a_lake_that_may_only_be_read(lake, refold, store_settings):
    """Queries go on; what would write says so in one sentence and leaves the lake as it is."""
    before = contents(lake.root)
    mount = ["mount", "--bind", "-o", "ro", str(lake.root), str(lake.root)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a folder read-only needs root and the capability to mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(lake.root)], check=True)
        code, out, _ = refold(*QUERY)
        assert (code, out["rows"]) == (0, [{"n": 21}])
        code, _, err = refold("vacuum")
        assert (code, len(err)) == (1, 1)
        assert "REFOLD_LAKE" in err[0]
    finally:
        subprocess.run(["umount", "-l", str(lake.root)], check=True)
    assert contents(lake.root) == before


def test_what_stands_where_the_catalog_belongs(lake, refold, store_settings):
    """A catalog of before, and what is no database, is replaced; somebody's tables, and a folder, are left and named."""
    catalog = store_settings.catalog
    with duckdb.connect(str(catalog)) as connection:
        connection.execute("CREATE VIEW stream_months AS SELECT 1 AS stale")
    assert refold("vacuum")[0] == 0
    catalog.write_bytes(b"no database")
    assert refold("vacuum")[0] == 0
    with duckdb.connect(str(catalog), read_only=True) as connection:
        assert connection.sql("SELECT count(*) FROM stream_months").fetchall() == [(7,)]
    catalog.unlink()
    with duckdb.connect(str(catalog)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 42 AS n")
    code, _, err = refold("vacuum")
    assert (code, "1 tables of its own" in err[0]) == (1, True)
    with duckdb.connect(str(catalog), read_only=True) as connection:
        assert connection.sql("FROM mine").fetchall() == [(42,)]
    catalog.unlink()
    catalog.mkdir()
    code, _, err = refold("vacuum")
    assert (code, "is a folder" in err[0]) == (1, True)
