"""Paid responses that must not be kept any more: of what was redacted, of what is erased, and their traces in the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime

from pipelines.replay.asking.responses import ResponseStore

_FORGET_ASKED = "DELETE FROM batch_requests WHERE aggregate_id = ?"
"""What a batch under way brings for such a conversation is not kept: nobody here knows the request any more."""
_COUNTED = "SELECT count(*), coalesce(sum(length(body)), 0) FROM responses "
_CLEAR_MS = 3_000
"""How long who writes the file anew waits for others."""


def forget(store: ResponseStore, redactions: Mapping[str, int]) -> int:
    """Erase the responses of conversations of which more was redacted than when this was last asked for.

    What a model said may repeat what must not be shown any more; such a response is asked for anew.

    Args:
        store: The responses.
        redactions: How often something was redacted, by conversation.

    Returns:
        How many responses were erased; their bytes are overwritten.
    """
    with store.reading() as connection:
        known = dict(connection.execute("SELECT aggregate_id, redactions FROM forgotten").fetchall())
    more = {each: count for each, count in redactions.items() if count > known.get(each, 0)}
    if not more:
        return 0
    with store.writing() as connection:
        erased = sum(
            connection.execute("DELETE FROM responses WHERE aggregate_id = ?", (each,)).rowcount for each in more
        )
        connection.executemany(_FORGET_ASKED, [(each,) for each in more])
        connection.executemany(
            "INSERT INTO forgotten VALUES (?, ?) ON CONFLICT DO UPDATE SET redactions = excluded.redactions",
            list(more.items()),
        )
    with store.reading() as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return erased


def erase(
    store: ResponseStore, whole: Collection[str], parts: Collection[str], before: datetime | None
) -> tuple[int, int]:
    """Erase the responses of conversations, whatever they were asked for: their number and bytes. A later replay pays for them again.

    Nobody knows of which response which part of a conversation is repeated in; so all go.

    Args:
        store: The responses.
        whole: Conversations of which every response goes.
        parts: Conversations of which those go that came before a time.
        before: The time; None for all.
    """
    erased = size = 0
    with store.writing() as connection:
        for where, values in _those(whole, parts, before):
            count, bytes_ = connection.execute(_COUNTED + where, values).fetchone()
            erased, size = erased + count, size + bytes_
            connection.execute("DELETE FROM responses " + where, values)
        connection.executemany(_FORGET_ASKED, [(each,) for each in sorted({*whole, *parts})])
    return erased, size


def erase_if(store: ResponseStore, is_gone: Callable[[str], bool]) -> tuple[int, int]:
    """Erase the responses of which something says so by their text, whosever they are: their number and bytes."""
    with store.reading() as connection:
        rows = connection.execute("SELECT id, body FROM responses")
        found = [(id_, len(body)) for id_, body in rows if is_gone(bytes(body).decode("utf-8", "replace"))]
    with store.writing() as connection:
        connection.executemany("DELETE FROM responses WHERE id = ?", [(id_,) for id_, _ in found])
    return len(found), sum(size for _, size in found)


def count(store: ResponseStore, whole: Collection[str], parts: Collection[str], before: datetime | None) -> int:
    """How many responses `erase` would erase."""
    with store.reading() as connection:
        those = _those(whole, parts, before)
        return sum(connection.execute(_COUNTED + where, values).fetchone()[0] for where, values in those)


def _those(
    whole: Collection[str], parts: Collection[str], before: datetime | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for stream in sorted(whole):
        yield "WHERE aggregate_id = ?", (stream,)
    for stream in sorted(parts):
        if before is None:
            yield "WHERE aggregate_id = ?", (stream,)
        else:
            # both are ISO 8601 in UTC, to the millisecond
            yield "WHERE aggregate_id = ? AND received_at <= ?", (stream, before.isoformat(timespec="milliseconds"))


def clear(store: ResponseStore) -> bool:
    """Write the file anew without what it holds beside its rows: free pages, and the log of what was written.

    Returns:
        False where another process reads or writes it at this moment, and the log stays.
    """
    with store.reading() as connection:
        try:
            connection.execute(f"PRAGMA busy_timeout = {_CLEAR_MS}")
            connection.execute("PRAGMA temp_store = MEMORY")  # no copy of it elsewhere
            connection.execute("VACUUM")
            return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:  # busy for longer than anybody waits
            return False
