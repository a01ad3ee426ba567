"""What a talk works with: its recorder, what is known of the conversation, and the events of one message.

Types only; what happens with them is `talk`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from uuid import UUID

from pipelines.ingest.messages import Draft
from pipelines.log.context import Context
from pipelines.store.events import NewEvent


class Outbox(Protocol):
    """What a talk needs of its recorder."""

    def send(self, aggregate_id: UUID, aggregate_type: str, expected: int, events: list[NewEvent]) -> None:
        """Keep the events until the store has them."""

    def register(self, kind: str, sha256: str, payload: dict[str, Any]) -> None:
        """Record a prompt or a list of tools, once, known by its hash."""

    def report(self, error: Exception) -> None:
        """Take an error of a recording call: log it once, or raise it where the owner wants that."""

    def count_described(self, values: int) -> None:
        """Count values that are kept as a description, because no JSON can be made of them."""

    def tell_once(self, about: str, message: str, *values: object, level: int = ...) -> None:
        """Log a message the first time it is about this."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known of a conversation before its first message.

    Attributes:
        stream: Its stream.
        aggregate_type: `conversation` or `call`.
        envelope: Metadata that all its events share.
        started: Payload of `conversation.started` without the system messages.
        system: System messages as the agent gets them; None takes those of the first request.
        prompt: The prompt's text before it was filled in; None registers the first system message.
        prompt_name: Under which name it is registered.
    """

    stream: UUID
    aggregate_type: str
    envelope: Mapping[str, Any]
    started: Mapping[str, Any]
    system: list[Any] | None
    prompt: str | None
    prompt_name: str


class Length(str):
    """A text of which only the length is known."""

    __slots__ = ("_length",)
    _length: int

    def __len__(self) -> int:
        return self._length

    @classmethod
    def of(cls, text: str) -> Self:
        """The length of a text."""
        made = cls()
        made._length = len(text)
        return made


def shape_of(value: Any) -> Any:
    """A payload without its words, for telling whether a redaction names something in it."""
    if isinstance(value, dict):
        return {key: shape_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape_of(inner) for inner in value]
    return Length.of(value) if isinstance(value, str) else None


@dataclass(slots=True)
class Known:
    """What the log holds of a conversation.

    Attributes:
        version: Its last stream version.
        shapes: The payloads by version, texts by their lengths alone: what a redaction can name. Those of events that are
            not known are missing.
        context: What the agent has seen; None when it is not known (the store was away, or a part of it is erased).
        has_started: Whether its first event is recorded.
    """

    version: int = 0
    shapes: dict[int, Any] = field(default_factory=dict)
    context: Context | None = field(default_factory=Context)
    has_started: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Events of one message."""

    actor: str
    drafts: list[Draft]
    notes: Mapping[str, Any] = field(default_factory=dict)
    described: int = 0
