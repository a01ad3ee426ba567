"""The write-ahead log: pages of erased events stand in it until its files are written over.

A checkpoint makes files that are not needed any more the next ones to be written, and what was in them stays until then. So the
log is brought forward past all of them: the end of a file that is left early is written with empty pages.
"""

from __future__ import annotations

import psycopg

from pipelines.proof.scrub import Unreached
from pipelines.store import PermissionDenied
from pipelines.store.sqlstate import typed_errors

_SIZES = "SELECT pg_size_bytes(current_setting('wal_segment_size')), pg_size_bytes(current_setting('wal_keep_size'))"
_CURRENT = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"
# The end of a timeline that was left is kept as .partial.
_FILES = "SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}(\\.partial)?$'"
_RIGHT = (
    "this role may not write over the write-ahead log: GRANT pg_monitor, pg_checkpoint (PostgreSQL 15 and newer) and EXECUTE ON FUNCTION "
    "pg_switch_wal; otherwise old pages stay until the server has written over them"
)


def write_over(conn: psycopg.Connection, most_bytes: int) -> int | Unreached:
    """Write over all of the write-ahead log from before now; the number of its files (segments), or why some are left.

    Args:
        conn: In autocommit mode.
        most_bytes: How much may be written for it.
    """
    try:
        with typed_errors():
            return _write_over(conn, most_bytes)
    except PermissionDenied as error:
        return Unreached("wal", "pg_wal", f"{_RIGHT} ({error})")


def _write_over(conn: psycopg.Connection, most_bytes: int) -> int | Unreached:
    size, kept = _numbers(conn, _SIZES)
    _segments(conn, size)  # the rights are asked for before anything is done
    _next(conn)
    begin = _current(conn, size)  # nothing from before stands in this segment, nor in what will be written after it
    conn.execute("CHECKPOINT")
    if kept and min(_segments(conn, size), default=begin) < begin:
        if kept > most_bytes:
            return Unreached(
                "wal", "pg_wal", f"wal_keep_size keeps {kept:,} bytes of it; they are written over in time"
            )
        for _ in range(kept // size + 1):
            _next(conn)
        conn.execute("CHECKPOINT")
    end = max(_segments(conn, size), default=begin)
    if (end - begin) * size > most_bytes:
        return Unreached(
            "wal", "pg_wal", f"{end - begin:,} files of {size:,} bytes wait to be written over, which happens in time"
        )
    while _current(conn, size) <= end:
        _next(conn)
    if old := [number for number in _segments(conn, size) if number < begin]:
        return Unreached(
            "wal", "pg_wal", f"{len(old):,} files from before are kept, for a replication slot, an archive or a summary"
        )
    return _current(conn, size) - begin


def _next(conn: psycopg.Connection) -> None:
    """Leave the segment that is being written; one that nothing was written to is never left, so something is."""
    conn.execute("SELECT pg_logical_emit_message(false, 'refold', '')")
    conn.execute("SELECT pg_switch_wal()")


def _current(conn: psycopg.Connection, size: int) -> int:
    """Number of the segment that is written next."""
    return _numbers(conn, _CURRENT)[0] // size


def _segments(conn: psycopg.Connection, size: int) -> list[int]:
    """Numbers of the segments that are there: written, being written, to be written over."""
    names = [name for (name,) in conn.execute(_FILES).fetchall()]
    return [int(name[8:16], 16) * (2**32 // size) + int(name[16:24], 16) for name in names]


def _numbers(conn: psycopg.Connection, query: str) -> tuple[int, ...]:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return tuple(row)
