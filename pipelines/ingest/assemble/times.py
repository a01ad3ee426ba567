"""When things happened, as run lines say it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

_SECOND = 10**9
_MINUTE = 60


def text_of_time(nanoseconds: int | None) -> str | None:
    """A time as ISO 8601 text in UTC, with as many digits as it has; None where it is not known.

    Zero is what exporters write where they know none. A time beyond the years 1 to 9999 is its number of seconds, which an import
    refuses with its place.
    """
    if not nanoseconds or nanoseconds < 0:
        return None
    seconds, fraction = divmod(nanoseconds, _SECOND)
    minute, second = divmod(seconds, _MINUTE)
    try:
        whole = f"{_text_of_minute(minute)}{second:02d}"
    except (ValueError, OverflowError, OSError):
        return str(seconds)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{whole}{digits}Z"


@lru_cache(maxsize=4096)
def _text_of_minute(minute: int) -> str:
    """A minute since 1970 as `YYYY-MM-DDTHH:MM:`; what happens together happens in few of them."""
    return datetime.fromtimestamp(minute * _MINUTE, UTC).isoformat()[:17]
