"""The window of an experiment: which conversations, by when they started."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from pipelines.experiment.strict import StrictModel

_DAYS = re.compile(r"([1-9]\d{0,3})d")


def _time(value: Any) -> Any:
    """Dates mean midnight; times without a zone are UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("write a date or time such as 2026-10-01 or 2026-10-01T12:00:00Z") from None
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


Time = Annotated[datetime, BeforeValidator(_time, json_schema_input_type=str)]


class Window(StrictModel):
    """Half-open, UTC, over the conversation's start. `last: 7d` is that many whole UTC days before the day of the last export.

    What the log's own clocks say does not move it: one event that is dated in the future is no new day.

    Attributes:
        last: A number of days such as `7d`; `1d` is yesterday.
        start: First time that is in it; null: no bound. Key `from`.
        stop: First time after it; null: no bound. Key `to`.
    """

    last: str | None = None
    start: Time | None = Field(default=None, alias="from")
    stop: Time | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _form(self) -> Self:
        if self.last is not None and (self.start or self.stop):
            raise ValueError("give either last or from/to")
        if self.last is not None and not _DAYS.fullmatch(self.last):
            raise ValueError(f"last is {self.last!r}; write a number of days such as 7d")
        if self.start and self.stop and self.start >= self.stop:
            raise ValueError(f"from {self.start:%F %T} is not before to {self.stop:%F %T}")
        return self

    @property
    def is_relative(self) -> bool:
        """Whether it depends on when the log was exported."""
        return self.last is not None

    def resolve(self, exported_at: datetime) -> tuple[datetime | None, datetime | None]:
        """The bounds, given when the log was exported last; None for no bound."""
        if self.last is None:
            return self.start, self.stop
        stop = exported_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return stop - timedelta(days=int(self.last[:-1])), stop

    def describe(self) -> str:
        """In words, for a page."""
        if self.last is not None:
            return "yesterday" if self.last == "1d" else f"the last {self.last[:-1]} days"
        bounds = [f"{bound:%Y-%m-%d %H:%M}" if bound else "…" for bound in (self.start, self.stop)]
        return "all" if not (self.start or self.stop) else " to ".join(bounds)


def _named(value: Any) -> Any:
    if isinstance(value, str):
        return {"last": "1d" if value == "yesterday" else value}
    return value


WindowOrName = Annotated[Window, BeforeValidator(_named, json_schema_input_type=Window | str)]
"""A window, or the name of one: `yesterday`, or a number of days such as `7d`."""
