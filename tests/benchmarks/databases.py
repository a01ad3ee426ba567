"""PostgreSQL for benchmarks: the embedded server in the benchmark's folder, and migrated databases to measure in."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psycopg

from pipelines.store import EmbeddedServer, Store, connect

TEMPLATE = "template_of_benchmarks"


@contextmanager
def running_server(home: Path) -> Iterator[EmbeddedServer]:
    """The embedded server of `home` with a migrated, empty database `TEMPLATE`; stopped at the end."""
    with EmbeddedServer(home) as server:
        _create(server, TEMPLATE, template="template1")
        with opened(server.dsn_of(TEMPLATE)) as store:
            store.migrate()
        yield server


def create_database(home: Path, name: str, times: Iterable[datetime]) -> str:
    """A migrated database on the running server with partitions for `times`; answers how to connect to it."""
    server = EmbeddedServer(home)
    _create(server, name, template=TEMPLATE)
    dsn = server.dsn_of(name)
    with opened(dsn) as store:
        store.ensure_months(times)
        store.check_cluster()
    return dsn


@contextmanager
def fresh_database(home: str, times: Iterable[datetime]) -> Iterator[str]:
    """A database of one trial's own, dropped after it."""
    name = f"trial_{uuid.uuid4().hex[:12]}"
    try:
        yield create_database(Path(home), name, times)
    finally:
        with psycopg.connect(EmbeddedServer(Path(home)).dsn, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def opened(dsn: str) -> Iterator[Store]:
    """The store at `dsn`."""
    with connect(dsn) as conn:
        yield Store(conn, dsn)


def _create(server: EmbeddedServer, name: str, template: str) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        # FILE_COPY would checkpoint
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY wal_log')
