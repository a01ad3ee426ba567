"""Write the simulated history into a store, once.

A home holds one history: the streams' ids do not depend on its size, so another one is refused instead of mixed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.demo.desk import generate
from pipelines.errors import BadInputError
from pipelines.store import Store
from pipelines.store.errors import VersionConflict
from pipelines.store.events import StreamBatch
from pipelines.store.months import month_of

_BATCHES = 500
"""Batches sent together; their months are made before."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What was written.

    Attributes:
        events: Events that the history holds.
        appended: Events that were not there before.
        months: Months that it touches, ascending.
    """

    events: int
    appended: int
    months: list[str]


def load_demo(store: Store, events: int, on_events: Callable[[int], None] | None = None) -> LoadResult:
    """Append the history of about `events` events; what is there already is left alone.

    Raises:
        BadInputError: The store holds another simulated history, or `events` is too small.
    """
    total = appended = 0
    months: set[str] = set()
    batches: list[StreamBatch] = []

    def flush() -> None:
        nonlocal total, appended
        times = [event.created_at for batch in batches for event in batch.events if event.created_at is not None]
        months.update(month_of(at) for at in times)
        store.ensure_months(times)
        result = store.append_many(batches)
        total += sum(len(batch.events) for batch in batches)
        appended += result.events
        batches.clear()
        if on_events is not None:
            on_events(total)

    try:
        # One transaction: a home never holds half a history.
        with store.transaction():
            for batch in generate(events):
                batches.append(batch)
                if len(batches) == _BATCHES:
                    flush()
            flush()
    except VersionConflict as error:
        raise BadInputError(
            "this home holds a simulated history of another size; use the same --events, or another REFOLD_HOME"
        ) from error
    return LoadResult(total, appended, sorted(months))
