"""Record an erasure in the store and take the content of its events: the two steps that others follow from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from uuid import uuid4

from pipelines.erasure.selection import Selection
from pipelines.proof.erasure import Erasure, Target, read_erasure
from pipelines.proof.signing import key_id, read_private_key
from pipelines.store import Entry, Store, sign
from pipelines.store.erasures import erase_events, record_erasure
from pipelines.store.sqlstate import typed_errors

_PART = 1_000
"""Targets of one document: about 100 kB."""


def record(
    store: Store, selection: Selection, reason: str, signing_key: Path | None, *, is_dry_run: bool = False
) -> str:
    """Record the erasure of a selection, all parts or none; its id. A dry run finds what would refuse it, and records nothing.

    Raises:
        OnHold: Something of it is on hold.
        StoreBusy: A stream that is to be erased whole grew meanwhile.
    """
    key = read_private_key(signing_key) if signing_key else None
    erasure = str(uuid4())
    with typed_errors(), store.conn.transaction(force_rollback=is_dry_run):
        for at in range(0, len(selection.targets), _PART):
            document = Erasure(
                erasure=erasure,
                reason=reason,
                targets=selection.targets[at : at + _PART],
                code_version=metadata.version("refold"),
                recorded_at=datetime.now(UTC).isoformat(),
                public_key_id=key_id(key.public_key()) if key else None,
            )
            record_erasure(store.conn, sign(document.text(), key))
    return erasure


def recorded(entries: Iterable[Entry]) -> dict[str, list[Target]]:
    """What was ever erased, by erasure, in the order in which they were recorded."""
    found: dict[str, list[Target]] = {}
    for each in entries:
        if each.kind == "erased":
            document = read_erasure(each.signed.text)
            found.setdefault(document.erasure, []).extend(document.targets)
    return found


def take_content(store: Store, on_runs: Callable[[int], None] | None = None) -> None:
    """Take the content of all events that recorded erasures name; `on_runs` is told how many runs of events are done."""
    done = 0
    for runs in erase_events(store.conn):
        done += runs
        if on_runs is not None:
            on_runs(done)
