"""The home log: the store's and the lake's the same, without a gap, and the months' states what it says they became."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

import duckdb

from pipelines.audit.findings import Finding, Place
from pipelines.lake.datasets import HOME_LOG
from pipelines.lake.lake import Lake
from pipelines.proof.states import AFTER
from pipelines.store import Entry, MonthStatus, Store

_REDACTIONS = """
SELECT n.stream, n.version
FROM unnest(%s::uuid[], %s::integer[], %s::text[]) AS n (stream, version, hash)
LEFT JOIN refold.events AS e ON n.stream = e.aggregate_id AND n.version = e.stream_version
WHERE encode(e.hash, 'hex') IS DISTINCT FROM n.hash
ORDER BY n.stream, n.version
"""
_BEFORE = {
    "opened": (None,),
    "closing": ("open",),
    "sealed": ("closing",),
    "files": ("sealed",),
    "unsealed": ("closing", "sealed"),
}
"""States of the month that an entry may follow."""


def lake_entries(lake: Lake) -> list[Entry]:
    """The lake's, read without any other table; an entry that was copied twice in the same words is given once.

    Raises:
        DeltaError: The table's log is damaged.
        duckdb.Error: One of its files is damaged.
    """
    files = lake.files(HOME_LOG.name)
    if not files:
        return []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.sql(
            "SELECT DISTINCT entry, kind, month, generation, document, signature, noted_at FROM read_parquet($files) ORDER BY ALL",
            params={"files": files},
        ).fetchall()
    return [Entry.of(row) for row in rows]


def audit_logs(lake: Sequence[Entry], store: Sequence[Entry] | None) -> Iterator[Finding]:
    """Hold the two logs to each other, and each to itself: gaps, entries that are not the same, documents of something else.

    What the store has beyond the lake's last entry is newer than the last export and no finding, but for seals: a seal ends with
    its documents in the lake.
    """
    sides: dict[Place, Sequence[Entry]] = {"lake": lake} if store is None else {"lake": lake, "store": store}
    for place, entries in sides.items():
        yield from _gaps(place, entries)
        yield from (found for each in entries if (found := _misnamed(place, each)) is not None)
    if store is None:
        return
    last = max((each.entry for each in lake), default=-1)
    for each in store:
        if each.entry > last and each.kind in ("sealed", "files"):
            detail = f"only the store has entry {each.entry} of the home log ({each.kind}); sealing the month again copies it"
            yield Finding("entry_missing", each.month, "lake", detail)
    there = {each.entry: each for each in store}
    for each in lake:
        other = there.get(each.entry)
        if other is None:
            yield Finding(
                "entry_missing",
                each.month,
                "store",
                f"only the lake has entry {each.entry} of the home log ({each.kind})",
            )
        elif _content(each) != _content(other):
            detail = f"entry {each.entry} of the home log ({other.kind}) is not the same in store and lake"
            yield Finding("entry_differs", other.month, "manifest", detail)


def audit_states(entries: Sequence[Entry], months: Mapping[str, MonthStatus]) -> Iterator[Finding]:
    """Hold the store's months to what its log says became of them: a state that nobody noted is one that nobody may have made."""
    states: dict[str, tuple[str | None, int]] = {}
    for each in entries:
        if each.month is None:
            continue
        state, generation = states.get(each.month, (None, 0))
        wanted = generation + (each.kind in ("opened", "unsealed"))
        if state not in _BEFORE[each.kind] or each.generation != wanted:
            detail = (
                f"entry {each.entry} of the home log says {each.kind}, generation {each.generation}, of a month that was "
                f"{state or 'not there'}, generation {generation}"
            )
            yield Finding("state_differs", each.month, "store", detail)
        states[each.month] = AFTER[each.kind], each.generation or 0
    for month in sorted(states.keys() | months.keys()):
        found, said = months.get(month), states.get(month)
        if found is None or (found.state, found.generation) != said:
            is_so = f"{found.state}, generation {found.generation}" if found else "not there"
            noted = f"{said[0]}, generation {said[1]}" if said else "never opened"
            yield Finding("state_differs", month, "store", f"the month is {is_so}; by the home log it is {noted}")


def audit_redactions(entries: Sequence[Entry], store: Store) -> Iterator[Finding]:
    """Hold each redaction that was noted to the event that it was: one that is gone, or another, would show what it hid."""
    noted = []
    for each in entries:
        if each.kind == "redacted":
            event = _event_of(each.signed.text)
            if event is None:
                detail = f"the document of entry {each.entry} of the home log names no event"
                yield Finding("entry_differs", None, "store", detail)
            else:
                noted.append(event)
    columns = [list(column) for column in zip(*noted, strict=True)] or [[], [], []]
    for stream, version in store.conn.execute(_REDACTIONS, columns).fetchall():
        detail = "the home log has a redaction of another hash here than the stream has, which may have none"
        yield Finding("entry_differs", None, "store", detail, stream=str(stream), version=version)


def _event_of(document: str) -> tuple[UUID, int, str] | None:
    """Stream, version and hash (hex) that a redaction's document names; None where it names none."""
    try:
        said = json.loads(document)
        event = UUID(said["stream"]), int(said["version"]), str(said["hash"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return event if 0 < event[1] < 2**31 else None


def _gaps(place: Place, entries: Sequence[Entry]) -> Iterator[Finding]:
    numbers = {each.entry for each in entries}
    missing = sorted(set(range(max(numbers) + 1)) - numbers) if numbers else []
    for number in missing:
        yield Finding("entry_missing", None, place, f"entry {number} of the home log is not there, later ones are")
    seen: set[int] = set()
    for each in entries:
        if each.entry in seen:
            yield Finding(
                "entry_differs", each.month, place, f"entry {each.entry} of the home log is there more than once"
            )
        seen.add(each.entry)


def _misnamed(place: Place, entry: Entry) -> Finding | None:
    """A finding where the document, which the tree covers, does not say what the columns beside it do."""
    try:
        said = json.loads(entry.signed.text)
        named = (said.get("month"), said.get("generation"))
        kind = said.get("kind", entry.kind)
    except (ValueError, AttributeError):
        return Finding(
            "entry_differs", entry.month, place, f"the document of entry {entry.entry} of the home log cannot be read"
        )
    if (kind, *named) == (entry.kind, entry.month, entry.generation):
        return None
    return Finding(
        "entry_differs", entry.month, place, f"entry {entry.entry} of the home log is not what its document says"
    )


def _content(entry: Entry) -> tuple[object, ...]:
    return entry.kind, entry.month, entry.generation, entry.signed, entry.noted_at
