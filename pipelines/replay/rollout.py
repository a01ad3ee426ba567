"""Walk a candidate through a recording: what it is asked next, what its tools answer, and when it is over.

A walk is a coroutine over `ask`. It makes a request from the messages so far, takes the answer, looks its tool calls up in
the cassette and goes on, segment by segment:

- The candidate's loop in a segment ends with a message that calls no tool, with calls that the recording left without any
  result, or, where the recorded loop was cut short, when a candidate that did the same so far gets there too.
- A result that was recorded late, after further input or the agent's next message, is shown where it came: until then the
  call has none.
- A call without a recorded result ends the unit as `diverged`, or is answered by an error, as the policy says.
- The first step whose tool calls differ from the recorded ones is the divergence; texts alone are none. What the user or
  the world said next was said to somebody else: the walk ends before it, unless the experiment wants it to go on, and then
  everything further is `off_policy`.

Mode `turn` walks the segments of one turn from its recorded past, `conversation` all of them from the beginning. Nothing is
executed and nothing is sent from here: what happens to a request is behind `ask`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.file import DivergenceLevel, Past
from pipelines.experiment.manifest import OnMiss
from pipelines.experiment.sides import Side
from pipelines.replay.cassette import Cassette, LateResult, Lookup, Player, UserCall
from pipelines.replay.failure import Answer, Failure, Reason
from pipelines.replay.ledger import (
    Call,
    Divergence,
    ListHasher,
    Outcome,
    Row,
    StepRecord,
    not_asked,
    read_calls,
    walked_unit,
)
from pipelines.replay.recording import Message, Recording, Segment, Step
from pipelines.replay.request import Ask, Beginnings, Head, Lines
from pipelines.replay.wires.calls import arguments_as_sent

STUB = "replay: there is no recorded result for this call"
"""What a call reads that the recording cannot answer, when the policy is `stub_error`."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What all walks through one recording share.

    Attributes:
        aggregate_id: The stream.
        recording: What happened.
        cassette: What tools answered.
        head: What surrounds the messages of a request, where no decision was recorded.
        metadata: Of every `Decision` made here.
        hasher: Hashes lists of calls.
        on_miss: What a call gets that was not recorded.
        level: How different tool calls must be to be a divergence.
        past: Whether walks go on past the divergence.
        max_steps: Messages of one segment after which a candidate is stopped; never fewer than were recorded there.
        heads: What surrounds the messages at a recorded decision, whose tools these are.
        first_asked: The first decision that has any context, with which walks of the whole conversation begin; None when there is
            none.
    """

    aggregate_id: str
    recording: Recording
    cassette: Cassette
    head: Head
    metadata: Mapping[str, Any]
    hasher: ListHasher
    on_miss: OnMiss = "stop"
    level: DivergenceLevel = "args"
    past: Past = "stop"
    max_steps: int = 50
    heads: Mapping[int, Head] = field(default_factory=dict)
    first_asked: int | None = 1
    beginnings: Beginnings = field(init=False, compare=False)

    def __post_init__(self) -> None:
        starts = (segment.offset for segment in self.recording.segments if segment.steps)
        object.__setattr__(self, "beginnings", Beginnings(self.recording.messages, starts))

    def head_at(self, decision: int) -> Head:
        """What surrounds the messages of a request at a recorded decision."""
        return self.heads.get(decision, self.head)

    def turns(self) -> list[int]:
        """The turns in which the recorded agent acted."""
        return sorted({segment.turn for segment in self.recording.segments if segment.turn >= 1 and segment.steps})

    def opening(self) -> tuple[list[Segment], list[Segment]]:
        """What nobody can be asked for, and what a walk of the whole conversation goes through."""
        opening: list[Segment] = []
        asked: list[Segment] = []
        for segment in self.recording.segments:
            if not segment.steps:
                continue
            if self.first_asked is None or segment.steps[-1].decision < self.first_asked:
                opening.append(segment)
            elif segment.steps[0].decision < self.first_asked:
                past, rest = segment.cut(self.first_asked)
                opening.append(past)
                asked.append(rest)
            else:
                asked.append(segment)
        return opening, asked


async def walk_turn(walk: Walk, turn: int, unit: Row, ask: Ask) -> Outcome:
    """Put a candidate into one recorded turn, and let it act until its final message.

    Args:
        walk: Not begun.
        turn: The turn; the recorded agent acted in it.
        unit: What names the unit: the first columns of its row.
        ask: Who answers.
    """
    segments = walk.scene.recording.segments
    mine = [segment for segment in segments if segment.turn == turn and segment.steps]
    start = next(place for place, segment in enumerate(segments) if segment is mine[0])
    walk.take_past(segments[:start])
    return await walk.run(mine, unit, ask)


async def walk_conversation(walk: Walk, unit: Row, ask: Ask) -> Outcome:
    """Put a candidate into a whole conversation, its own messages taking the place of the recorded ones.

    What the agent did before there was any context is taken over: nobody can be asked for it. Where nothing else was recorded there
    is no walk.

    Args:
        walk: Not begun.
        unit: What names the unit: the first columns of its row.
        ask: Who answers.
    """
    opening, segments = walk.scene.opening()
    if not segments:
        return not_asked(unit)
    walk.take_past(opening)
    walk.use_up(opening)
    return await walk.run(segments, unit, ask)


@dataclass(slots=True)
class Walk:
    """One candidate on its way.

    Attributes:
        scene: The recording.
        unit_id: The unit.
        side: Candidate or control.
        draw: Index of the draw.
    """

    scene: Scene
    unit_id: str
    side: Side
    draw: int
    player: Player = field(init=False)
    lines: Lines = field(init=False)
    steps: list[StepRecord] = field(default_factory=list)
    covered_to: int | None = None
    detail: str | None = None
    is_diverged: bool = False
    is_off_policy: bool = False
    _acted: int = 0
    _past: set[int] = field(default_factory=set)
    _pending: dict[int, str] = field(default_factory=dict)
    _arrived: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.player = self.scene.cassette.player()
        self.lines = Lines(self.scene.head)

    def take_past(self, segments: Sequence[Segment]) -> None:
        """Let recorded segments happen as they did, up to the input of the next one."""
        for segment in segments:
            self._acted += len(segment.steps)
            self._arrived.update(item.version for item in segment.late)
            self._past.update(call.version for step in segment.steps for call in step.calls)
        for block in self.scene.recording.blocks(segments):
            self.player.pass_by(block)

    def use_up(self, segments: Sequence[Segment]) -> None:
        """Let the results of recorded segments be had no more: they answered what the agent did there."""
        for segment in segments:
            for step in segment.steps:
                self.player.use_up(step.calls)

    async def run(self, segments: Sequence[Segment], unit: Row, ask: Ask) -> Outcome:
        """Walk through segments, from what was rendered before the first of them."""
        if segments:
            head = self.scene.head_at(segments[0].steps[0].decision)
            self.lines = self.scene.beginnings.before(segments[0].offset, head)
        for segment in segments:
            if self.is_diverged and segment.inputs:
                if self.scene.past == "stop":
                    break
                self.is_off_policy = True
            self._enter(segment)
            reached = await self.act(segment, ask)
            self.covered_to = segment.steps[reached - 1].decision
            if self.steps[-1].reason is not None or reached < len(segment.steps):
                break
        recorded = sum(len(segment.steps) for segment in segments)
        return walked_unit(unit, self.steps, recorded, self.covered_to, self.scene.hasher, self.detail)

    def _show(self, messages: Sequence[Message]) -> None:
        self.lines.add(*messages)

    def _enter(self, segment: Segment) -> None:
        for item in segment.inputs:
            if isinstance(item, UserCall):
                self.player.pass_by(item)
            elif isinstance(item, LateResult):
                self._arrive(item)
            else:
                self._show([item])

    def _arrive(self, late: LateResult) -> None:
        """Show a late result to whoever made its call: in the recorded past, or on this walk; to nobody else."""
        self._arrived.add(late.version)
        if late.version in self._past:
            self._show([late.message])
        elif late.version in self._pending:
            self._show([{**late.message, "tool_call_id": self._pending.pop(late.version)}])

    def is_waiting(self, lookup: Lookup) -> bool:
        """Whether a call has no result yet, or never had."""
        call = lookup.recorded
        return lookup.is_ended or (call is not None and call.is_late and call.version not in self._arrived)

    async def act(self, segment: Segment, ask: Ask) -> int:
        """The candidate's own loop after one segment's input; the last step says why it ended badly, if it did.

        Returns:
            How many of the recorded steps it stands beside: all, unless its calls, different enough to be answered by others and not
            to be a divergence, have no result in the recording.
        """
        place = 0
        while True:
            recorded = segment.steps[place] if place < len(segment.steps) and not self.is_diverged else None
            # whoever goes on longer than was recorded keeps the tools of the last decision there
            here = segment.steps[min(place, len(segment.steps) - 1)]
            self.lines = self.lines.under(self.scene.head_at(here.decision))
            step = await self._ask(segment, recorded, ask)
            self.steps.append(step)
            place += 1
            if self.is_over(step, segment, place):
                break
        return len(segment.steps) if self.is_diverged else place

    def is_over(self, step: StepRecord, segment: Segment, place: int) -> bool:
        """Whether the loop ends with this step, the `place`-th of the segment; it is failed where that is a bad end."""
        if step.reason is not None or not step.calls or all(map(self.is_waiting, step.found)):
            return True
        if any(lookup.source == "miss" for lookup in step.found):
            self.fail(step, "diverged", "a tool call has no recorded result")
            return True
        if not self.is_diverged and place == len(segment.steps):
            return True  # the recording was cut short here
        if place >= self.most_steps(segment):
            self.fail(step, "step_limit", f"{place} messages without a final one")
            return True
        return False

    def most_steps(self, segment: Segment) -> int:
        """Messages of one segment after which a candidate is stopped."""
        return max(self.scene.max_steps, len(segment.steps))

    def fail(self, step: StepRecord, reason: Reason, detail: str) -> None:
        """Let a step be the bad end of the walk."""
        step.reason, self.detail = reason, detail

    async def _ask(self, segment: Segment, recorded: Step | None, ask: Ask) -> StepRecord:
        turn, metadata = segment.turn, self.scene.metadata
        self._acted += 1
        place = self.scene.aggregate_id, self._acted
        request = self.lines.request(self.unit_id, self.side, self.draw, place, lambda: (turn, metadata))
        step = self.step_at(segment, recorded, request.sha256, request.head.model)
        answer = await ask(request)
        if self.take(step, segment, recorded, answer) and step.reply is not None:
            self.show_reply(step.reply, step.found)
        return step

    def step_at(self, segment: Segment, recorded: Step | None, sha256: str, model: str | None) -> StepRecord:
        """A step that is about to be made, beside the recorded one at its place."""
        number = recorded.decision if recorded is not None else None
        step = StepRecord(segment.turn, number, sha256, is_off_policy=self.is_off_policy)
        step.model_requested = model
        return step

    def take(self, step: StepRecord, segment: Segment, recorded: Step | None, answer: Answer) -> bool:
        """Make a step of an answer, its tool calls looked up; whether it is one."""
        if isinstance(answer, Failure):
            step.spent = answer.reply
            self.fail(step, answer.reason, answer.detail)
            return False
        try:
            step.calls = read_calls(answer)
        except (TypeError, ValueError) as error:
            self.fail(step, "candidate_error", f"{type(error).__name__}: {error}")
            return False
        step.reply = step.spent = answer
        if recorded is not None:
            step.divergence = self._compare(recorded, step.calls)
            self.is_diverged = step.divergence is not None
        step.found = self.look_up(step.calls, segment.turn) if step.calls else ()
        if self.scene.on_miss == "stub_error":
            step.found = [Lookup("stub", miss=found.miss) if found.source == "miss" else found for found in step.found]
        return True

    def look_up(self, calls: Sequence[Call], turn: int) -> Sequence[Lookup]:
        """What the recording has for one block of tool calls, which happen."""
        return self.player.answer(calls, turn)

    def show_reply(self, reply: Reply, found: Sequence[Lookup]) -> None:
        """The candidate's own message, and after it the results in the order in which they were recorded."""
        index = len(self.lines)
        message: Message = {"role": "assistant", "content": reply.text, **(reply.extra or {})}
        if reply.tool_calls:
            message["tool_calls"] = [
                _rendered_call(f"call_{index}_{place}", call) for place, call in enumerate(reply.tool_calls)
            ]
        results: list[tuple[float, int, Any]] = []
        for place, lookup in enumerate(found):
            call = lookup.recorded
            if call is not None and self.is_waiting(lookup):
                self._pending[call.version] = f"call_{index}_{place}"
            elif call is not None and call.answer_place is not None:
                results.append((call.answer_place, place, call.content))
            elif call is None:
                results.append((float("inf"), place, STUB))
        rendered = [
            {"role": "tool", "tool_call_id": f"call_{index}_{place}", "content": content}
            for _, place, content in sorted(results, key=lambda result: result[:2])
        ]
        self._show([message, *rendered])

    def _compare(self, recorded: Step, calls: Sequence[Call]) -> Divergence | None:
        """How the tool calls of a step differ from the recorded ones; the order within a block makes no difference."""
        if not recorded.calls or not calls:
            return "text_to_tool" if calls else "tool_to_text" if recorded.calls else None
        if sorted(call.name for call in recorded.calls) != sorted(name for name, _ in calls):
            return "names"
        if self.scene.level == "name":
            return None
        if self.scene.level == "bytes":
            same = sorted((call.name, call.arguments) for call in recorded.calls) == sorted(calls)
        else:
            key = self.scene.cassette.book.key
            keys = sorted(key(name, arguments).exact for name, arguments in calls)
            same = keys == sorted(key(call.name, call.arguments).exact for call in recorded.calls)
        return None if same else "arguments"


def _rendered_call(call_id: str, call: ToolCall) -> Message:
    """A call as the agent's next request carries it, with what its vendor wants back."""
    extra = dict(call.extra or {})
    inner = extra.pop("function", {})
    function = {"name": call.name, "arguments": arguments_as_sent(call.arguments), **inner}
    return {"id": call_id, "type": "function", "function": function, **extra}
