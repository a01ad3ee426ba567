"""Months: which partitions there are and what they hold. A month is the UTC calendar month of `created_at`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, LiteralString

import psycopg

from pipelines.store.home_log import Signed
from pipelines.store.locks import without_writers
from pipelines.store.sqlstate import typed_errors

MonthState = Literal["open", "closing", "sealed", "stray"]
"""`stray`: events of the month lie in the DEFAULT partition, it has none of its own yet."""

_MONTHS = """
SELECT m.month, m.state, m.generation, e.events, e.first_created_at, e.last_created_at,
    coalesce(pg_total_relation_size(to_regclass('refold.events_' || replace(m.month, '-', '_'))), 0)
FROM refold.months AS m
CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(e.created_at) AS first_created_at, max(e.created_at) AS last_created_at
    FROM refold.events AS e
    WHERE e.created_at >= (m.month || '-01')::timestamp AT TIME ZONE 'UTC'
        AND e.created_at < ((m.month || '-01')::timestamp + interval '1 month') AT TIME ZONE 'UTC'
) AS e
UNION ALL
SELECT to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM'), 'stray', 0, count(*), min(d.created_at), max(d.created_at), 0
FROM refold.events_default AS d
GROUP BY 1
ORDER BY 1
"""
_HAS_STRAYS = """
SELECT FROM refold.events_default AS d WHERE to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM') = %s LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class MonthStatus:
    """One month of the store.

    Attributes:
        month: `YYYY-MM`, UTC.
        state: `open`, `closing`, `sealed`, or `stray` for events that lie in the DEFAULT partition.
        generation: How often the month was opened; 0 for strays.
        events: Rows.
        first_created_at: Earliest event's time, None when empty.
        last_created_at: Latest event's time, None when empty.
        bytes: On disk with indexes; 0 for strays, which share a table.
    """

    month: str
    state: MonthState
    generation: int
    events: int
    first_created_at: datetime | None
    last_created_at: datetime | None
    bytes: int


def list_months(conn: psycopg.Connection) -> list[MonthStatus]:
    """All months with a partition or with strays, ascending."""
    with typed_errors():
        return [MonthStatus(*row) for row in conn.execute(_MONTHS).fetchall()]


def closed_months(conn: psycopg.Connection) -> frozenset[str]:
    """Months that take no events, whoever appends them."""
    with typed_errors():
        rows = conn.execute("SELECT month FROM refold.months WHERE state <> 'open'").fetchall()
    return frozenset(row[0] for row in rows)


def open_months(conn: psycopg.Connection) -> frozenset[str]:
    """Months that have a partition, and take events."""
    with typed_errors():
        rows = conn.execute("SELECT month FROM refold.months WHERE state = 'open'").fetchall()
    return frozenset(row[0] for row in rows)


def month_state(conn: psycopg.Connection, month: str) -> tuple[MonthState, int] | None:
    """State and generation of one month; `stray` when it has events and no partition, None when it has neither."""
    with typed_errors():
        row = conn.execute("SELECT state, generation FROM refold.months WHERE month = %s", [month]).fetchone()
        if row is None and conn.execute(_HAS_STRAYS, [month]).fetchone() is not None:
            return "stray", 0
    return row


def ensure_months(conn: psycopg.Connection, datetimes: Iterable[datetime]) -> list[str]:
    """Make the missing partitions for events at `datetimes` (naive is UTC); return the months made, ascending."""
    wanted = sorted({month_of(at) for at in datetimes})
    with typed_errors():
        made = conn.execute(
            "SELECT m.month FROM unnest(%s::text[]) WITH ORDINALITY AS m (month, n) "
            "WHERE refold.ensure_month(m.month) ORDER BY m.n",
            [wanted],
        ).fetchall()
    return [row[0] for row in made]


def make_month(conn: psycopg.Connection, month: str) -> bool:
    """Make one month's partition and move its strays into it; whether there was none before."""
    with typed_errors():
        row = conn.execute("SELECT refold.ensure_month(%s)", [month]).fetchone()
    assert row is not None
    return bool(row[0])


def close_month(conn: psycopg.Connection, month: str, wait_seconds: float) -> int:
    """Close an open month to writes; answers its generation."""
    tables = [f"events_{month.replace('-', '_')}", "events_default"]
    with without_writers(conn, tables, wait_seconds, f"month {month} was not closed"):
        return _generation(conn, "SELECT refold.close_month(%s)", [month])


def seal_month(conn: psycopg.Connection, month: str, manifest: Signed, files: Signed) -> int:
    """Seal a closing month with its manifest and the list of its files; answers its generation."""
    given = [month, manifest.text, files.text, manifest.signature, files.signature]
    return _generation(conn, "SELECT refold.seal_month(%s, %s, %s, %s, %s)", given)


def note_files(conn: psycopg.Connection, month: str, files: Signed) -> None:
    """Note which files hold a sealed month now."""
    with typed_errors():
        conn.execute("SELECT refold.note_files(%s, %s, %s)", [month, files.text, files.signature])


def unseal_month(conn: psycopg.Connection, month: str, reason: str) -> int:
    """Open a closing or sealed month again; answers its new generation."""
    return _generation(conn, "SELECT refold.unseal_month(%s, %s)", [month, reason])


def _generation(conn: psycopg.Connection, query: LiteralString, parameters: Sequence[str | bytes | None]) -> int:
    with typed_errors():
        row = conn.execute(query, parameters).fetchone()
    assert row is not None
    return int(row[0])


def month_of(at: datetime) -> str:
    """The UTC month of a time, `YYYY-MM`; naive is UTC."""
    utc = at if at.tzinfo is None or at.tzinfo is UTC else at.astimezone(UTC)
    return f"{utc.year:04d}-{utc.month:02d}"
