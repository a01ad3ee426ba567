"""Units of a replay as coroutines: what is asked for each, in every mode, whoever answers.

`list_work` yields the units of a plan for one side; awaiting `unit.replay(ask)` gives its rows. Units of one stream share
what was rendered. Who answers, how many at once and where rows go is the runner's matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import duckdb
import msgspec

from pipelines.folds.context import Context
from pipelines.replay.cassette import Cassette
from pipelines.replay.decision import Decision, Reply, ToolCall
from pipelines.replay.experiment import Experiment
from pipelines.replay.ledger import JsonText, ListHasher, Outcome, Row, answered_decision, failed_unit, read_calls
from pipelines.replay.manifest import ToolBook, ToolPolicy
from pipelines.replay.recording import Event, Message, Recording, read_recording
from pipelines.replay.request import Ask, Failure, Head, Lines, Reason, Request, Side
from pipelines.replay.rollout import Scene, walk_conversation, walk_turn
from pipelines.replay.streams import EventRow, Stream

_decode = msgspec.json.Decoder().decode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Tools = Sequence[Mapping[str, Any]]
EditPrompt = Callable[[Sequence[Message], Mapping[str, Any]], list[Message]]
"""System messages in place of the recorded ones, given those and the payload of `conversation.started`."""


class PromptError(Exception):
    """The candidate's system prompt cannot be made for a conversation; all its units fail.

    Args:
        reason: Code of the failure.
        detail: What is wrong, for people.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


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
    """

    name: Side = "candidate"
    draws: Sequence[int] = (0,)
    make_head: Callable[[Tools], Head] = lambda tools: Head(tools=tools)
    edit_prompt: EditPrompt | None = None
    is_echo: bool = False
    sample_draws: Sequence[int] = ()
    sample: frozenset[str] = frozenset()

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


@dataclass(slots=True)
class _DecisionUnit:
    """A decision: one request, made before; None when there is nothing to put before anybody."""

    row: Row
    request: Request | None
    hasher: ListHasher
    recorded: Mapping[int, Reply]

    async def replay(self, ask: Ask) -> Outcome:
        if self.request is None:
            return failed_unit(self.row, "no_context")
        answer = await ask(self.request)
        if isinstance(answer, Failure):
            return failed_unit(self.row, answer.reason, answer.detail, answer.reply, self.request.sha256)
        try:
            calls = read_calls(answer)
        except (TypeError, ValueError) as error:
            detail = f"{type(error).__name__}: {error}"
            return failed_unit(self.row, "candidate_error", detail, None, self.request.sha256)
        return Outcome(answered_decision(self.request, self.row, answer, calls, self.hasher))


@dataclass(slots=True)
class _WalkUnit:
    """A turn, or (None) a conversation."""

    row: Row
    scene: Scene
    turn: int | None
    side: Side
    draw: int
    recorded: Mapping[int, Reply]
    request: None = None

    async def replay(self, ask: Ask) -> Outcome:
        if self.turn is None:
            return await walk_conversation(self.scene, self.row, self.side, self.draw, ask)
        return await walk_turn(self.scene, self.turn, self.row, self.side, self.draw, ask)


@dataclass(slots=True)
class _FailedUnit:
    """A unit that cannot be asked."""

    row: Row
    reason: Reason
    detail: str
    recorded: Mapping[int, Reply] = field(default_factory=dict)
    request: None = None

    async def replay(self, ask: Ask) -> Outcome:  # noqa: ARG002 -- nobody is asked
        return failed_unit(self.row, self.reason, self.detail)


def registered_tools(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """Recorded tool schemas by their hash. The connection has the view `upcast_events`."""
    rows = connection.sql(
        "SELECT payload FROM upcast_events WHERE event_name = 'tools.registered' ORDER BY position"
    ).fetchall()
    registered = (json.loads(payload) for (payload,) in rows)
    return {payload["sha256"]: tuple(payload["tools"]) for payload in registered}


def list_work(
    streams: Iterable[Stream],
    experiment: Experiment,
    policy: ToolPolicy,
    tools: Mapping[str, Tools],
    spec: SideSpec,
) -> Iterator[Unit]:
    """The units of one side, stream by stream, every draw of a unit after the other.

    Args:
        streams: The plan's conversations.
        experiment: Its mode, tool settings and divergence.
        policy: How tool calls are answered.
        tools: Recorded tool schemas by hash.
        spec: The side.
    """
    workshop = _Workshop(experiment, policy, tools, spec)
    for stream in streams:
        yield from workshop.units(stream)


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
            return (_FailedUnit(unit.row, why.reason, why.detail) for unit in make(stream))

    def _decisions(self, stream: Stream) -> Iterator[_DecisionUnit]:
        is_single = self._experiment.mode == "single"
        replies = _replies(recording_of(stream)) if self._spec.is_echo else {}
        context = Context()
        lines = Lines(self._head(None))
        messages = context.messages
        for row in stream.rows:
            if row.decision is not None and not (is_single and row.turn < 1):
                head = self._head(row.tools_sha256)
                if head is not lines.head:
                    lines = Lines(head)
                for message in messages[len(lines) :]:
                    lines.add(message)
                yield from self._decision(stream, row, context, lines, replies)
                if is_single:
                    return
            context.apply(row.event_name, read_json(row.payload), {"message_id": row.message_id, "actor": row.actor})

    def _decision(
        self, stream: Stream, row: EventRow, context: Context, lines: Lines, recorded: Mapping[int, Reply]
    ) -> Iterator[_DecisionUnit]:
        number, name = row.decision, self._spec.name
        assert number is not None
        unit_id = f"{stream.aggregate_id}/{number}"
        decision = Decision(
            stream.aggregate_id,
            number,
            row.turn,
            tuple(context.messages),
            lines.head.tools,
            {**stream.metadata, "model": row.model, "created_at": _moment(row.created_us)},
        )
        is_askable = bool(decision.messages) or self._spec.is_echo
        for draw in self._spec.draws_of(stream.aggregate_id):
            unit = {
                "unit_id": unit_id,
                "unit": "decision",
                "aggregate_id": stream.aggregate_id,
                "decision": number,
                "turn": row.turn,
                "side": name,
                "draw": draw,
            }
            request = Request(unit_id, name, draw, decision, lines.head, lines.lines, lines.sha256)
            yield _DecisionUnit(unit, request if is_askable else None, self._hasher, recorded)

    def _walks(self, stream: Stream) -> Iterator[_WalkUnit]:
        recording = recording_of(stream)
        scene = self._scene(stream, recording)
        replies = _replies(recording) if self._spec.is_echo else {}
        turns = [None] if self._experiment.mode == "conversation" else scene.turns()
        for turn in turns:
            for draw in self._spec.draws_of(stream.aggregate_id):
                row = {
                    "unit_id": stream.aggregate_id if turn is None else f"{stream.aggregate_id}/t{turn}",
                    "unit": "conversation" if turn is None else "turn",
                    "aggregate_id": stream.aggregate_id,
                    "turn": turn,
                    "side": self._spec.name,
                    "draw": draw,
                }
                yield _WalkUnit(row, scene, turn, self._spec.name, draw, replies)

    def _scene(self, stream: Stream, recording: Recording) -> Scene:
        offered = sorted(
            {row.tools_sha256 for row in stream.rows if row.decision is not None and row.tools_sha256 is not None}
        )
        first = next((row for row in stream.rows if row.decision is not None), None)
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
        )

    def _head(self, tools_sha256: str | None) -> Head:
        key = tools_sha256 or ""
        head = self._heads.get(key)
        if head is None:
            offered = self._tools.get(key, ()) if self._policy.schemas is None else self._policy.schemas
            head = self._heads[key] = self._spec.make_head(offered)
        return head


def read_json(text: str) -> Any:
    """A JSON value of the log: as `json.loads` reads it, in a third of the time."""
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return json.loads(text)  # numbers beyond a double, lone surrogates


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def recording_of(stream: Stream) -> Recording:
    """The recording of a stream."""
    return read_recording(
        Event(
            row.stream_version,
            row.event_name,
            read_json(row.payload),
            {"message_id": row.message_id, "actor": row.actor},
            row.arguments,
            row.decision,
        )
        for row in stream.rows
    )


def _edited(stream: Stream, edit: EditPrompt) -> Stream:
    """The stream with other system messages at its beginning, as if the agent had been started with them."""
    started = next((row for row in stream.rows if row.event_name == "conversation.started"), None)
    payload = json.loads(started.payload) if started is not None else {"messages": []}
    payload["messages"] = edit(payload["messages"], payload)
    text = json.dumps(payload, ensure_ascii=False)
    if started is None:
        return replace(stream, rows=[EventRow(stream.aggregate_id, 0, "conversation.started", text), *stream.rows])
    rows = [row._replace(payload=text) if row is started else row for row in stream.rows]
    return replace(stream, rows=rows)


def _replies(recording: Recording) -> dict[int, Reply]:
    """What the recorded agent did, by decision, arguments as they are."""
    return {
        step.decision: Reply(step.text, [ToolCall(call.name, JsonText(call.arguments)) for call in step.calls])
        for step in recording.steps
    }
