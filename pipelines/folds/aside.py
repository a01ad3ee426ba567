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

READ_AHEAD = 2
"""Ranges that are read while one is folded and another is written."""
LEAST_SHARE = 0.05
"""Of the memory bound: streams that are smaller are not what it was too little for."""
_EVENT_BYTES = 500
"""What an event takes in columns beside its texts, about."""

_LARGEST = """
SELECT aggregate_id, count(*), sum(strlen(payload) + strlen(metadata))::BIGINT AS bytes
FROM events
WHERE month <= $month AND aggregate_id >= $low AND aggregate_id < $high
    AND aggregate_id IN (SELECT aggregate_id FROM fold_touched)
GROUP BY aggregate_id
ORDER BY bytes + $event_bytes * count(*) DESC, aggregate_id
LIMIT 1
"""


class StreamTooLargeError(BadInputError):
    """A stream has more than any of its rows can hold.

    Args:
        stream: Its id.
        what: What there is too much of, and what to do.
    """

    def __init__(self, stream: str, what: str) -> None:
        super().__init__(f"stream {stream}: {what}")
        self.stream = stream


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
) -> str | None:
    """The stream that was too large for the fold that `error` ended; None if no stream alone is."""
    if isinstance(error, StreamTooLargeError):
        return error.stream
    if not reached.high:
        return None  # it had not begun with any
    params = {"month": month, "low": reached.low, "high": reached.high, "event_bytes": _EVENT_BYTES}
    rows = connection.sql(_LARGEST, params=params).fetchall()
    if not rows:
        return None
    stream, events, size = rows[0]
    return str(stream) if size + _EVENT_BYTES * events >= LEAST_SHARE * memory_bytes else None
