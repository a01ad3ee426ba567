"""Units of a replay as coroutines: what is asked for each, in every mode, whoever answers.

`list_work` yields the units of a plan for one side; awaiting `unit.replay(ask)` gives its rows. Units of one stream share
what was rendered. Who answers, how many at once and where rows go is the runner's matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.compact_json import read_json
from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.file import Experiment
from pipelines.experiment.manifest import ToolBook, ToolPolicy
from pipelines.experiment.prompt import PromptError
from pipelines.experiment.sides import Side
from pipelines.log.context import Context
from pipelines.replay.cassette import Cassette
from pipelines.replay.failure import ERASED, NO_CONTEXT, Answer, Failure, Reason
from pipelines.replay.ledger import (
    ListHasher,
    Outcome,
    Row,
    answered_decision,
    failed_unit,
    not_asked,
    read_calls,
)
from pipelines.replay.recording import Event, Message, Recording, read_recording
from pipelines.replay.request import Ask, Head, Lines, Request
from pipelines.replay.rollout import Scene, Walk, walk_conversation, walk_turn
from pipelines.replay.streams import Decided, Stream
from pipelines.replay.wires.calls import JsonText

if TYPE_CHECKING:
    from pipelines.replay.agents.host import Host

_NOTHING: Mapping[str, Any] = {}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IN_THE_DARK = (
    "the agent was offered tools of hash {}, and no `tools.registered` event holds them; name them in `tools: {{schemas: …}}` "
    "(an empty list asks without tools)"
)
_ERASED_TOOLS = (
    "the agent was offered tools of hash {}, and `tools.registered` events are erased; name the tools in `tools: {{schemas: …}}` "
    "(an empty list asks without tools)"
)

Tools = Sequence[Mapping[str, Any]]
EditPrompt = Callable[[Sequence[Message], Mapping[str, Any]], list[Message]]
"""System messages in place of the recorded ones, given those and the payload of `conversation.started`."""


@dataclass(frozen=True, slots=True)
class SideSpec:
    """Who is asked and how, of one side.

    Attributes:
        name: Candidate or control.
        draws: Indices of the draws of every unit.
        sample_draws: Indices of further draws, of the units of `sample` alone.
        sample: Streams that are drawn more often, for the noise floor.
        make_head: What surrounds the messages of a request, given the tools on offer.
        edit_prompt: Makes the system messages, or raises `PromptError`. None leaves them as recorded.
        is_echo: Whether the recording itself answers: then units know what was recorded.
        is_model: Whether tools are sent along: then they must be known wherever the recording says that there were some.
        has_erased_tools: Whether lists of tools were erased: one that is not known may be among them.
        host: Where agents are at home; None where this side is none.
    """

    name: Side = "candidate"
    draws: Sequence[int] = (0,)
    make_head: Callable[[Tools], Head] = lambda tools: Head(tools=tools)
    edit_prompt: EditPrompt | None = None
    is_echo: bool = False
    is_model: bool = False
    has_erased_tools: bool = False
    sample_draws: Sequence[int] = ()
    sample: frozenset[str] = frozenset()
    host: Host | None = None

    def draws_of(self, aggregate_id: str) -> Sequence[int]:
        """Indices of the draws of the units of one stream."""
        return (*self.draws, *self.sample_draws) if aggregate_id in self.sample else self.draws


class Unit(Protocol):
    """One unit × draw to replay."""

    @property
    def row(self) -> Row:
        """What names it: the first columns of its row of `replays`."""

    @property
    def request(self) -> Request | None:
        """The one request of a unit that is a decision; None when it makes others, or none."""

    @property
    def recorded(self) -> Mapping[int, Reply]:
        """What the recorded agent did, by decision; empty unless the side is an echo."""

    def replay(self, ask: Ask) -> Coroutine[Any, Any, Outcome]:
        """Ask what there is to ask, and give the unit's rows; raises only what `ask` raises."""

    def take(self, answer: Answer, /) -> Outcome:
        """The unit's rows, given the answer to its one request."""


