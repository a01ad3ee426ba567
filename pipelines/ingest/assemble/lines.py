"""A thread becomes a run line.

| in `messages` | what |
|---|---|
| a message | as it was recorded, with `timestamp`, `time_source` (`call`, `span`; absent: its own time) and, of the agent, `decision` |
| `{role: assistant, decision}` without content | a call of a model of which nothing came |
| `{role: system, compacted: {kind, from_message, to_message, replacement, trigger}}` | messages of the request gave way to others |
| `{role: system, handoff: {from, to, reason}}` | an agent gave over to another |
| `{role: system, event: {kind, …}}` | an event of a call that nobody said |
| `{role: assistant, tool_calls, actor: service}` | a tool that ran, and that no model called |

`from_message` and `to_message` count the messages of a request from 0. `records` holds what no field says, by the
id of the row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.canonical.tools import tools_sha256
from pipelines.ingest.assemble.keys import canonical
from pipelines.ingest.assemble.leaves import leaves, said
from pipelines.ingest.assemble.rows import Call, Step
from pipelines.ingest.assemble.spans import Asked
from pipelines.ingest.assemble.threads import Entry, Placed
from pipelines.ingest.assemble.times import text_of_time
from pipelines.ingest.beside import EVENTS
from pipelines.ingest.facts import FIDELITY
from pipelines.log.versions import CALL_EVENT, COMPACTED, HANDOFF

_EVENTS = {
    "compaction": EVENTS[COMPACTED],
    "handoff": EVENTS[HANDOFF],
    "state": EVENTS[CALL_EVENT],
    "mark": EVENTS[CALL_EVENT],
}
"""Fields in which steps stand that are no messages, by their kind."""


_UNNAMED = "unnamed"


@dataclass(slots=True)
class ToolLists:
    """Lists of tools that calls offered, each hashed once.

    Attributes:
        repeated: Scalars of lists that came again.
    """

    repeated: int = 0
    _known: list[tuple[list[dict[str, Any]], str, int]] = field(default_factory=list)

    def sha256(self, tools: list[dict[str, Any]] | None) -> str | None:
        """Hash of a list; None of none."""
        if not tools:
            return None
        for known, found, count in reversed(self._known):
            if known is tools or known == tools:
                self.repeated += count
                return str(found)
        made = tools_sha256(tools)
        self._known.append((tools, made, leaves(tools)))
        return made

    def tools(self, sha256: str) -> list[dict[str, Any]]:
        """The list of a hash."""
        return next(known for known, each, _ in self._known if each == sha256)


def decision_of(asked: Asked, placed: Placed | None, tools: str | None) -> dict[str, Any]:
    """What is known of a call of a model, as the run line has it; `tools` is the hash of those on offer."""
    call = asked.call
    decision: dict[str, Any] = {
        "model": call.model or call.model_requested,
        "model_requested": call.model_requested,
        "provider": call.provider,
        "params": call.params or None,
        "usage": call.usage or None,
        "usage_basis": call.usage_basis,
        "latency_ms": _latency(call),
        "ttft_ms": call.ttft_ms,
        "cost_usd": call.cost_usd,
        "finish_reason": call.finish_reason,
        "response_id": call.response_id,
        "error": call.error,
        "tools_sha256": tools,
        "request_sha256": asked.request_sha256,
        "prompt": call.prompt or None,
        "agent": asked.agent,
        "wrapped_by": call.wrapped_by or None,
    }
    if placed is not None:
        decision["history"] = placed.history
        decision["rendered_sha256"] = placed.rendered_sha256
        decision["retries"] = placed.retries or None
    if is_contentless(asked):
        decision["content_missing"] = True
    return {"model": decision["model"], **{key: value for key, value in decision.items() if value is not None}}


def is_contentless(asked: Asked) -> bool:
    """Whether neither what a call was sent nor what came of it was recorded."""
    return not asked.is_recorded and not asked.call.output and asked.call.error is None


def lacking(entries: Iterable[Entry], known: Iterable[str]) -> list[str]:
    """What the record of a stream lacks, as a line's `fidelity` names it; `known` is what the form says of the whole."""
    found = set(known)
    for entry in entries:
        if entry.compaction is not None or (entry.step is not None and entry.step.kind == "compaction"):
            found.add("history_compacted")
        if entry.asked is None:
            continue
        call = entry.asked.call
        if is_contentless(entry.asked):
            found.add("content_missing")
        elif call.usage.get("reasoning_tokens") and not any(each.chat.get("reasoning") for each in call.output):
            found.add("reasoning_lost")
    return [name for name in FIDELITY if name in found]


def _latency(call: Call) -> float | None:
    if call.latency_ms is not None or not call.start or not call.end or call.end < call.start:
        return call.latency_ms
    return (call.end - call.start) / 1_000_000


