"""Messages as events of a span or log records beside it: one a message, or one with all the details of a call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.messages import read
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
    told = [each for each in (*span.events, *span.logs) if name_of(each) in _ROLES or name_of(each) == CHOICE]
    if not told:
        return None
    made = Content(input=[])
    choices = []
    for each in told:
        name, given = name_of(each), _taken(each)
        at = each.pop("timeUnixNano", None) or each.pop("observedTimeUnixNano", None)
        each.pop("observedTimeUnixNano", None)
        each.pop("name", None)
        each.pop("eventName", None)
        if name == CHOICE:
            choices.append(_choice(given))
            continue
        if name == "gen_ai.tool.message" and "tool_call_id" not in given and "id" in given:
            given["tool_call_id"] = given.pop("id")
        messages = read([{"role": _ROLES[name], **given}]).messages
        for message in messages:
            message.at = at
        assert made.input is not None
        made.input += messages
    if choices:
        answered(made, choices)
    _keep_what_is_left(span)
    return made


def _taken(event: dict[str, Any]) -> dict[str, Any]:
    """The fields of a message that an event says, taken out of it: of its body where it has one, else of its attributes."""
    body = event.get("body")
    if isinstance(body, dict):
        return dict(event.pop("body"))
    attributes = event.get("attributes") or {}
    given = {key: attributes.pop(key) for key in _EVENT_FIELDS if key in attributes}
    if body is not None:
        given["content"] = event.pop("body")
    return given


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


def _keep_what_is_left(span: Span) -> None:
    """What message events said beside; events that say the same beside say it once."""
    for listed in ("events", "logs"):
        left: list[dict[str, Any]] = []
        for each in span.value.get(listed) or ():
            if name_of(each) in _ROLES or "name" not in each:
                _drop_known(span, each)
            if not leaves(each):
                continue
            if each in left:
                span.record.repeated += leaves(each)
            else:
                left.append(each)
        if left:
            span.value[listed] = left
        else:
            span.value.pop(listed, None)


def _drop_known(span: Span, event: dict[str, Any]) -> None:
    """Attributes that the span has itself say nothing new."""
    attributes = event.get("attributes") or {}
    for name in [*attributes]:
        if name in span.attributes and span.attributes[name] == attributes[name]:
            del attributes[name]
            span.record.repeated += 1
        elif name == "event.name":
            del attributes[name]


def has_messages(span: Span) -> bool:
    """Whether events or log records of the span are messages."""
    return any(name_of(each) in _ROLES or name_of(each) == CHOICE for each in _events(span))


def _events(span: Span) -> Iterator[dict[str, Any]]:
    yield from span.events
    yield from span.logs


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
