"""Estimates as a forest: one line per estimate with its interval on an axis that all of them share.

As marks on a line from 0 to 1, for `forest.html`, where they fit every width, and as text for a terminal. What is estimated,
and by what it is scaled, is the caller's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

_TICKS = 5
_WIDTH = 41
"""Characters of an axis in a terminal."""


class Mark(NamedTuple):
    """A mark on a line from 0 to 1: how it looks, where it begins, and how wide it is; None: as wide as it looks."""

    kind: str
    left: float
    width: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a forest.

    Attributes:
        label: What is estimated.
        point: The estimate on the axis; None when there is none.
        low: Lower bound; None when there is none.
        high: Upper bound; None likewise.
        margins: Marks for a difference that does not matter, or other limits.
        told: Numbers in words, at the end of the line.
        note: More about the estimate, under its label.
        is_whole: Whether it is drawn as the summary of the others.
    """

    label: str
    point: float | None
    low: float | None
    high: float | None
    margins: tuple[float, ...] = ()
    told: str = ""
    note: str = ""
    is_whole: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the line that is drawn: a bound that is not given lies beyond every axis."""
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high


@dataclass(frozen=True, slots=True)
class Axis:
    """The part of the numbers that is drawn.

    Attributes:
        low: Left end.
        high: Right end, beyond `low`.
        zero: Where a line is drawn; None for nowhere.
        unit: What is written behind a tick.
    """

    low: float
    high: float
    zero: float | None = None
    unit: str = ""

    def place(self, value: float) -> float:
        """Where a value is, from 0 to 1; outside of the axis, at its end."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def is_inside(self, value: float) -> bool:
        """Whether the axis reaches a value."""
        return self.low <= value <= self.high

    @property
    def ticks(self) -> list[float]:
        """Round numbers along the axis."""
        span = self.high - self.low
        size = 10.0 ** math.floor(math.log10(span / _TICKS))
        step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if span / (size * factor) <= _TICKS)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def axis_around(rows: Sequence[Row], zero: float = 0.0, unit: str = "", limit: float = math.inf) -> Axis:
    """An axis with `zero` in the middle that holds all intervals and margins, up to `limit` on each side."""
    values = [
        abs(value - zero) for row in rows for value in (row.low, row.high, row.point, *row.margins) if value is not None
    ]
    reach = min(1.08 * max(values, default=0.0), limit) or 1.0
    return Axis(zero - reach, zero + reach, zero, unit)


def place_marks(row: Row, axis: Axis) -> list[Mark]:
    """What is drawn of an estimate on a line: where there is no difference, margins, its interval and itself."""
    marks = [Mark("zero", axis.place(axis.zero))] if axis.zero is not None else []
    marks += [Mark("margin", axis.place(margin)) for margin in row.margins if axis.is_inside(margin)]
    if row.low is not None or row.high is not None:
        low, high = row.ends
        start, stop = axis.place(low), axis.place(high)
        beyond = " rf-beyond-low" * (low < axis.low) + " rf-beyond-high" * (high > axis.high)
        marks.append(Mark(f"interval{beyond}", start, stop - start))
    if row.point is not None and axis.is_inside(row.point):
        marks.append(Mark("diamond" if row.is_whole else "dot", axis.place(row.point)))
    return marks


def view_forest(rows: Sequence[Row], axis: Axis) -> dict[str, Any] | None:
    """What `forest.html` shows: a line for each row, and the axis under them; None without rows."""
    if not rows:
        return None
    lines = [
        {
            "row": row,
            "marks": place_marks(row, axis),
            "low": _exact(row.low),
            "high": _exact(row.high),
            "point": _exact(row.point) if row.point is not None and axis.is_inside(row.point) else None,
        }
        for row in rows
    ]
    return {"lines": lines, "ticks": [(f"{_tick(tick)}{axis.unit}", axis.place(tick)) for tick in axis.ticks]}


def draw_forest(rows: Sequence[Row], axis: Axis) -> list[str]:
    """The forest as lines of text: `├──●──┤` on an axis of fixed width."""
    lines = []
    for row in rows:
        cells = [" "] * _WIDTH
        if axis.zero is not None:
            cells[_cell(axis, axis.zero)] = "│"
        if row.low is not None or row.high is not None:
            low, high = row.ends
            start, stop = _cell(axis, low), _cell(axis, high)
            cells[start : stop + 1] = "─" * (stop - start + 1)
            cells[start] = "◂" if low < axis.low else "├"
            cells[stop] = "▸" if high > axis.high else "┤"
        if row.point is not None and axis.is_inside(row.point):
            cells[_cell(axis, row.point)] = "●"
        lines.append(f"  {row.label[:30]:<31}{''.join(cells)}  {row.told}".rstrip())
    ends = f"{_tick(axis.low)}{axis.unit}", f"{_tick(axis.high)}{axis.unit}"
    return [*lines, f"  {'':<31}{ends[0]}{ends[1]:>{_WIDTH - len(ends[0])}}"]


def _cell(axis: Axis, value: float) -> int:
    return round(axis.place(value) * (_WIDTH - 1))


def _exact(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def _tick(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
