"""What a story is made of: plain data, in the order of the stream. Codes and texts, no words for people and no markup.

Texts are as recorded, whole and hostile; who shows them shortens and escapes. A text that a redaction hides is here as
redactions leave it, unless the story was read as recorded. What is not known is None and never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

PartKind = Literal[
    "start",  # a conversation or call began: `fields` say who serves it, `text` are the system messages
    "context",  # something other than the transcript was put before the agent
    "user",  # the person said something
    "agent",  # the agent said something
    "call",  # somebody asked for a tool
    "result",  # a tool answered
    "model",  # a model was asked
    "end",  # the recorder says that it is over
    "redaction",  # a part of an earlier event must not be shown
    "row",  # a row of a business database changed
    "prompt",  # a prompt came into use
    "tools",  # a list of tools came into use
    "record",  # a known type that none of these describes: its payload's members are `fields`
    "unknown",  # the type or its version is not known: its payload's members are `fields`, as recorded
]
Verification = Literal[
    "same",  # the request rebuilt from the log has the recorded hash
    "other",  # it has another
    "no_hash",  # the model call was recorded without one
    "no_model",  # no model call was recorded
    "erased",  # a part of the context, or the model call, is erased
]
"""Whether the log holds what the agent was sent: `same` is verified, `other` is not, with the rest nobody can say."""


@dataclass(frozen=True, slots=True)
class Field:
    """A value with a name: of a payload, of a conversation's start, of the parameters of a request.

    Attributes:
        name: As recorded.
        value: A text as it is; any other JSON value as JSON text.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Hidden:
    """A redaction of an event.

    Attributes:
        version: The redaction's own place in the stream.
        at: When it was applied, UTC.
        path: JSON Pointer of what it hides in the payload; "" is everything.
        start: First code point hidden of the text there; None: all of it.
        end: One past the last; None likewise.
        method: How it was done, in the words of who did.
        reason: Why, likewise.
    """

    version: int
    at: datetime
    path: str
    start: int | None
    end: int | None
    method: str
    reason: str


@dataclass(frozen=True, slots=True)
class Erased:
    """An erasure of an event: its content is gone for good, its place, time and type stay.

    Attributes:
        erasure: Its id; None where no record of it is in the lake.
        at: When it was recorded, UTC; None likewise.
        reason: Why; None likewise.
    """

    erasure: str | None = None
    at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One event.

    Attributes:
        version: Its place in the stream.
        position: Its place in the store.
        at: When it happened, UTC.
        event_type: As recorded, `noun.verb.vN`.
        kind: What it is; of an erased event by its type.
        turn: Turns up to and including it: the person has begun so many; None for what has no place among messages.
        decision: The decision that it is a part of; None for none.
        messages: Which messages of the agent's context it is, or belongs to: 1, 2, 3 …; empty: the agent is not shown it, or an
            event up to it is erased, so that nobody can count.
        actor: Who did it: agent, user, or what else was recorded; None when not recorded.
        name: Of a tool, a speaker, a table, a prompt, a kind of context; None for none.
        text: What was said, asked for, answered, shown: as text, JSON as JSON text; None when there is none.
        is_error: Whether a tool's answer is an error.
        is_refusal: Whether the recorded message says of itself that it is a refusal.
        fields: What else it says, in the order recorded.
        call_id: Of a call or result, as recorded; no key.
        answers: Of a result, the version of the call that it answers; None: it answers none.
        answered_by: Of a call, the version of its result; None: none came.
        target: Of a redaction, the version of what it hides a part of.
        cause: What it happened because of, as its envelope says (`trace_id`); None when not recorded.
        hidden: Redactions of it, in order.
        erased: Set when its content is gone.
    """

    version: int
    position: int
    at: datetime
    event_type: str
    kind: PartKind
    turn: int | None = None
    decision: int | None = None
    messages: tuple[int, ...] = ()
    actor: str | None = None
    name: str | None = None
    text: str | None = None
    is_error: bool = False
    is_refusal: bool = False
    fields: tuple[Field, ...] = ()
    call_id: str | None = None
    answers: int | None = None
    answered_by: int | None = None
    target: int | None = None
    cause: str | None = None
    hidden: tuple[Hidden, ...] = ()
    erased: Erased | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that was on offer.

    Attributes:
        name: Of the tool.
        description: What the agent was told of it; None for nothing.
        schema: Of its arguments, as JSON text; None for none.
    """

    name: str
    description: str | None
    schema: str | None


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt that a decision was made with.

    Attributes:
        sha256: Its hash, as the model call names it.
        name: Under which it was registered; None when no registration is in the lake.
        number: Which of the different texts registered under that name it is, by time: 1, 2, 3 …; None likewise.
        count: How many different ones there are; None likewise.
        registered_at: When it first came into use, UTC; None likewise.
        text: As registered, before it was filled in; None likewise.
    """

    sha256: str
    name: str | None = None
    number: int | None = None
    count: int | None = None
    registered_at: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class ContextCall:
    """A tool call in a message of a context: the id that links it with its answer, the tool, the arguments as sent."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ContextMessage:
    """One message that the agent was sent.

    Attributes:
        number: Its place in the request: 1, 2, 3 …
        role: system, user, assistant or tool.
        name: Of who speaks; None for none.
        text: Its content: a text as it is, anything else as JSON text; None for none.
        calls: The tool calls that it asks for.
        call_id: The call that it answers; None for none.
    """

    number: int
    role: str
    name: str | None
    text: str | None
    calls: tuple[ContextCall, ...] = ()
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoryDecision:
    """One decision: a message of the agent, and what it was made from.

    Attributes:
        decision: Its number in the stream, as in the view `decisions`.
        turn: In which turn; 0: the agent began.
        first_version: Its first event; its context is all that was before.
        last_version: Its last event.
        at: When its last event happened, UTC.
        asked: Version of what the person had said last; None: nothing.
        context_messages: Messages that the agent was sent; None when a part of the context is erased.
        verification: Whether the log holds what the agent was sent.
        request_sha256: Hash of the request as it was sent; None when not recorded.
        model: Model that was asked; None when not recorded.
        response_model: Model that answered, where that is recorded and another; None otherwise.
        error: Why the model call failed; None when no failure is recorded.
        params: Parameters of the request; None when not recorded.
        prompt: Its prompt; None when not recorded.
        tools_sha256: Hash of the tools on offer; None when not recorded.
        tools: The tools on offer, in order; None when not recorded, or when no list with that hash is in the lake.
        input_tokens: Tokens of the request; None when not recorded.
        output_tokens: Tokens of the answer; None likewise.
        latency_ms: How long the model took, milliseconds; None likewise.
        cost_usd: Price, US dollars; None likewise.
        finish_reason: Why the model stopped; None likewise.
        is_erased: Whether an event of it is erased.
        context: The messages that the agent was sent, in order; None unless they were asked for.
    """

    decision: int
    turn: int
    first_version: int
    last_version: int
    at: datetime
    asked: int | None
    context_messages: int | None
    verification: Verification
    request_sha256: str | None = None
    model: str | None = None
    response_model: str | None = None
    error: str | None = None
    params: tuple[Field, ...] | None = None
    prompt: Prompt | None = None
    tools_sha256: str | None = None
    tools: tuple[Tool, ...] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_ms: float | None = None
    cost_usd: float | None = None
    finish_reason: str | None = None
    is_erased: bool = False
    context: tuple[ContextMessage, ...] | None = None

    @property
    def context_verified(self) -> bool | None:
        """As in the view `decisions`: None when nobody can say."""
        return {"same": True, "other": False}.get(self.verification)


