"""Messages as events of a span or log records beside it: one a message, or one with all the details of a call."""

from __future__ import annotations

from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Message
from pipelines.ingest.forms.otel.span import Content, Span, answered, name_of

DETAILS = "gen_ai.client.inference.operation.details"
CHOICE = "gen_ai.choice"
EVALUATION = "gen_ai.evaluation.result"
_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_EVENT_FIELDS = ("role", "content", "tool_calls", "id", "name", "parts", "finish_reason", "index", "message")


def message_events(span: Span) -> Content | None:
    """One event or log record a message, as the conventions had it before lists."""
    if not has_messages(span):
        return None
    made = Content(input=[])
    assert made.input is not None
    choices: list[dict[str, Any]] = []
    for listed in ("events", "logs"):
        left: list[dict[str, Any]] = []
        for event in span.value.pop(listed, None) or ():
            name = name_of(event)
            if name == CHOICE or name in _ROLES:
                given = _taken(event)
                at = _taken_time(event)
                if name == CHOICE:
                    choices.append(_choice(given))
                else:
                    messages, is_new = _messages(span, name, given, at)
                    made.input += messages
                    if not is_new and event.pop("observedTimeUnixNano", None) is not None:
                        span.record.repeated += 1
            _keep_what_is_left(span, event, left)
        if left:
            span.value[listed] = left
    if choices:
        answered(made, choices)
    return made


def _messages(span: Span, name: str, given: dict[str, Any], at: int | None) -> tuple[tuple[Message, ...], bool]:
    """The messages of one event, and whether nothing said them before."""
    if name == "gen_ai.tool.message" and "tool_call_id" not in given and "id" in given:
        given["tool_call_id"] = given.pop("id")
    return span.texts.message({"role": _ROLES[name], **given}, at)


def _taken(event: dict[str, Any]) -> dict[str, Any]:
    """The fields of a message that an event says, taken out of it: of its body where it has one, else of its attributes."""
    body = event.get("body")
    if isinstance(body, dict):
        del event["body"]
        return body
    attributes = event.get("attributes") or {}
    given = {key: attributes.pop(key) for key in _EVENT_FIELDS if key in attributes}
    if body is not None:
        given["content"] = event.pop("body")
    return given


def _taken_time(event: dict[str, Any]) -> int | None:
    """When an event happened, where it says so, and with that its name, taken out of it; when it was observed is not when."""
    time: int | None = event.pop("timeUnixNano", None)
    for name in ("name", "eventName"):
        event.pop(name, None)
    return time


def _choice(given: dict[str, Any]) -> dict[str, Any]:
    """A choice as chat completions have it; what some emitters put in its place is its content."""
    given.pop("index", None)
    message = given.pop("message", None)
    reason = given.pop("finish_reason", None)
    if isinstance(message, dict):
        message = {"role": "assistant", **message}
    else:
        message = {"role": "assistant", "content": message if message is not None else given.pop("content", None)}
    return {"finish_reason": reason, "message": {**message, **given}}


def _keep_what_is_left(span: Span, event: dict[str, Any], left: list[dict[str, Any]]) -> None:
    """What an event says beside its message; events that say the same beside say it once, and what the span says is nothing new."""
    attributes = event.get("attributes")
    if attributes and "name" not in event:
        for name in [*attributes]:
            if name in span.attributes and span.attributes[name] == attributes[name]:
                del attributes[name]
                span.record.repeated += 1
        attributes.pop("event.name", None)
    count = leaves(event)
    if not count:
        return
    if event in left:
        span.record.repeated += count
    else:
        left.append(event)


def has_messages(span: Span) -> bool:
    """Whether events or log records of the span are messages."""
    return any(name == CHOICE or name in _ROLES for name in map(name_of, (*span.events, *span.logs)))


def merge_details(span: Span) -> None:
    """Take the attributes of the log record that has the details of a call as the span's."""
    for event in (*span.logs, *span.events):
        if name_of(event) != DETAILS:
            continue
        attributes = event.get("attributes") or {}
        given = event.get("body")
        if isinstance(given, dict) and any(name.startswith("gen_ai.") for name in given):
            attributes = {**attributes, **event.pop("body")}
        for name in [*attributes]:
            if name not in span.attributes:
                span.attributes[name] = attributes.pop(name)
            elif span.attributes[name] == attributes[name]:
                del attributes[name]
                span.record.repeated += 1
        event["attributes"] = attributes
