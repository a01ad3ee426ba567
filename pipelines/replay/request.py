"""What is put before a candidate and what comes back: one type for every mode and every kind of candidate.

A replay makes a `Request` per model call, awaits `ask(request)` and goes on with the `Answer`. Who answers (an endpoint,
a callable, a cache in front of either) is behind `Ask`; nothing here sends or stores anything.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from pipelines.experiment.decision import Decision, Reply
from pipelines.experiment.sides import Side
from pipelines.log.context import message_bytes, message_lines, request_head, tools_sha256
from pipelines.replay.asking.wire import custom_names, from_wire, wire_message, wire_tools

Reason = Literal[
    "missing_variable",  # the prompt names a variable that was not recorded; not sent
    "prompt_edit",  # the text to replace is not in the recorded system message exactly once; not sent
    "unknown_tools",  # the recorded agent had tools of which only a hash is known; not sent
    "erased",  # the same, and events that held lists of tools are erased; not sent
    "budget_exhausted",  # the budget of requests or US dollars does not cover it; not sent
    "timeout",  # no complete response in time, at every attempt
    "rate_limited",  # refused for its rate, at every attempt
    "unavailable",  # no connection, or a server error, at every attempt
    "invalid_json",  # the response was no complete chat completion, at every attempt
    "rejected",  # the endpoint says that the request is wrong; asking again would not help
    "refused",  # the model or a filter declined to answer
    "candidate_error",  # the candidate's code raised, or returned what is no reply
    "diverged",  # a tool call has no recorded result
    "step_limit",  # the candidate called tools on and on without a final message
]
"""Why a unit has no reply. A failed unit is a row and stays in every denominator."""

NO_CONTEXT = "no_context"
"""Why a unit was not asked: the recording holds nothing before it. It is nobody's failure, and on neither side of any number."""

ERASED = "erased"
"""Another reason why a unit was not asked: a part of it, or of what was before it, is erased."""

REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True, slots=True)
class Failure:
    """No reply, and why.

    Attributes:
        reason: Code.
        detail: What happened, for people; it may hold anything, so it is told and kept nowhere.
        reply: What was answered and counted nevertheless, for example a message that a filter stopped; None when nothing was.
        is_doubtful: Whether it may not be this request's fault: an endpoint that turns everybody down says the same.
    """

    reason: Reason
    detail: str = ""
    reply: Reply | None = None
    is_doubtful: bool = False


Answer = Reply | Failure


@dataclass(frozen=True, slots=True)
class Head:
    """What surrounds the messages of a request; shared by all requests with the same model, parameters and tools.

    Attributes:
        model: Asked for by this name; None for a candidate that is no model.
        params: Parameters of the body, such as `temperature`.
        tools: Tool schemas offered.
        tools_sha256: Their hash, None without tools.
        line: First line of the hashed request.
        prefix: Bytes of the body before the first message.
        suffix: Bytes of the body after the last message.
        custom: Names of the tools that take free text; they are sent as functions.
    """

    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] = ()
    tools_sha256: str | None = field(init=False)
    line: bytes = field(init=False)
    prefix: bytes = field(init=False)
    suffix: bytes = field(init=False)
    custom: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        hashed = tools_sha256(self.tools) if self.tools else None
        given = {"model": self.model} if self.model is not None else {}
        after = {**({"tools": wire_tools(self.tools)} if self.tools else {}), **self.params}
        object.__setattr__(self, "tools_sha256", hashed)
        object.__setattr__(self, "custom", custom_names(self.tools))
        object.__setattr__(self, "line", request_head(self.model, self.params, hashed) + b"\n")
        object.__setattr__(self, "prefix", _dump(given)[:-1] + (b"," if given else b"") + b'"messages":[')
        object.__setattr__(self, "suffix", b"]" + (b"," + _dump(after)[1:] if after else b"}"))


@dataclass(slots=True, eq=False)
class Request:
    """One model call of a replay, ready to be sent; made by `Lines.request`, and never changed.

    It is a place in a growing conversation: what only some candidates want is made when they ask for it.

    Attributes:
        unit_id: The unit it belongs to.
        side: Candidate or control.
        draw: Index of the draw; together with `sha256` and the endpoint the key of a paid response.
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
        """The body of a chat-completions call, messages in the form in which endpoints take them."""
        lines = self._text().split(b"\n")
        for place, message in enumerate(self._context.messages[: self._messages]):
            sent = wire_message(message, self.head.custom)
            if sent is not message:
                lines[place] = message_bytes(sent)
        return b"".join((self.head.prefix, b",".join(lines), self.head.suffix))

    def read(self, answer: Answer) -> Answer:
        """An answer in the words of the recording: what was offered as a function may be a tool that takes free text."""
        if not self.head.custom or not isinstance(answer, Reply):
            return answer
        calls = [
            replace(call, arguments=from_wire(call.arguments)) if call.name in self.head.custom else call
            for call in answer.tool_calls
        ]
        return replace(answer, tool_calls=tuple(calls))

    def _text(self) -> bytes:
        """The messages, one line each: no line of JSON has an end of line in it."""
        return b"".join(self._context.pieces[: self._pieces])[:-1]


Ask = Callable[[Request], Awaitable[Answer]]
"""Answers one request; raises only when the machine is broken or the work is stopped, never for the request's sake."""


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

    def __copy__(self) -> Lines:
        other = object.__new__(type(self))
        copied = {"messages": self.messages.copy(), "pieces": self.pieces.copy(), "_digest": self._digest.copy()}
        vars(other).update(head=self.head, **copied)
        return other

    def __len__(self) -> int:
        return len(self.messages)

    def add(self, *messages: Mapping[str, Any], is_plain: bool = False) -> None:
        """Append messages, complete: they never change again. `is_plain` as in `message_lines`."""
        if messages:
            piece = message_lines(messages, is_plain=is_plain)
            self.messages += messages
            self.pieces.append(piece)
            self._digest.update(piece)

    def under(self, head: Head) -> Lines:
        """The same messages under another head: these, where it is the same one."""
        if head is self.head:
            return self
        return type(self)(head, self.messages, self.pieces)

    def first(self, count: int, pieces: int, digest: Any) -> Lines:
        """The first `count` messages, which are so many pieces and had this digest when they were all."""
        other = object.__new__(type(self))
        vars(other).update(
            head=self.head, messages=self.messages[:count], pieces=self.pieces[:pieces], _digest=digest.copy()
        )
        return other

    def digest(self) -> Any:
        """The hash of the messages so far, to go on from."""
        return self._digest.copy()

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
        return Request(unit_id, side, draw, aggregate_id, number, self.head, sha256, about, self, *sizes)


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
        self._digests: dict[int, tuple[int, Any]] = {}

    def before(self, count: int, head: Head) -> Lines:
        """The first `count` messages under a head, to go on from. Those of the last head that was asked for are kept."""
        if self._lines is None or self._lines.head is not head:
            self._lines = Lines(head)
            self._digests = {0: (0, self._lines.digest())}
        for start in [*self._starts[bisect_right(self._starts, len(self._lines)) :], count]:
            if len(self._lines) < start <= count:
                self._lines.add(*self._messages[len(self._lines) : start])
                self._digests[start] = len(self._lines.pieces), self._lines.digest()
        known = max(each for each in self._digests if each <= count) if count not in self._digests else count
        lines = self._lines.first(known, *self._digests[known])
        lines.add(*self._messages[known:count])
        return lines


def _dump(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "surrogatepass")
