"""What is put before a candidate and what comes back: one type for every mode and every kind of candidate.

A replay makes a `Request` per model call, awaits `ask(request)` and goes on with the `Answer`. Who answers (an endpoint,
a callable, a cache in front of either) is behind `Ask`; nothing here sends or stores anything.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.experiment.decision import Decision, Reply
from pipelines.experiment.sides import Api, Side
from pipelines.log.context import message_lines, request_head, tools_sha256
from pipelines.replay.failure import Answer
from pipelines.replay.key import finish_key, key_head, key_lines, request_key
from pipelines.replay.wires.calls import from_wire
from pipelines.replay.wires.frame import Frame
from pipelines.replay.wires.notes import Note
from pipelines.replay.wires.registry import find_wire
from pipelines.replay.wires.wire import Wire


@dataclass(frozen=True, slots=True)
class Head:
    """What surrounds the messages of a request; shared by all requests with the same model, parameters and tools.

    Attributes:
        model: Asked for by this name; None for a candidate that is no model.
        params: Parameters of the body, such as `temperature`.
        tools: Tool schemas offered.
        api: The wire it goes over.
        tools_sha256: Their hash, None without tools.
        line: First line of the hashed request.
        key_line: First line of what the key of a paid answer is over.
        wire: The wire itself.
        frame: What surrounds the messages on it.
    """

    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] = ()
    api: Api = "chat"
    tools_sha256: str | None = field(init=False)
    line: bytes = field(init=False)
    key_line: bytes = field(init=False)
    wire: Wire = field(init=False, compare=False)
    frame: Frame = field(init=False, compare=False)

    def __post_init__(self) -> None:
        hashed = tools_sha256(self.tools) if self.tools else None
        wire = find_wire(self.api)
        object.__setattr__(self, "tools_sha256", hashed)
        object.__setattr__(self, "line", request_head(self.model, self.params, hashed) + b"\n")
        object.__setattr__(self, "key_line", key_head(self.api, self.model, self.params, hashed))
        object.__setattr__(self, "wire", wire)
        object.__setattr__(self, "frame", wire.frame(self.model, self.params, self.tools))

    @property
    def custom(self) -> frozenset[str]:
        """Names of the tools that take free text."""
        return self.frame.custom


@dataclass(slots=True, eq=False)
class Request:
    """One model call of a replay, ready to be sent; made by `Lines.request`, and never changed.

    It is a place in a growing conversation: what only some candidates want is made when they ask for it.

    Attributes:
        unit_id: The unit it belongs to.
        side: Candidate or control.
        draw: Index of the draw.
        aggregate_id: The stream.
        number: Place of the decision in its stream.
        head: What surrounds the messages.
        sha256: Hash of the request, hex: SHA-256 over head and messages, one line each.
    """

    unit_id: str
    side: Side
    draw: int
    aggregate_id: str
    number: int
    head: Head
    sha256: str
    _about: Callable[[], tuple[int, Mapping[str, Any]]]
    _context: Lines
    _messages: int
    _pieces: int
    _keyed: Any
    _key: str | None = None

    @property
    def key(self) -> str:
        """Under which an answer to it is kept, hex: equal for requests and draws between which no model can tell; see `key`."""
        if self._key is None:
            self._key = self._make_key()
        return self._key

    def _make_key(self) -> str:
        if self._keyed is not None:
            return finish_key(self._keyed, self.draw)
        messages = self._context.messages[: self._messages]
        return request_key(self.head.key_line, messages, self.draw, self.head.custom)

    @property
    def wire(self) -> Wire:
        """The wire that it goes over."""
        return self.head.wire

    @property
    def model(self) -> str | None:
        """The model that is asked."""
        return self.head.model

    @property
    def params(self) -> Mapping[str, Any]:
        """Parameters of the body."""
        return self.head.params

    @property
    def decision(self) -> Decision:
        """The context as typed values: what a Python candidate is given."""
        turn, metadata = self._about()
        messages = tuple(self._context.messages[: self._messages])
        return Decision(self.aggregate_id, self.number, turn, messages, self.head.tools, metadata)

    @property
    def lines(self) -> tuple[bytes, ...]:
        """The messages as they are rendered and hashed, each one line of JSON."""
        return tuple(self._text().split(b"\n")) if self._pieces else ()

    def body(self) -> bytes:
        """The body of a call, messages in the form of the wire.

        Raises:
            CannotExpressError: The wire has no form for them.
        """
        messages = self._context.messages[: self._messages]
        return self.head.wire.body(self.head.frame, messages, self.lines)

    def notes(self) -> Iterable[Note]:
        """What the wire changes of it on its way, or has no form for."""
        return self.head.wire.notes(self.head.frame, self._context.messages[: self._messages])

    def read(self, answer: Answer) -> Answer:
        """An answer in the words of the recording: what was offered may be a tool of another name, or one that takes free text."""
        frame = self.head.frame
        if not (frame.custom or frame.names) or not isinstance(answer, Reply):
            return answer
        calls = [replace(call, name=frame.names.get(call.name, call.name)) for call in answer.tool_calls]
        calls = [
            replace(call, arguments=from_wire(call.arguments)) if call.name in frame.custom else call for call in calls
        ]
        return replace(answer, tool_calls=tuple(calls))

    def _text(self) -> bytes:
        """The messages, one line each: no line of JSON has an end of line in it."""
        return b"".join(self._context.pieces[: self._pieces])[:-1]


Ask = Callable[[Request], Awaitable[Answer]]
"""Answers one request; raises only when the machine is broken or the work is stopped, never for the request's sake."""


