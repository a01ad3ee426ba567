"""What keeping everything takes on disk: bytes of the log in PostgreSQL and of the lake, month by month."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import LiteralString

import psycopg

from pipelines.lake.lake import Lake

_MONTHS: LiteralString = """
SELECT m.month, coalesce(pg_total_relation_size(to_regclass('refold.events_' || replace(m.month, '-', '_'))), 0)
FROM refold.months AS m
"""
_SHARED: LiteralString = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
WHERE n.nspname = 'refold' AND c.relkind = 'r' AND NOT c.relname ~ '^events_[0-9]{4}_[0-9]{2}$'
"""
"""All other tables of the store: heads of streams, event types, months, strays."""


@dataclass(frozen=True, slots=True)
class MonthBytes:
    """What one month takes.

    Attributes:
        month: YYYY-MM; None for what belongs to no month, such as comparisons and the store's other tables.
        postgres_bytes: The month's partition of the log, out-of-line values and indexes included.
        lake_bytes: Current files of all its tables in the lake, one's own projections included.
        superseded_bytes: Files that are replaced and still within their grace.
    """

    month: str | None
    postgres_bytes: int = 0
    lake_bytes: int = 0
    superseded_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Storage:
    """What the store and the lake take.

    Attributes:
        months: By month; what belongs to none is last.
        postgres_bytes: The log in PostgreSQL, all tables and indexes.
        lake_bytes: Current files of the lake.
        superseded_bytes: Replaced files that are still there.
    """

    months: list[MonthBytes]
    postgres_bytes: int
    lake_bytes: int
    superseded_bytes: int


def measure_storage(conn: psycopg.Connection, lake: Lake) -> Storage:
    """Measure store and lake as they are now.

    Args:
        conn: The store's connection.
        lake: The lake.
    """
    found: dict[str | None, Counter[str]] = defaultdict(Counter)
    for month, size in [*conn.execute(_MONTHS).fetchall(), (None, *conn.execute(_SHARED).fetchall()[0])]:
        found[month]["postgres_bytes"] += size
    for month, what, size in _lake_files(lake):
        found[month][what] += size
    months = [MonthBytes(month, **sizes) for month, sizes in sorted(found.items(), key=lambda item: item[0] or "~")]
    names = [field.name for field in fields(MonthBytes) if field.name != "month"]
    return Storage(months, **{name: sum(getattr(month, name) for month in months) for name in names})


def _lake_files(lake: Lake) -> Iterator[tuple[str | None, str, int]]:
    """(month or None, field of `MonthBytes`, bytes) of every data file on disk."""
    for dataset in lake.datasets().values():
        current = set(lake.files(dataset.name))
        root = lake.table(dataset.name).path
        for path in root.rglob("part-*.parquet") if root.is_dir() else ():
            month = next((part.removeprefix("month=") for part in path.parts if part.startswith("month=")), None)
            yield month, "lake_bytes" if str(path) in current else "superseded_bytes", _size(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # removed since it was listed
        return 0
