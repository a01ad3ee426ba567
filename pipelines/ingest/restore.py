"""The events of an imported conversation become the line that was imported: the inverse of `convert`.

Pure, and exact up to what JSON calls the same value: key order, spacing, escapes and the spelling of numbers are not
kept. It proves that an import lost nothing, and exports a stream in the format it came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

from pipelines.errors import BadInputError


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
    imported = [event for event in events if "source_ordinal" in event.metadata]
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
    messages = _system_messages(started)
    for _, group in groupby(rest, key=lambda event: event.metadata["source_ordinal"]):
        of_message = list(group)
        if of_message[0].event_type == "conversation.ended.v1":
            line["outcome"] = of_message[0].payload["outcome"]
        else:
            messages.append(_message(of_message))
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


def _message(events: Sequence[RecordedEvent]) -> dict[str, Any]:
    """One message, from the events that share its ordinal."""
    first = events[0]
    if first.event_type == "tool.result.v1":
        payload = first.payload
        message = {
            "role": "tool",
            "content": payload["output"],
            "tool_call_id": payload["call_id"],
            "error": payload["error"],
            **{key: payload[key] for key in ("name", "requestor") if key in payload},
        }
    elif first.event_type == "context.supplied.v1":
        message = {"role": first.payload["role"], "content": first.payload["content"]}
    else:
        message = {"role": _ROLE_OF_ACTOR[first.metadata["actor"]], "content": None}
        calls = []
        for event in events:
            if event.event_type == "tool.call.v1":
                calls.append(_call(event))
            else:
                message["content"] = event.payload.get("content", event.payload["text"])
        if calls:
            message["tool_calls"] = calls
    if "source_time" in first.metadata:
        message["timestamp"] = first.metadata["source_time"]
    return _noted(message, first, "message")


def _call(event: RecordedEvent) -> dict[str, Any]:
    payload = event.payload
    function = _noted({"name": payload["name"], "arguments": payload["arguments"]}, event, "function")
    return _noted({"id": payload["call_id"], "function": function}, event, "tool_call")


def _noted(value: dict[str, Any], event: RecordedEvent, level: str) -> dict[str, Any]:
    fields = event.metadata.get("source_fields", {}).get(level)
    return _apply(value, fields, event.metadata.get("source_absent", {}).get(level))


def _apply(value: dict[str, Any], fields: Mapping[str, Any] | None, absent: Sequence[str] | None) -> dict[str, Any]:
    """`value` with the fields that no payload holds, and without those that were not there."""
    return {key: inner for key, inner in {**value, **(fields or {})}.items() if key not in (absent or ())}