Digests = tuple[Any, Any]
"""Hash objects: of the request, and of its key where a model is asked, else None."""


class Lines:
    """The growing messages of one conversation, written and hashed once each, for one head.

    Requests of one conversation share their prefix: `add` what came since the last request, then `request` is the one that
    the messages so far make. `fork` goes on from here without changing this one, for a candidate's own messages.
    """

    def __init__(self, head: Head, messages: Iterable[Mapping[str, Any]] = (), pieces: Iterable[bytes] = ()) -> None:
        self.head = head
        self.messages = list(messages)
        self.pieces = list(pieces)
        """The messages as they are hashed, some lines each; every line is ended."""
        self._digest = hashlib.sha256(b"".join((head.line, *self.pieces)))
        self._key = (
            None if head.model is None else hashlib.sha256(head.key_line + key_lines(self.messages, head.custom))
        )

    def __copy__(self) -> Lines:
        return self.first(len(self.messages), len(self.pieces), (self._digest, self._key))

    def __len__(self) -> int:
        return len(self.messages)

    def add(self, *messages: Mapping[str, Any], is_plain: bool = False) -> None:
        """Append messages, complete: they never change again. `is_plain` as in `message_lines`."""
        if messages:
            piece = message_lines(messages, is_plain=is_plain)
            self.messages += messages
            self.pieces.append(piece)
            self._digest.update(piece)
            if self._key is not None:
                self._key.update(key_lines(messages, self.head.custom))

    def under(self, head: Head) -> Lines:
        """The same messages under another head: these, where it is the same one."""
        if head is self.head:
            return self
        return type(self)(head, self.messages, self.pieces)

    def first(self, count: int, pieces: int, digests: Digests) -> Lines:
        """The first `count` messages, which are so many pieces and had these digests when they were all."""
        other = object.__new__(type(self))
        digest, key = digests
        vars(other).update(
            head=self.head,
            messages=self.messages[:count],
            pieces=self.pieces[:pieces],
            _digest=digest.copy(),
            _key=None if key is None else key.copy(),
        )
        return other

    def digests(self) -> Digests:
        """The hashes of the messages so far, of request and key, to go on from."""
        return self._digest.copy(), None if self._key is None else self._key.copy()

    def fork(self) -> Lines:
        """A copy that grows on its own."""
        return copy(self)

    @property
    def sha256(self) -> str:
        """Hash of the request that the messages so far make, hex."""
        return self._digest.hexdigest()

    def request(
        self,
        unit_id: str,
        side: Side,
        draw: int,
        place: tuple[str, int],
        about: Callable[[], tuple[int, Mapping[str, Any]]],
    ) -> Request:
        """The request that the messages so far make.

        Args:
            unit_id: The unit.
            side: Candidate or control.
            draw: Index of the draw.
            place: The stream, and the number of the decision in it.
            about: Gives turn and metadata of its `Decision`.
        """
        aggregate_id, number = place
        sha256, sizes = self._digest.hexdigest(), (len(self.messages), len(self.pieces))
        keyed = None if self._key is None else self._key.copy()
        return Request(unit_id, side, draw, aggregate_id, number, self.head, sha256, about, self, *sizes, keyed)


class Beginnings:
    """The messages with which walks of one recording begin: written and hashed once, whatever turn a walk begins in.

    Args:
        messages: All that was rendered.
        starts: Numbers of messages before which walks begin.
    """

    def __init__(self, messages: Sequence[Mapping[str, Any]], starts: Iterable[int]) -> None:
        self._messages = messages
        self._starts = sorted(set(starts))
        self._lines: Lines | None = None
        self._digests: dict[int, tuple[int, Digests]] = {}

    def before(self, count: int, head: Head) -> Lines:
        """The first `count` messages under a head, to go on from. Those of the last head that was asked for are kept."""
        if self._lines is None or self._lines.head is not head:
            self._lines = Lines(head)
            self._digests = {0: (0, self._lines.digests())}
        for start in [*self._starts[bisect_right(self._starts, len(self._lines)) :], count]:
            if len(self._lines) < start <= count:
                self._lines.add(*self._messages[len(self._lines) : start])
                self._digests[start] = len(self._lines.pieces), self._lines.digests()
        known = max(each for each in self._digests if each <= count) if count not in self._digests else count
        lines = self._lines.first(known, *self._digests[known])
        lines.add(*self._messages[known:count])
        return lines