@dataclass(frozen=True, slots=True)
class StoryMonth:
    """A UTC month of the stream's events.

    Attributes:
        month: YYYY-MM.
        first_version: The stream's first event in it, of those that the story tells.
        last_version: Its last.
        state: open, closing or sealed, by the home log as the lake has it.
        sealed_at: When it was sealed last, UTC; None unless it is sealed.
    """

    month: str
    first_version: int
    last_version: int
    state: str
    sealed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """A stream, told in order.

    Attributes:
        stream: Its id.
        stream_type: conversation, call, customer, prompt, …
        source: Where it was recorded; None when not recorded.
        source_id: Its id there; None likewise.
        subject_id: The person it is about; None likewise.
        agent: Who served; None likewise.
        variant: Which variant of the agent; None likewise.
        channel: chat, voice, mail …; None likewise.
        vertical: Line of business; None likewise.
        task: Task of a benchmark or campaign; None likewise.
        status: ended or open.
        outcome: JSON text of the recorded outcome; None likewise.
        started_at: First event, UTC.
        last_at: Last event that is told, UTC.
        last_version: Last event that is told.
        known_version: Last event that the lake holds.
        is_original: Whether texts are as recorded, redactions not applied.
        months: In order.
        parts: The events, in order.
        decisions: In order.
        decision_count: How many decisions the stream has, up to the last event that is told.
        redacted_events: How many of the events have redactions.
        erased_events: How many of them are erased.
        skipped: Types of events that are not known, and how many of each.
        missing: Versions that the lake does not hold, from first to last: the story is not whole.
        focus: Number of the decision that was asked for; None: the whole story.
    """

    stream: str
    stream_type: str
    source: str | None
    source_id: str | None
    subject_id: str | None
    agent: str | None
    variant: str | None
    channel: str | None
    vertical: str | None
    task: str | None
    status: str
    outcome: str | None
    started_at: datetime
    last_at: datetime
    last_version: int
    known_version: int
    is_original: bool
    months: tuple[StoryMonth, ...]
    parts: tuple[Part, ...]
    decisions: tuple[StoryDecision, ...]
    decision_count: int = 0
    redacted_events: int = 0
    erased_events: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[tuple[int, int], ...] = ()
    focus: int | None = None

    @property
    def name(self) -> str:
        """As a person names it: `source/conversation_id`, else its id."""
        return f"{self.source}/{self.source_id}" if self.source and self.source_id else self.stream
