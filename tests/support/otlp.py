"""Spans of model calls as OTLP writes them in JSON, made for a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

TRACE = "0af7651916cd43dd8448eb211c80319c"
START = 1_700_000_000_000_000_000


def attribute(name: str, value: Any) -> dict[str, Any]:
    kind = {str: "stringValue", bool: "boolValue", int: "intValue", float: "doubleValue"}[type(value)]
    return {"key": name, "value": {kind: value}}


def span(
    number: int, parent: int | None = None, start: int = START, end: int | None = None, **more: Any
) -> dict[str, Any]:
    """A span; `attributes` are plain."""
    given = more.pop("attributes", {})
    made = {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "name": "span",
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 1000 if end is None else end),
        "attributes": [attribute(name, value) for name, value in given.items()],
        **more,
    }
    return made if parent is None else {**made, "parentSpanId": f"{parent:016x}"}


def call(number: int, said: Sequence[str] | str, answer: str | None = "yes", **more: Any) -> dict[str, Any]:
    """A model call that was sent messages of a person, or whatever text stands for them."""
    text = said if isinstance(said, str) else json.dumps([message("user", each) for each in said])
    given = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": text, **more.pop("attributes", {})}
    if answer is not None:
        given["gen_ai.output.messages"] = json.dumps([message("assistant", answer)])
    return span(number, attributes=given, **more)


def message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def request(*spans: dict[str, Any]) -> str:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [*spans]}]}]})
