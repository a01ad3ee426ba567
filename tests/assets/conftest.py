"""What the tests of the assets share: a store with two months of conversations that cross the months' end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from assets.instance import open_instance
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, Store
from tests.support.databases import copied_database, filled_template
from tests.support.two_months import FEBRUARY, JANUARY, SECRET, say, say_and_fold


@pytest.fixture(scope="session")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty Dagster home with its databases made, to copy: making them takes seconds."""
    home = tmp_path_factory.mktemp("dagster") / "home"
    with open_instance(Settings(home=home, dsn=None, lake=home / "lake")) as instance:
        assert instance.get_runs_count() == 0
    return home / "dagster"


@pytest.fixture
def store_settings(store_settings: Settings, dagster_home: Path) -> Settings:
    """Settings of a fresh store and of a home whose Dagster databases are there already."""
    shutil.copytree(dagster_home, store_settings.home / "dagster")
    return store_settings


@pytest.fixture(scope="session")
def folded_home(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """A database and a lake with six conversations, exported and folded, to copy together."""
    lake = tmp_path_factory.mktemp("folded") / "lake"
    with filled_template(server, template, lake, say_and_fold) as name:
        yield name, lake


@pytest.fixture
def folded_settings(
    tmp_path: Path, server: EmbeddedServer, dagster_home: Path, folded_home: tuple[str, Path]
) -> Iterator[Settings]:
    """Settings of a home with those conversations, and with its Dagster databases."""
    (database, lake), home = folded_home, tmp_path / "home"
    shutil.copytree(dagster_home, home / "dagster")
    shutil.copytree(lake, home / "lake")
    with copied_database(server, database) as name:
        yield Settings(home=home, dsn=server.dsn_of(name), lake=home / "lake", memory_bytes=3 * 10**9)


@pytest.fixture
def secret() -> str:
    """The personal text that is in every event."""
    return SECRET


@pytest.fixture
def speak(store: Store) -> Callable[..., None]:
    """`say` on the test's store: `speak(stream, start, texts=1)`."""
    return partial(say, store)


@pytest.fixture
def conversations(store: Store) -> list[UUID]:
    """Three conversations of January, two of which go on in February."""
    streams = [uuid4() for _ in range(3)]
    for stream in streams:
        say(store, stream, JANUARY, texts=2)
    for stream in streams[:2]:
        say(store, stream, FEBRUARY)
    return streams
