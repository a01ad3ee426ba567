"""The events of an imported conversation become the line that was imported: the inverse of `convert`.

Pure, and exact up to what JSON calls the same value: key order, spacing, escapes and the spelling of numbers are not
kept. It proves that an import lost nothing, and exports a stream in the format it came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from pipelines.errors import BadInputError
from pipelines.ingest import beside, facts
from pipelines.ingest.dialects import CALL_PART, RESULT_PART
from pipelines.log.versions import (
    CALL_FIELDS,
    DECISION,
    ENDED,
    REASONING,
    RESULT_FIELDS,
    SCORE,
    STARTED,
    STARTED_FIELDS,
    SUPPLIED,
    TOOL_CALL,
    TOOL_RESULT,
    name_of,
)


class RecordedEvent(Protocol):
    """What is needed of an event, new or stored."""

    @property
    def event_type(self) -> str:
        """`noun.verb.vN`."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """The JSON object that was recorded."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The envelope."""


_LABELS = (
    ("task_id", "task"),
    ("variant", "variant"),
    ("agent", "agent"),
    ("channel", "channel"),
    ("vertical", "vertical"),
)
"""Fields of a line, and the members of a start that say them."""
GROWN = "source_grown"
"""Note on the first of the events that came when a conversation was met again and had gone on; see `growth`."""
_ROLE_OF_ACTOR = {"agent": "assistant", "user": "user"}


def restore(events: Iterable[RecordedEvent]) -> dict[str, Any]:
    """The line that `convert` made these events of.

    Args:
        events: All events of the stream in order, or the imported ones; events that others appended are passed over.

    Raises:
        BadInputError: The stream does not begin with an imported conversation.
    """
    came = [event for event in events if "source_ordinal" in event.metadata]
    imported = [event for event in came if not _is_decision(event) or _is_given(event)]
    if not imported or "source_record" not in imported[0].metadata:
        raise BadInputError("the stream does not begin with an imported conversation, so there is no line to restore")
    started, rest = imported[0], imported[1:]
    envelope = started.metadata
    line: dict[str, Any] = {}
    if not envelope.get("source_default"):
        line["source"] = envelope["source"]
    if envelope.get("source_key") != "id":
        line["conversation_id"] = envelope["source_id"]
    for event in imported:
        if name_of(event.event_type) == STARTED:
            _put_start(line, event.payload)
    subject = next((event.metadata["subject_id"] for event in imported if "subject_id" in event.metadata), None)
    if subject is not None:
        line["subject_id"] = subject
    line["messages"] = _system_messages(started)
    for _, group in groupby(rest, key=lambda event: (_whole(event), event.metadata["source_ordinal"])):
        _put(line, list(group))
    line.update(record_of(came))
    return line


def record_of(events: Iterable[RecordedEvent]) -> dict[str, Any]:
    """Fields of the line that no payload says; later events of a conversation that has gone on may say more."""
    record: dict[str, Any] = {}
    for event in events:
        more = event.metadata.get("source_record", event.metadata.get(GROWN, {}).get("record", {}))
        records = record.get("records")
        record |= more
        if isinstance(records, dict) and isinstance(more.get("records"), dict):
            record["records"] = records | more["records"]
    return record


def _put_start(line: dict[str, Any], payload: Mapping[str, Any]) -> None:
    """What a line says of its conversation as a whole, of a start."""
    for key, name in _LABELS:
        if payload[name] is not None:
            line[key] = payload[name]
    line |= {name: payload[name] for name in STARTED_FIELDS if name in payload}


def _whole(event: RecordedEvent) -> str | None:
    """The type of an event that is no part of a message."""
    name = name_of(event.event_type)
    return name if name in (ENDED, SCORE, STARTED) else None


def _put(line: dict[str, Any], events: Sequence[RecordedEvent]) -> None:
    """Add to a line what one of its messages, its end, or one of its scores was made into."""
    whole = _whole(events[0])
    if whole == ENDED:
        _put_end(line, events[0])
    elif whole == SCORE:
        line.setdefault("scores", []).append(_noted(facts.score_of(events[0].payload), events[0], "score"))
    elif whole is None:
        line["messages"].append(message_of(events))


def _put_end(line: dict[str, Any], event: RecordedEvent) -> None:
    """What a line says of its conversation's end."""
    said = {"outcome": event.payload["outcome"], "ended_reason": event.payload.get("reason")}
    said["ended_at"] = event.metadata.get("source_time")
    line |= {name: value for name, value in said.items() if value is not None}


def _system_messages(started: RecordedEvent) -> list[dict[str, Any]]:
    payloads = started.payload["messages"]
    notes = started.metadata.get("source_messages") or [{} for _ in payloads]
    messages = []
    for payload, note in zip(payloads, notes, strict=True):
        message = dict(payload)
        if "time" in note:
            message["timestamp"] = note["time"]
        messages.append(_apply(message, note.get("fields"), note.get("absent")))
    return messages


def message_of(events: Sequence[RecordedEvent]) -> dict[str, Any]:
    """One message, from the events that share its ordinal."""
    decided, events = [e for e in events if _is_decision(e)], [e for e in events if not _is_decision(e)]
    message = _said(events) if events else _noted({"role": "assistant", **_time(decided[0])}, decided[0], "message")
    if decided:
        message["decision"] = _noted(dict(decided[0].payload), decided[0], "decision")
    return message


def _is_decision(event: RecordedEvent) -> bool:
    return name_of(event.event_type) == DECISION


