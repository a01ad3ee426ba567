"""When things of an import happened: reading recorded times, and filling in the missing ones.

Pure; what "now" is, the caller says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pipelines.ingest.faults import BadLineError, shown

TIMES_FROM = datetime(2000, 1, 1, tzinfo=UTC)
"""Where times begin that an import takes without being told: what is earlier is a year of two digits, or a day as a number."""
TimeSource = Literal["message", "conversation", "import"]
"""Whose time it is: the message's own, the conversation's, or that of the import."""


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


def parse_time(value: Any, path: str, times_from: datetime | None = None) -> datetime | None:
    """The UTC time of a recorded timestamp: ISO 8601 text (without a zone: UTC) or Unix seconds; None for null.

    Args:
        value: What is recorded.
        path: Where.
        times_from: Times before it are refused; None takes all.

    Raises:
        BadLineError: At `path` stands something else, or a time outside the years 1 to 9999 or before `times_from`.
    """
    if value is None:
        return None
    time = _read(value, path)
    if times_from is not None and time < times_from:
        raise BadLineError(
            path,
            f"{shown(value)} is {utc_text(time)}, before {times_from.date().isoformat()}; write the year with four digits and a number "
            f"as Unix seconds, or, if that is when it happened, give --times-from {time.date().isoformat()}",
        )
    return time


def _read(value: Any, path: str) -> datetime:
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value.strip())
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise BadLineError(
        path, f"{shown(value)} is not a time; write ISO 8601 such as 2026-01-31T12:00:00Z, or Unix seconds"
    )


def utc_text(time: datetime) -> str:
    """A UTC time as the store writes times into metadata: ISO 8601 with microseconds and `Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
