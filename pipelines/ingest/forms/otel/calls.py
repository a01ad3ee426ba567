"""Model calls of spans: which model, with what, how long, and what it was sent and answered."""

from __future__ import annotations

from functools import partial
from typing import Any

from pipelines.canonical.finish_reasons import finish_reason
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Call
from pipelines.ingest.forms.otel import names as otel_names
from pipelines.ingest.forms.otel.content import content_of
from pipelines.ingest.forms.otel.errors import take_error
from pipelines.ingest.forms.otel.events import has_messages
from pipelines.ingest.forms.otel.span import Content, Span, name_of
from pipelines.ingest.forms.otel.texts import json_of

_FIELDS: dict[str, tuple[str, str]] = {
    **{name: ("call", field) for name, field in otel_names.CALL_FIELDS.items()},
    **{name: ("usage", field) for name, field in otel_names.USAGE.items()},
    **{name: ("params", field) for name, field in otel_names.PARAMS.items()},
    **{name: ("prompt", field) for name, field in otel_names.PROMPT.items()},
}
_RANKS = {name: rank for rank, name in enumerate(_FIELDS)}
_NOT_PARAMS = ("model", "messages", "tools", "input", "functions", "prompt", "prompts", "contents")
_OPERATION = "gen_ai.operation.name"
_CONTENT = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.prompt.0.content", "gen_ai.completion.0.content")


def has_output(span: Span) -> bool:
    """Whether a span that holds others has messages itself."""
    return any(name in span.attributes for name in _CONTENT) or "gen_ai.prompt" in span.indexed or has_messages(span)


def call_of(span: Span) -> Call:
    """The call of a span; what is left of the span is its rest."""
    content = content_of(span)
    fields = _take_fields(span)
    call = Call(span.value.get("spanId") or span.record.place, span.record.place, rest=span.value)
    value = span.value
    call.parent = value.get("parentSpanId") or None
    call.start, call.end = value.pop("startTimeUnixNano", None), value.pop("endTimeUnixNano", None)
    if call.start is not None and call.end is not None and call.end >= call.start:
        call.latency_ms = (call.end - call.start) / 1e6
    call.params = {name: _flag_or_number(given) for name, given in fields.pop("params", {}).items()}
    call.usage = {
        name: count for name, given in fields.pop("usage", {}).items() if (count := _number(given)) is not None
    }
    call.prompt = fields.pop("prompt", {})
    for name, given in fields.pop("call", {}).items():
        setattr(call, name, _number(given) if name == "cost_usd" else given)
    _take_content(span, call, content)
    _take_rest(span, call)
    return call


def _take_fields(span: Span) -> dict[str, dict[str, Any]]:
    """The fields of the tables by kind; the first name of a field has it, others of the same value say nothing new."""
    found: dict[tuple[str, str], list[str]] = {}
    attributes = span.attributes
    for name in attributes.keys() & _FIELDS.keys():
        found.setdefault(_FIELDS[name], []).append(name)
    made: dict[str, dict[str, Any]] = {}
    for (kind, field), names in sorted(found.items()):
        names.sort(key=_RANKS.__getitem__)
        value = attributes[names[0]]
        if value is None:
            continue
        for name in names[1:]:
            if attributes[name] == value:
                del attributes[name]
                span.record.repeated += 1
        del attributes[names[0]]
        made.setdefault(kind, {})[field] = value
    return made


def _take_content(span: Span, call: Call, content: Content) -> None:
    call.system, call.input, call.output = content.system, content.input, content.output
    call.request = content.request
    if not content.is_there:
        call.content_switch = next(
            switch for name, switch in otel_names.CONTENT_SWITCHES if not name or name in span.attributes
        )
    if content.choices:
        call.rest["choices"] = content.choices
    reasons = span.take("gen_ai.response.finish_reasons", "llm.finish_reason", "gen_ai.response.finish_reason")
    reasons = json_of(reasons, span.where)
    if isinstance(reasons, list):
        if len(reasons) > 1:
            span.attributes["gen_ai.response.finish_reasons"] = reasons
        reasons = reasons[0] if reasons else None
    told = reasons if reasons is not None else content.finish_reason
    call.finish_reason = finish_reason(told)
    if told is not None and told != call.finish_reason:
        call.rest["finish_reason"] = told
    call.tools = _tools(span, content)


