"""What is looked at: a window and values of four columns; and what there is to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from pipelines.console import on_one_line
from pipelines.lake.lake import Lake

COLUMNS = ("source", "agent", "vertical", "model")
"""What can be chosen, each with any number of values; model is of decisions, the others are of conversations and calls."""
ALL = "all"
_DAYS = (7, 30, 90, 365)
_MOST_VALUES = 200
_MOST_CHARACTERS = 60
_NONE = "(not recorded)"
_STREAMS = "(SELECT {columns} FROM conversations UNION ALL SELECT {columns} FROM calls)"
_SPAN = f"SELECT min(started_at), max(started_at) FROM {_STREAMS.format(columns='started_at')}"
_VALUES = """
SELECT coalesce({column}, '') AS value, count(*) AS rows FROM {relation} GROUP BY 1 ORDER BY rows DESC, value LIMIT {most}
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a reader chose.

    Attributes:
        first: Only what began at this time or later, UTC; None for no bound.
        end: Only what began before, UTC; None for no bound.
        values: Column of `COLUMNS` → its values, "" for what is not recorded; a column without values is not looked at.
    """

    first: datetime | None = None
    end: datetime | None = None
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to choose from.

    Attributes:
        windows: What a window is called → its first time and its end.
        values: Column of `COLUMNS` → what a value is called → the value; the most frequent first, 200 at most.
    """

    windows: dict[str, tuple[datetime | None, datetime | None]]
    values: dict[str, dict[str, str]]

    def choose(self, window: str, **names: Sequence[str]) -> Chosen:
        """What the names of a window and of values stand for; names that are not known are left out."""
        first, end = self.windows.get(window, (None, None))
        values = {
            column: [self.values[column][name] for name in given if name in self.values[column]]
            for column, given in names.items()
        }
        return Chosen(first, end, {column: each for column, each in values.items() if each})


def load_choices(lake: Lake) -> Choices:
    """What the lake has to choose from; of an empty one, everything and no values."""
    with lake.connect("SELECT * FROM conversations, calls, decisions") as connection:
        found = connection.execute(_SPAN).fetchall()[0]
        values = {column: _values(connection, column) for column in COLUMNS}
    return Choices(_windows(*found), values)


def _windows(first: datetime | None, last: datetime | None) -> dict[str, tuple[datetime | None, datetime | None]]:
    windows: dict[str, tuple[datetime | None, datetime | None]] = {ALL: (None, None)}
    if first is None or last is None:
        return windows
    last = min(last, datetime.now(UTC))  # a clock that was wrong once moves no window
    end = last.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    for days in _DAYS:
        if first < end - timedelta(days=days):
            windows[f"last {days} days"] = (end - timedelta(days=days), None)
    month = last.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(_MOST_VALUES if first <= last else 0):
        windows[f"{month:%Y-%m}"] = (month, (month + timedelta(days=32)).replace(day=1))
        if month <= first or month == month.min.replace(tzinfo=UTC):
            break
        month = (month - timedelta(days=1)).replace(day=1)
    return windows


def _values(connection: duckdb.DuckDBPyConnection, column: str) -> dict[str, str]:
    relation = "decisions" if column == "model" else _STREAMS.format(columns=column)
    query = _VALUES.format(column=column, relation=relation, most=_MOST_VALUES)
    named: dict[str, str] = {}
    for value, _ in connection.execute(query).fetchall():
        name = shown(value)
        named[name if name not in named else f"{name} ({len(named)})"] = value
    return named


def shown(value: Any) -> str:
    """A recorded value as a short line that is what it seems; what is not recorded is said to be."""
    text = on_one_line(str(value)) if value not in (None, "") else _NONE
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
