"""The cassette: what tools answered in a recorded conversation, played back to a candidate. No tool is ever executed.

A recorded result is valid for a call when the call is the same and the world is: same conversation, same turn, same key,
and the same writes before it. Writes before a call are hashed into its write-prefix, which advances at the end of each
parallel block, so that the order within a block makes no difference; the user's own writes enter at their place. Calls
of unknown effect do not enter it: a hit whose preceding unknown calls differ from the recording's is answered as
`exact_unverified`. Each recorded result is played once, in order; only pure ones, which depend on nothing, repeat.

| rung | valid because |
|---|---|
| `exact` | same turn, key and write-prefix, next result not played yet; a pure tool needs its key alone |
| `exact_unverified` | the same, but tools of unknown effect were called differently before |
| `exact_conv` | same key and write-prefix in another turn, the tool is a read |
| `norm` | the same as `exact` after lenient normalisation, which the tool opted into |
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.experiment.manifest import CallKey, Effect, ToolBook

ResultSource = Literal["exact", "exact_conv", "exact_unverified", "norm", "stub", "miss", "not_applicable"]
SEVERITY: dict[ResultSource, int] = {
    "not_applicable": 0,
    "exact": 1,
    "exact_conv": 2,
    "exact_unverified": 3,
    "norm": 4,
    "stub": 5,
    "miss": 6,
}
"""How far an answer is from the recording; a unit or step is as good as its worst."""
TAINTING: frozenset[ResultSource] = frozenset(("norm", "stub", "miss"))
"""Answers after which nothing of the unit is the recording's world any more."""

_SHOWN_PATHS = 8
_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One tool call of a recording and what answered it.

    Attributes:
        version: `stream_version` of the call.
        turn: Number of user messages with text before it.
        name: The tool.
        arguments: JSON text of the arguments.
        answer_place: Place of the result among the recorded messages; None while unanswered.
        content: What the agent read, as the wire carries it; None when unanswered.
        is_late: Whether the result came after something else than its block: input, or the agent's next message.
    """

    version: int
    turn: int
    name: str
    arguments: str
    answer_place: int | None = None
    content: Any = None
    is_late: bool = False

    @property
    def is_answered(self) -> bool:
        """Whether a result was recorded."""
        return self.answer_place is not None


@dataclass(frozen=True, slots=True)
class UserCall:
    """A tool call of the user's: the agent sees neither it nor its result, but it may change the world."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class LateResult:
    """The result of an earlier call, where it came among the input.

    Attributes:
        version: `stream_version` of the call.
        message: As rendered for the recorded agent.
    """

    version: int
    message: dict[str, Any]