@dataclass(slots=True)
class _DecisionUnit:
    """A decision: one request, made before."""

    row: Row
    request: Request
    hasher: ListHasher
    recorded: Mapping[int, Reply]

    async def replay(self, ask: Ask) -> Outcome:
        return self.take(await ask(self.request))

    def take(self, answer: Answer, /) -> Outcome:
        request = self.request
        if isinstance(answer, Failure):
            return failed_unit(self.row, answer.reason, answer.detail, answer.reply, request)
        try:
            calls = read_calls(answer)
        except (TypeError, ValueError) as error:
            return failed_unit(self.row, "candidate_error", f"{type(error).__name__}: {error}", None, request)
        return Outcome(answered_decision(request, self.row, answer, calls, self.hasher))


@dataclass(slots=True)
class _WalkUnit:
    """A turn, or (None) a conversation."""

    row: Row
    scene: Scene
    turn: int | None
    side: Side
    draw: int
    recorded: Mapping[int, Reply]
    host: Host | None = None
    request: None = None

    async def replay(self, ask: Ask) -> Outcome:
        walk = self._walk()
        if self.turn is None:
            return await walk_conversation(walk, self.row, ask)
        return await walk_turn(walk, self.turn, self.row, ask)

    def _walk(self) -> Walk:
        given = self.scene, str(self.row["unit_id"]), self.side, self.draw
        if self.host is None:
            return Walk(*given)
        from pipelines.replay.agents.walk import AgentWalk  # noqa: PLC0415 -- only where agents are run

        return AgentWalk(*given, host=self.host, replies=self.recorded)

    def take(self, _answer: Answer, /) -> Outcome:
        raise RuntimeError("a walk makes its requests itself")


@dataclass(slots=True)
class _UnaskedUnit:
    """A unit that holds nothing to put before anybody, or not all of it any more: it is on no side of any number."""

    row: Row
    why: str = NO_CONTEXT
    recorded: Mapping[int, Reply] = field(default_factory=dict)
    request: None = None

    async def replay(self, ask: Ask) -> Outcome:  # noqa: ARG002 -- nobody is asked
        return not_asked(self.row, self.why)

    def take(self, _answer: Answer, /) -> Outcome:
        raise RuntimeError("a unit about which nobody is asked has no answer")


@dataclass(slots=True)
class _FailedUnit:
    """A unit that cannot be asked of this side."""

    row: Row
    reason: Reason
    detail: str
    recorded: Mapping[int, Reply] = field(default_factory=dict)
    request: None = None

    async def replay(self, ask: Ask) -> Outcome:  # noqa: ARG002 -- nobody is asked
        return failed_unit(self.row, self.reason, self.detail)

    def take(self, _answer: Answer, /) -> Outcome:
        raise RuntimeError("a unit that cannot be asked has no answer")


def list_work(
    streams: Iterable[Stream],
    experiment: Experiment,
    policy: ToolPolicy,
    tools: Mapping[str, Tools],
    spec: SideSpec,
    units: Collection[str] | None = None,
) -> Iterator[Unit]:
    """The units of one side, stream by stream, every draw of a unit after the other.

    Args:
        streams: The plan's conversations.
        experiment: Its mode, tool settings and divergence.
        policy: How tool calls are answered.
        tools: Recorded tool schemas by hash.
        spec: The side.
        units: Ids of those that are meant alone; None for all.
    """
    workshop = _Workshop(experiment, policy, tools, spec)
    for stream in streams:
        yield from (unit for unit in workshop.units(stream) if units is None or unit.row["unit_id"] in units)


