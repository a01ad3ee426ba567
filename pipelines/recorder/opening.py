"""What a talk works with: its recorder, what is known of the conversation, and the events of one message.

Types only; what happens with them is `talk`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from uuid import UUID

from pipelines.ingest.messages import Draft
from pipelines.log.context import Context, decision_head, message_lines
from pipelines.log.versions import DECISION, name_of
from pipelines.store.events import NewEvent

INSTRUCTIONS, RESPONSE = "instructions", "response_id"
"""Of an event's metadata: how many messages of the request stood apart from the others, and the response that a message is of."""
_HELD = 16
"""Responses that a next request may go on from."""


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


@dataclass(frozen=True, slots=True)
class Held:
    """What a provider has of a conversation once it gave a response.

    Attributes:
        context: Of the request and the response.
        instructions: How many messages it begins with that a next request does not take over.
    """

    context: Context
    instructions: int


@dataclass(slots=True)
class Known:
    """What the log holds of a conversation.

    Attributes:
        version: Its last stream version.
        shapes: The payloads by version, texts by their lengths alone: what a redaction can name. Those of events that are
            not known are missing.
        context: What the agent has seen; None when it is not known (the store was away, or a part of it is erased).
        has_started: Whether its first event is recorded.
        held: What the provider has since it gave a response, by the response's id; the last ones.
    """

    version: int = 0
    shapes: dict[int, Any] = field(default_factory=dict)
    context: Context | None = field(default_factory=Context)
    has_started: bool = False
    held: dict[str, Held] = field(default_factory=dict)
    _answering: tuple[str, str | None, int] | None = None

    def follow(self, event_type: str, payload: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Count in the event of the last version."""
        if self.context is None:
            return
        message_id = metadata.get("message_id")
        if self._answering is not None and message_id != self._answering[1]:
            if metadata.get(RESPONSE) == self._answering[0]:  # a further message of the same response
                self._answering = (self._answering[0], message_id, self._answering[2])
            else:
                self._hold(self.context)
        self.context.apply(event_type, payload, metadata)
        self.shapes[self.version] = shape_of(payload)
        if name_of(event_type) == DECISION and metadata.get("api") == "responses":
            self._answering = _response_of(payload, metadata, self.context)

    def held_by(self, response_id: Any) -> Held | None:
        """What the provider has since it gave this response; None where that is not known."""
        if self._answering is not None and self.context is not None:
            self._hold(self.context)
        return self.held.get(response_id) if isinstance(response_id, str) else None

    def _hold(self, context: Context) -> None:
        if self._answering is not None:
            self.held[self._answering[0]] = Held(context.copy(), self._answering[2])
            self._answering = None
        if len(self.held) > _HELD:
            del self.held[next(iter(self.held))]


def _response_of(
    payload: Mapping[str, Any], metadata: Mapping[str, Any], context: Context
) -> tuple[str, str | None, int] | None:
    """The response that a decision is of, its message and its instructions; None where the log has not what the provider has."""
    response, instructions = payload.get("response_id"), metadata.get(INSTRUCTIONS, 0)
    if not isinstance(response, str) or not isinstance(instructions, int) or payload.get("error") is not None:
        return None
    rebuilt = hashlib.sha256(decision_head(payload) + b"\n" + message_lines(context.messages)).hexdigest()
    return (response, metadata.get("message_id"), instructions) if payload.get("request_sha256") == rebuilt else None


@dataclass(frozen=True, slots=True)
class Part:
    """Events of one message."""

    actor: str
    drafts: list[Draft]
    notes: Mapping[str, Any] = field(default_factory=dict)
    described: int = 0
