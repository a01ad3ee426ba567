"""What a person or a program sees: results on stdout, progress and messages on stderr.

With `--json` a verb prints one JSON object on stdout and nothing else. Nothing here decides anything.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

_SECONDS_BETWEEN = 0.5
_UNITS = ("B", "kB", "MB", "GB", "TB")
_PIPED_WIDTH = 10_000
"""Columns of a line that goes to a file or a program: nothing is cut."""


def to_plain(value: Any) -> Any:
    """A result as JSON values: data classes as objects, times as ISO 8601, bytes as hex, the rest as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: to_plain(item) for key, item in asdict(value).items()}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, bytes | datetime):
        return value.hex() if isinstance(value, bytes) else value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def print_result(result: Any, text: str, *, as_json: bool) -> None:
    """Print a verb's result: the object as JSON, or the text."""
    sys.stdout.write((json.dumps(to_plain(result), ensure_ascii=False) if as_json else text) + "\n")


def tell(line: str) -> None:
    """One line of progress or of a message, on stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class Ticker:
    """Progress of long work on stderr, at most twice a second: what, how many of how many, how fast, how much longer."""

    def __init__(self, what: str, write: Callable[[str], None] = tell) -> None:
        self._what, self._write = what, write
        self._started = self._last = 0.0
        self._done = -1

    def __call__(self, done: int, total: int | None = None) -> None:
        """Report that `done` are done so far, of `total` if it is known; fewer than before begin anew."""
        now = time.monotonic()
        if self._done < 0 or done < self._done:
            self._started = self._last = now
        self._done = done
        if now - self._last >= _SECONDS_BETWEEN:
            self._last = now
            rate = done / (now - self._started)
            line = f"  {done:,} {self._what}, {rate:,.0f}/s"
            if total and rate:
                left = max(total - done, 0) / rate
                line = (
                    f"  {done:,} of {total:,} {self._what} ({done / total:.0%}), {rate:,.0f}/s, {duration(left)} left"
                )
            self._write(line)


def duration(seconds: float) -> str:
    """A time span as a person says it: `12 s`, `3 min 05 s`, `2 h 07 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def size(number: int) -> str:
    """Bytes in the decimal unit that fits: `0 B`, `12.3 MB`."""
    power = min((len(str(number)) - 1) // 3, len(_UNITS) - 1)
    return f"{number / 1000**power:,.1f} {_UNITS[power]}" if power else f"{number} B"


def render_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as a table that fits the terminal; numbers to the right, null as an empty cell."""
    rows = [tuple(row) for row in rows]
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(table.columns):
        if any(isinstance(row[index], int | float) and not isinstance(row[index], bool) for row in rows):
            column.justify = "right"
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, dict | list):
        return json.dumps(to_plain(value), ensure_ascii=False)
    return str(to_plain(value))
