"""When things of an import happened: reading recorded times, which of them are believed, and filling in the missing ones.

Pure; what "now" is, the caller says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from pipelines.ingest.faults import BadLineError, json_path, shown

TIMES_FROM = date(2000, 1, 1)
"""Where times begin that an import believes without being told: what is earlier is a year of two digits, or a day as a number."""
DAYS_AHEAD = 366
"""How far ahead of the import they end: what is later is a placeholder such as 9999, or another unit read as seconds."""
TimeSource = Literal["message", "span", "call", "conversation", "import"]
"""Whose time it is: the message's own, that of the span or the model call that recorded it, the conversation's, or the import's."""


@dataclass(frozen=True, slots=True)
class Days:
    """The UTC days on which an import believes that something happened.

    Attributes:
        first: The first of them.
        last: The last of them, itself one.
    """

    first: date
    last: date

    @classmethod
    def given(cls, first: date | None, last: date | None, now: datetime) -> Days:
        """What the user says (a datetime is its day), else from `TIMES_FROM` to a year after `now`."""
        return cls(
            TIMES_FROM if first is None else _day(first),
            _day(now) + timedelta(days=DAYS_AHEAD) if last is None else _day(last),
        )

    def fault(self, time: datetime) -> str | None:
        """Why a UTC time is not believed, and what to do; None when it is."""
        if time.date() < self.first:
            return (
                f"is {utc_text(time)}, before {self.first.isoformat()}; write the year with four digits and a number as Unix seconds, "
                f"or, if that is when it happened, give --times-from {time.date().isoformat()}"
            )
        if time.date() > self.last:
            return (
                f"is {utc_text(time)}, after {self.last.isoformat()}; write when it happened, a number as Unix seconds, and null for a "
                f"time that is not known, or, if that is right, give --times-until {time.date().isoformat()}"
            )
        return None


def _day(given: date) -> date:
    return given.date() if isinstance(given, datetime) else given


@dataclass(frozen=True, slots=True)
class Moment:
    """The time of one event.

    Attributes:
        created_at: UTC; never before the event before it.
        time_source: Where the time came from.
        occurred_at: The time as recorded, when `created_at` had to be later to keep the order; else None.
    """

    created_at: datetime
    time_source: TimeSource
    occurred_at: datetime | None


@dataclass(slots=True)
class Clock:
    """Gives each event of one conversation its time, in order.

    Attributes:
        conversation: The conversation's time, or None when nothing in it has one.
        at: The time of the import, for what has no time at all.
    """

    conversation: datetime | None
    at: datetime
    _last: datetime | None = field(default=None, init=False)

    def moment(self, own: datetime | None, own_source: TimeSource = "message") -> Moment:
        """The next event's time, from its own recorded time if it has one."""
        source: TimeSource
        if own is not None:
            given, source = own, own_source
        elif self.conversation is not None:
            given, source = self.conversation, "conversation"
        else:
            given, source = self.at, "import"
        created = given if self._last is None else max(given, self._last)
        self._last = created
        return Moment(created, source, None if created == given else given)


def parse_time(value: Any, steps: Sequence[str | int], days: Days | None = None) -> datetime | None:
    """The UTC time of a recorded timestamp: ISO 8601 text (without a zone: UTC) or Unix seconds; None for null.

    Args:
        value: What is recorded.
        steps: Where.
        days: Times outside are refused; None takes all.

    Raises:
        BadLineError: At `steps` stands something else, or a time outside the years 1 to 9999 or outside `days`.
    """
    if value is None:
        return None
    time = _read(value, steps)
    fault = None if days is None else days.fault(time)
    if fault is not None:
        raise BadLineError(json_path(steps), f"{shown(value)} {fault}")
    return time


def _read(value: Any, steps: Sequence[str | int]) -> datetime:
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value.strip())
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise BadLineError(
        json_path(steps), f"{shown(value)} is not a time; write ISO 8601 such as 2026-01-31T12:00:00Z, or Unix seconds"
    )


def utc_text(time: datetime) -> str:
    """A UTC time as the store writes times into metadata: ISO 8601 with microseconds and `Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
