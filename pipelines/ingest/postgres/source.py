"""The events table of another database, read as it is: its shape, its types, its rows in one snapshot.

Reads only, in one read-only transaction. Identifiers are quoted, values bound; the connection string is in no message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql

from pipelines.errors import BadInputError
from pipelines.ingest.clock import Days
from pipelines.store.session import session_query

COLUMNS = ("id", "aggregate_id", "aggregate_type", "event_type", "event_version", "payload", "created_at")
FETCH_BYTES = 4_000_000
FETCH_ROWS = 2_000
"""Bytes that one fetch aims at, and the rows it takes at most."""
_PROBLEMS = {
    "a null in one of the columns": " OR ".join(f"{column} IS NULL" for column in COLUMNS),
    "a payload that is not a JSON object": "jsonb_typeof(payload::jsonb) <> 'object'",
    "created_at outside the years 1 to 9999": (
        "created_at::timestamptz < '0001-01-01 00:00:00+00' OR created_at::timestamptz >= '10000-01-01 00:00:00+00'"
    ),
}
_TIMES = frozenset(
    psycopg.adapters.types[name].oid for name in ("timestamptz", "timestamp", "date", "text", "varchar", "bpchar")
)
"""Types that say a time; without a zone it is UTC, and text is read as PostgreSQL reads it, year first."""
_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
_CONNECT_SECONDS = 10


class SourceType(NamedTuple):
    """A type as the table names it: with or without `.vN`, and its version."""

    event_type: str
    event_version: int


@dataclass(frozen=True, slots=True)
class Row:
    """One row; payload and time are PostgreSQL's own text, so that nothing of them is lost."""

    id: int
    aggregate_id: UUID
    aggregate_type: str
    type: SourceType
    payload: str
    created_at: str

    @property
    def source_type(self) -> str:
        """Type and version as the table says them, in one text."""
        return f"{self.type.event_type} {self.type.event_version}"

    @property
    def content(self) -> tuple[str, str, str, str]:
        """What may not change once it is imported."""
        return self.aggregate_type, self.source_type, self.payload, self.created_at


def connect_source(dsn: str) -> psycopg.Connection:
    """A connection for one read-only snapshot, time zone UTC.

    Raises:
        BadInputError: No server answers, or the connection string is none; the message never repeats the string.
    """
    try:
        conn = psycopg.connect(
            dsn, connect_timeout=_CONNECT_SECONDS, application_name="refold import", client_encoding="UTF8"
        )
    except psycopg.ProgrammingError:
        raise BadInputError(
            "--dsn is not a PostgreSQL connection string; write postgresql://user@host:5432/database"
        ) from None
    except psycopg.OperationalError as error:
        raise BadInputError(f"the source's database does not answer: {str(error).strip()}") from None
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    conn.read_only = True
    with _reading("the source"):
        # for the text of times; the table's name is looked up where its owner looks
        conn.execute(session_query(is_local=True, without=["search_path", "client_encoding"]).encode())
        conn.execute("SET LOCAL cursor_tuple_fraction = 1")  # the cursor is read to its end
    return conn


