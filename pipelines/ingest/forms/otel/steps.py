"""Tools that ran, and spans that only hold others."""

from __future__ import annotations

from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.message import content_of
from pipelines.ingest.assemble.parts import is_parts
from pipelines.ingest.assemble.rows import Step
from pipelines.ingest.forms.otel.errors import take_error
from pipelines.ingest.forms.otel.events import CHOICE
from pipelines.ingest.forms.otel.names import (
    MARK_NAMES,
    TOOL_ARGUMENTS,
    TOOL_IDS,
    TOOL_KINDS,
    TOOL_NAMES,
    TOOL_OUTPUTS,
)
from pipelines.ingest.forms.otel.span import Span, name_of
from pipelines.ingest.forms.otel.texts import json_of

_AGENTS = ("gen_ai.agent.name", "agent.name")
_VOICE_STEPS = ("stt", "tts", "user_turn", "agent_turn", "turn", "user_speaking", "agent_speaking", "eou_detection")


class Tools:
    """The tool spans of a conversation so far: one under another of the same name is the same execution, seen twice."""

    def __init__(self) -> None:
        self._under: dict[str, str] = {}

    def is_tool(self, span: Span) -> bool:
        """Whether a span is a tool that ran."""
        attributes = span.attributes
        return "lk.function_tool.name" in attributes or any(
            [attributes.get(name) == kind for name, kind in TOOL_KINDS.items()]  # noqa: C419 -- of four, asked of every span
        )

    def step_of(self, span: Span) -> Step:
        """The step of a tool span; a mark, where the span that it hangs under is the same execution."""
        name = span.take(*TOOL_NAMES)
        name = str(name) if name is not None else str(span.value.get("name") or "")
        if span.value.get("name") == name:
            del span.value["name"]
        parent = span.value.get("parentSpanId") or ""
        outer = self._under.get(parent)
        self._under[span.value.get("spanId") or ""] = name
        if outer == name:
            return placed(span, "mark", name)
        step = placed(span, "tool", name)
        step.call_id = _text(span.take(*TOOL_IDS))
        for attribute, kind in TOOL_KINDS.items():
            if span.attributes.get(attribute) == kind:
                del span.attributes[attribute]
        step.arguments = _arguments(span)
        step.output = _output(span)
        if any(name_of(event).startswith("gen_ai.") for event in span.events):
            _take_events(span, step)
        if (
            span.attributes.get("lk.function_tool.is_error") is True
            or span.attributes.get("gen_ai.tool.status") == "error"
        ):
            step.error = step.error or True
        return step

    def passes(self, span: Span) -> None:
        """A span that is no tool and no call lies between a tool and what runs under it."""
        outer = self._under.get(span.value.get("parentSpanId") or "")
        if outer is not None:
            self._under[span.value.get("spanId") or ""] = outer


def mark_of(span: Span, tools: Tools) -> Step:
    """The mark of a span that holds others; of a voice pipeline's, what it says of the call."""
    tools.passes(span)
    agent = next((span.attributes[name] for name in _AGENTS if isinstance(span.attributes.get(name), str)), None)
    if agent is None and span.attributes.get("traceloop.span.kind") in ("workflow", "agent"):
        agent = span.attributes.get("traceloop.entity.name")
    name = next((span.attributes[each] for each in MARK_NAMES if span.attributes.get(each) is not None), None)
    kind = "state" if span.value.get("name") in _VOICE_STEPS and name is None else "mark"
    name = str(name if name is not None else span.value.get("name") or "")
    step = placed(span, kind, name)
    step.agent = agent if isinstance(agent, str) else None
    return step


def placed(span: Span, kind: Any, name: str) -> Step:
    """A step where the span stands; what is left of the span is its rest: its ids and times too, which no event has."""
    value = span.value
    step = Step(kind, value["spanId"], span.record.place, name=name, rest=value)
    step.parent = value.get("parentSpanId") or None
    step.start, step.end = value.get("startTimeUnixNano"), value.get("endTimeUnixNano")
    step.error = take_error(span)
    return step


def _arguments(span: Span) -> Any:
    name = next((each for each in TOOL_ARGUMENTS if span.attributes.get(each) is not None), None)
    if name is None:
        return None
    span.attributes.pop("input.mime_type", None)
    if name != "traceloop.entity.input":
        return span.attributes.pop(name)
    given = span.take_json(name)
    if isinstance(given, dict) and isinstance(given.get("kwargs"), dict) and given.keys() <= {"args", "kwargs"}:
        return given["kwargs"] if not given.get("args") else given
    return given


def _output(span: Span) -> Any:
    span.attributes.pop("output.mime_type", None)
    output = span.take(*TOOL_OUTPUTS)
    if isinstance(output, str) and output[:1] == '"' and output[-1:] == '"':
        told = json_of(f"[{output}]", span.where)
        return told[0] if isinstance(told, list) and len(told) == 1 else output
    return output


def _take_events(span: Span, step: Step) -> None:
    """Arguments and result of a tool that are told by events of its span."""
    for event in span.events:
        given = event.get("attributes") or {}
        if name_of(event) == CHOICE and "message" in given and step.output is None:
            output = json_of(given.pop("message"), span.where)
            step.output = content_of(output) if is_parts(output) else output
        elif name_of(event) == "gen_ai.tool.message" and "content" in given and step.arguments is None:
            step.arguments = given.pop("content")
        else:
            continue
        if given.get("id") in (step.call_id, None) or step.call_id is None:
            step.call_id = _text(given.pop("id", None)) or step.call_id
        for name in ("name", "role"):
            event.pop(name, None)
            given.pop(name, None)
    span.value["events"] = [event for event in span.events if leaves(event)]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
