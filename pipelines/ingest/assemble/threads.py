"""Calls become threads: each is put where what it was sent goes on.

| history | what the call was sent | what it adds |
|---|---|---|
| exact | begins with all messages of a thread | what comes after these, and the answer |
| rendered | the same, but messages of the agent are otherwise than they were recorded | the same; what the agent said stays as recorded |
| delta | neither a system nor a user message: only what is new, or nothing | all of it, and the answer |
| compacted | begins with a thread's system messages, and takes up some of the others | a compaction, what is new, and the answer |
| opened | none of these | a thread of its own |

Among threads that match, the one that matches the most messages wins, then the one whose agent's messages agree exactly.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from pipelines.ingest.assemble.histories import Histories, Node, Rendered
from pipelines.ingest.assemble.keys import Key, call_key, canonical
from pipelines.ingest.assemble.rows import Message, Step
from pipelines.ingest.assemble.spans import Asked


@dataclass(slots=True, eq=False)
class Entry:
    """One message of a thread, or something that happened between two.

    Attributes:
        message: The message; None for a step, and for a call of which nothing came.
        asked: The call that it is the answer of, on the first message of the answer; of a message that was sent, None.
        is_answer: Whether it is a message of an answer.
        sent_by: The first call that was sent it.
        step: What happened, where it is no message.
        compaction: What a compaction replaced, before the messages that came instead.
        span: The tool's span, of a result.
        is_from_span: Whether only the span says what the tool answered.
        at, time_source: Its time and whose it is, once they are known.
    """

    message: Message | None = None
    asked: Asked | None = None
    is_answer: bool = False
    sent_by: Asked | None = None
    step: Step | None = None
    compaction: dict[str, Any] | None = None
    span: Step | None = None
    is_from_span: bool = False
    at: int | None = None
    time_source: str | None = None


@dataclass(slots=True, eq=False)
class Thread:
    """Messages in their order, and where they stand in the tree of histories.

    Attributes:
        number: In the order in which threads were opened.
        opener: The call that opened it; None for a stream that its form names itself.
        name: As the form names it.
        entries: What was said and happened.
        node: The messages' exact node.
        ends: Nodes at which a later input goes on with it.
        branch_of: The thread that it shares its beginning with, and how many entries of it.
        opening: Messages that its first call was sent.
        last: The call that was put into it last.
        is_waiting: Whether it ends on calls of tools.
        calls: Names and arguments of these.
    """

    number: int
    opener: Asked | None
    name: str | None
    node: Node
    entries: list[Entry] = field(default_factory=list)
    ends: list[Rendered] = field(default_factory=list)
    branch_of: tuple[Thread, int] | None = None
    last: Asked | None = None
    opening: int = 0
    is_waiting: bool = False
    calls: frozenset[tuple[str, str]] = frozenset()

    @property
    def agent(self) -> str | None:
        """Name of the agent that opened it."""
        first = self.opener or self._first
        return first.agent if first else None

    @property
    def parent(self) -> str | None:
        """Id of what its form says that a stream hangs under."""
        first = None if self.opener else self._first
        return first.call.parent if isinstance(first, Asked) else first.parent if first else None

    @property
    def _first(self) -> Asked | Step | None:
        calls = (entry.asked for entry in self.entries if entry.asked is not None)
        return next(calls, None) or next((entry.step for entry in self.entries if entry.step is not None), None)

    @property
    def spawn(self) -> Step | None:
        """The tool that it was opened under."""
        return self.opener.spawn if self.opener else None

    def system(self) -> list[Key]:
        """Keys of the system messages that it begins with."""
        return _system_of(self.node.path())


@dataclass(slots=True)
class Placed:
    """How a call was placed.

    Attributes:
        history: As in the table of the module.
        rendered_sha256: Hash of the agent's messages as this call was sent them, where they are otherwise than recorded.
        retries: Calls that failed before, with the same input.
        added: Scalars of its input that were new.
    """

    history: str
    rendered_sha256: str | None = None
    retries: int = 0
    added: int = 0


class Threads:
    """The threads of one conversation, one call after the other."""

    def __init__(self, histories: Histories) -> None:
        self.all: list[Thread] = []
        self.placed: dict[int, Placed] = {}
        self._histories = histories
        self._named: dict[str | None, Thread] = {}
        self._said: dict[Key, Thread] = {}
        """What was said in the course of a thread, after what its first call was sent, and where it was said last."""
        self._failed: dict[int, Thread] = {}
        """Threads whose last call failed, by the node of what it was sent."""
        self._recent: dict[tuple[str | None, str | None, int], Thread] = {}
        self._waits: dict[tuple[str | None, str | None, int], dict[Thread, None]] = {}
        """Threads by name, agent and the tool that it hangs under: the one that spoke last, and those that wait, the latest last."""

    def place(self, asked: Asked) -> Thread:
        """Put a call where its history goes on."""
        path = asked.leaf.path()
        found = self._retried(asked) or self._matching(asked, path)
        if found is None and path and not asked.is_delta:
            found = self._branch(asked) or self._compacted(asked, path)
        if found is None and asked.is_delta:
            found = self._waiting(asked)
        if found is None:
            found = self._open(asked), Placed("opened"), 0
        thread, placed, known = found
        self.placed[id(asked)] = placed
        self._append(thread, asked, path[known:], placed)
        self._note(thread, asked)
        return thread

    def named(self, name: str | None) -> Thread:
        """The thread that the form itself calls so."""
        if name not in self._named:
            self._named[name] = self._new(None, name)
        return self._named[name]

    def _new(self, opener: Asked | None, name: str | None) -> Thread:
        thread = Thread(len(self.all), opener, name, self._histories.root)
        self.all.append(thread)
        return thread

    def _open(self, asked: Asked) -> Thread:
        return self._new(asked, asked.call.thread)

    def _is_of(self, thread: Thread, asked: Asked) -> bool:
        return asked.call.thread is None or thread.name == asked.call.thread

    def _retried(self, asked: Asked) -> tuple[Thread, Placed, int] | None:
        """The thread whose last call failed on the same input, under the same parent."""
        thread = self._failed.get(id(asked.leaf))
        last = thread.last if thread is not None else None
        if thread is None or last is None or last.leaf is not asked.leaf:
            return None
        if last.call.parent != asked.call.parent and last.root != asked.root:
            return None
        before = self.placed[id(last)]
        return thread, Placed(before.history, before.rendered_sha256, before.retries + 1), asked.leaf.depth

    def _matching(self, asked: Asked, path: list[Node]) -> tuple[Thread, Placed, int] | None:
        """The thread that all of the input's beginning is."""
        for depth in range(len(path), 0, -1):
            heads = path[depth - 1].rendered.heads
            if not heads:
                continue
            threads = [thread for thread in heads if self._is_of(thread, asked)]
            if threads:
                break
        else:
            return None
        node = path[depth - 1]
        best = max(
            threads,
            key=lambda each: (
                heads[each] is node,
                _agreeing(heads[each], path) if len(threads) > 1 else 0,
                each.agent == asked.agent,
                each.number,
            ),
        )
        if heads[best] is node:
            return best, Placed("exact"), depth
        return best, Placed("rendered", _rendered_sha256(path[:depth])), depth

    def _branch(self, asked: Asked) -> tuple[Thread, Placed, int] | None:
        """A sibling of the thread in which a call was sent the same and answered."""
        for thread, count in asked.leaf.asked:
            if not self._is_of(thread, asked):
                continue
            branch = self._new(asked, asked.call.thread)
            branch.branch_of = (thread, count)
            branch.entries = thread.entries[:count]
            branch.node = asked.leaf
            return branch, Placed("exact"), asked.leaf.depth
        return None

    def _compacted(self, asked: Asked, path: list[Node]) -> tuple[Thread, Placed, int] | None:
        """The thread of the same agent that the input takes up in part: its system messages, and what was said in it.

        What its first call was sent is no sign of it, unless all of it is: examples and instructions begin many conversations.
        """
        system = _system_of(path)
        for thread in self._taken_up(path, len(system)):
            is_same = thread.opener is not None and thread.agent == asked.agent and thread.spawn is asked.spawn
            if not is_same or not self._is_of(thread, asked):
                continue
            mine = thread.node.path()
            if _system_of(mine) != system:
                continue
            common = next((n for n, (a, b) in enumerate(zip(mine, path, strict=False)) if a is not b), len(path))
            known = {node.key for node in mine}
            last = max((n for n, node in enumerate(path) if node.key in known), default=-1)
            new = max(last + 1, common, len(path) - 1 if path[-1].key not in known else 0)
            replacement = path[common:new]
            kept = mine[len(mine) - len(replacement) :]
            if kept and common + len(kept) < len(mine) and _keys(kept) == _keys(replacement):  # a window that slides
                compaction = _compaction(mine[: len(mine) - len(kept)], common, [], known) | {"kind": "truncate"}
                replacement = []
            else:
                compaction = _compaction(mine, common, replacement, known)
            thread.entries.append(Entry(sent_by=asked, compaction=compaction))
            thread.node = path[new - 1] if new else self._histories.root
            placed = Placed("compacted", added=sum(_message_of(node).leaves for node in replacement))
            return thread, placed, new
        return None

    def _taken_up(self, path: list[Node], system: int) -> list[Thread]:
        """Threads of which an input holds something that was said in their course, the latest such first."""
        found: dict[Thread, None] = {}
        for node in reversed(path[system:]):
            if node.asked:
                found[node.asked[-1][0]] = None
            said = self._said.get(node.key)
            if said is not None:
                found[said] = None
        return list(found)

    def _waiting(self, asked: Asked) -> tuple[Thread, Placed, int] | None:
        """The thread of this agent that waits for results since last, else the one that it spoke in last."""
        name = (asked.call.thread, asked.agent, id(asked.spawn))
        waiting = self._waits.get(name)
        found = next(reversed(waiting)) if waiting else self._recent.get(name)
        if found is None and asked.agent is None:
            found = self._recent.get((asked.call.thread, "", id(asked.spawn)))
        return None if found is None else (found, Placed("delta"), 0)

    def _note(self, thread: Thread, asked: Asked) -> None:
        """Note which thread an agent spoke in last, whether it waits, and whether the call failed."""
        name = (thread.name if asked.call.thread is not None else None, asked.agent, id(asked.spawn))
        self._recent[name] = self._recent[name[0], "", name[2]] = thread
        waits = self._waits.setdefault(name, {})
        waits.pop(thread, None)
        if thread.is_waiting:
            waits[thread] = None
        if asked.call.error is not None and not asked.call.output and asked.leaf.depth:
            self._failed[id(asked.leaf)] = thread
        else:
            self._failed.pop(id(asked.leaf), None)

    def _append(self, thread: Thread, asked: Asked, new: list[Node], placed: Placed) -> None:
        """Add what is new of a call's input, and its answer."""
        for end in thread.ends:
            end.leave(thread)
        node = thread.node
        for each in new:
            message = _message_of(each)
            placed.added += message.leaves
            if _is_again(message, thread.calls):
                continue
            node = node.child(each.key, message)
            thread.entries.append(Entry(message, sent_by=asked))
            if thread.last is not None and each.key[1]:
                self._said[each.key] = thread
        if thread.last is None:
            thread.opening = asked.leaf.depth
        if placed.retries == 0:
            asked.leaf.asked += ((thread, len(thread.entries)),)
        self._answer(thread, asked, node)

    def _answer(self, thread: Thread, asked: Asked, node: Node) -> None:
        """Add what a call answered, or that nothing came of it."""
        answer = asked.call.output
        for n, said in enumerate(answer or [None]):
            thread.entries.append(Entry(said, asked if n == 0 else None, is_answer=True, sent_by=asked))
        thread.node = self._histories.add(answer, node)
        self._end(thread, self._histories.add(answer, asked.leaf) if asked.leaf.depth else thread.node)
        for message in answer:
            key = self._histories.key(message)
            if key[1]:
                self._said[key] = thread
        thread.last = asked
        asking = [call_key(call) for message in answer for call in message.chat.get("tool_calls") or ()]
        if answer:
            thread.calls, thread.is_waiting = frozenset(asking), bool(asking)

    def _end(self, thread: Thread, asked_end: Node) -> None:
        """Note where a later input goes on with a thread: after its messages, or after those that its last call was sent."""
        thread.ends = [thread.node.rendered]
        thread.node.rendered.begin(thread, thread.node)
        if asked_end.rendered is not thread.node.rendered:
            thread.ends.append(asked_end.rendered)
            asked_end.rendered.begin(thread, asked_end)


