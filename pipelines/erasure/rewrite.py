"""A table of the store written anew: VACUUM FULL, believed only where new files are seen, old ones gone, and no old row was kept.

Without the right VACUUM FULL only warns, and rows that an open snapshot may still see are copied into the new file.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import psycopg
from psycopg import sql

from pipelines.proof.scrub import Rewritten, Unreached
from pipelines.store import PermissionDenied, StoreBusy, StoreError
from pipelines.store.locks import without_others
from pipelines.store.sqlstate import typed_errors

_POLL_SECONDS = 0.1
_TABLE = """
SELECT pg_relation_filenode(c.oid), pg_relation_filenode(t.oid), ARRAY(
        SELECT pg_relation_filepath(r.oid)
        FROM unnest(ARRAY[c.oid, t.oid] || ARRAY(SELECT i.indexrelid FROM pg_index AS i WHERE i.indrelid IN (c.oid, t.oid))) AS r (oid)
        WHERE r.oid IS NOT NULL ORDER BY 1
    ), pg_total_relation_size(c.oid), greatest(c.reltuples, 0)::bigint
FROM pg_class AS c LEFT JOIN pg_class AS t ON c.reltoastrelid = t.oid
WHERE c.oid = to_regclass('refold.' || quote_ident(%s))
"""
_NOW = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
# Transaction ids have 32 bits and begin again. A lazy vacuum has a snapshot that keeps no rows; other databases' snapshots keep none
# either, but a transaction with an id, wherever it is, holds back the snapshots of all.
_WATCHERS = """
WITH snapshots AS (
    SELECT 'pid ' || a.pid AS who, a.backend_xid AS at FROM pg_stat_activity AS a WHERE a.pid <> pg_backend_pid()
    UNION ALL
    SELECT 'pid ' || a.pid, a.backend_xmin FROM pg_stat_activity AS a
    WHERE a.pid <> pg_backend_pid() AND (a.datname = current_database() OR a.backend_type = 'walsender')
        AND a.pid NOT IN (SELECT v.pid FROM pg_stat_progress_vacuum AS v)
    UNION ALL
    SELECT 'prepared transaction ' || p.gid, p.transaction FROM pg_prepared_xacts AS p
    UNION ALL
    SELECT 'replication slot ' || s.slot_name, s.xmin FROM pg_replication_slots AS s
)
SELECT DISTINCT s.who FROM snapshots AS s WHERE ((s.at::text::bigint - %s) & 4294967295) > 2147483647 ORDER BY 1
"""
_SIZES = """
SELECT (pg_stat_file(p.path || g.further, true)).size FROM unnest(%s::text[]) AS p (path), (VALUES (''), ('.1')) AS g (further)
"""
_RIGHT = (
    "this role may not write it anew: run it as superuser or owner of the database, or let the role "
    "(from PostgreSQL 17 on GRANT refold_eraser, which has MAINTAIN; before, GRANT refold_owner while it runs)"
)


@dataclass(frozen=True, slots=True)
class _Table:
    """Files, bytes and rows of a table, as the catalog has them; paths are also those of its TOAST table and of indexes."""

    filenode: int
    toast: int | None
    paths: list[str]
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """What was written anew, and the files that it had, relative to the data directory."""

    relation: Rewritten
    old_paths: tuple[str, ...]


def wait_for_snapshots(conn: psycopg.Connection, wait_seconds: float) -> None:
    """Wait until nobody can see rows that are gone now: until then they would be copied into new files.

    Raises:
        StoreBusy: Somebody still could after `wait_seconds`; the message names pids, gids and slots.
    """
    with typed_errors():
        row = conn.execute(_NOW).fetchone()
        assert row is not None
        deadline = time.monotonic() + wait_seconds
        while watchers := [who for (who,) in conn.execute(_WATCHERS, [row[0]]).fetchall()]:
            if time.monotonic() > deadline:
                raise StoreBusy(
                    f"nothing was scrubbed: what is erased can still be seen by {', '.join(watchers)}, after {wait_seconds:g} s; "
                    "end them or try again"
                )
            time.sleep(_POLL_SECONDS)


def rewrite(conn: psycopg.Connection, table: str, wait_seconds: float) -> Replaced | Unreached:
    """Write a table of schema refold anew; what it is now, or why it is not.

    Raises:
        StoreBusy: Somebody held it for longer than `wait_seconds`, or could still see rows that are gone.
    """
    kept: list[int] = []

    def hear(told: psycopg.errors.Diagnostic) -> None:
        if told.source_function == "copy_table_data" and (number := re.search(r"\d+", told.message_detail or "")):
            kept.append(int(number[0]))  # "N dead row versions cannot be removed yet", in whatever language

    before = _look(conn, table)
    started = time.perf_counter()
    conn.add_notice_handler(hear)
    try:
        with without_others(conn, table, wait_seconds, f"{table} was not scrubbed"):
            conn.execute(sql.SQL("VACUUM (FULL, VERBOSE) refold.{}").format(sql.Identifier(table)))
    finally:
        conn.remove_notice_handler(hear)
    seconds = time.perf_counter() - started
    after = _look(conn, table)
    if after.filenode == before.filenode or (after.toast is not None and after.toast == before.toast):
        return Unreached("relation", table, _RIGHT)
    if any(kept):
        raise StoreBusy(
            f"{table} was not scrubbed: {sum(kept):,} old rows were kept, for a snapshot that began before; "
            "end the sessions that have one, also in other databases, or try again"
        )
    if not kept:
        return Unreached(
            "relation", table, "it was written anew, and the server did not tell whether old rows were kept"
        )
    relation = Rewritten(
        table=table,
        old_filenode=before.filenode,
        new_filenode=after.filenode,
        old_toast=before.toast,
        new_toast=after.toast,
        is_old_gone=None,
        rows=after.rows,
        bytes_before=before.bytes,
        bytes_after=after.bytes,
        seconds=round(seconds, 3),
    )
    return Replaced(relation, tuple(before.paths))


def are_gone(conn: psycopg.Connection, paths: tuple[str, ...]) -> bool | None:
    """Whether files of the data directory are gone, or empty; None where this role may not look.

    A file that was replaced is emptied at once, and removed by the checkpoint after that; further gigabytes of it are removed at once.
    """
    try:
        with typed_errors():
            rows = conn.execute(_SIZES, [list(paths)]).fetchall()
            return not any(size for (size,) in rows)
    except PermissionDenied:
        return None


def _look(conn: psycopg.Connection, table: str) -> _Table:
    with typed_errors():
        row = conn.execute(_TABLE, [table]).fetchone()
    if row is None:
        raise StoreError(f"the store has no table {table}")
    return _Table(*row)
