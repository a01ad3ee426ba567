"""Waiting for others: statements that need tables to themselves, for so long and no longer, and say who held them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg

from pipelines.store.errors import StoreBusy
from pipelines.store.session import SETTINGS
from pipelines.store.sqlstate import typed_errors

_HOLDERS = """
SELECT DISTINCT coalesce('pid ' || l.pid, 'prepared transaction ' || p.gid, 'a prepared transaction')
FROM pg_locks AS l
LEFT JOIN pg_locks AS x  -- a prepared transaction has no pid; it is known by the lock on its own id
    ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_prepared_xacts AS p ON p.transaction = x.transactionid
WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND (%s OR l.mode IN ('RowShareLock', 'RowExclusiveLock'))
    AND l.relation IN (SELECT to_regclass('refold.' || t.name) FROM unnest(%s::text[]) AS t (name))
ORDER BY 1
"""


@contextmanager
def without_writers(
    conn: psycopg.Connection, tables: Sequence[str], wait_seconds: float, failed: str
) -> Iterator[None]:
    """A transaction whose statements wait for writers of `tables` for at most `wait_seconds`.

    Args:
        conn: In autocommit mode.
        tables: Tables of schema refold that are locked inside.
        wait_seconds: How long each statement waits.
        failed: What did not happen when that was too short, as the message begins.

    Raises:
        StoreBusy: Writers held the tables for longer; the message names their pids and gids.
    """
    try:
        with typed_errors(), conn.transaction():
            conn.execute("SELECT set_config('lock_timeout', %s, true)", [f"{round(wait_seconds * 1000)}ms"])
            yield
    except StoreBusy as error:
        holders = _holders(conn, tables, with_readers=False)
        raise StoreBusy(
            f"{failed}: writers held it for more than {wait_seconds:g} s ({holders}); end them or try again"
        ) from error


@contextmanager
def without_others(conn: psycopg.Connection, table: str, wait_seconds: float, failed: str) -> Iterator[None]:
    """Statements that wait for writers and readers of a table of schema refold, and cannot stand in a transaction.

    Args:
        conn: In autocommit mode, and in no transaction.
        table: The table.
        wait_seconds: How long each statement waits; who comes later waits behind it.
        failed: What did not happen when that was too short, as the message begins.

    Raises:
        StoreBusy: Somebody held the table for longer; the message names their pids and gids.
    """
    try:
        with typed_errors():
            conn.execute("SELECT set_config('lock_timeout', %s, false)", [f"{round(wait_seconds * 1000)}ms"])
            yield
    except StoreBusy as error:
        holders = _holders(conn, [table], with_readers=True)
        raise StoreBusy(
            f"{failed}: somebody held it for more than {wait_seconds:g} s ({holders}); end them or try again"
        ) from error
    finally:
        if not conn.closed:
            conn.execute("SELECT set_config('lock_timeout', %s, false)", [SETTINGS["lock_timeout"]])


def _holders(conn: psycopg.Connection, tables: Sequence[str], *, with_readers: bool) -> str:
    """Who holds locks on tables now, in words."""
    with typed_errors():
        rows = conn.execute(_HOLDERS, [with_readers, list(tables)]).fetchall()
    return ", ".join(row[0] for row in rows) or "already gone"