class _Workshop:
    """Makes units; what streams share (heads, tool books, remembered hashes) is made once."""

    def __init__(self, experiment: Experiment, policy: ToolPolicy, tools: Mapping[str, Tools], spec: SideSpec) -> None:
        self._experiment, self._policy, self._tools, self._spec = experiment, policy, tools, spec
        self._hasher = ListHasher()
        self._heads: dict[str, Head] = {}
        self._books: dict[tuple[str, ...], ToolBook] = {}

    def units(self, stream: Stream) -> Iterator[Unit]:
        mode = self._experiment.mode
        make = self._walks if mode in ("turn", "conversation") else self._decisions
        if self._spec.edit_prompt is None:
            return make(stream)
        try:
            return make(_edited(stream, self._spec.edit_prompt))
        except PromptError as error:
            why = error  # the name of the clause ends with it, the generator does not
            return (
                unit if isinstance(unit, _UnaskedUnit) else _FailedUnit(unit.row, why.reason, why.detail)
                for unit in make(stream)
            )

    def _decisions(self, stream: Stream) -> Iterator[Unit]:
        is_single = self._experiment.mode == "single"
        replies = replies_of(recording_of(stream)) if self._spec.is_echo else {}
        context = Context()
        messages, add, decided_at = context.messages, context.add, stream.decided.get
        lines = Lines(self._head(None))
        for version, name, payload, message_id, actor, _, beside in stream.rows:
            decided = decided_at(version)
            if decided is not None and decided.is_erased:
                break
            if decided is not None and not (is_single and decided.turn < 1):
                head = self._head(decided.tools_sha256)
                if head is not lines.head:
                    lines = Lines(head)
                lines.add(*messages[len(lines) :], is_plain=context.is_plain)
                yield from self._draws(stream, decided, lines, replies)
                if is_single:
                    return
            add(name, read_json(payload) if payload is not None else _NOTHING, message_id, actor)
            if beside is not None:
                context.give_back(read_json(beside))
        erased = [each for each in stream.erased if not is_single or each.turn >= 1]
        for decided in erased[:1] if is_single else erased:
            for row in self._rows(stream, decided):
                yield _UnaskedUnit(row, ERASED)

    def _rows(self, stream: Stream, decided: Decided) -> Iterator[Row]:
        """What names one decision, as often as it is drawn."""
        for draw in self._spec.draws_of(stream.aggregate_id):
            yield {
                "unit_id": f"{stream.aggregate_id}/{decided.decision}",
                "unit": "decision",
                "aggregate_id": stream.aggregate_id,
                "decision": decided.decision,
                "turn": decided.turn,
                "side": self._spec.name,
                "draw": draw,
            }

    def _draws(self, stream: Stream, decided: Decided, lines: Lines, recorded: Mapping[int, Reply]) -> list[Unit]:
        """One decision, as often as it is drawn."""
        origin = (stream.aggregate_id, decided.decision)
        is_in_the_dark = self._is_in_the_dark(decided)
        about = partial(_about, stream, decided)
        units: list[Unit] = []
        for row in self._rows(stream, decided):
            if not decided.has_context:
                units.append(_UnaskedUnit(row))
                continue
            if is_in_the_dark:
                units.append(self._in_the_dark(row, decided))
                continue
            request = lines.request(row["unit_id"], self._spec.name, row["draw"], origin, about)
            units.append(_DecisionUnit(row, request, self._hasher, recorded))
        return units

    def _is_in_the_dark(self, decided: Decided) -> bool:
        """Whether a model would be asked without the tools that the recorded agent had: nobody knows them any more."""
        return (
            (self._spec.is_model or self._spec.host is not None)
            and self._policy.schemas is None
            and decided.tools_sha256 is not None
            and decided.tools_sha256 not in self._tools
        )

    def _in_the_dark(self, row: Row, decided: Decided) -> Unit:
        """What there is to say of a unit whose tools nobody knows."""
        if self._spec.has_erased_tools:
            return _FailedUnit(row, "erased", _ERASED_TOOLS.format(decided.tools_sha256))
        return _FailedUnit(row, "unknown_tools", _IN_THE_DARK.format(decided.tools_sha256))

    def _walks(self, stream: Stream) -> Iterator[Unit]:
        recording = recording_of(stream)
        erased = {each.turn for each in stream.erased if each.has_context}
        asked = sorted(each for each in stream.decided.values() if each.has_context and not each.is_erased)
        scene = self._scene(stream, recording, asked[0] if asked else None)
        host = self._spec.host
        replies = replies_of(recording) if self._spec.is_echo or (host is not None and host.is_recorded) else {}
        dark = [each for each in asked if self._is_in_the_dark(each)]
        is_whole = self._experiment.mode == "conversation"
        for turn in [None] if is_whole else sorted({*scene.turns(), *(turn for turn in erased if turn >= 1)}):
            for draw in self._spec.draws_of(stream.aggregate_id):
                row = {
                    "unit_id": stream.aggregate_id if turn is None else f"{stream.aggregate_id}/t{turn}",
                    "unit": "conversation" if turn is None else "turn",
                    "aggregate_id": stream.aggregate_id,
                    "turn": turn,
                    "side": self._spec.name,
                    "draw": draw,
                }
                if turn in erased or (is_whole and erased):
                    yield _UnaskedUnit(row, ERASED)
                    continue
                if not asked:
                    yield _UnaskedUnit(row)
                    continue
                unknown = next((each for each in dark if turn is None or each.turn == turn), None)
                if unknown is not None:
                    yield self._in_the_dark(row, unknown)
                    continue
                yield _WalkUnit(row, scene, turn, self._spec.name, draw, replies, host)

    def _scene(self, stream: Stream, recording: Recording, first: Decided | None) -> Scene:
        offered = sorted({each.tools_sha256 for each in stream.decided.values() if each.tools_sha256 is not None})
        book = self._books.get(tuple(offered))
        if book is None:
            schemas = [tool for sha256 in offered for tool in self._tools.get(sha256, ())]
            book = self._books[tuple(offered)] = ToolBook(self._policy, schemas)
        return Scene(
            aggregate_id=stream.aggregate_id,
            recording=recording,
            cassette=Cassette(recording.blocks(), book),
            head=self._head(first.tools_sha256 if first is not None else None),
            metadata={**stream.metadata, "model": first.model if first is not None else None},
            hasher=self._hasher,
            on_miss=self._experiment.tools.on_miss,
            level=self._experiment.divergence.level,
            past=self._experiment.divergence.past,
            max_steps=self._experiment.tools.max_steps,
            heads={each.decision: self._head(each.tools_sha256) for each in stream.decided.values()},
            first_asked=first.decision if first is not None else None,
        )

    def _head(self, tools_sha256: str | None) -> Head:
        key = tools_sha256 or ""
        head = self._heads.get(key)
        if head is None:
            offered = self._tools.get(key, ()) if self._policy.schemas is None else self._policy.schemas
            head = self._heads[key] = self._spec.make_head(offered)
        return head


