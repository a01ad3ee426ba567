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
from pipelines.ingest.dialects import CALL_PART, RESULT_PART


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


_ROLE_OF_ACTOR = {"agent": "assistant", "user": "user"}


def restore(events: Iterable[RecordedEvent]) -> dict[str, Any]:
    """The line that `convert` made these events of.

    Args:
        events: All events of the stream in order, or the imported ones; events that others appended are passed over.

    Raises:
        BadInputError: The stream does not begin with an imported conversation.
    """
    imported = [
        event
        for event in events
        if "source_ordinal" in event.metadata and (not _is_decision(event) or _is_given(event))
    ]
    if not imported or "source_record" not in imported[0].metadata:
        raise BadInputError("the stream does not begin with an imported conversation, so there is no line to restore")
    started, rest = imported[0], imported[1:]
    envelope = started.metadata
    line: dict[str, Any] = {}
    if not envelope.get("source_default"):
        line["source"] = envelope["source"]
    if envelope.get("source_key") != "id":
        line["conversation_id"] = envelope["source_id"]
    for key, name in (
        ("task_id", "task"),
        ("variant", "variant"),
        ("agent", "agent"),
        ("channel", "channel"),
        ("vertical", "vertical"),
    ):
        if started.payload[name] is not None:
            line[key] = started.payload[name]
    if "subject_id" in envelope:
        line["subject_id"] = envelope["subject_id"]
    messages = _system_messages(started)
    for _, group in groupby(rest, key=lambda event: event.metadata["source_ordinal"]):
        of_message = list(group)
        if of_message[0].event_type == "conversation.ended.v1":
            line["outcome"] = of_message[0].payload["outcome"]
        else:
            messages.append(message_of(of_message))
    line["messages"] = messages
    line.update(envelope["source_record"])
    return line


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
    if not events:
        message: dict[str, Any] = {"role": "assistant"}
        if "source_time" in decided[0].metadata:
            message["timestamp"] = decided[0].metadata["source_time"]
        message = _noted(message, decided[0], "message")
    else:
        message = _said(events)
    if decided:
        message["decision"] = _noted(dict(decided[0].payload), decided[0], "decision")
    return message


def _is_decision(event: RecordedEvent) -> bool:
    return event.event_type.startswith("model.decision.")


def _is_given(event: RecordedEvent) -> bool:
    """Whether the message itself says the decision; else it was told from the tools that were offered."""
    return "decision" in event.metadata.get("source_form", {})


def _said(events: Sequence[RecordedEvent]) -> dict[str, Any]:
    """A message without its decision."""
    first = events[0]
    parts = [_part(event) for event in events if "part" in _form(event, "call")]
    if first.event_type == "tool.result.v1" and not parts:
        payload = first.payload
        message = {
            "role": _form(first, "message").get("role", "tool"),
            "content": payload["output"],
            "tool_call_id": payload["call_id"],
            "error": payload["error"],
            **{key: payload[key] for key in ("name", "requestor") if key in payload},
        }
    elif first.event_type == "context.supplied.v1":
        message = {"role": first.payload["role"], "content": first.payload["content"]}
    else:
        message = _spoken(events)
        if parts:
            message["role"] = _ROLE_OF_ACTOR.get(first.metadata["actor"], "user")
            message["content"] = content = list(message["content"] or [])
            for index, part in sorted(parts, key=itemgetter(0)):
                content.insert(index, part)
    if "source_time" in first.metadata:
        message["timestamp"] = first.metadata["source_time"]
    message = _noted(message, first, "message")
    for event in events:
        if _form(event, "said"):
            _put_back(message, event)
    return message


def _spoken(events: Sequence[RecordedEvent]) -> dict[str, Any]:
    """What a person or an agent said and called; calls that are parts of the content are left out."""
    message: dict[str, Any] = {"role": _ROLE_OF_ACTOR.get(events[0].metadata["actor"]), "content": None}
    calls = []
    for event in events:
        form = _form(event, "call")
        if "part" in form:
            continue
        if form.get("at") == "function_call":
            message["function_call"] = _function(event, "arguments")
        elif event.event_type == "tool.call.v1":
            calls.append(_call(event, form.get("field", "function"), form.get("arguments", "arguments")))
        else:
            message["content"] = event.payload.get("content", event.payload["text"])
            if "name" in event.payload:
                message["name"] = event.payload["name"]
    if calls:
        message["tool_calls"] = calls
    return message


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
    return _noted({"id": event.payload["call_id"], kind: _function(event, given)}, event, "tool_call")


def _function(event: RecordedEvent, given: str) -> dict[str, Any]:
    return _noted({"name": event.payload["name"], given: event.payload["arguments"]}, event, "function")


def _part(event: RecordedEvent) -> tuple[int, dict[str, Any]]:
    """A part of the content that is a tool call or a result, and its place."""
    payload = event.payload
    if event.event_type == "tool.call.v1":
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
