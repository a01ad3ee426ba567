"""Threads become streams: turns of one conversation follow on each other, sub-agents and branches are streams of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.ingest.assemble.pairing import Pairing
from pipelines.ingest.assemble.threads import Entry, Thread


@dataclass(slots=True, eq=False)
class Stream:
    """One stream.

    Attributes:
        thread: The thread that it begins with.
        entries: Its messages, and what happened between them.
        fields: Fields of its line: `conversation_id`, and `parent`, `agent` or `branch_of` where it is not the conversation itself.
        is_main: Whether it is the conversation itself.
    """

    thread: Thread | None
    entries: list[Entry]
    fields: dict[str, Any] = field(default_factory=dict)
    is_main: bool = False

    @property
    def agent(self) -> str | None:
        """Name of its agent."""
        return self.thread.agent if self.thread else None


def streams_of(threads: list[Thread], paired: Pairing, conversation_id: str) -> list[Stream]:
    """The streams of a conversation, itself first; there is one at least.

    A thread goes on with a stream as a further turn where it has the same agent and system messages, hangs under no tool and under
    another root: a recorder that keeps one trace a turn, without what was said before. Any other thread is a stream of its own.
    """
    _prefer_what_goes_on(threads)
    streams: list[Stream] = []
    of_thread: dict[int, Stream] = {}
    turns: dict[tuple[Any, ...], tuple[Stream, str]] = {}
    for thread in sorted(threads, key=lambda each: (each.name is not None, each.number)):
        system = thread.system()
        name = (thread.name, thread.agent, *system)
        known, root = turns.get(name, (None, ""))
        opener = thread.opener if thread.branch_of is None and thread.spawn is None else None
        if known is not None and opener is not None and opener.root != root:
            known.entries += thread.entries[len(system) :]  # the same as the stream begins with
            stream = known
        else:
            stream = Stream(thread, list(thread.entries), is_main=not streams)
            streams.append(stream)
        of_thread[thread.number] = stream
        if opener is not None and (known is None or stream is known):
            turns[name] = stream, opener.root
    if not streams:
        return [Stream(None, [], {"conversation_id": conversation_id}, is_main=True)]
    _name(streams, conversation_id)
    for stream in streams[1:]:
        _relate(stream, streams[0], of_thread, paired)
    return streams


def _prefer_what_goes_on(threads: list[Thread]) -> None:
    """Of two answers to the same input, the one that the conversation went on with is the main one, and the other the branch."""
    for thread in threads:
        if thread.branch_of is None:
            continue
        other, count = thread.branch_of
        is_continued = _calls_after(thread, count) > 1
        if is_continued and _calls_after(other, count) == 1 and other.branch_of is None:
            thread.branch_of, other.branch_of = None, (thread, count)
            thread.number, other.number = other.number, thread.number


def _calls_after(thread: Thread, count: int) -> int:
    return sum(entry.asked is not None for entry in thread.entries[count:])


def _name(streams: list[Stream], conversation_id: str) -> None:
    """Name the streams: the conversation's own id, and those of others after their agent, thread or first call."""
    taken = {conversation_id}
    numbers: dict[str, int] = {}
    streams[0].fields["conversation_id"] = conversation_id
    for stream in streams[1:]:
        thread = stream.thread
        assert thread is not None
        opener = thread.opener
        base = thread.name or thread.agent or (opener.call.id if opener else "") or "thread"
        name = f"{conversation_id}/{base}"
        while name in taken:
            numbers[base] = numbers.get(base, 1) + 1
            name = f"{conversation_id}/{base}~{numbers[base]}"
        taken.add(name)
        stream.fields["conversation_id"] = name
        if thread.agent is not None:
            stream.fields["agent"] = thread.agent


def _relate(stream: Stream, main: Stream, of_thread: dict[int, Stream], paired: Pairing) -> None:
    """Say what a stream came from: the call of a tool that started it, or the stream that it shares its beginning with."""
    thread = stream.thread
    assert thread is not None
    if thread.branch_of is not None:
        other, count = thread.branch_of
        home = of_thread.get(other.number, main)
        stream.fields["branch_of"] = {"conversation_id": home.fields["conversation_id"], "messages": count}
        return
    parent, call_id = main, None
    if thread.spawn is not None and thread.spawn.id in paired.called:
        caller, call = paired.called[thread.spawn.id]
        parent, call_id = of_thread.get(caller.number, main), call.get("id")
    elif thread.parent in paired.calls:
        caller, call = paired.calls[thread.parent]
        parent, call_id = of_thread.get(caller.number, main), call.get("id")
    if parent is not stream:
        stream.fields["parent"] = {"conversation_id": parent.fields["conversation_id"], "call_id": call_id}
