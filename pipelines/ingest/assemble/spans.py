"""The rows of one conversation as a tree: who hangs under whom, which calls only wrap others, and in which order calls were made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipelines.ingest.assemble.histories import Histories, Node
from pipelines.ingest.assemble.keys import key_of
from pipelines.ingest.assemble.leaves import leaves, said
from pipelines.ingest.assemble.requests import Requests
from pipelines.ingest.assemble.rows import Call, Message, Step

_SYSTEM = ("system", "developer")
_NO_DELTA = frozenset({"user", *_SYSTEM})
_HELD = 4
"""Inputs that one may go on from: of the agents of a conversation whose calls alternate."""
_TOLD = ("id", "start", "end", "model_requested", "model", "provider", "params", "usage", "cost_usd", "finish_reason")
"""What is told of a call that wraps another, beside its `rest`."""


@dataclass(slots=True, eq=False)
class Asked:
    """A call whose input was put into the tree of histories, and is not held any more.

    Attributes:
        call: The call, without its input.
        arrival: Its place among the rows.
        leaf: Where its input ends; the root when it was sent nothing, or nothing was recorded.
        is_recorded: Whether its input was.
        is_delta: Whether its input has no system and no user message: it is what is new, or nothing.
        leaves: Scalars of its input.
        agent: Who asked: itself, or the span that it hangs under.
        spawn: The tool that it hangs under.
        root: The outermost row that it hangs under.
        depth: Rows above it.
        wraps: The call that it is the same one as, recorded further in.
        request_sha256: Hash of the request, where its messages were recorded.
    """

    call: Call
    arrival: int
    leaf: Node
    is_recorded: bool
    is_delta: bool
    leaves: int
    agent: str | None = None
    spawn: Step | None = None
    root: str = ""
    depth: int = 0
    wraps: Asked | None = None
    request_sha256: str | None = None


class _Sent(NamedTuple):
    """What a call was sent.

    Attributes:
        messages: In order.
        leaf: Where they end.
        leaves: Scalars of them.
        roles: Whose they are.
    """

    messages: list[Message]
    leaf: Node
    leaves: int
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Above:
    """What stands above a row.

    Attributes:
        agent, spawn, root: As of `Asked`.
        depth: Rows from the root.
    """

    agent: str | None
    spawn: Step | None
    root: str
    depth: int


@dataclass(slots=True)
class Spans:
    """The rows of a conversation by their ids.

    Attributes:
        histories: What calls were sent.
        calls: All calls, in the order in which they were read.
        tools: Spans of tools, in that order.
    """

    histories: Histories = field(default_factory=Histories)
    calls: list[Asked] = field(default_factory=list)
    tools: list[Step] = field(default_factory=list)
    _rows: dict[str, Call | Step] = field(default_factory=dict)
    _above: dict[str, Above] = field(default_factory=dict)
    _requests: Requests = field(default_factory=Requests)
    _inputs: list[_Sent] = field(default_factory=list)

    def add_call(self, call: Call, arrival: int, tools_sha256: str | None = None) -> Asked:
        """Take a call; its input is in the tree from now on, and of it only what is new is kept."""
        given = _sent(call)
        sent = self._goes_on(given)
        count = sent.leaves
        if call.system and given is call.input:  # what stands apart is said twice
            count += sum(each.leaves for each in call.system)
        is_recorded = call.input is not None or bool(call.system)
        asked = Asked(call, arrival, sent.leaf, is_recorded, sent.roles.isdisjoint(_NO_DELTA), count)
        if is_recorded:
            asked.request_sha256 = self._requests.sha256(call, given, tools_sha256)
        call.input, call.system = None, []
        self._rows[call.id] = call
        self.calls.append(asked)
        return asked

    def _goes_on(self, given: Sequence[Message]) -> _Sent:
        """What a call was sent, put into the tree after the last input that it begins with."""
        known = next((each for each in self._inputs if given[: len(each.messages)] == each.messages), None)
        known = known or _Sent([], self.histories.root, 0, frozenset())
        new = given[len(known.messages) :]
        roles = known.roles.union([each.chat["role"] for each in new])
        count = known.leaves + sum([each.leaves for each in new])
        sent = _Sent([*given], self.histories.add(new, known.leaf), count, roles)
        if given:
            self._inputs = [sent, *(each for each in self._inputs if each is not known)][:_HELD]
        return sent

    def add_step(self, step: Step) -> None:
        """Take a span that is no call."""
        self._rows[step.id] = step
        if step.kind == "tool":
            self.tools.append(step)

    def above(self, row: Call | Step) -> Above:
        """What stands above a row; a parent that is not there, or comes again above itself, is the root."""
        way: list[Call | Step] = []
        seen = {row.id}
        parent = row.parent
        while parent is not None and parent not in self._above:
            held = self._rows.get(parent)
            if held is None or parent in seen:
                break
            seen.add(parent)
            way.append(held)
            parent = held.parent
        found = self._above.get(parent) if parent is not None else None
        if found is None:
            root = parent or (way[-1].id if way else row.id)
            found = Above(None, None, root, int(parent is not None and not way))
        for held in reversed(way):
            spawn = held if isinstance(held, Step) and held.kind == "tool" else found.spawn
            found = Above(held.agent or found.agent, spawn, found.root, found.depth + 1)
            self._above[held.id] = found
        return found

    def settle(self) -> None:
        """Find for every call what it hangs under, and which calls wrap others."""
        asked = {each.call.id: each for each in self.calls}
        for each in self.calls:
            above = self.above(each.call)
            each.agent = each.call.agent or above.agent
            each.spawn, each.root, each.depth = above.spawn, above.root, above.depth
        for each in self.calls:
            for outer in self._outer(each.call):
                other = asked[outer]
                if other.wraps is not None:
                    break
                other.wraps = each
        for siblings in self._alike().values():
            _wrap_siblings(siblings)
        for each in self.calls:
            if each.wraps is not None:
                _hand_on(each)

    def _outer(self, call: Call) -> Iterator[str]:
        """Calls that this one hangs under, without a tool and without another agent between."""
        seen = {call.id}
        parent = call.parent
        while parent is not None and parent not in seen:
            seen.add(parent)
            held = self._rows.get(parent)
            if held is None or (isinstance(held, Step) and (held.kind == "tool" or held.agent is not None)):
                return
            if isinstance(held, Call):
                yield held.id
            parent = held.parent

    def _alike(self) -> dict[tuple[str, int], list[Asked]]:
        """Calls that were sent the same roles and texts, by what they hang under; those under nothing are together."""
        alike: dict[tuple[str, int], list[Asked]] = defaultdict(list)
        for each in self.calls:
            if each.wraps is None and each.leaf.depth and each.call.start is not None and each.call.end is not None:
                alike[each.root if each.depth else "", each.leaf.texts].append(each)
        return {key: found for key, found in alike.items() if len(found) > 1}

    def in_order(self) -> list[Asked]:
        """Calls that wrap no other, in the order in which they were made.

        By start; at equal starts a parent before its child, the shorter input before the longer, then by end and id.
        """
        last = 0
        keyed = []
        for each in self.calls:
            is_timed = each.call.start is not None
            last = each.call.start if each.call.start is not None else last
            name = each.call.id if is_timed else ""
            keyed.append(((last, each.depth, each.leaf.depth, each.call.end or 0, name, each.arrival), each))
        keyed.sort(key=lambda pair: pair[0])
        return [each for _, each in keyed if each.wraps is None]


def _sent(call: Call) -> Sequence[Message]:
    """What a call was sent, system texts first; one that stands in both places once."""
    given = call.input or []
    if not call.system:
        return given
    if given and given[0].chat["role"] in _SYSTEM:
        first = key_of(given[0].chat)
        if len(call.system) == 1 and key_of(call.system[0].chat) == first:
            return given
    return [*call.system, *given]


def _wrap_siblings(calls: list[Asked]) -> None:
    """Of calls that were sent the same, one that lies within another's time and answered the same is the same call."""
    calls.sort(key=lambda each: (each.call.start, -(each.call.end or 0), _weight(each), each.call.id))
    around: list[Asked] = []
    for each in calls:
        while around and (around[-1].call.end or 0) < (each.call.start or 0):
            around.pop()
        outer = around[-1] if around else None
        if outer is not None and (each.call.end or 0) <= (outer.call.end or 0) and _is_same_answer(outer, each):
            outer.wraps = each
            around.pop()
        around.append(each)


