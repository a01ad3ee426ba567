"""Streams that cannot be folded within the memory bound: which one it was, so that the month's others are folded without it.

A fold that runs out of memory was at some range of streams, and read a few further ones ahead. The largest of them is set aside and
the month is folded again without it. It is named with what was set aside of the month, and tried again when there is more memory,
other code or another log of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.folds.plan import Span
from pipelines.lake.lake import Lake

BY_STREAM = ("utterances", "tool_calls", "decisions", "conversation_months", "call_months", "snapshots")
"""The folds of which streams can be set aside."""
READ_AHEAD = 2
"""Ranges that are read while one is folded and another is written."""
_FIXED = 360 * 10**6
_PAGE_COPIES = 2.1
"""What the last part of a long stream takes beside the lists of its state: the libraries, and per byte of the longest column the page
that Parquet makes of it. A fold then passes the bound by a tenth at most; measured by `tests/acceptance/memory_bound.py messages`."""
_STEP = 50 * 10**6
"""What a bound that would do is rounded up to."""
_EVENT_COPIES = 9.5
"""What DuckDB takes per byte of the largest event while it reads its payload; measured by `tests/acceptance/odd_streams.py payload`."""
_MORE = 1.5
"""By how much a bound is raised that had no room, though by the estimates it should."""
_SHOWN = 10
"""Streams that are named."""
LEAST_SHARE = 0.05
"""Of the memory bound: streams that are smaller are not what it was too little for."""
_EVENT_BYTES = 500
"""What an event takes in columns beside its texts, about."""

_LARGEST = """
SELECT aggregate_id, count(*), sum(strlen(payload) + strlen(metadata))::BIGINT AS bytes, max(strlen(payload))
FROM events
WHERE month <= $month AND aggregate_id >= $low AND aggregate_id < $high
    AND aggregate_id IN (SELECT aggregate_id FROM fold_touched)
GROUP BY aggregate_id
ORDER BY bytes + $event_bytes * count(*) DESC, aggregate_id
LIMIT 1
"""


class StreamTooLargeError(BadInputError):
    """A stream has more than any of its rows can hold, or than there is memory for.

    Args:
        stream: Its id.
        what: What there is too much of, and what to do.
        enough_bytes: A memory bound that would do; 0 if none does.
    """

    def __init__(self, stream: str, what: str, enough_bytes: int = 0) -> None:
        super().__init__(f"stream {stream}: {what}")
        self.stream = stream
        self.enough_bytes = enough_bytes


@dataclass(frozen=True, slots=True)
class Culprit:
    """A stream that is too large: its id, and the bytes of a memory bound that would do, about; 0 if none does."""

    stream: str
    enough_bytes: int

    def __str__(self) -> str:
        if not self.enough_bytes:
            return f"{self.stream}, too large for any"
        return f"{self.stream}, REFOLD_MEMORY={self.enough_bytes // 10**6}MB would do"


def enough_for(lists_bytes: int, longest_bytes: int) -> int:
    """A memory bound that would do for a long stream.

    Args:
        lists_bytes: What the lists of its state hold.
        longest_bytes: What the longest of their columns holds.
    """
    return _rounded(_FIXED + lists_bytes + _PAGE_COPIES * longest_bytes)


def find_set_aside(lake: Lake) -> list[Culprit]:
    """The streams that are set aside of any month of any table as it is now, by id, each with the largest of its bounds."""
    found: dict[str, int] = {}
    for name in BY_STREAM:
        for commit in lake.last_commits(name):
            for stream, enough in commit.provenance.get("set_aside", {}).items():
                found[stream] = max(enough, found.get(stream, 0))
    return [Culprit(stream, enough) for stream, enough in sorted(found.items())]


def tell_set_aside(culprits: Sequence[Culprit]) -> str:
    """Which streams are left out, with what would do."""
    named = "; ".join(str(each) for each in culprits[:_SHOWN])
    what = "1 stream is" if len(culprits) == 1 else f"{len(culprits):,} streams are"
    others = f"; and {len(culprits) - _SHOWN:,} others" if len(culprits) > _SHOWN else ""
    return f"{what} too large to fold within REFOLD_MEMORY and left out ({named}{others})"


def _rounded(size: float) -> int:
    return -int(-size // _STEP) * _STEP


OUT_OF_MEMORY = (duckdb.OutOfMemoryException, MemoryError, pa.ArrowCapacityError, StreamTooLargeError)
"""What says that there is more than fits. Arrow's and NumPy's own are `MemoryError`s."""


@dataclass(slots=True)
class Reached:
    """How far a fold has come: the range of streams that the rows in memory are of."""

    low: str = ""
    high: str = ""

    def through(self, spans: Sequence[Span]) -> Iterator[Span]:
        """Give the ranges to who reads them ahead, and keep to those that may be in memory."""
        for place, span in enumerate(spans):
            self.low, self.high = spans[max(place - READ_AHEAD - 1, 0)].low, span.high
            yield span


def find_culprit(
    connection: duckdb.DuckDBPyConnection, month: str, reached: Reached, error: BaseException, memory_bytes: int
) -> Culprit | None:
    """The stream that was too large for the fold that `error` ended; None if no stream alone is."""
    if isinstance(error, StreamTooLargeError):
        return Culprit(error.stream, error.enough_bytes)
    if not reached.high:
        return None  # it had not begun with any
    params = {"month": month, "low": reached.low, "high": reached.high, "event_bytes": _EVENT_BYTES}
    rows = connection.sql(_LARGEST, params=params).fetchall()
    if not rows:
        return None
    stream, events, size, largest = rows[0]
    held = size + _EVENT_BYTES * events
    enough = max(enough_for(held, size), _rounded(_FIXED + _EVENT_COPIES * largest))
    if enough <= memory_bytes:
        enough = _rounded(_MORE * memory_bytes)
    return Culprit(str(stream), enough) if held >= LEAST_SHARE * memory_bytes else None
