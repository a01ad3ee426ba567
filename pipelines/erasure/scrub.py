"""`scrub`: what PostgreSQL keeps of erased events, written over.

An UPDATE leaves the old row in its page, a VACUUM the bytes of the row, and the write-ahead log whole pages. So every table that
erasures touched since the last scrub is written anew, once for all of them, and the log after that is brought forward past
everything from before. What was done, and what could not be reached, is an entry of the home log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import UUID

from pipelines.erasure.rewrite import Replaced, are_gone, rewrite, wait_for_snapshots
from pipelines.erasure.unreached import list_unreached
from pipelines.erasure.write_ahead import write_over
from pipelines.export.home_log import covered, last_scrub
from pipelines.proof.erasure import read_erasure
from pipelines.proof.scrub import Rewritten, Scrub, Unreached
from pipelines.proof.signing import key_id, read_private_key
from pipelines.store import Entry, Store, sign
from pipelines.store.erasures import months_of_erasures, note_scrub
from pipelines.store.sqlstate import typed_errors

WAIT_SECONDS = 30.0
MOST_WAL_BYTES = 8 * 2**30
"""So much of the write-ahead log is written over at once; where more waits for that, it is told as not reached."""
ALWAYS = ("events_default", "holds")
"""Strays that were moved and appends that failed leave content in the one, holds that were lifted in the other."""
_LEAVES = """
SELECT c.relname FROM pg_partition_tree(to_regclass('refold.events')) AS p INNER JOIN pg_class AS c ON p.relid = c.oid
WHERE p.isleaf ORDER BY c.relname
"""
_UNLOOKED = Unreached("wal", "pg_wal", "it was not written over, since no table was written anew")


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """What a scrub did.

    Attributes:
        entry: Where in the home log it is recorded; None when there was nothing to record.
        scrub: The newest record; None when there never was one.
        erasures: How many erasures it covers that none before did.
        left: How many erasures are not covered: they are not done, or tables could not be written anew.
    """

    entry: int | None
    scrub: Scrub | None
    erasures: int
    left: int

    @property
    def relations(self) -> tuple[Rewritten, ...]:
        """What was written anew now."""
        return self.scrub.relations if self.scrub is not None and self.entry is not None else ()

    @property
    def not_reached(self) -> tuple[Unreached, ...]:
        """Where content may still be."""
        return self.scrub.not_reached if self.scrub is not None else ()

    @property
    def is_complete(self) -> bool:
        """Whether every erasure is covered and there is no place left that could keep something."""
        return not (self.left or self.not_reached)


@dataclass(frozen=True, slots=True)
class _Todo:
    """What a scrub has to do.

    Attributes:
        last: The scrub before.
        up_to: The entry of the home log up to which all erasures are done in the store.
        new: Erasures among these that no scrub covers.
        left: Erasures after these, which are not done.
        tables: What is to be written anew.
    """

    last: Scrub | None
    up_to: int
    new: frozenset[UUID]
    left: frozenset[UUID]
    tables: tuple[str, ...]


def scrub(
    store: Store,
    signing_key: Path | None = None,
    *,
    all_months: bool = False,
    wait_seconds: float = WAIT_SECONDS,
    most_wal_bytes: int = MOST_WAL_BYTES,
    on_table: Callable[[str, int, int], Any] | None = None,
) -> ScrubReport:
    """Write over what PostgreSQL keeps of events erased since the last scrub, and record that.

    Nothing is done when no erasure is newer than the last scrub. A scrub that was cut off is done again from its start: it is
    recorded when all of it is done. A table is closed to readers and writers while it is written.

    Args:
        store: The store; its role needs the rights that `not_reached` names where they are missing.
        signing_key: PEM file of the key to sign the record with.
        all_months: Whether to write every month anew: appends that failed may have left content in months without erasures.
        wait_seconds: How long to wait for snapshots in which erased content can be seen, and for each table.
        most_wal_bytes: How much of the write-ahead log may be written over.
        on_table: Told the name of each table as it begins, its number from 1, and how many there are.

    Raises:
        StoreBusy: A table was held, or erased content can still be seen by an open snapshot, prepared transaction or slot; nothing is
            recorded, and the message names who.
    """
    started = time.perf_counter()
    key = read_private_key(signing_key) if signing_key else None
    todo = _plan(store, store.home_log(), all_months=all_months)
    if not todo.tables and (todo.last is None or _is_done(todo.last)):
        return ScrubReport(None, todo.last, 0, len(todo.left))
    replaced, refused = _rewrite(store, todo.tables, wait_seconds, on_table)
    segments = _write_over_log(store, todo, replaced, most_wal_bytes)
    unreached = [*refused, *([segments] if isinstance(segments, Unreached) else []), *list_unreached(store.conn)]
    is_covered = not refused
    document = Scrub(
        covers=todo.up_to if is_covered else (todo.last.covers if todo.last else None),
        relations=tuple(_look_back(store, each, unreached) for each in replaced),
        wal_segments=None if isinstance(segments, Unreached) else segments,
        not_reached=tuple(unreached),
        seconds=round(time.perf_counter() - started, 3),
        server_version=store.conn.info.server_version,
        code_version=metadata.version("refold"),
        scrubbed_at=datetime.now(UTC).isoformat(),
        public_key_id=key_id(key.public_key()) if key else None,
    )
    left = len(todo.left if is_covered else todo.left | todo.new)
    if not replaced and todo.last is not None and _places(document) == _places(todo.last):
        return ScrubReport(None, todo.last, 0, left)
    entry = note_scrub(store.conn, sign(document.text(), key))
    return ScrubReport(entry, document, len(todo.new) if is_covered else 0, left)


def _plan(store: Store, entries: Sequence[Entry], *, all_months: bool) -> _Todo:
    """What there is to do; the home log was read before, so an erasure that it has is in the table of erasures too."""
    last = last_scrub(entries)
    erased = {each.entry: UUID(read_erasure(each.signed.text).erasure) for each in entries if each.kind == "erased"}
    months = months_of_erasures(store.conn)
    waiting = [entry for entry, erasure in erased.items() if erasure in months and not months[erasure][1]]
    up_to = min(waiting, default=len(entries)) - 1
    new = frozenset(erasure for entry, erasure in erased.items() if covered(last) < entry <= up_to)
    tables: list[str] = []
    if new or all_months:
        with typed_errors():
            leaves = [name for (name,) in store.conn.execute(_LEAVES).fetchall()]
        wanted = {f"events_{month.replace('-', '_')}" for each in new if each in months for month in months[each][0]}
        tables = [name for name in leaves if all_months or name in wanted]
        tables = [*(name for name in tables if name not in ALWAYS), *ALWAYS]
    left = frozenset(erasure for entry, erasure in erased.items() if entry > up_to)
    return _Todo(last, up_to, new, left, tuple(tables))


def _rewrite(
    store: Store, tables: Sequence[str], wait_seconds: float, on_table: Callable[[str, int, int], Any] | None
) -> tuple[list[Replaced], list[Unreached]]:
    """Write tables anew, one after the other; what was, and what could not be."""
    replaced: list[Replaced] = []
    refused: list[Unreached] = []
    if tables:
        wait_for_snapshots(store.conn, wait_seconds)
    for number, table in enumerate(tables, 1):
        if on_table is not None:
            on_table(table, number, len(tables))
        done = rewrite(store.conn, table, wait_seconds)
        if isinstance(done, Replaced):
            replaced.append(done)
        else:
            refused.append(done)
    return replaced, refused


def _write_over_log(store: Store, todo: _Todo, replaced: Sequence[Replaced], most_bytes: int) -> int | Unreached:
    """Write over the write-ahead log, unless the last scrub did and no table was written anew since."""
    last = todo.last
    if replaced:
        return write_over(store.conn, most_bytes)
    if todo.tables or last is None or last.covers is None:
        return _UNLOOKED
    return write_over(store.conn, most_bytes) if last.wal_segments is None else last.wal_segments


def _look_back(store: Store, replaced: Replaced, unreached: list[Unreached]) -> Rewritten:
    """What was written anew, with whether its old files are gone; files that are there are told."""
    is_gone = are_gone(store.conn, replaced.old_paths)
    if is_gone is False:
        unreached.append(Unreached("file", ", ".join(replaced.old_paths), "it was replaced, and is still there"))
    return replace(replaced.relation, is_old_gone=is_gone)


def _is_done(last: Scrub) -> bool:
    return not last.not_reached and last.wal_segments is not None


def _places(document: Scrub) -> set[tuple[str, str]]:
    """What was not reached, without what changes from one moment to the next."""
    return {(each.kind, each.name) for each in document.not_reached}
