"""What a replay may spend and how fast: the form of `budget` in an experiment file."""

from __future__ import annotations

import re
from datetime import UTC, time
from typing import Annotated

from pydantic import AfterValidator, Field

from pipelines.experiment.strict import StrictModel

_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d) UTC")


def _off_peak(value: str) -> str:
    parse_off_peak(value)
    return value


class Budget(StrictModel):
    """The `budget` of an experiment; what is not given is not bounded, but for concurrency and time.

    Attributes:
        usd: US dollars that the version may cost over all its runs.
        requests: Calls that it may make over all its runs, failed ones included.
        concurrency: Calls under way at once, at most; fewer while the endpoint is slow to admit more.
        rpm: Calls per minute.
        tpm: Tokens per minute, of requests and their largest replies.
        off_peak: Calls are made only then, for example `22:00-06:00 UTC`; outside, the replay waits.
        timeout_seconds: A call that has not answered completely by then has failed.
    """

    usd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    requests: int | None = Field(default=None, gt=0)
    concurrency: int = Field(default=16, ge=1, le=1_000)
    rpm: int | None = Field(default=None, gt=0)
    tpm: int | None = Field(default=None, gt=0)
    off_peak: Annotated[str, AfterValidator(_off_peak)] | None = None
    timeout_seconds: float = Field(default=120, gt=0, le=3_600)


def parse_off_peak(text: str) -> tuple[time, time]:
    """The daily window `HH:MM-HH:MM UTC`; it goes over midnight when it ends before it begins.

    Raises:
        ValueError: It is not of this form, or empty.
    """
    match = _WINDOW.fullmatch(text)
    if match is None or match.group(1, 2) == match.group(3, 4):
        raise ValueError(f"off_peak is {text!r}; write a daily window such as 22:00-06:00 UTC")
    hours = [int(part) for part in match.groups()]
    return time(hours[0], hours[1], tzinfo=UTC), time(hours[2], hours[3], tzinfo=UTC)
