"""One recorded conversation as a replay walks it: what the agent was given, and what it did between.

A conversation is a row of segments. A segment is input (the user's messages and tool calls, supplied context) and the
agent's own loop after it: messages with tool calls, each answered, until one that is final. Everything is read off
`Context` while it folds the stream, so that the pairing of calls and results, and what the agent can see, are decided in
one place. Nothing here knows of candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.log.context import Context
from pipelines.replay.cassette import Block, LateResult, RecordedCall, UserCall

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream, as far as a replay looks at it.

    Attributes:
        version: `stream_version`.
        event_type: Type, with or without its version.
        payload: Payload at its latest version, redactions applied.
        metadata: Envelope; `message_id` and `actor` are read.
        arguments: JSON text of a tool call's arguments, as recorded; None elsewhere.
        decision: The decision that begins here, as `lake/decisions` has it; None elsewhere.
        beside: Fields of the agent's message that the payload does not say; None without.
    """

    version: int
    event_type: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any]
    arguments: str | None = None
    decision: int | None = None
    beside: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Step:
    """One recorded decision.

    Attributes:
        decision: Its number.
        offset: Messages before it, as rendered for the recorded agent.
        text: What the agent said; None for tool calls alone.
        calls: Its tool calls, one parallel block.
        is_refusal: Whether the text is marked as a refusal.
    """

    decision: int
    offset: int = 0
    text: str | None = None
    calls: list[RecordedCall] = field(default_factory=list)
    is_refusal: bool = False


@dataclass(slots=True)
class Segment:
    """Input, and the agent's loop after it.

    Attributes:
        turn: The turn that the loop is in; 0 before the user's first text.
        offset: Messages before the segment, as rendered for the recorded agent.
        inputs: Visible messages, calls of the user, and late results of the agent's earlier calls, in order.
        steps: The agent's messages, in order; the last is final, or the recording was cut short there.
    """

    turn: int
    offset: int
    inputs: list[Message | UserCall | LateResult] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def cut(self, first: int) -> tuple[Segment, Segment]:
        """The segment in two: up to the decision `first`, and from it on, where the input was before."""
        past = [step for step in self.steps if step.decision < first]
        rest = self.steps[len(past) :]
        return replace(self, steps=past), Segment(self.turn, rest[0].offset, steps=rest)

    @property
    def is_cut(self) -> bool:
        """Whether the recorded loop ended on tool calls instead of a final message."""
        return bool(self.steps and self.steps[-1].calls)

    @property
    def late(self) -> list[LateResult]:
        """The results of earlier calls among the input."""
        return [item for item in self.inputs if isinstance(item, LateResult)]


@dataclass(frozen=True, slots=True)
class Recording:
    """One conversation.

    Attributes:
        segments: In order.
        messages: Everything that was rendered, to the end.
    """

    segments: Sequence[Segment]
    messages: Sequence[Message]

    @property
    def steps(self) -> list[Step]:
        """All recorded decisions, in order."""
        return [step for segment in self.segments for step in segment.steps]

    def blocks(self, segments: Iterable[Segment] | None = None) -> Iterable[Block]:
        """What the agent and the user called, in order: the tape of a cassette. Default: of all segments."""
        for segment in self.segments if segments is None else segments:
            yield from (item for item in segment.inputs if isinstance(item, UserCall))
            yield from (step.calls for step in segment.steps if step.calls)


def read_recording(events: Iterable[Event]) -> Recording:
    """Fold one stream's events, in order, into its recording."""
    reader = _Reader()
    for event in events:
        reader.apply(event)
    return reader.finish()


class _Reader:
    """Watches `Context` fold a stream."""

    def __init__(self) -> None:
        self._context = Context()
        self._segments: list[Segment] = []
        self._calls: dict[str, tuple[Step, int]] = {}
        self._step: Step | None = None

    def apply(self, event: Event) -> None:
        context, before = self._context, len(self._context.messages)
        kind = event.event_type.rsplit(".v", 1)[0]
        if event.decision is not None:
            self._begin_step(event.decision, before)
        context.apply(event.event_type, event.payload, event.metadata)
        if event.beside is not None:
            context.give_back(event.beside)
        new = context.messages[before:]
        if kind == "tool.call":
            self._called(event, before)
        elif kind == "agent.utterance" and self._step is not None:
            self._step.text = event.payload["text"]
            self._step.is_refusal = event.payload.get("is_refusal") is True
        elif kind == "tool.result":
            self._answered(new, before)
        elif kind == "conversation.started":  # it ends no message of the agent's
            for message in new:
                self._open(before).inputs.append(message)
        elif kind not in ("agent.utterance", "model.decision"):
            for message in new:
                self._input(message, before)

    def finish(self) -> Recording:
        return Recording(self._segments, self._context.messages)

    def _open(self, before: int) -> Segment:
        """The segment that takes input now: a new one once the agent has acted."""
        if not self._segments or self._segments[-1].steps:
            self._segments.append(Segment(self._context.turn, before))
        return self._segments[-1]

    def _input(self, item: Message | UserCall | LateResult, before: int) -> None:
        self._open(before).inputs.append(item)
        self._step = None

    def _begin_step(self, decision: int, before: int) -> None:
        last = self._segments[-1].steps[-1:] if self._segments else []
        goes_on = not last or any(call.is_answered for call in last[0].calls)
        segment = self._segments[-1] if self._segments and goes_on else self._open(before)
        if not segment.steps:
            segment.turn = self._context.turn
        self._step = Step(decision, before)
        segment.steps.append(self._step)

    def _called(self, event: Event, before: int) -> None:
        name, arguments = event.payload["name"], event.arguments or "null"
        if event.metadata.get("actor") == "user":
            self._input(UserCall(name, arguments), before)
        elif self._step is not None:
            call = RecordedCall(event.version, self._context.turn, name, arguments)
            mine = next(each for each in reversed(self._context.messages) if each["role"] == "assistant")
            rendered = mine["tool_calls"][-1]["id"]
            self._calls[rendered] = (self._step, len(self._step.calls))
            self._step.calls.append(call)

    def _answered(self, new: Sequence[Message], before: int) -> None:
        """A visible result answers the call of its rendered id; when it comes late, or answers nothing, it is input."""
        for message in new:
            waiting = self._calls.get(message["tool_call_id"])
            if waiting is None:
                self._input(message, before)
            else:
                step, place = waiting
                is_late = step is not self._step
                answered = replace(step.calls[place], answer_place=before, content=message["content"], is_late=is_late)
                step.calls[place] = answered
                if is_late:
                    self._input(LateResult(answered.version, message), before)