def _message_of(node: Node) -> Message:
    assert node.message is not None
    return node.message


def _compaction(mine: list[Node], common: int, replacement: list[Node], known: set[Key]) -> dict[str, Any]:
    """What a compaction replaced, counted in the messages of a request, and what came instead."""
    if any(node.key not in known for node in replacement):
        kind = "summary"
    elif common > len(_system_of(mine)) and not replacement:
        kind = "rewind"
    else:
        kind = "truncate"
    chats = [_message_of(node).chat for node in replacement]
    return {"kind": kind, "from_message": common, "to_message": len(mine), "replacement": chats, "trigger": None}


def _keys(path: list[Node]) -> list[Key]:
    return [node.key for node in path]


def _system_of(path: list[Node]) -> list[Key]:
    keys: list[Key] = []
    for node in path:
        if node.key[0] != "system":
            break
        keys.append(node.key)
    return keys


def _agreeing(head: Node, path: list[Node]) -> int:
    """Messages of the agent that a thread has exactly as the input has them."""
    return sum(
        mine.key == given.key for mine, given in zip(head.path(), path, strict=False) if given.key[0] == "assistant"
    )


def _rendered_sha256(path: list[Node]) -> str:
    """Hash of the agent's messages as an input has them."""
    keys = [list(node.key) for node in path if node.key[0] == "assistant"]
    return hashlib.sha256(canonical(keys).encode("utf-8", "surrogatepass")).hexdigest()


def _is_again(message: Message, held: frozenset[tuple[str, str]]) -> bool:
    """Whether a message only repeats calls that the thread has: parallel calls may come back one by one."""
    calls = message.chat.get("tool_calls")
    if not calls or message.chat.get("content"):
        return False
    return all(call_key(call) in held for call in calls)
