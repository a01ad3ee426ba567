"""When the desk's customers come: whole calendar months, busy by day, growing over time.

The clock of the simulation is a share of the history (0 = first instant, 1 = last start); only its reading as a time
belongs here.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate

from pipelines.errors import BadInputError

DEMO_END = date(2026, 7, 1)
"""Default end: the history covers April, May and June 2026, whatever day it is, so that the data never change."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_BY_HOUR = (1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 18, 16, 14, 16, 17, 16, 15, 14, 12, 10, 8, 6, 4, 2)
_MONTH_END_HOURS = 3
_MONTH_END_WEIGHT = 24
"""The last evening of a month is busy (bills fall due), so that some conversations go on into the next month."""
_QUIET_HOURS = 3
"""Nobody comes in the last hours of the history, so that no conversation leaves it."""


@dataclass(frozen=True, slots=True)
class Span:
    """Whole months of history. Times are milliseconds since 1970, UTC.

    Attributes:
        start_ms: First instant.
        end_ms: First instant after the history.
        month_ends_ms: First instant after each month but the last.
        cumulative: Running sum of the arrivals' weights, one item an hour, starting with 0.
    """

    start_ms: int
    end_ms: int
    month_ends_ms: tuple[int, ...]
    cumulative: tuple[float, ...]

    @classmethod
    def of(cls, end: date, months: int) -> Span:
        """The `months` calendar months before `end`; a begun month does not count.

        Raises:
            BadInputError: There is no month.
        """
        if months < 1:
            raise BadInputError(f"{months} months of history were asked for; at least 1 is needed")
        index = end.year * 12 + end.month - 1
        if index - months < 12:
            raise BadInputError(f"{months} months before {end} go back beyond the first year; ask for fewer")
        firsts = [date(i // 12, i % 12 + 1, 1) for i in range(index - months, index + 1)]
        bounds = [to_ms(datetime(day.year, day.month, day.day, tzinfo=UTC)) for day in firsts]
        return cls(bounds[0], bounds[-1], tuple(bounds[1:-1]), _cumulative_weights(bounds))

    @property
    def middle_ms(self) -> int:
        """The instant half-way."""
        return (self.start_ms + self.end_ms) // 2

    def at(self, share: float) -> int:
        """The time at which a share (0 to 1) of all customers has come."""
        weight = min(max(share, 0.0), 1.0) * self.cumulative[-1]
        hour = min(bisect_right(self.cumulative, weight), len(self.cumulative) - 1) - 1
        low, high = self.cumulative[hour], self.cumulative[hour + 1]
        within = (weight - low) / (high - low) if high > low else 0.0
        return self.start_ms + int((hour + min(within, 0.999)) * HOUR_MS)

    def next_month_end(self, at_ms: int) -> int | None:
        """The next turn of a month inside the history, or None in the last month."""
        place = bisect_right(self.month_ends_ms, at_ms)
        return self.month_ends_ms[place] if place < len(self.month_ends_ms) else None


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970."""
    return (at - EPOCH) // timedelta(milliseconds=1)


def from_ms(at_ms: int) -> datetime:
    """The UTC time of milliseconds since 1970."""
    return EPOCH + timedelta(milliseconds=at_ms)


def _cumulative_weights(bounds: list[int]) -> tuple[float, ...]:
    """Running arrival weights by hour between the first and the last of the months' bounds."""
    hours = (bounds[-1] - bounds[0]) // HOUR_MS
    evenings = {
        (bound - bounds[0]) // HOUR_MS - back for bound in bounds[1:-1] for back in range(1, _MONTH_END_HOURS + 1)
    }
    weekday = from_ms(bounds[0]).weekday()
    weights = [0.0]
    for hour in range(hours):
        weight = _MONTH_END_WEIGHT if hour in evenings else _BY_HOUR[hour % 24]
        is_weekend = (weekday + hour // 24) % 7 >= 5
        growth = 0.75 + 0.5 * hour / hours
        weights.append(0.0 if hour >= hours - _QUIET_HOURS else weight * growth * (0.5 if is_weekend else 1.0))
    return tuple(accumulate(weights))