def _tools(span: Span, content: Content) -> list[dict[str, Any]] | None:
    """Tool schemas on offer, in the shape of chat completions, of whichever attributes have them."""
    key: Any = span.take("gen_ai.tool.definitions")
    if key is not None:
        given, count = span.texts.value(key, span.where)
        span.record.leaves += count - leaves(key)
        if isinstance(given, list):
            return span.texts.tools(key, partial(_schemas, given))
        span.attributes["gen_ai.tool.definitions"] = given
    for family in ("llm.tools", "llm.request.functions"):
        if family in span.indexed:
            numbered = span.indexed.pop(family)
            told = [_indexed_tool(span, items) for items in numbered]
            return span.texts.tools(tuple(numbered), partial(_schemas, told))
    return [tool_schema(each) for each in content.tools] if content.tools else None


def _schemas(told: list[Any]) -> list[dict[str, Any]]:
    return [tool_schema(each) for each in told]


def _indexed_tool(span: Span, items: tuple[tuple[str, Any], ...]) -> Any:
    tool: dict[str, Any] = {}
    for path, text in items:
        name = path.removeprefix("tool.")
        value, count = (
            span.texts.value(text, span.where) if name in ("json_schema", "parameters") else (text, leaves(text))
        )
        span.record.leaves += count - leaves(text)
        tool[name] = value
    return tool["json_schema"] if tool.keys() == {"json_schema"} else tool


def tool_schema(given: Any) -> dict[str, Any]:
    """A tool's schema as chat completions have it; what is none of these stays as it is."""
    if not isinstance(given, dict):
        return {"type": "function", "function": {"name": str(given)}}
    if isinstance(given.get("function"), dict) or not isinstance(given.get("name"), str):
        return given
    function = {key: value for key, value in given.items() if key != "type"}
    for name in ("input_schema", "inputSchema"):
        if name in function and "parameters" not in function:
            function["parameters"] = function.pop(name)
    kind = given.get("type", "function")
    return {"type": "function", "function": function} if kind in ("function", "custom", None) else given


def _take_rest(span: Span, call: Call) -> None:
    """Parameters that a dialect keeps as JSON, time to the first token, errors, and numbered attributes that nobody took."""
    _take_params(span, call)
    variables = call.prompt.get("variables")
    if isinstance(variables, str):
        call.prompt["variables"], count = span.texts.value(variables, span.where)
        span.record.leaves += count - 1
    if span.attributes.get(_OPERATION) in otel_names.CALL_OPERATIONS:
        del span.attributes[_OPERATION]
    call.error = take_error(span)
    call.ttft_ms = _first_token(span, call)
    span.put_back()


def _take_params(span: Span, call: Call) -> None:
    given = span.take_json("llm.invocation_parameters")
    if given is not None and not isinstance(given, dict):
        span.attributes["llm.invocation_parameters"] = given
    for body in (given, call.request):
        if isinstance(body, dict):
            call.params = {**{name: value for name, value in body.items() if name not in _NOT_PARAMS}, **call.params}
            if call.model_requested is None and isinstance(body.get("model"), str):
                call.model_requested = body["model"]
    for name in [name for name in span.attributes if name.startswith("gen_ai.request.")]:
        call.params[name.removeprefix("gen_ai.request.")] = span.attributes.pop(name)


def _first_token(span: Span, call: Call) -> float | None:
    seconds: float | None = _number(span.take(*otel_names.FIRST_TOKEN_SECONDS))
    if seconds is not None:
        is_milliseconds = call.latency_ms is not None and seconds * 1000 > call.latency_ms + 1
        return float(seconds) if is_milliseconds else seconds * 1000
    milliseconds = _number(span.take(*otel_names.FIRST_TOKEN_MILLISECONDS))
    if milliseconds is not None:
        return float(milliseconds)
    for event in span.events:
        at = event.get("timeUnixNano")
        if name_of(event) in otel_names.FIRST_TOKEN_EVENTS and at and call.start is not None and at >= call.start:
            return float(at - call.start) / 1e6
    return None


def _flag_or_number(value: Any) -> Any:
    """A parameter that may stand as text, as tables of spans have it."""
    if value in ("true", "false"):
        return value == "true"
    number = _number(value) if isinstance(value, str) else None
    return value if number is None else number


def _number(value: Any) -> Any:
    """A number that may stand as text, as tables of spans have it; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str):
        try:
            return int(value) if value.strip().lstrip("-").isdecimal() else float(value)
        except ValueError:
            return None
    return None