def _is_given(event: RecordedEvent) -> bool:
    """Whether the message itself says the decision; else it was told from the tools that were offered."""
    return "decision" in event.metadata.get("source_form", {})


def _said(events: Sequence[RecordedEvent]) -> dict[str, Any]:
    """A message without its decision."""
    first = events[0]
    name = name_of(first.event_type)
    parts = [_part(event) for event in events if "part" in _form(event, "call")]
    if name == TOOL_RESULT and not parts:
        payload = first.payload
        message = {
            "role": _form(first, "message").get("role", "tool"),
            "content": payload["output"],
            "tool_call_id": payload["call_id"],
            "error": payload["error"],
            **{key: payload[key] for key in ("name", "requestor", *RESULT_FIELDS) if key in payload},
        }
    elif name in beside.EVENTS and not _is_message(first):
        message = {"role": "system", beside.EVENTS[name]: _noted(dict(first.payload), first, "event")}
    elif name == SUPPLIED:
        message = {"role": first.payload["role"], "content": first.payload["content"]}
    else:
        message = _spoken(events)
        if parts:
            message["role"] = _ROLE_OF_ACTOR.get(first.metadata["actor"], "user")
            message["content"] = content = list(message["content"] or [])
            for index, part in sorted(parts, key=itemgetter(0)):
                content.insert(index, part)
    message = _noted(message | _time(first), first, "message")
    for event in events:
        if _form(event, "said"):
            _put_back(message, event)
    return message


def _is_message(event: RecordedEvent) -> bool:
    """Whether what was supplied is a system message that came later."""
    return event.payload.get("kind") == "system_message" and name_of(event.event_type) == SUPPLIED


def _time(event: RecordedEvent) -> dict[str, Any]:
    """When a message was said, and whose time that is."""
    metadata = event.metadata
    told = {"timestamp": metadata["source_time"]} if "source_time" in metadata else {}
    return told | ({"time_source": metadata["time_source"]} if metadata.get("time_source") in ("span", "call") else {})


def _spoken(events: Sequence[RecordedEvent]) -> dict[str, Any]:
    """What a person or an agent said and called; calls that are parts of the content are left out."""
    actor = events[0].metadata["actor"]
    message: dict[str, Any] = {
        "role": "assistant" if actor == "service" else _ROLE_OF_ACTOR.get(actor),
        "content": None,
    }
    calls = []
    for event in events:
        form = _form(event, "call")
        if "part" in form:
            continue
        name = name_of(event.event_type)
        if form.get("at") == "function_call":
            message["function_call"] = _function(event, "arguments")
        elif name == REASONING:
            _put_thought(message, event)
        elif name == TOOL_CALL:
            calls.append(_call(event, form.get("field", "function"), form.get("arguments", "arguments")))
        else:
            message["content"] = event.payload.get("content", event.payload["text"])
            message |= {key: event.payload[key] for key in ("name", "speech") if key in event.payload}
    if calls:
        message["tool_calls"] = calls
    return message


def _put_thought(message: dict[str, Any], event: RecordedEvent) -> None:
    """What the model thought, in the field where it stood."""
    field = _form(event, "reasoning").get("field")
    if field is not None:
        message[field] = event.payload["text"]
    else:
        message.setdefault(beside.REASONING, []).append(_noted(dict(event.payload), event, "reasoning"))


def _put_back(message: dict[str, Any], event: RecordedEvent) -> None:
    """The agent's words where they stood beside an empty content."""
    form = _form(event, "said")
    if "content" in message:
        message["content"] = form["content"]
    *outer, name = form["path"]
    inner = message
    for step in outer:
        inner[step] = dict(inner[step])
        inner = inner[step]
    inner[name] = event.payload["text"]


def _call(event: RecordedEvent, kind: str, given: str) -> dict[str, Any]:
    by_message = _form(event, "told").get("by_message", ())
    told = {key: event.payload[key] for key in CALL_FIELDS if key in event.payload and key not in by_message}
    return _noted({"id": event.payload["call_id"], kind: _function(event, given), **told}, event, "tool_call")


def _function(event: RecordedEvent, given: str) -> dict[str, Any]:
    return _noted({"name": event.payload["name"], given: event.payload["arguments"]}, event, "function")


def _part(event: RecordedEvent) -> tuple[int, dict[str, Any]]:
    """A part of the content that is a tool call or a result, and its place."""
    payload = event.payload
    if name_of(event.event_type) == TOOL_CALL:
        said = {"id": payload["call_id"], "name": payload["name"], "input": payload["arguments"]}
        part = {"type": CALL_PART, **said}
    else:
        said = {"tool_use_id": payload["call_id"], "content": payload["output"], "is_error": payload["error"]}
        part = {"type": RESULT_PART, **said}
    return _form(event, "call")["part"], _noted(part, event, "part")


def _form(event: RecordedEvent, what: str) -> Mapping[str, Any]:
    form: Mapping[str, Any] = event.metadata.get("source_form", {}).get(what, {})
    return form


def _noted(value: dict[str, Any], event: RecordedEvent, level: str) -> dict[str, Any]:
    fields = event.metadata.get("source_fields", {}).get(level)
    return _apply(value, fields, event.metadata.get("source_absent", {}).get(level))


def _apply(value: dict[str, Any], fields: Mapping[str, Any] | None, absent: Sequence[str] | None) -> dict[str, Any]:
    """`value` with the fields that no payload holds, and without those that were not there."""
    return {key: inner for key, inner in {**value, **(fields or {})}.items() if key not in (absent or ())}
