"""Calls of tools and what these answered: the message that the model was sent, and the span in which the tool ran.

The message is what the model saw, the span what the tool returned. A call without such a message has the span's output for its
result; a span without a call is a call of its own, made by a service.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipelines.canonical.content import text_of
from pipelines.ingest.assemble.keys import arguments_key, call_key
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Message, Step
from pipelines.ingest.assemble.threads import Entry, Thread

_NOTHING: tuple[Any, ...] = (None, "", [], {})


@dataclass(slots=True)
class Pairing:
    """What was paired.

    Attributes:
        called: Spans of tools that a call was found for, with the thread and the call.
        calls: Calls by their id, each with its thread.
        left: Spans without one, in order.
        repeated: Scalars of spans that the messages say, too.
        unanswered: Calls without any result.
    """

    called: dict[str, tuple[Thread, dict[str, Any]]] = field(default_factory=dict)
    calls: dict[str, tuple[Thread, dict[str, Any]]] = field(default_factory=dict)
    left: list[Step] = field(default_factory=list)
    repeated: int = 0
    unanswered: int = 0


class _Spans:
    """Spans of tools that no call was found for yet, by id and by name and arguments."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._by_id: dict[str, deque[Step]] = defaultdict(deque)
        self._by_key: dict[tuple[str, str], deque[Step]] = defaultdict(deque)
        self._taken: set[str] = set()
        for step in steps:
            if step.call_id is not None:
                self._by_id[step.call_id].append(step)
            self._by_key[str(step.name), arguments_key(step.arguments)].append(step)

    def take(self, call: dict[str, Any], after: int | None) -> Step | None:
        """The span of a call: by its id, else the first one of that name and those arguments that has none of its own."""
        call_id = call.get("id")
        by_id = self._by_id.get(str(call_id)) if call_id not in (None, "") else None
        while by_id:
            step = by_id.popleft()
            if step.id not in self._taken:
                self._taken.add(step.id)
                return step
        waiting = self._by_key.get(call_key(call))
        for step in waiting or ():
            is_other = step.id in self._taken or (step.call_id is not None and call_id not in (None, ""))
            if is_other or (after is not None and step.start is not None and step.start < after):
                continue
            self._taken.add(step.id)
            return step
        return None

    def is_taken(self, step: Step) -> bool:
        return step.id in self._taken


def pair(threads: Iterable[Thread], steps: list[Step]) -> Pairing:
    """Find for every call of a tool its result and its span; results that only a span says are put into the threads."""
    steps = sorted(steps, key=lambda step: (step.start or 0, step.end or 0, step.id))
    made, spans, seen = Pairing(), _Spans(steps), set[int]()
    for thread in threads:
        entries: list[Entry] = []
        waiting = _Waiting(made, entries)
        for entry in thread.entries:
            message = entry.message
            if message is None or message.chat["role"] not in ("tool", "assistant"):
                entries.append(entry)
                continue
            if message.chat["role"] == "tool":
                waiting.answer(entry)
                continue
            waiting.settle()
            entries.append(entry)
            is_copy = id(entry) in seen  # the beginning that a branch shares
            seen.add(id(entry))
            for call in message.chat.get("tool_calls") or ():
                if call.get("executor") != "provider":
                    sender = entry.sent_by.call if entry.sent_by else None
                    after = sender.start if sender and entry.asked else None
                    span = None if is_copy else spans.take(call, after)
                    waiting.ask(thread, call, span, is_copy=is_copy)
        waiting.end()
        thread.entries = entries
    made.left = [step for step in steps if not spans.is_taken(step)]
    return made


@dataclass(slots=True)
class _Asking:
    """A call that has no result yet."""

    call: dict[str, Any]
    span: Step | None
    is_copy: bool


class _Waiting:
    """The calls of a message of the agent while their results come, and those before it that have none yet."""

    def __init__(self, made: Pairing, entries: list[Entry]) -> None:
        self._made = made
        self._entries = entries
        self._calls: list[_Asking] = []
        self._late: dict[str, deque[_Asking]] = defaultdict(deque)

    def ask(self, thread: Thread, call: dict[str, Any], span: Step | None, *, is_copy: bool) -> None:
        self._calls.append(_Asking(call, span, is_copy))
        if span is not None:
            self._made.called[span.id] = (thread, call)
        self._made.calls.setdefault(str(call.get("id")), (thread, call))

    def answer(self, entry: Entry) -> None:
        """Take a result that the model was sent."""
        assert entry.message is not None
        self._entries.append(entry)
        call_id = entry.message.chat.get("tool_call_id")
        found = next(
            (each for each in self._calls if call_id not in (None, "") and each.call.get("id") == call_id), None
        )
        if found is None and (call_id in (None, "") or all(each.call.get("id") in (None, "") for each in self._calls)):
            found = next(iter(self._calls), None)
        if found is None:
            if late := self._late.get(str(call_id)):
                late.popleft()
            return
        self._calls.remove(found)
        if found.span is not None:
            entry.span = found.span
            self._made.repeated += _said_twice(found.span, entry.message, found.call)

    def end(self) -> None:
        """Count what has no result in the end."""
        self.settle()
        self._made.unanswered += sum(not each.is_copy for late in self._late.values() for each in late)

    def settle(self) -> None:
        """What the model was sent no result for has the span's; without one its result may come later, by its id."""
        for asking in self._calls:
            span = asking.span
            if span is None:
                call_id = asking.call.get("id")
                if call_id in (None, ""):
                    self._made.unanswered += not asking.is_copy
                else:
                    self._late[str(call_id)].append(asking)
                continue
            if span.output in _NOTHING and span.error is None:
                self._made.unanswered += 1
                continue
            self._made.repeated += _called_twice(span, asking.call)
            answer = result_of(span, asking.call.get("id"), call_key(asking.call)[0])
            self._entries.append(Entry(answer, span=span, is_from_span=True))
        self._calls = []


def result_of(span: Step, call_id: Any, called: str | None = None) -> Message:
    """What a span says that its tool answered, as the message that a later call will be sent of it, as far as that is known.

    Args:
        span: The span.
        call_id: Of the call that it is of.
        called: Name of the tool in that call, which the message need not say again.
    """
    told = span.message.chat if span.message is not None else {}
    chat: dict[str, Any] = {**told, "role": "tool", "tool_call_id": call_id, "content": span.output}
    if span.name and span.name != called:
        chat["name"] = span.name
    if span.error is not None:
        chat["error"] = span.error
    return Message(chat)


def _called_twice(span: Step, call: dict[str, Any]) -> int:
    """Scalars of a span that the call says already."""
    return (
        leaves(span.arguments) + (span.name is not None) + (span.call_id is not None and call.get("id") == span.call_id)
    )


def _said_twice(span: Step, message: Message, call: dict[str, Any]) -> int:
    """Scalars of a span that the call and its result say already; where the outputs differ, the span's stays with its rest."""
    count = _called_twice(span, call)
    if span.output in _NOTHING:
        return count
    if is_same_output(span.output, message.chat.get("content")):
        return count + leaves(span.output)
    span.rest["tool_span_output"] = span.output
    return count


def is_same_output(one: Any, other: Any) -> bool:
    """Whether two outputs of a tool say the same: as values, or as the text that a model reads."""
    return one == other or arguments_key(_plain(one)) == arguments_key(_plain(other))


def _plain(value: Any) -> Any:
    is_parts = isinstance(value, list) and value and all(isinstance(part, dict) and "type" in part for part in value)
    return text_of(value) or value if is_parts else value