def _weight(asked: Asked) -> int:
    """How much a call says of itself: of two with the same times the richer one is the inner one."""
    return len(asked.call.usage) + len(asked.call.params) + (asked.call.response_id is not None)


def _is_same_answer(one: Asked, other: Asked) -> bool:
    first, second = ([key_of(message.chat)[:2] for message in each.call.output] for each in (one, other))
    return not first or not second or first == second


def _hand_on(outer: Asked) -> None:
    """Give what a wrapping call says to the one that it wraps; its content too, where that one has none."""
    inner, seen = outer.wraps, {id(outer)}
    while inner is not None and inner.wraps is not None and id(inner) not in seen:
        seen.add(id(inner))
        inner = inner.wraps
    assert inner is not None
    if outer.is_recorded and not inner.is_recorded:
        inner.leaf, inner.is_recorded, inner.is_delta = outer.leaf, True, outer.is_delta
        inner.leaves += outer.leaves
        outer.leaves = 0
    if outer.call.output and not inner.call.output:
        inner.call.output, outer.call.output = outer.call.output, []
    told: dict[str, Any] = {name: getattr(outer.call, name) for name in _TOLD}
    inner.call.wrapped_by.append(said(told) | ({"rest": outer.call.rest} if leaves(outer.call.rest) else {}))
