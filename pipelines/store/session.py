"""What every session has set, whatever the server, the database or the role has set for others; one place for all drivers.

A default isolation that is not read committed, a German date, a function of one's own that stands before PostgreSQL's: an
operator may want them for other programs, and everything here relies on what is set below. What is not here is left to the
operator: durability, memory, plans.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import closing, suppress

import psycopg

from pipelines.store.errors import StoreUnavailable

SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
    "search_path": "public",  # PostgreSQL's own objects are found before those of any schema that is not named
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "row_security": "off",  # an error where a policy would leave rows out
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
"""Setting and value. The bounds on time are off: an export of hours is meant, and waits have bounds of their own."""
ARROW_OPTIONS = {"adbc.postgresql.type_resolver_mode": "builtin"}
"""Options of a database of ADBC: PostgreSQL's own types are all that is read. To ask each server for all of its types takes 30 ms."""
_POOLED = (
    "the store's database answers through a pooler that gives a connection to others between transactions (pgbouncer with "
    "pool_mode = transaction or statement); Refold needs sessions of its own: give REFOLD_DSN the server itself, or a pool "
    "with pool_mode = session"
)
_PID = "SELECT pg_catalog.pg_backend_pid()"
_WAIT_SECONDS = 3


def session_query(*, is_local: bool = False, without: Collection[str] = ()) -> str:
    """One statement that sets all of it, for the session or for the transaction alone; its values are constants."""
    calls = (
        f"pg_catalog.set_config('{name}', '{value}', {str(is_local).lower()})"
        for name, value in SETTINGS.items()
        if name not in without
    )
    return f"SELECT {', '.join(calls)}"


def refuse_shared(conn: psycopg.Connection, dsn: str) -> None:
    """Refuse a pooler in transaction mode, before anything is set that would stay with the connections of others.

    A pooler makes up the process id that a session is told. Whether it lends the session's server to somebody else is seen
    by asking a second connection, which holds a transaction open: in session mode the two are never on one server.

    Raises:
        StoreUnavailable: It does.
    """
    row = conn.execute(_PID).fetchone()
    if row is None or row[0] == conn.info.backend_pid:
        return
    lent: list[bool] = []

    def ask() -> None:
        with suppress(psycopg.OperationalError), closing(psycopg.connect(dsn, connect_timeout=_WAIT_SECONDS)) as other:
            try:
                found = other.execute(_PID).fetchone()
                is_moved = found == row or conn.execute(_PID).fetchone() != row
            except psycopg.Error:  # statement mode has no transactions at all
                is_moved = True
            lent.append(is_moved)

    # A full pool makes the second connection wait, which is what sessions of one's own do.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_WAIT_SECONDS)
    if any(lent):
        raise StoreUnavailable(_POOLED)
