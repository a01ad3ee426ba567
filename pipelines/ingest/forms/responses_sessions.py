"""Sessions of the OpenAI Agents SDK: an SQLite file with a table of sessions and one of their items.

SQLite writes beside a file that it only reads, so a private copy is read, with what its writer has not yet put into it. Tables may
have any names, and are told by their columns.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.forms.reading import expect, parse_record

SQLITE = b"SQLite format 3\0"
_COLUMNS = {"session_id", "message_data"}


def is_session(path: Path) -> bool:
    """Whether a file is an SQLite database."""
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from error


def session_items(path: Path, folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The items of all sessions of a file, in the order in which they were added.

    Args:
        path: The file.
        folder: Where the copy is, while it is read.

    Yields:
        `(session, place, record)`; the record has the item as `item`, and the other columns of its row.

    Raises:
        BadInputError: The file cannot be read, has no such table, or an item is no JSON.
    """
    with tempfile.TemporaryDirectory(dir=folder) as private:
        copy = Path(private, "session.db")
        for suffix in ("", "-wal"):
            if path.with_name(path.name + suffix).is_file():
                shutil.copyfile(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
        try:
            with closing(sqlite3.connect(copy)) as store:
                tables = _tables(store)
                if not tables:
                    raise BadInputError(
                        f"{path.name}: is an SQLite file without a table of items (columns session_id, message_data); give the file "
                        "that the Agents SDK's SQLiteSession wrote"
                    )
                for table in tables:
                    yield from _items(store, table, path.name)
        except sqlite3.Error as error:
            raise BadInputError(f"{path.name}: cannot be read as SQLite: {error}") from error


def _tables(store: sqlite3.Connection) -> list[str]:
    names = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")]
    return [name for name in names if _columns(store, name) >= _COLUMNS]


def _columns(store: sqlite3.Connection, table: str) -> set[str]:
    return {name for (name,) in store.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _items(store: sqlite3.Connection, table: str, file: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    quoted = '"' + table.replace('"', '""') + '"'
    rows = store.execute(f"SELECT * FROM {quoted} ORDER BY rowid")  # an identifier of the file, quoted
    columns = [name for name, *_ in rows.description]
    for row in rows:
        record = dict(zip(columns, row, strict=True))
        place = f"{file}#{table}[{record.get('id')}]"
        data = record.pop("message_data")
        record["item"] = expect(
            parse_record(expect(data, str, place, "message_data"), place), dict, place, "message_data"
        )
        yield str(record.pop("session_id")), place, record
