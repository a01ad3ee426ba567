"""Roles that log in, members of one of the groups alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pipelines.store import Store, connect


@contextmanager
def logged_in(store: Store, group: str) -> Iterator[psycopg.Connection]:
    """A connection of a role that logs in and is a member of `group` only."""
    name = f"member_{group}_of_{store.conn.info.dbname}"
    store.conn.execute(f'CREATE ROLE "{name}" LOGIN IN ROLE "{group}"')
    try:
        with connect(store.dsn.replace("refold@", f"{name}@", 1)) as conn:
            assert conn.execute("SELECT current_user").fetchone() == (name,)
            yield conn
    finally:
        store.conn.execute(f'DROP ROLE "{name}"')
