"""Records of files gathered into conversations, on disk, so that memory is bounded by one record and not by the files.

For forms whose records say themselves which conversation they are of, or stand in a file that does. Conversations come in the
order in which the first record of each was read, and their records as they were read.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Group, Record
from pipelines.ingest.forms.form import Options

_TABLE = """
CREATE TABLE records (
    conversation INTEGER NOT NULL, start INTEGER NOT NULL, ordinal INTEGER PRIMARY KEY,
    kind TEXT NOT NULL, place TEXT NOT NULL, value TEXT NOT NULL
)
"""
_RECORDS = """
SELECT r.kind, r.place, r.value
FROM records AS r
JOIN names AS n ON n.conversation = r.conversation
WHERE n.name = ?
ORDER BY r.start, r.ordinal
"""
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Found:
    """One record, and the conversation that it is of.

    Attributes:
        key: What names the conversation.
        is_named: Whether the form says so.
        place: Where it was read.
        value: The JSON object.
        kind: What it is, where a form has records of several kinds.
        start: When it began, in nanoseconds, where records are to be put in this order; else they stay as they were read.
    """

    key: str
    is_named: bool
    place: str
    value: dict[str, Any]
    kind: str = ""
    start: int = 0


class Delivered:
    """Records of one conversation by what names them: logs are delivered more than once, and files overlap."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}

    def is_again(self, record: Record, name: Any) -> bool:
        """Whether a record of this name was there before; as it was it is a copy, and what says something else is kept."""
        if not isinstance(name, str) or not name:
            return False
        text = hashlib.sha256(json.dumps(record.value, sort_keys=True).encode()).digest()
        known = self._texts.setdefault(name, text)
        if known is text:
            return False
        if known == text:
            record.repeated, record.copies = record.repeated + record.leaves, record.copies + 1
            record.value.clear()
        return True


def gathered(found: Iterable[Found], options: Options, names: Mapping[str, str] | None = None) -> Iterator[Group]:
    """The conversations of all records together; each must be read before the next is asked for.

    Args:
        found: Records in any order.
        options: Of the import; `folder` is where the records wait.
        names: What keys are named by in the end, where records tell that of others: read once all records were.
    """
    path = options.folder / f"records-{uuid4().hex}.sqlite"
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as store:
            store.execute("PRAGMA journal_mode = OFF")
            store.execute("PRAGMA synchronous = OFF")
            store.execute(_TABLE)
            for number, (key, is_named) in enumerate(_keep(store, found, {} if names is None else names)):
                yield Group(key, is_named, _records(store, number))
    finally:
        path.unlink(missing_ok=True)


def _keep(store: sqlite3.Connection, found: Iterable[Found], names: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Keep all records; what names the conversations, in order."""
    numbers: dict[tuple[str, bool], int] = {}
    store.execute("BEGIN")
    for each in found:
        number = numbers.setdefault((each.key, each.is_named), len(numbers))
        store.execute(
            "INSERT INTO records (conversation, start, kind, place, value) VALUES (?, ?, ?, ?, ?)",
            (number, each.start, each.kind, each.place, json.dumps(each.value, ensure_ascii=False)),
        )
    store.execute("CREATE TABLE names (conversation INTEGER PRIMARY KEY, name INTEGER NOT NULL)")
    final: dict[tuple[str, bool], int] = {}
    for (key, is_named), number in numbers.items():
        name = (names[key], True) if key in names else (key, is_named)
        store.execute("INSERT INTO names VALUES (?, ?)", (number, final.setdefault(name, len(final))))
    store.execute("CREATE INDEX by_conversation ON records (conversation, start, ordinal)")
    store.execute("CREATE INDEX by_name ON names (name)")
    store.execute("COMMIT")
    return list(final)


def _records(store: sqlite3.Connection, name: int) -> Iterator[Record]:
    rows = store.execute(_RECORDS, (name,))
    while batch := rows.fetchmany(_BATCH):
        for kind, place, text in batch:
            value = json.loads(text)
            yield Record(place, value, leaves(value), kind)
