"""What went wrong in a span: its status, the type of its error, an exception that was recorded as an event."""

from __future__ import annotations

from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.forms.otel.span import Span, name_of

_ERROR = 2


def take_error(span: Span) -> Any:
    """What went wrong, as an object of `type` and `message`; None where the span says that nothing did. It is taken out of the span."""
    status = span.value.get("status") or {}
    error = {}
    kind = span.take("error.type")
    if kind is not None:
        error["type"] = kind
    is_error = kind is not None or status.get("code") == _ERROR
    if not is_error:
        return None
    if status.get("message"):
        error["message"] = status["message"]
    span.value.pop("status", None)
    for event in span.events:
        given = event.get("attributes") or {}
        if name_of(event) != "exception" or "exception.type" not in given:
            continue
        for name in ("type", "message"):
            value = given.get(f"exception.{name}")
            if value is not None and error.setdefault(name, value) == value:
                del given[f"exception.{name}"]
    if span.events:
        span.value["events"] = [event for event in span.events if leaves(event)]
    return error or True
