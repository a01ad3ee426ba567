"""Streams that cannot be folded within the memory bound: which one it was, so that the month's others are folded without it.

A fold that runs out of memory was at some range of streams, and read a few further ones ahead. The largest of them is set aside and
the month is folded again without it. It is named with what was set aside of the month, and tried again when there is more memory,
other code or another log of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines.duck import is_out_of_memory
from pipelines.errors import BadInputError
from pipelines.folds.plan import EVENT_BYTES, Plan, Span
from pipelines.lake.lake import Lake

BY_STREAM = ("utterances", "tool_calls", "decisions", "conversation_months", "call_months", "snapshots")
"""The folds of which streams can be set aside."""
READ_AHEAD = 2
"""Ranges that are read while one is folded and another is written."""
_FIXED = 400 * 10**6
_PAGE_COPIES = 2.1
"""What the last part of a long stream takes beside the lists of its state: the libraries, and per byte of the longest column the page
that Parquet makes of it. A fold then passes the bound by a tenth at most; measured by `tests/acceptance/memory_bound.py messages`."""
_STEP = 50 * 10**6
"""What a bound that would do is rounded up to."""
_EVENT_COPIES = 9.5
"""What DuckDB takes per byte of the largest event while it reads its payload; measured by `tests/acceptance/odd_streams.py payload`."""
_UNLISTED_COPIES = 2.0
"""What is held per byte of what happened since the last snapshot that has all lists: it, and it again while a part is added."""
_STATE_FIXED, _STATE_COPIES = 250 * 10**6, 6.5
"""What the state of one stream takes beside its payloads, and per byte of them: events, what is folded of them, and the values that are
given; measured with streams of 60 to 390 MB, of texts of 10 kB to 25 MB with and without emoji."""
_STATE_SHARE = 0.1
"""Of the memory bound: streams with less are not refused a state; what is short then is short for the libraries alone."""
_MORE = 1.5
"""By how much a bound is raised that had no room, though by the estimates it should."""
_SHOWN = 10
"""Streams that are named."""
LEAST_SHARE = 0.05
"""Of the memory bound: streams that are smaller are not what it was too little for."""

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


def enough_for(lists_bytes: int, longest_bytes: int, largest_bytes: int = 0, unlisted_bytes: int = 0) -> int:
    """A memory bound that would do for a long stream.

    Args:
        lists_bytes: What the lists of its state hold.
        longest_bytes: What the longest of their columns holds.
        largest_bytes: Its largest payload.
        unlisted_bytes: What happened in it between two snapshots, at most.
    """
    copies = _PAGE_COPIES * longest_bytes + _EVENT_COPIES * largest_bytes + _UNLISTED_COPIES * unlisted_bytes
    return _rounded(_FIXED + lists_bytes + copies)


def refuse_too_large(plan: Plan, memory_bytes: int, snapshot_events: int) -> None:
    """See that there is memory for the planned streams, before any of them is read; `Plan.spans` has measured them.

    Raises:
        StreamTooLargeError: There is not; of the stream that needs the most.
    """
    rows = plan.sizes(int(LEAST_SHARE * memory_bytes))
    needed = [
        (enough_for(payloads, payloads, largest, min(payloads, snapshot_events * largest)), stream)
        for stream, payloads, largest in rows
    ]
    enough, stream = max(needed, default=(0, ""))
    if enough > memory_bytes:
        raise StreamTooLargeError(stream, "there is no memory for its events and what a state lists of them", enough)


def refuse_large_state(stream: str, payload_bytes: int, memory_bytes: int) -> None:
    """See that there is memory for the state of one stream, before its events are read.

    Raises:
        StreamTooLargeError: There is not.
    """
    enough = _rounded(_STATE_FIXED + _STATE_COPIES * payload_bytes)
    if enough > memory_bytes and payload_bytes >= _STATE_SHARE * memory_bytes:
        what = f"its state, of {payload_bytes // 10**6:,} MB of payloads, does not fit into REFOLD_MEMORY; "
        raise StreamTooLargeError(stream, f"{what}REFOLD_MEMORY={enough // 10**6}MB would do", enough)


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


def is_too_large(error: Exception) -> bool:
    """Whether a fold ended because there is more than fits into memory, or into a column."""
    return isinstance(error, pa.ArrowCapacityError | StreamTooLargeError) or is_out_of_memory(error)


@dataclass(slots=True)
class Reached:
    """How far a fold of a plan has come: the range of streams that the rows in memory are of."""

    plan: Plan | None = None
    low: str = ""
    high: str = ""

    def through(self, spans: Sequence[Span]) -> Iterator[Span]:
        """Give the ranges to who reads them ahead, and keep to those that may be in memory."""
        for place, span in enumerate(spans):
            self.low, self.high = spans[max(place - READ_AHEAD - 1, 0)].low, span.high
            yield span


def find_culprit(reached: Reached, error: BaseException, lake: Lake) -> Culprit | None:
    """The stream that was too large for the fold that `error` ended; None if no stream alone is."""
    if isinstance(error, StreamTooLargeError):
        return Culprit(error.stream, error.enough_bytes)
    plan = reached.plan
    if plan is None or not reached.high:
        return None  # it had not begun with any
    params = {"month": plan.month, "low": reached.low, "high": reached.high, "event_bytes": EVENT_BYTES}
    rows = plan.connection.execute(_LARGEST, params).fetchall()
    if not rows:
        return None
    stream, events, size, largest = rows[0]
    held = size + EVENT_BYTES * events
    enough = enough_for(held, size, largest, min(size, lake.snapshot_events * largest))
    if enough <= lake.memory_bytes:
        enough = _rounded(_MORE * lake.memory_bytes)
    return Culprit(str(stream), enough) if held >= LEAST_SHARE * lake.memory_bytes else None