def settle_time(entry: Entry) -> None:
    """Give an entry its time: its own, else of a result its span's, of an answer its call's, else when it was first sent."""
    step, span, sender = entry.step, entry.span, entry.sent_by
    own = entry.message.at if entry.message is not None else None
    if own is None and step is not None:
        own = step.start or step.end
    if own:
        entry.at = own
    elif span is not None and (span.end or span.start):
        entry.at, entry.time_source = span.end or span.start, "span"
    elif sender is not None:
        start, end = sender.call.start, sender.call.end
        entry.at = end or start if entry.is_answer else start
        entry.time_source = "call" if entry.at else None


def message_of(entry: Entry, decision: dict[str, Any] | None) -> dict[str, Any]:
    """One element of `messages`."""
    step = entry.step
    message = _said_by(entry)
    if step is not None and entry.message is not None:
        message |= {key: value for key, value in step.detail.items() if key not in message}
        if step.error is not None:
            message.setdefault("error", step.error)
    if decision is not None:
        message["decision"] = {**decision, **(message.get("decision") or {})}
    if (time := text_of_time(entry.at)) is not None:
        message["timestamp"] = time
        if entry.time_source is not None:
            message["time_source"] = entry.time_source
    if entry.span is not None and message["role"] == "tool":
        _tell_of_span(message, entry.span)
    ended = text_of_time(step.end) if step is not None and step.end != entry.at else None
    return message if ended is None else {"ended_at": ended, **message}


def _tell_of_span(message: dict[str, Any], span: Step) -> None:
    """What the span of a tool says of its result: how long it took, and whether it went wrong."""
    if span.start and span.end and span.end >= span.start:
        message.setdefault("latency_ms", (span.end - span.start) / 1_000_000)
    if span.error is not None:
        message.setdefault("error", span.error)


def _said_by(entry: Entry) -> dict[str, Any]:
    step = entry.step
    if entry.compaction is not None:
        return {"role": "system", _EVENTS["compaction"]: entry.compaction}
    if entry.message is not None:
        chat = dict(entry.message.chat)
        if "tool_calls" in chat:
            chat["tool_calls"] = [_named(call) for call in chat["tool_calls"]]
        return chat
    if step is None:
        return {"role": "assistant"}
    payload = dict(step.detail)
    if step.kind == "handoff":
        payload = {"from": None, "to": None} | payload
    elif step.kind == "compaction":
        payload = replaced(()) | payload
    else:
        payload = {"kind": step.name or step.kind} | payload
        if step.name is not None and step.name != payload["kind"]:
            payload.setdefault("name", step.name)
    return {"role": "system", _EVENTS[step.kind]: payload}


def _named(call: dict[str, Any]) -> dict[str, Any]:
    """A call of a tool with a name: where none was recorded it has one that says so, for a call is of something."""
    function = call.get("function")
    if not isinstance(function, dict) or function.get("name"):
        return call
    return {**call, "function": {**function, "name": _UNNAMED}}


def replaced(roles: Sequence[str]) -> dict[str, Any]:
    """A compaction of all messages so far but the system messages that they begin with, where the form does not say of which."""
    leading = next((n for n, role in enumerate(roles) if role not in ("system", "developer")), len(roles))
    return {"kind": "summary", "from_message": leading, "to_message": len(roles), "replacement": []}


class Records:
    """What no field says, each row's once.

    A row is named by its id, and by a hash of what is kept of it where the form gives it none: where it was read changes with
    files and their order, and what is the same must be the same line.

    Attributes:
        by_name: What is kept.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}

    def keep(self, row_id: str | None, rest: dict[str, Any]) -> dict[str, Any]:
        """Keep what a row leaves, without what says nothing; gives what is kept."""
        held = said(rest)
        if not held:
            return held
        number, name = 1, row_id or record_name(held)
        while name in self.by_name:
            number += 1
            name = f"{row_id or record_name(held)}~{number}"
        self.by_name[name] = held
        return held


def record_name(value: dict[str, Any]) -> str:
    """The name of a record that has no id."""
    return f"record-{hashlib.sha256(canonical(value).encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def line_fields(fields: dict[str, Any], scores: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Fields of a line from what is known of the whole conversation, times as text."""
    for name, value in fields.items():
        if name in ("started_at", "ended_at"):
            if (time := text_of_time(value) if isinstance(value, int) else value) is not None:
                yield name, time
        elif value is not None:
            yield name, value
    if scores:
        yield "scores", [_score(score) for score in scores]


def _score(score: dict[str, Any]) -> dict[str, Any]:
    at = score.get("recorded_at")
    return {**score, "recorded_at": text_of_time(at)} if isinstance(at, int) and not isinstance(at, bool) else score


def service_call(step: Step) -> dict[str, Any]:
    """The call that a span of a tool is, where no model called it."""
    function = {"name": step.name or _UNNAMED, "arguments": {} if step.arguments is None else step.arguments}
    call = {"id": step.call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call], "actor": "service"}
