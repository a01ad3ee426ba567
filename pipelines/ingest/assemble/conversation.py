"""The rows of one conversation become its run lines: the conversation itself, and a stream each of its sub-agents and branches.

In order: calls and spans are put into a tree, and what only wraps another call is told from it; calls go where their history goes
on; calls of tools get their results; everything gets its time; threads become streams, and streams lines. Rows that are a stream
already keep their order, whatever their times say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipelines.canonical.content import text_of
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.assemble.beside import Spoken, Timeline
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.lines import (
    Records,
    ToolLists,
    decision_of,
    is_contentless,
    lacking,
    line_fields,
    message_of,
    replaced,
    service_call,
    settle_time,
)
from pipelines.ingest.assemble.pairing import Pairing, pair, result_of
from pipelines.ingest.assemble.rows import Call, Facts, Message, Row, Step
from pipelines.ingest.assemble.spans import Asked, Spans
from pipelines.ingest.assemble.streams import Stream, streams_of
from pipelines.ingest.assemble.threads import Entry, Thread, Threads

_MERGED = ("tags", "metadata", "fidelity")


@dataclass(slots=True)
class Assembled:
    """What the rows of one conversation came to.

    Attributes:
        lines: Run lines, the conversation's first.
        tally: Counts, and where its leaves went; those of the records themselves are the caller's.
    """

    lines: list[dict[str, Any]]
    tally: Tally


def assemble(key: str, rows: Iterable[Row], *, source: str, is_named: bool = True) -> Assembled:
    """The run lines of one conversation.

    Args:
        key: What names it, unless a fact does.
        rows: What its records say; each is read once, and the inputs of calls are not kept.
        source: Its source, unless a fact says it.
        is_named: Whether its form names it.
    """
    conversation = _Conversation(key, source, Tally(conversations=1, nameless=not is_named))
    for row in rows:
        conversation.add(row)
    return Assembled(conversation.lines(), conversation.tally)


@dataclass(slots=True)
class _Conversation:
    key: str
    source: str
    tally: Tally
    spans: Spans = field(default_factory=Spans)
    records: Records = field(default_factory=Records)
    tools: ToolLists = field(default_factory=ToolLists)
    fields: dict[str, Any] = field(default_factory=dict)
    scores: list[dict[str, Any]] = field(default_factory=list)
    offered: dict[int, str | None] = field(default_factory=dict)
    _stream: list[Asked | Step] = field(default_factory=list)
    _told: set[int] = field(default_factory=set)
    _rests: dict[int, tuple[str | None, dict[str, Any]]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Take the next row."""
        if isinstance(row, Facts):
            self._learn(row)
        elif isinstance(row, Call):
            tools, row.tools = row.tools, None
            offered = self.tools.sha256(tools)
            asked = self.spans.add_call(row, len(self._stream), offered)
            self.offered[id(asked)] = offered
            row.request = None
            self._stream.append(asked)
        else:
            self.spans.add_step(row)
            self._stream.append(row)
        row_id = None if isinstance(row, Facts) or row.id.startswith(row.place) else row.id
        self._rests.setdefault(id(row.rest), (row_id, row.rest))

    def _learn(self, facts: Facts) -> None:
        """Take what is said of the whole; the first to say a thing is kept, and what says otherwise is a record."""
        others = {}
        for name, value in facts.fields.items():
            known = self.fields.get(name)
            if known is None:
                self.fields[name] = value
            elif name in _MERGED and isinstance(known, dict) and isinstance(value, dict):
                self.fields[name] = value | known
            elif name in _MERGED and isinstance(known, list) and isinstance(value, list):
                self.fields[name] = known + [each for each in value if each not in known]
            elif known != value:
                others[name] = value
        if others:
            self.records.keep(None, {"facts": others})
        self.scores += facts.scores

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the whole."""
        self.spans.settle()
        threads = Threads(self.spans.histories)
        steps = [each for each in self._stream if isinstance(each, Step)]
        says = [step for step in steps if step.kind == "utterance"]
        is_stream = bool(says) and not any(each.is_recorded for each in self.spans.calls)
        others = [step for step in steps if step.kind in ("handoff", "compaction", "state", "utterance")]
        if is_stream:
            self._follow(threads)
        else:
            for asked in self.spans.in_order():
                if not asked.call.is_aside:
                    threads.place(asked)
        paired = pair(threads.all, self.spans.tools)
        for thread in threads.all:
            for entry in thread.entries:
                settle_time(entry)
        streams = streams_of(threads.all, paired, self.fields.get("conversation_id") or self.key)
        if not is_stream and others:
            spoken = Spoken(streams)
            _insert(streams, [step for step in others if not spoken.take(step)])
        _insert_services(streams, paired.left)
        self._count(threads, paired)
        made = [self._line(stream, threads) for stream in streams]
        made[0] |= self._records()
        return made

    def _follow(self, threads: Threads) -> None:
        """Rows that are a stream already, in their own order."""
        for row in self._stream:
            if isinstance(row, Asked):
                if row.call.is_aside:
                    continue
                _answered(threads.named(row.call.thread), row)
            elif row.kind == "utterance" and row.message is not None:
                threads.named(row.thread).entries.append(Entry(row.message, step=row))
            elif row.kind in ("handoff", "compaction", "state"):
                entries = threads.named(row.thread).entries
                if row.kind == "compaction":
                    said = [each.message.chat["role"] for each in entries if each.message is not None]
                    row.detail = replaced(said) | row.detail
                entries.append(Entry(step=row))

    def _line(self, stream: Stream, threads: Threads) -> dict[str, Any]:
        line: dict[str, Any] = {"source": self.source}
        line |= dict(line_fields(self.fields, self.scores if stream.is_main else []))
        if not stream.is_main:
            for name in ("outcome", "started_at", "ended_at"):
                line.pop(name, None)
        line |= stream.fields
        if lacks := lacking(stream.entries, self.fields.get("fidelity") or ()):
            line["fidelity"] = lacks
        offered: list[str | None] = []
        messages = []
        for entry in stream.entries:
            decision = None
            if entry.asked is not None:
                tools = self.offered[id(entry.asked)]
                offered.append(tools)
                decision = decision_of(entry.asked, threads.placed.get(id(entry.asked)), tools)
            messages.append(message_of(entry, decision))
        self._offer(line, messages, [each for each in offered if each is not None])
        self._tell(messages, stream)
        return {**line, "messages": messages}

    def _offer(self, line: dict[str, Any], messages: list[dict[str, Any]], offered: list[str]) -> None:
        """Give the line the tools that its calls offered; calls that offered others have these themselves."""
        if not offered:
            return
        first = offered[0]  # which stays the first when the conversation goes on
        line["tools"] = self.tools.tools(first)
        for message in messages:
            tools = (message.get("decision") or {}).get("tools_sha256")
            if tools is not None and tools != first:
                message["tools"] = self.tools.tools(tools)

    def _tell(self, messages: list[dict[str, Any]], stream: Stream) -> None:
        """Count what a stream says; what a branch shares with another was counted there."""
        tally = self.tally
        tally.streams += 1
        for entry, message in zip(stream.entries, messages, strict=True):
            role = message["role"]
            is_counted = entry.message is not None and message.get("actor") != "service" and id(entry) not in self._told
            self._told.add(id(entry))
            if not is_counted:
                continue
            if role in ("system", "developer"):
                tally.system += 1
            elif role == "user":
                tally.user += 1
            elif role == "assistant":
                tally.agent_text += bool(text_of(message.get("content")).strip())
                tally.tool_calls += len(message.get("tool_calls") or ())
            elif message.get("executor") != "provider":
                tally.tool_results += not entry.is_from_span
                tally.span_results += entry.is_from_span

    def _count(self, threads: Threads, paired: Pairing) -> None:
        tally = self.tally
        tally.open_tool_calls += paired.unanswered
        tally.repeated += paired.repeated + self.tools.repeated
        if not any(asked.call.usage for asked in self.spans.calls):  # nothing but the sum is known
            usage = self.fields.get("usage") or {}
            tally.input_tokens += int(usage.get("input_tokens") or 0)
            tally.output_tokens += int(usage.get("output_tokens") or 0)
        for asked in self.spans.calls:
            call = asked.call
            if asked.wraps is not None:
                tally.wrapper_calls += 1
                tally.repeated += asked.leaves + sum(message.leaves for message in call.output)
                continue
            if call.is_aside:
                self._keep_aside(asked)
            placed = threads.placed.get(id(asked))
            tally.model_calls += 1
            tally.input_tokens += int(call.usage.get("input_tokens") or 0)
            tally.output_tokens += int(call.usage.get("output_tokens") or 0)
            if model := call.listed_model or call.model or call.model_requested:
                tally.models.add(str(model))
            if placed is not None:
                tally.histories[placed.history] += 1
                tally.repeated += asked.leaves - placed.added
            if is_contentless(asked):
                tally.contentless += 1
                tally.switches |= {call.content_switch} if call.content_switch else set()

    def _keep_aside(self, asked: Asked) -> None:
        """Keep a call that is no part of the conversation, whole."""
        sent = [node.message.chat for node in asked.leaf.path() if node.message is not None]
        whole = {
            "decision": decision_of(asked, None, self.offered[id(asked)]),
            "input": sent,
            "output": [message.chat for message in asked.call.output],
        }
        self.tally.kept += asked.leaves + sum(message.leaves for message in asked.call.output)
        self.records.keep(asked.call.id, whole)

    def _records(self) -> dict[str, Any]:
        for row_id, rest in self._rests.values():
            self.tally.kept += leaves(self.records.keep(row_id, rest))
        return {"records": self.records.by_name} if self.records.by_name else {}


def _answered(thread: Thread, asked: Asked) -> None:
    """Put a call of a stream before what it answered: its own messages, else those of the agent that came last."""
    if asked.call.output:
        for n, message in enumerate(asked.call.output):
            thread.entries.append(Entry(message, asked if n == 0 else None, is_answer=True, sent_by=asked))
        return
    first = None
    for entry in reversed(thread.entries):
        if entry.message is None or entry.message.chat["role"] != "assistant" or entry.asked is not None:
            break
        first = entry
    if first is None:
        thread.entries.append(Entry(None, asked, is_answer=True, sent_by=asked))
    else:
        first.asked = asked


def _stream_for(streams: list[Stream], step: Step) -> Stream:
    return next((each for each in streams if step.agent is not None and each.agent == step.agent), streams[0])


def _insert(streams: list[Stream], steps: list[Step]) -> None:
    """Put what happened beside the calls where it belongs by its time."""
    timelines = {id(each): Timeline(each.entries) for each in streams} if steps else {}
    for step in steps:
        timelines[id(_stream_for(streams, step))].put([Entry(step.message, step=step)], step.start or step.end)


def _insert_services(streams: list[Stream], steps: list[Step]) -> None:
    """Put calls of tools that no message made where they belong by their time, with what they gave."""
    timelines = {id(each): Timeline(each.entries) for each in streams} if steps else {}
    for step in steps:
        call, at = service_call(step), step.start or step.end
        entries = [Entry(Message(call), at=at, time_source="span")]
        if step.output is not None or step.error is not None:
            answer = result_of(step, step.call_id)
            entries.append(Entry(answer, span=step, is_from_span=True, at=step.end or at, time_source="span"))
        timelines[id(_stream_for(streams, step))].put(entries, at)