def _about(stream: Stream, decided: Decided) -> tuple[int, Mapping[str, Any]]:
    """Turn and metadata of a recorded decision."""
    created_at = _EPOCH + timedelta(microseconds=decided.created_us)
    return decided.turn, {**stream.metadata, "model": decided.model, "created_at": created_at}


def recording_of(stream: Stream) -> Recording:
    """The recording of a stream."""
    decided_at = stream.decided.get
    return read_recording(
        Event(
            version,
            name,
            read_json(payload) if payload is not None else _NOTHING,
            {"message_id": message_id, "actor": actor},
            arguments,
            decided.decision if (decided := decided_at(version)) is not None else None,
            read_json(beside) if beside is not None else None,
        )
        for version, name, payload, message_id, actor, arguments, beside in stream.rows
    )


def _edited(stream: Stream, edit: EditPrompt) -> Stream:
    """The stream with other system messages at its beginning, as if the agent had been started with them."""
    place = next((place for place, row in enumerate(stream.rows) if row[1] == "conversation.started"), None)
    told = stream.rows[place][2] if place is not None else None
    payload = json.loads(told) if told else {"messages": []}
    payload["messages"] = edit(payload["messages"], payload)
    version = stream.rows[place][0] if place is not None else 0
    started = (version, "conversation.started", json.dumps(payload, ensure_ascii=False), None, None, None, None)
    others = [row for at, row in enumerate(stream.rows) if at != place]
    return replace(stream, rows=[*others[: place or 0], started, *others[place or 0 :]])


def replies_of(recording: Recording) -> dict[int, Reply]:
    """What the recorded agent did, by decision, arguments as they are."""
    return {
        step.decision: Reply(
            step.text,
            [ToolCall(call.name, JsonText(call.arguments)) for call in step.calls],
            is_refusal=step.is_refusal,
        )
        for step in recording.steps
    }
