"""What is written is the account's own, whoever writes it; what is there and more open is closed."""

from __future__ import annotations

import os
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from pipelines.errors import BadInputError
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.lake import Lake
from pipelines.privacy import private_files, withdraw_access
from pipelines.settings import Settings
from tests.support.lake_rows import register, replace_month


def modes(folder: Path) -> dict[str, int]:
    """Mode of a folder and of all below."""
    return {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.lstat().st_mode) for path in [folder, *folder.rglob("*")]
    }


def write_all(settings: Settings) -> None:
    """Files by Python, Delta, DuckDB and SQLite."""
    lake = Lake.from_settings(settings)
    replace_month(lake)
    register(lake)
    publish_catalog(lake, settings.catalog)
    sqlite3.connect(settings.home / "runs.db").execute("CREATE TABLE t (i INTEGER)")
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1) TO '{settings.home}/out.csv'")
    (settings.home / "page.html").write_text("x", encoding="utf-8")


@pytest.mark.parametrize(("is_shared", "others"), [(False, 0o077), (True, 0o027)])
def test_every_writer_is_private(is_shared, others, settings):
    """No file or folder has a bit that the mask forbids; with a group, each has the group's bits for reading."""
    before = os.umask(0o022)
    try:
        with private_files(is_shared=is_shared):
            write_all(settings)
        found = modes(settings.home)
        assert len(found) > 20
        assert {name: oct(mode) for name, mode in found.items() if mode & others} == {}
        private_by_intent = (".lock", ".catalog.lock", ".tables.lock")
        if is_shared:
            assert [n for n, mode in found.items() if not mode & 0o040 and not n.endswith(private_by_intent)] == []
        assert os.umask(0o022) == 0o022  # the caller's is as it was
    finally:
        os.umask(before)


def test_an_open_home_is_closed(settings):
    """A home of before, readable by all: home, lake and what lies in the home are closed; links and others' files are left alone."""
    before = os.umask(0o022)
    try:
        write_all(settings)
        elsewhere = settings.home.parent / "elsewhere"
        elsewhere.mkdir()
        (settings.home / "link").symlink_to(elsewhere)
        (settings.home / "postgres").mkdir(mode=0o755)
        assert set(withdraw_access(settings)) >= {settings.home, settings.lake, settings.catalog}
        top = {
            name: mode
            for name, mode in modes(settings.home).items()
            if "/" not in name and name not in ("link", "postgres")
        }
        assert {name: oct(mode) for name, mode in top.items() if mode & 0o077} == {}
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755
        assert withdraw_access(settings) == []  # once
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another account")
def test_the_servers_account_passes_the_home(settings):
    """As root the server's account must pass the home, and cannot list or read it."""
    settings.home.mkdir(mode=0o755)
    (settings.home / "postgres").mkdir()
    os.chown(settings.home / "postgres", 1, 1)
    withdraw_access(settings)
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o701


def test_a_home_is_opened_to_its_group(settings):
    """A private home that is to be shared becomes readable by its group, all of it, and by nobody else."""
    with private_files(is_shared=False):
        write_all(settings)
    withdraw_access(replace(settings, is_shared=True))
    found = modes(settings.home)
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o027} == {}
    assert [name for name, mode in found.items() if not mode & 0o040] == []
    withdraw_access(settings)
    assert {name: oct(mode) for name, mode in modes(settings.home).items() if "/" not in name and mode & 0o077} == {}


def test_the_setting():
    """Only `group` is understood; nothing, and an empty text, is private."""
    with pytest.raises(BadInputError, match="REFOLD_SHARED is 'all'; write group"):
        Settings.from_env({"REFOLD_SHARED": "all"})
    found = [Settings.from_env(env).is_shared for env in ({}, {"REFOLD_SHARED": ""}, {"REFOLD_SHARED": "group"})]
    assert found == [False, False, True]


def test_a_home_that_is_not_there(settings):
    """Nothing is made for it."""
    assert withdraw_access(settings) == []
    assert not settings.home.exists()
