"""Traces of the OpenAI Agents SDK: spans of generations, responses, functions, agents, handoffs and guardrails.

A file holds bodies as the SDK's exporter sends them (`{"data": […]}`), or the traces and spans of these one by one. A span ends
before its parents do, so that they come in the order of their start only once all are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.messages import read
from pipelines.ingest.assemble.rows import Call, Facts, Record, Row, Step
from pipelines.ingest.forms.fields import at, hand_down, named, nanoseconds, take, take_text, take_time, take_usage

SPAN, TRACE = "trace.span", "trace"
USAGE = {
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    "cached_input_tokens": ("input_tokens_details", "cached_tokens"),
    "cache_write_tokens": ("input_tokens_details", "cache_write_tokens"),
    "reasoning_tokens": ("output_tokens_details", "reasoning_tokens"),
}
"""Where a usage of the Responses API says its counts; its input has the cached ones."""


def spans_of(value: dict[str, Any], place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The traces and spans of a body, or one by itself, each with its place."""
    if value.get("object") in (SPAN, TRACE):
        yield place, value
        return
    hand_down(value, "data")
    joint = "." if "#" in place else "#$."
    for index, each in enumerate(value["data"]):
        yield f"{place}{joint}data[{index}]", each


def is_traces(value: dict[str, Any]) -> bool:
    """Whether a value is a trace or span, or a body of them."""
    data = value.get("data")
    if isinstance(data, list) and data:
        return all(isinstance(each, dict) and each.get("object") in (SPAN, TRACE) for each in data)
    return value.get("object") in (SPAN, TRACE)


class Spans:
    """Makes rows of the spans of one conversation, in the order of their start."""

    def __init__(self, subject_key: str | None) -> None:
        self._subject_key = subject_key
        self._agents: dict[str, str] = {}

    def row(self, record: Record) -> Row:
        """What a trace or a span says."""
        value = record.value
        if value.get("object") == TRACE:
            subject = named(value, self._subject_key, (("metadata", "user_id"),))
            return Facts(
                record.place, {"source": "openai/traces"} | ({"subject_id": subject} if subject else {}), [], value
            )
        span_id, parent = value.get("id"), value.get("parent_id")
        span_id = span_id if isinstance(span_id, str) else record.place
        parent = parent if isinstance(parent, str) else None
        kind, name = at(value, "span_data", "type"), at(value, "span_data", "name")
        agent = (name if kind == "agent" else None) or self._agents.get(parent or "")
        if agent:
            self._agents[span_id] = agent
        start, end = nanoseconds(value.get("started_at")), nanoseconds(value.get("ended_at"))
        row: Call | Step
        if kind in ("generation", "response"):
            row = _call(record, span_id)
            for field in ("started_at", "ended_at"):
                take_time(value, field)
        else:
            row = _step(record, span_id, str(kind), name if isinstance(name, str) else None)
        row.parent, row.start, row.end, row.agent = parent, start, end, agent
        row.error = value.get("error") if isinstance(row, Step) else take(value, "error")
        return row


def _call(record: Record, span_id: str) -> Call:
    value = record.value
    data = value["span_data"]
    sent, came = take(data, "input"), take(data, "output")
    config = data.get("model_config")
    params = {k: v for k, v in config.items() if v is not None} if isinstance(config, dict) else {}
    data.pop("model_config", None)
    usage = take_usage(data, {name: ("usage", *path) for name, path in USAGE.items()})
    response_id = take_text(data, "response_id")
    return Call(
        span_id,
        record.place,
        model=take_text(data, "model"),
        provider="openai",
        params=params,
        input=None if sent is None else read(sent).messages,
        output=[] if came is None else read(came, "assistant").messages,
        usage=usage,
        usage_basis="with_cache" if usage else None,
        response_id=response_id,
        rest=value,
    )


def _step(record: Record, span_id: str, kind: str, name: str | None) -> Step:
    value = record.value
    data = value.get("span_data")
    data = data if isinstance(data, dict) else {}
    if kind == "function":
        taken = take_text(data, "name") or ""
        arguments, output = take(data, "input"), take(data, "output")
        return Step("tool", span_id, record.place, name=taken, arguments=arguments, output=output, rest=value)
    if kind == "handoff":
        detail = {"from": take_text(data, "from_agent"), "to": take_text(data, "to_agent")}
        return Step("handoff", span_id, record.place, detail=detail, rest=value)
    if kind == "guardrail":
        detail = {"kind": "guardrail", **{key: data.pop(key) for key in list(data) if key != "type"}}
        return Step("state", span_id, record.place, name=name, detail=detail, rest=value)
    return Step("mark", span_id, record.place, name=name or kind, rest=value)
