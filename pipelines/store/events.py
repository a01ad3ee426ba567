"""The event: what a writer hands in, what the store gives back, and how a stream is named. No database here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID, uuid5

Expected = int | Literal["no_stream", "exists", "any"]
"""Where a writer believes the stream to be: its last version, or one of the three words."""

REVIEW = "review"
"""Type of the streams that reviews of experiments' versions are."""
BESIDE = ("access", "erasure", REVIEW)
"""Types of streams that say nothing of what agents did: no window of an experiment moves by them."""
STREAM_NAMESPACE = UUID("c8a1f9a4-6e0e-5d0b-9f0e-6d5a4b0d7c11")
"""Namespace of the stream ids of imports; fixed for ever, or the same conversation would get another stream."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One event to append.

    Attributes:
        event_type: A registered type, `noun.verb.vN`.
        payload: The event's JSON object.
        metadata: The envelope: `message_id`, `actor`, `subject_id`, `occurred_at`, `source`, ...
        created_at: When it happened; naive is UTC; None is now, by the database's clock.
    """

    event_type: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StreamBatch:
    """Events to append to one stream, together.

    Attributes:
        aggregate_id: The stream.
        aggregate_type: The kind of thing it is about; fixed by the stream's first event.
        events: In order; at least one.
        expected_version: Where the writer believes the stream to be.
        hidden: What stands in payloads in place of what was redacted; schemas take it anywhere. None if nothing was.
        is_plain: Whether whoever made payloads and metadata knows that they are of JSON's own types, without numbers that encoders
            write in several ways; else they are looked through.
    """

    aggregate_id: UUID
    aggregate_type: str
    events: Sequence[NewEvent]
    expected_version: Expected = "no_stream"
    hidden: str | None = None
    is_plain: bool = False


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Where the events of one append stand.

    Attributes:
        first_version: Stream version of the first event.
        last_version: Stream version of the last event.
        first_position: Smallest global id of them.
        last_position: Largest global id of them.
        duplicate: The same batch was there already and nothing was appended.
    """

    first_version: int
    last_version: int
    first_position: int
    last_position: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class AppendManyResult:
    """What appending many batches came to.

    Attributes:
        streams: Batches given.
        events: Events appended now.
        duplicate_streams: Batches that were there already, of which nothing was appended.
    """

    streams: int
    events: int
    duplicate_streams: int


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as stored; followers order by `(epoch, order_xid, position)`, streams by `stream_version`.

    Attributes:
        epoch: How often the store had moved to another cluster.
        xid: Transaction that appended it.
        position: Global id; ascending in a stream, gaps allowed.
        aggregate_id: The stream.
        aggregate_type: The kind of thing it is about.
        stream_version: Place in the stream: 1, 2, 3 and so on.
        event_type: `noun.verb.vN`.
        event_version: N.
        payload: The event's JSON object.
        metadata: The envelope.
        created_at: UTC.
        hash: Link of the stream's chain, 32 bytes.
        order_xid: Largest `xid` of the stream's events of the epoch, up to this one.
        digest: Of an erased event, whose payload and metadata are `{}`, the hash of what they were; else empty.
    """

    epoch: int
    xid: int
    position: int
    aggregate_id: UUID
    aggregate_type: str
    stream_version: int
    event_type: str
    event_version: int
    payload: dict[str, Any]
    metadata: dict[str, Any]
    created_at: datetime
    hash: bytes
    order_xid: int
    digest: bytes

    @property
    def is_erased(self) -> bool:
        """Whether its content is gone."""
        return bool(self.digest)

    @property
    def order(self) -> tuple[int, int, int]:
        """Where a follower that has seen this event continues."""
        return (self.epoch, self.order_xid, self.position)


def stream_id(source: str, conversation_id: str) -> UUID:
    """The stream of a conversation that another system recorded: UUIDv5 of the JSON array `[source, conversation_id]`.

    An array, not a joined string: `["a/b", "c"]` and `["a", "b/c"]` are different conversations.
    """
    return uuid5(STREAM_NAMESPACE, json.dumps([source, conversation_id], ensure_ascii=False, separators=(",", ":")))