class Source:
    """An events table, seen in the snapshot of `conn`'s transaction.

    Raises:
        BadInputError: There is no such table, or it lacks columns of the expected shape.
    """

    def __init__(self, conn: psycopg.Connection, table: str) -> None:
        self._conn, self._name = conn, table
        self._table = identifier(table)
        with _reading(table):
            found = conn.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(self._table)).description or []
        missing = sorted(set(COLUMNS) - {column.name for column in found})
        if missing:
            raise BadInputError(f"{table} has no column {', '.join(missing)}; an events table has {', '.join(COLUMNS)}")
        (created_at,) = (column for column in found if column.name == "created_at")
        if created_at.type_code not in _TIMES:
            raise BadInputError(
                f"created_at of {table} is {created_at.type_display}, which is no time; make it one in a view and import the view: "
                "to_timestamp(created_at) of seconds, to_timestamp(created_at / 1000.0) of milliseconds"
            )

    @property
    def full_name(self) -> str:
        """`schema.name`, however the table was given."""
        query = (
            "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE c.oid = %s::regclass"
        )
        with _reading(self._name):
            row = self._conn.execute(query, [self._table.as_string(self._conn)]).fetchone()
        assert row is not None
        return f"{row[0]}.{row[1]}"

    def types(self) -> dict[SourceType, int]:
        """The types of its rows, by name and version, and how many rows each has."""
        query = "SELECT event_type::text, event_version::bigint, count(*) FROM {} GROUP BY 1, 2 ORDER BY 1, 2"
        return {SourceType(name, version): rows for name, version, rows in self._all(query)}

    def check_rows(self, days: Days) -> None:
        """See that every row can be an event, and says a time of `days`.

        Raises:
            BadInputError: Some do not; the first few of a kind are named.
        """
        conditions = list(_PROBLEMS.values())
        query = "SELECT " + ", ".join(f"coalesce(bool_or({each}), false)" for each in conditions) + " FROM {}"
        for is_met, (what, condition) in zip(self._all(query)[0], _PROBLEMS.items(), strict=True):
            if is_met:
                rows = self._all("SELECT id::text FROM {} WHERE " + condition + " ORDER BY id LIMIT 5")
                named = ", ".join(str(row[0]) for row in rows)
                raise BadInputError(
                    f"rows of {self._name} cannot be events: {what} (id {named}); correct them, or import a view "
                    "without them"
                )
        self._check_days(days)

    def _check_days(self, days: Days) -> None:
        outside = (
            "SELECT id::text, created_at::timestamptz FROM {} WHERE (created_at::timestamptz AT TIME ZONE 'UTC')::date "
            "NOT BETWEEN %s AND %s ORDER BY id LIMIT 5"
        )
        rows = self._all(outside, days.first, days.last)
        if rows:
            more = "".join(f", {each}" for each, _ in rows[1:])
            raise BadInputError(
                f"created_at of row {rows[0][0]} of {self._name} {days.fault(rows[0][1])}"
                + (f" (also id {more[2:]})" if more else "")
            )

    def months(self) -> dict[str, datetime]:
        """The UTC months of its rows, ascending, each with its first moment."""
        query = (
            "SELECT DISTINCT extract(YEAR FROM created_at::timestamptz AT TIME ZONE 'UTC')::int, "
            "extract(MONTH FROM created_at::timestamptz AT TIME ZONE 'UTC')::int FROM {} ORDER BY 1, 2"
        )
        starts = [datetime(year, month, 1, tzinfo=UTC) for year, month in self._all(query)]
        return {f"{start.year:04d}-{start.month:02d}": start for start in starts}

    def rows(self) -> Iterator[Row]:
        """All rows, stream by stream, each in the order of `id`; fetched as many at a time as their size allows."""
        query = (
            "SELECT id::bigint, aggregate_id::uuid, aggregate_type::text, event_type::text, event_version::bigint, "
            "payload::jsonb::text, created_at::timestamptz::text FROM {} ORDER BY 2, 1"
        )
        size = 100
        types: dict[tuple[str, int], SourceType] = {}
        with _reading(self._name), self._conn.cursor(name="refold_import") as cursor:
            cursor.execute(self._query(query))
            while page := cursor.fetchmany(size):
                held = 0
                for ordinal, aggregate_id, aggregate_type, event_type, version, payload, created_at in page:
                    held += len(payload)
                    named = types.setdefault((event_type, version), SourceType(event_type, version))
                    yield Row(ordinal, aggregate_id, aggregate_type, named, payload, created_at)
                size = max(1, min(2 * size, FETCH_ROWS, size * FETCH_BYTES // max(held, 1)))

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with _reading(self._name):
            return self._conn.execute(self._query(query), values or None).fetchall()

    def _query(self, text: str) -> sql.Composed:
        """A query of this module, with the table in its braces."""
        return sql.SQL(text).format(self._table)


def identifier(table: str) -> sql.Identifier:
    r"""The quoted form of `name` or `schema.name`, each as it is or in double quotes.

    Raises:
        BadInputError: It is neither.
    """
    parts: list[str] = []
    at = 0
    while at <= len(table):
        match = _PART.match(table, at)
        if match is None or "\0" in table:
            break
        parts.append(match[1].replace('""', '"') if match[1] else match[2])
        at = match.end()
        if at == len(table) and len(parts) <= 2:
            return sql.Identifier(*parts)
        if table[at] != ".":
            break
        at += 1
    raise BadInputError(f"--table is {table!r}; write a name or schema.name, with double quotes around names with dots")


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Say what of the source could not be read."""
    try:
        yield
    except psycopg.Error as error:
        text = (error.diag.message_primary or str(error)).strip()
        raise BadInputError(f"{name} cannot be read: {text}") from error
