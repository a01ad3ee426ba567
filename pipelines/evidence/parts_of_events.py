"""From events to the parts of a story, one for each: what kind it is, what it says, where the agent was shown it. Pure.

Which message of the agent's context an event is, is read off `Context` while it is fed the events, so that the numbers are
those of the request; after an erased event no request can be rebuilt, and there are no numbers. A payload that breaks its
schema is shown as it is, and the agent is not said to have seen it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.evidence.parts import Erased, Field, Hidden, Part, PartKind
from pipelines.evidence.stream_events import StreamEvent, StreamEvents
from pipelines.log.context import Context, arguments_text
from pipelines.log.redaction import Redaction, target_version
from pipelines.review.conversation import plain_text

_KINDS: Mapping[str, PartKind] = {
    "conversation.started": "start",
    "context.supplied": "context",
    "user.utterance": "user",
    "agent.utterance": "agent",
    "tool.call": "call",
    "tool.result": "result",
    "model.decision": "model",
    "conversation.ended": "end",
    "redaction.applied": "redaction",
    "row.changed": "row",
    "prompt.registered": "prompt",
    "tools.registered": "tools",
}
_OUTPUTS = ("agent.utterance", "tool.call")
_BROKEN = (KeyError, TypeError, AttributeError)
"""What a payload that breaks its schema raises in a context."""


def make_parts(
    stream: StreamEvents, erased: Mapping[int, Erased], *, is_original: bool
) -> tuple[tuple[Part, ...], Context]:
    """The parts of a stream, in order, and the context after all of them.

    Args:
        stream: Its events.
        erased: What is known of the erasure of each erased event, by version.
        is_original: Whether texts are as recorded.
    """
    context = Context()
    hidden = _hidden(stream)
    answers = {row["result_version"]: version for version, row in stream.calls.items()}
    groups = {row["group_no"]: row["decision"] for row in stream.decisions}
    parts = []
    for event in stream.events:
        numbers = feed(context, event, is_original=is_original)
        place = stream.places[event.version]
        call = stream.calls.get(event.version)
        part = Part(
            version=event.version,
            position=event.position,
            at=event.at,
            event_type=event.event_type,
            kind=_KINDS.get(event.event_name, "record") if event.event_name else "unknown",
            turn=place["turn"],
            decision=groups.get(place["group_no"]) if place["role"] in ("agent", "model") else None,
            messages=() if context.is_erased else numbers,
            actor=text_or_none(event.metadata.get("actor")),
            answers=answers.get(event.version),
            answered_by=None if call is None else call["result_version"],
            cause=text_or_none(event.metadata.get("trace_id")),
            hidden=tuple(hidden[event.version]),
            erased=erased.get(event.version, Erased()) if event.is_erased else None,
        )
        parts.append(part if event.is_erased else _said(part, event.recorded if is_original else event.shown))
    return tuple(parts), context


def feed(context: Context, event: StreamEvent, *, is_original: bool) -> tuple[int, ...]:
    """Fold one event into a context, and say which of its messages it is or belongs to, from 1."""
    before = len(context.messages)
    if event.event_name is None:
        return ()
    if event.is_erased:
        context.add_erased(event.event_name)
    else:
        payload = event.recorded if is_original else event.shown
        try:
            context.apply(event.event_name, payload, event.metadata)
        except _BROKEN:
            return ()
    after = len(context.messages)
    if after > before:
        return tuple(range(before + 1, after + 1))
    if event.event_name not in _OUTPUTS or event.is_erased or event.metadata.get("actor") == "user":
        return ()
    asked = (number for number in range(after, 0, -1) if context.messages[number - 1]["role"] == "assistant")
    return (next(asked),)


def _hidden(stream: StreamEvents) -> defaultdict[int, list[Hidden]]:
    """The redactions of each event, by version, in order."""
    found: defaultdict[int, list[Hidden]] = defaultdict(list)
    for version, at, payload in stream.redactions:
        target = target_version(payload)
        if target is not None:
            redaction = Redaction.from_payload(payload)
            found[target].append(
                Hidden(
                    version=version,
                    at=at,
                    path=redaction.path,
                    start=redaction.start,
                    end=redaction.end,
                    method=as_text(payload.get("method")),
                    reason=as_text(payload.get("reason")),
                )
            )
    return found


def as_text(value: Any) -> str:
    """A JSON value: a text as it is, null as nothing, anything else as JSON text."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def fields_of(value: Any) -> tuple[Field, ...]:
    """The members of an object that say something, in their order; what is no object is one value without a name."""
    if not isinstance(value, Mapping):
        return (Field("", as_text(value)),) if value is not None else ()
    return tuple(Field(name, as_text(item)) for name, item in value.items() if item is not None)