Block = Sequence[RecordedCall] | UserCall
"""What changes the world between two moments: one parallel block of the agent's, or one call of the user's."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A call without a recorded result: the recorded call that comes nearest, and what differs.

    Attributes:
        nearest_version: `stream_version` of that call; None when the recording has no call of the agent's.
        nearest_name: Its tool.
        nearest_arguments: JSON text of its arguments.
        differs: `name`, `arguments`, `write_prefix`, `turn`, `played`: what keeps it from being the answer.
        paths: JSON Pointers of arguments that differ, the first few.
    """

    nearest_version: int | None = None
    nearest_name: str | None = None
    nearest_arguments: str | None = None
    differs: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the cassette has for one call.

    Attributes:
        source: Rung of the answer, or `miss`.
        recorded: The recorded call that answers; None for a miss. When it is unanswered the conversation ended on it.
        miss: What came nearest; None for a hit.
    """

    source: ResultSource
    recorded: RecordedCall | None = None
    miss: Miss | None = None

    @property
    def is_ended(self) -> bool:
        """Whether the recording has the call and no result: a hit without an answer."""
        return self.recorded is not None and not self.recorded.is_answered


@dataclass(frozen=True, slots=True)
class _World:
    """What happened before a moment: the chain of known writes, and the sum of all unknown calls."""

    writes: bytes = b""
    unknown: int = 0

    def after(self, calls: Iterable[tuple[Effect, CallKey]]) -> _World:
        """The world after one block of calls."""
        written = sorted(key.exact for effect, key in calls if effect == "write")
        # a sum is the same for any order and another one for a call made twice
        unknown = sum(int.from_bytes(key.exact) for effect, key in calls if effect == "unknown")
        writes = hashlib.sha256(self.writes + b"".join(written)).digest() if written else self.writes
        return _World(writes, (self.unknown + unknown) % _MODULUS)


@dataclass(slots=True)
class _Taped:
    """One recorded call on the tape, with what must hold for it to answer."""

    index: int
    call: RecordedCall
    key: CallKey
    effect: Effect
    world: _World


class Cassette:
    """The agent's recorded tool calls of one conversation, in order.

    Args:
        blocks: The recording's parallel blocks and user calls, in order.
        book: Effects and keys.
    """

    def __init__(self, blocks: Iterable[Block], book: ToolBook) -> None:
        self.book = book
        self.tape: list[_Taped] = []
        world = _World()
        for block in blocks:
            if isinstance(block, UserCall):
                world = world.after([(book.effect(block.name), book.key(block.name, block.arguments))])
                continue
            described = [(book.effect(call.name), book.key(call.name, call.arguments)) for call in block]
            for call, (effect, key) in zip(block, described, strict=True):
                self.tape.append(_Taped(len(self.tape), call, key, effect, world))
            world = world.after(described)
        self._by_key: dict[bytes, list[_Taped]] = defaultdict(list)
        self._by_lenient: dict[bytes, list[_Taped]] = defaultdict(list)
        for taped in self.tape:
            self._by_key[taped.key.exact].append(taped)
            if taped.key.lenient is not None:
                self._by_lenient[taped.key.lenient].append(taped)

    def player(self) -> Player:
        """A tape head at the beginning."""
        return Player(self)

    def same_key(self, key: CallKey) -> list[_Taped]:
        """Recorded calls with this key, in order."""
        return self._by_key.get(key.exact, [])

    def same_lenient_key(self, key: CallKey) -> list[_Taped]:
        """Recorded calls with this lenient key, in order."""
        return [] if key.lenient is None else self._by_lenient.get(key.lenient, [])


@dataclass(slots=True)
class Player:
    """One candidate's way through a cassette: what it has been given and what it has done to the world.

    Feed it in the order of the conversation: `answer` for a block of the candidate's, `pass_by` for what happens without
    the candidate (the user's calls, blocks of a recorded past).
    """

    cassette: Cassette
    _world: _World = field(default_factory=_World)
    _played: set[int] = field(default_factory=set)

    def pass_by(self, block: Block) -> None:
        """Let a recorded block, or a call of the user's, happen."""
        calls = [block] if isinstance(block, UserCall) else block
        book = self.cassette.book
        self._world = self._world.after(
            [(book.effect(call.name), book.key(call.name, call.arguments)) for call in calls]
        )

    def use_up(self, block: Sequence[RecordedCall]) -> None:
        """Let nobody have the results of a recorded block any more: they were given."""
        versions = {call.version for call in block}
        self._played.update(taped.index for taped in self.cassette.tape if taped.call.version in versions)

    def answer(self, calls: Sequence[tuple[str, str]], turn: int) -> list[Lookup]:
        """Look up one parallel block, and let it happen, answered or not.

        Args:
            calls: (name, JSON text of the arguments), in order.
            turn: The turn that the candidate is in.
        """
        book = self.cassette.book
        described = [(book.effect(name), book.key(name, arguments)) for name, arguments in calls]
        found = [
            self._look_up(name, arguments, turn, effect, key)
            for (name, arguments), (effect, key) in zip(calls, described, strict=True)
        ]
        self._world = self._world.after(described)
        return found

    def _look_up(self, name: str, arguments: str, turn: int, effect: Effect, key: CallKey) -> Lookup:
        same = self.cassette.same_key(key)
        taped = self._on_rung(same, turn, effect)
        if taped is not None:
            if effect != "pure" and taped.world.unknown != self._world.unknown:
                return self._play(taped, "exact_unverified")
            return self._play(taped, "exact" if taped.call.turn == turn else "exact_conv")
        for taped in self.cassette.same_lenient_key(key):
            if taped.index not in self._played and self._fits(taped, turn):
                return self._play(taped, "norm")
        return Lookup("miss", miss=self._nearest(name, arguments, turn, key))

    def _on_rung(self, same: Sequence[_Taped], turn: int, effect: Effect) -> _Taped | None:
        """The recorded call that answers: of this turn, else (for reads) of another with the same writes before it."""
        unplayed = [taped for taped in same if taped.index not in self._played]
        if effect == "pure":
            here = [taped for taped in unplayed if taped.call.turn == turn]
            return next(iter(here or unplayed or same), None)
        for taped in unplayed:
            if self._fits(taped, turn):
                return taped
        if effect == "read":
            for taped in unplayed:
                if taped.world.writes == self._world.writes:
                    return taped
        return None

    def _fits(self, taped: _Taped, turn: int) -> bool:
        return taped.call.turn == turn and taped.world.writes == self._world.writes

    def _play(self, taped: _Taped, source: ResultSource) -> Lookup:
        self._played.add(taped.index)
        return Lookup(source, taped.call)

    def _nearest(self, name: str, arguments: str, turn: int, key: CallKey) -> Miss:
        """The recorded call with the fewest and least differences; of equals the first."""
        book = self.cassette.book
        wanted = _leaves(book.arguments(name, arguments))
        best: tuple[tuple[object, ...], Miss] | None = None
        for taped in self.cassette.tape:
            differs = []
            paths: list[str] = []
            if taped.call.name != name:
                differs.append("name")
            if taped.key.exact != key.exact and (
                paths := _different(wanted, _leaves(book.arguments(taped.call.name, taped.call.arguments)))
            ):
                differs.append("arguments")
            if taped.world.writes != self._world.writes:
                differs.append("write_prefix")
            if taped.call.turn != turn:
                differs.append("turn")
            if taped.index in self._played:
                differs.append("played")
            rank = (taped.call.name != name, len(paths), len(differs), taped.index)
            if best is None or rank < best[0]:
                call = taped.call
                report = Miss(call.version, call.name, call.arguments, tuple(differs), tuple(paths[:_SHOWN_PATHS]))
                best = (rank, report)
        return Miss() if best is None else best[1]


def _different(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Paths whose values differ or that one side alone has, in order of the path."""
    return sorted(path for path in a.keys() | b.keys() if path not in a or path not in b or a[path] != b[path])


def _leaves(value: Any) -> dict[str, Any]:
    """JSON Pointer to leaf, with the type, so that 1 and true differ."""
    found: dict[str, Any] = {}
    waiting = [("", value)]
    while waiting:
        path, item = waiting.pop()
        members = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        if not item or not isinstance(item, dict | list):
            found[path] = (type(item).__name__, item)
        waiting += [(f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}", inner) for name, inner in members]
    return found
