"""Find where a stream's fold can begin instead of at its first event: the newest snapshot that can be vouched for.

A snapshot is used if its hashes are today's: of the code that made it, of the chain's link at its event, which stands for
all events before, and of the redactions that hide parts of those; and if as many of those are erased as it counts. What it and the snapshots before it say was new must
reach back to the stream's beginning without a gap. Any doubt means no snapshot, which costs time and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.fold.shapes import STATE_LISTS

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot to go on from, and the lists of the state there, in order."""

    row: Row
    lists: Mapping[str, Sequence[Row]]


def find_snapshot(
    rows: Iterable[Row],
    until_version: int,
    links: Mapping[int, bytes],
    redactions: Sequence[Row],
    code: str,
    erased: Sequence[int] = (),
) -> Snapshot | None:
    """The newest snapshot up to a version that can be gone on from, if there is one.

    Args:
        rows: The stream's snapshots.
        until_version: The last event that is wanted.
        links: Chain link of the events that snapshots are of, by stream version.
        redactions: The stream's redactions, of any time: `stream_version`, `hash`, and `target_version`, the version that one
            hides a part of, None if it does not say.
        code: What `code_hash` is now.
        erased: Versions of the stream's erased events.
    """
    known = {row["stream_version"]: row for row in rows if row["lists_since"] is not None}
    hidden: list[tuple[int, str]] = []
    for each in redactions:
        if each["target_version"] is None:
            return None
        hidden.append((each["target_version"], f"{each['stream_version']} {each['hash'].hex().upper()}"))

    def vouches(row: Row) -> bool:
        version = row["stream_version"]
        applied = (text for target, text in hidden if target <= version)
        return is_current(row, code, links.get(version), applied, sum(gone <= version for gone in erased))

    for version in sorted((version for version in known if version <= until_version), reverse=True):
        chain = _chain(known, version)
        if chain and all(vouches(row) for row in chain):
            return Snapshot(known[version], {name: _together(chain, name) for name in STATE_LISTS})
    return None


def is_current(snapshot: Mapping[str, Any], code: str, link: bytes | None, applied: Iterable[str], erased: int) -> bool:
    """Whether a snapshot is what a fold would make today.

    Args:
        snapshot: Its hashes.
        code: What `code_hash` is now.
        link: The chain's link at its event now.
        applied: The redactions that hide a part of its events, each as version and hash (hex) with a blank between.
        erased: How many of its events are erased now.
    """
    names = ("code_hash", "last_hash", "redactions_hash", "erased_events")
    return tuple(snapshot[name] for name in names) == (code, link, redactions_hash(applied), erased)


def redactions_hash(applied: Iterable[str]) -> str | None:
    """The hash of the redactions in force, as DuckDB makes it: MD5s as little-endian numbers, added by XOR; None for none."""
    found = [int.from_bytes(hashlib.md5(text.encode()).digest(), "little") for text in applied]  # noqa: S324 -- no secret
    if not found:
        return None
    together = 0
    for number in found:
        together ^= number
    return str(together)


def _chain(known: Mapping[int, Row], version: int) -> list[Row]:
    """The snapshots whose lists make those of the one at `version`, oldest first; none if one of them is missing."""
    chain: list[Row] = []
    while version:
        row = known.get(version)
        if row is None or row["lists_since"] >= version:
            return []
        chain.append(row)
        version = row["lists_since"]
    return chain[::-1]


def _together(chain: Iterable[Row], name: str) -> list[Row]:
    """The lists of a chain as one; what is stated again takes the place of what was stated before."""
    stated = {each["stream_version"]: each for row in chain for each in row[name] or ()}
    return [stated[version] for version in sorted(stated)]
