"""Which traces bodies hold, which of them are one conversation, and when nothing more of it is expected.

Spans come as they end, a parent after its children, from several processes, log records apart from spans. What is imported too
early could not grow: a conversation is named by a span that may come last. So it waits until nothing came for some time, and longer
while a span that others name is missing. Held in memory, some hundred bytes a span, and read from the bodies at each start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from pipelines.ingest.forms.otel.spool import Entry
from pipelines.receive.folder import heard_ns

_SECOND = 10**9
_SETTLE = 6.0
"""Seconds; SDKs send log records every one to five."""


class Entries:
    """Takes records as a spool does, and keeps what the index would say of each."""

    def __init__(self) -> None:
        self.found: list[Entry] = []

    def surround(self, value: dict[str, Any]) -> int:  # noqa: ARG002 -- as a spool has it
        """Nothing is kept of it."""
        return 0

    def add(self, entry: Entry, value: Any, around: tuple[int, ...], place: tuple[int, int, int]) -> None:  # noqa: ARG002 -- as above
        """Keep the entry alone."""
        self.found.append(entry)


@dataclass(slots=True)
class _Trace:
    """What is known of a trace.

    Attributes:
        bodies: Names of those that hold records of it, as they came.
        imported: How many of them were imported.
        heard: When the last one came, in nanoseconds.
        sessions: What its records name as their conversation.
        spans: Ids of the spans that came.
        named: Ids of spans that others, or log records, name.
    """

    bodies: list[str] = field(default_factory=list)
    imported: int = 0
    heard: int = 0
    sessions: set[str] = field(default_factory=set)
    spans: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        """Whether a span is missing."""
        return not self.named <= self.spans


@dataclass(frozen=True, slots=True)
class Conversation:
    """Traces that are imported together.

    Attributes:
        traces: Their ids, each with the number of its bodies that were there.
        bodies: Names of the bodies that hold them, as they came.
    """

    traces: dict[str, int]
    bodies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a conversation is waited for, in seconds.

    Attributes:
        quiet: After the last that came of it.
        open: The same, while a span is missing.
    """

    quiet: float
    open: float

    @property
    def settle(self) -> float:
        """After the last that came, at the end: as long as exporters keep log records back."""
        return min(self.quiet, _SETTLE)


class Traces:
    """The traces of all bodies that are kept; several threads may use it."""

    def __init__(self) -> None:
        self._traces: dict[str, _Trace] = {}
        self._sessions: dict[str, set[str]] = {}
        self._bodies: dict[str, set[str]] = {}
        self._lock = Lock()

    def add(self, body: str, entries: Iterable[Entry], *, is_imported: bool = False) -> None:
        """Take what a body holds."""
        with self._lock:
            held = self._bodies.setdefault(body, set())
            for entry in entries:
                trace = self._traces.setdefault(entry.trace, _Trace())
                if entry.trace not in held:
                    held.add(entry.trace)
                    trace.bodies.append(body)
                    trace.imported += is_imported
                    trace.heard = max(trace.heard, heard_ns(body))
                if entry.session is not None:
                    trace.sessions.add(entry.session)
                    self._sessions.setdefault(entry.session, set()).add(entry.trace)
                if entry.is_log:
                    trace.named |= {entry.span} - {""}
                else:
                    trace.spans.add(entry.span)
                    trace.named |= {entry.parent} - {""}

    def due(self, now: int, waits: Waits, *, is_ending: bool = False) -> list[Conversation]:
        """Conversations with something to import of which nothing more is expected.

        Args:
            now: The time, in nanoseconds since 1970.
            waits: How long to wait.
            is_ending: Whether those of which no span is missing are waited for only until they have settled.
        """
        with self._lock:
            return [
                self._conversation(members)
                for members in self._new()
                if _is_due([self._traces[each] for each in members], now, waits, is_ending=is_ending)
            ]

    def waiting(self) -> int:
        """How many conversations have something to import."""
        with self._lock:
            return sum(1 for _ in self._new())

    def _new(self) -> Iterator[set[str]]:
        """The traces of each conversation with something to import."""
        seen: set[str] = set()
        for each, trace in self._traces.items():
            if len(trace.bodies) > trace.imported and each not in seen:
                members = self._together(each)
                seen |= members
                yield members

    def unsettled(self, now: int, waits: Waits) -> float:
        """Seconds until all conversations that are there, and of which no span is missing, have settled."""
        with self._lock:
            found = ([self._traces[each] for each in members] for members in self._new())
            left = (waits.settle - _waited(traces, now) for traces in found if not _is_open(traces))
            return max(left, default=0.0)

    def _conversation(self, members: set[str]) -> Conversation:
        bodies = {body for each in members for body in self._traces[each].bodies}
        return Conversation({each: len(self._traces[each].bodies) for each in members}, tuple(sorted(bodies)))

    def _together(self, first: str) -> set[str]:
        """The traces that name a conversation that this one names, or one that those name."""
        found, pending = {first}, [first]
        while pending:
            for session in self._traces[pending.pop()].sessions:
                more = self._sessions[session] - found
                found |= more
                pending += more
        return found

    def imported(self, conversations: Iterable[Conversation]) -> list[str]:
        """Remember what was imported; gives the bodies that now hold nothing else."""
        with self._lock:
            touched: dict[str, None] = {}
            for conversation in conversations:
                for each, bodies in conversation.traces.items():
                    self._traces[each].imported = bodies
                touched |= dict.fromkeys(conversation.bodies)
            return [body for body in touched if self._is_imported(body)]

    def _is_imported(self, body: str) -> bool:
        traces = (self._traces[each] for each in self._bodies[body])
        return all(len(trace.bodies) == trace.imported for trace in traces)

    def forget(self, before: int) -> list[str]:
        """Forget bodies of which all is imported, and of whose conversations nothing came since; gives their names.

        Args:
            before: The time, in nanoseconds since 1970.
        """
        with self._lock:
            old = [body for body in self._bodies if heard_ns(body) < before and self._is_over(body, before)]
            for body in old:
                for each in self._bodies.pop(body):
                    self._leave(each, body)
            return old

    def _is_over(self, body: str, before: int) -> bool:
        return self._is_imported(body) and all(
            self._traces[other].heard < before for each in self._bodies[body] for other in self._together(each)
        )

    def _leave(self, name: str, body: str) -> None:
        trace = self._traces[name]
        trace.bodies.remove(body)
        trace.imported -= 1
        if trace.bodies:
            return
        for session in trace.sessions:
            self._sessions[session].discard(name)
            if not self._sessions[session]:
                del self._sessions[session]
        del self._traces[name]


def _is_open(traces: list[_Trace]) -> bool:
    return any(trace.is_open for trace in traces)


def _waited(traces: list[_Trace], now: int) -> float:
    """Seconds since the last that came of them; a clock that was set back has come to it."""
    return max(now - max(trace.heard for trace in traces), 0) / _SECOND


def _is_due(traces: list[_Trace], now: int, waits: Waits, *, is_ending: bool) -> bool:
    waited, is_open = _waited(traces, now), _is_open(traces)
    return waited >= (waits.open if is_open else waits.quiet) or (is_ending and not is_open and waited >= waits.settle)
