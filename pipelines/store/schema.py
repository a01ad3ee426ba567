"""The schema as a document: what all files of `sql/postgres` together make, read from PostgreSQL's catalogs.

`sql/postgres/schema.md` is this document. `python -m pipelines.store.schema` writes it anew, in a database made for it on
a server made for it; a test compares. Function bodies are not in it: they are in their files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import psycopg

from pipelines.sqlfiles import read_sql, sql_root
from pipelines.store.connect import connect
from pipelines.store.embedded import EmbeddedServer
from pipelines.store.migrations import migrate
from pipelines.store.sqlstate import typed_errors

MONTH = "2000-01"
"""The month that stands for all of them."""
DOCUMENT = "postgres/schema.md"
_HEAD = f"""\
# The event store in PostgreSQL

What the files of this folder make, in schema `refold`; columns are NOT NULL unless they say null. `events_{MONTH.replace("-", "_")}` stands for
every month. Written by `python -m pipelines.store.schema`; a test holds it to the migrations.
"""
_PARTS = ("columns", "constraints", "indexes", "triggers")
_HEADERS = {
    "columns": ("column", "type", "", "default"),
    "constraints": ("constraint", "definition"),
    "indexes": ("index", "definition"),
    "triggers": ("trigger", "definition"),
}
_LISTS = {
    "functions": ("function", "result", "language", "volatility", "security", "owner", "settings"),
    "event_triggers": ("event trigger", "event", "function", "enabled"),
    "privileges": ("role", "object", "privileges"),
}


def describe_schema(conn: psycopg.Connection) -> str:
    """The document on a database as `make_example` left it: Markdown, the same on every supported PostgreSQL."""
    with typed_errors(), conn.transaction():
        conn.execute("SET LOCAL search_path = pg_catalog")  # names are qualified, whoever asks
        conn.execute("SET LOCAL timezone = 'UTC'")
        return _describe(conn)


def _describe(conn: psycopg.Connection) -> str:
    parts = {part: _rows_by_table(conn, part) for part in _PARTS}
    blocks = [_HEAD]
    for name, comment, partitioning in _rows(conn, "tables"):
        blocks.append(f"## Table `{name}`\n\n" + "\n".join(filter(None, (comment, partitioning))) + "\n")
        blocks += [_table(_HEADERS[part], parts[part][name]) for part in _PARTS if name in parts[part]]
    for part, header in _LISTS.items():
        blocks.append(f"## {part.replace('_', ' ').capitalize()}\n")
        blocks.append(_table(header, _rows(conn, part)))
    return "\n".join(blocks)


def make_example(conn: psycopg.Connection) -> None:
    """Apply all files to an empty database, and make one month."""
    migrate(conn)
    with typed_errors():
        conn.execute("SELECT refold.ensure_month(%s)", [MONTH])


def _rows(conn: psycopg.Connection, part: str) -> list[tuple[str, ...]]:
    return conn.execute(read_sql(f"postgres/catalog/{part}.sql").encode()).fetchall()


def _rows_by_table(conn: psycopg.Connection, part: str) -> dict[str, list[tuple[str, ...]]]:
    rows = _rows(conn, part)
    return {table: [row[1:] for row in group] for table, group in groupby(rows, key=itemgetter(0))}


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([_cell(value) for value in row] for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _cell(value: str) -> str:
    return (value or "").replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Write the document of this checkout."""
    with (
        tempfile.TemporaryDirectory(prefix="refold-schema-") as home,
        EmbeddedServer(Path(home), is_durable=False) as server,
        connect(server.dsn) as conn,
    ):
        make_example(conn)
        text = describe_schema(conn)
    (sql_root() / DOCUMENT).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
