"""Databases copied from others: what many tests begin with is made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from pipelines.lake.lake import Lake
from pipelines.store import EmbeddedServer, Store, connect
from tests.support.waiting import wait_until

_numbers = count(1)
_IS_WAITED_FOR = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
)


def wait_for_who_waits(connection: psycopg.Connection) -> None:
    """Wait until another session waits for a lock of this connection's transaction.

    Raises:
        AssertionError: None does.
    """
    wait_until(lambda: (connection.execute(_IS_WAITED_FOR).fetchone() or (False,))[0], lambda: "nobody waits for it")


@contextmanager
def copied_database(server: EmbeddedServer, template: str) -> Iterator[str]:
    """A database with what another one holds that nobody is connected to, dropped afterwards; its name."""
    name = f"refold_copy_{next(_numbers)}"
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        # PostgreSQL 14 knows only FILE_COPY, which checkpoints; WAL_LOG copies a small template in tens of milliseconds
        strategy = "STRATEGY wal_log" if admin.info.server_version >= 150000 else ""
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}')
        try:
            yield name
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def filled_template(
    server: EmbeddedServer, template: str, root: Path, fill: Callable[[Store, Lake], object]
) -> Iterator[str]:
    """A store and a lake at `root`, filled once: the name of a database that a module's own `template` can be, to copy with the lake."""
    with copied_database(server, template) as name:
        dsn = server.dsn_of(name)
        with connect(dsn) as conn:
            fill(Store(conn, dsn), Lake(root))
        yield name