def text_or_none(value: Any) -> str | None:
    """`as_text`, and None for null."""
    return None if value is None else as_text(value)


def _said(part: Part, payload: Mapping[str, Any]) -> Part:
    """The part with what its event says."""
    says = _SAYS.get(part.kind)
    told = {"fields": fields_of(payload)} if says is None else says(payload)
    return Part(**{name: getattr(part, name) for name in Part.__slots__} | told)


def _without(payload: Mapping[str, Any], *names: str) -> tuple[Field, ...]:
    return fields_of({name: value for name, value in payload.items() if name not in names})


def _start(payload: Mapping[str, Any]) -> dict[str, Any]:
    messages = payload.get("messages")
    if isinstance(messages, list):
        contents = [each.get("content") if isinstance(each, Mapping) else each for each in messages]
        text = "\n\n".join(plain_text(content) for content in contents)
    else:
        text = as_text(messages)
    return {"text": text or None, "fields": _without(payload, "messages")}


def _context(payload: Mapping[str, Any]) -> dict[str, Any]:
    text = plain_text(payload.get("content"))
    return {"name": text_or_none(payload.get("kind")), "text": text, "fields": _without(payload, "kind", "content")}


def _utterance(payload: Mapping[str, Any]) -> dict[str, Any]:
    content = payload.get("content", payload.get("text"))
    told = {
        "name": text_or_none(payload.get("name")),
        "text": None if content is None else plain_text(content),
        "is_refusal": payload.get("is_refusal") is True,
    }
    return told | {"fields": _without(payload, "text", "content", "name", "is_refusal")}


def _call(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": text_or_none(payload.get("name")),
        "text": arguments_text(payload.get("arguments", {})),
        "call_id": text_or_none(payload.get("call_id")),
        "fields": _without(payload, "name", "arguments", "call_id"),
    }


def _result(payload: Mapping[str, Any]) -> dict[str, Any]:
    output, error = payload.get("output"), payload.get("error")
    is_error = error is not None and error is not False
    is_told = output not in (None, "", []) or not is_error
    return {
        "name": text_or_none(payload.get("name")),
        "text": plain_text(output if is_told else error),
        "call_id": text_or_none(payload.get("call_id")),
        "is_error": is_error,
        "fields": _without(payload, "name", "output", "call_id", *(() if is_told and is_error else ("error",))),
    }


def _redaction(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"target": target_version(payload), "text": as_text(payload.get("reason")), "fields": fields_of(payload)}


def _row(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": text_or_none(payload.get("table")), "fields": _without(payload, "table")}


def _registered(payload: Mapping[str, Any]) -> dict[str, Any]:
    text = payload.get("text", payload.get("tools"))
    return {
        "name": text_or_none(payload.get("name")),
        "text": as_text(text),
        "fields": _without(payload, "name", "text", "tools"),
    }


_SAYS: Mapping[PartKind, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "start": _start,
    "context": _context,
    "user": _utterance,
    "agent": _utterance,
    "call": _call,
    "result": _result,
    "redaction": _redaction,
    "row": _row,
    "prompt": _registered,
    "tools": _registered,
}


def messages_shown(parts: Sequence[Part]) -> int:
    """How many messages of the agent's context the parts are."""
    return len({number for part in parts for number in part.messages})
