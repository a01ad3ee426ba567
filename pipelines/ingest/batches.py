"""Lines of an import that were read, and the batches in which they are looked up and appended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from pipelines.ingest.convert import Conversation
from pipelines.ingest.known import Rest, goes_on
from pipelines.ingest.reading.lines import RawLine
from pipelines.store.events import NewEvent, StreamBatch
from pipelines.store.months import month_of

BATCH_CONVERSATIONS = 256
"""Enough that looking up and pipelining a batch costs nothing per conversation."""
BATCH_BYTES = 8_000_000
"""Bytes of lines that a batch holds at most, unless one line alone is longer; events take several times that."""


@dataclass(frozen=True, slots=True)
class Read:
    """One good line, converted.

    Attributes:
        raw: The line.
        conversation: What it makes.
        rest: Of one that has gone on, what the store does not have yet.
    """

    raw: RawLine
    conversation: Conversation
    rest: Rest | None = None


def batches(reads: Iterator[Read]) -> Iterator[list[Read]]:
    """Runs of lines of bounded number and bytes."""
    batch: list[Read] = []
    held = 0
    for read in reads:
        size = len(read.raw.data)
        if batch and (len(batch) == BATCH_CONVERSATIONS or held + size > BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(read)
        held += size
    if batch:
        yield batch


def where_one_goes_on(batch: Sequence[Read]) -> int | None:
    """The first line of a batch that goes on with an earlier one of it."""
    seen: dict[UUID, Read] = {}
    for index, read in enumerate(batch):
        earlier = seen.setdefault(read.conversation.stream_id, read)
        if earlier.conversation.digest != read.conversation.digest and goes_on(earlier.conversation, read.conversation):
            return index
    return None


def stream_batch(read: Read) -> StreamBatch:
    """What the store is given of a line."""
    conversation, rest = read.conversation, read.rest
    return StreamBatch(
        conversation.stream_id,
        conversation.aggregate_type,
        events_of(read),
        "no_stream" if rest is None else rest.version,
        conversation.hidden,
        conversation.is_plain and rest is None,
    )


def events_of(read: Read) -> list[NewEvent]:
    """What is appended of a line."""
    return read.conversation.events if read.rest is None else read.rest.events


def months_of(events: Iterable[NewEvent]) -> set[str]:
    """The UTC months of events."""
    return {month_of(at) for at in {event.created_at for event in events} if at is not None}
