"""What a trace, an observation or a score of Langfuse says.

Two spellings: the API's names in camelCase, the exports' in snake_case. Attributes of OpenTelemetry, where the SDK that sent an
observation was one of its, stand in the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from pipelines.ingest.assemble.leaves import said
from pipelines.ingest.assemble.messages import Read, read, take_answer, take_request
from pipelines.ingest.assemble.rows import Call, Facts, Group, Message, Record, Row, Step
from pipelines.ingest.forms.fields import keep_other, name_reason
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otel.calls import tool_schema
from pipelines.ingest.forms.otel.content import content_of
from pipelines.ingest.forms.otel.span import Span
from pipelines.ingest.forms.otel.texts import Texts
from pipelines.ingest.forms.stores.copies import Said
from pipelines.ingest.forms.stores.values import first_text, pop_any, pop_number, pop_text, pop_time

TYPES = ("SPAN", "EVENT", "GENERATION", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL")
_KINDS = {"NUMERIC": "numeric", "BOOLEAN": "boolean", "CATEGORICAL": "categorical", "TEXT": "text"}
_SOURCES = {"ANNOTATION": "human", "EVAL": "model"}
_FUNCTION = "Function: "
"""How an older instrumentation of the Agents SDK names the span of a tool."""
_USAGES = ("usageDetails", "usage_details", "usage")
_PARTS = {
    "cached_input_tokens": (
        "input_cached_tokens", "cache_read_input_tokens", "input_cache_read", "prompt_details.cache_read", "input_cached",
    ),
    "cache_write_tokens": (
        "input_cache_creation", "cache_creation_input_tokens", "input_cache_write", "prompt_details.cache_write",
    ),
    "reasoning_tokens": ("output_reasoning_tokens", "output_reasoning", "completion_details.reasoning"),
}  # fmt: skip
_MODELS = ("gen_ai.response.model", "llm.response.model_name")
_REQUESTED = ("gen_ai.request.model", "llm.request.model_name", "ls_model_name")
_PROVIDERS = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider", "ls_provider")
_AGENTS = ("gen_ai.agent.name", "agent.name", "agent_name")
_TOOLS = ("gen_ai.tool.name", "ai.toolCall.name", "tool.name")
_TOOL_CALLS = ("gen_ai.tool.call.id", "ai.toolCall.id", "tool_call.id")


def rows_of(group: Group, options: Options) -> Iterator[Row]:
    """The rows of one session; what they map is taken out of its records, and what spans that hold others repeat is left out."""
    said_already, held = Said(), list[tuple[Record, Row]]()
    for record in group.records:
        if record.kind == "score":
            yield _score(record)
            continue
        if record.kind == "trace":
            yield _trace(record, group, options)
            held.append((record, Facts(record.place, rest=record.value)))
            continue
        spoken = [record.value.get(name) for name in ("input", "output")]
        is_mark = _kind(record.value) == "mark"
        if not is_mark:
            said_already.add(spoken)
        facts, row = _observation(record, group, options)
        yield facts
        if is_mark:
            held.append((record, row))
            continue
        said_already.leave_out(record, "metadata")
        yield row
    for record, outer in held:
        said_already.leave_out(record, "input", "output", "metadata")
        yield outer


def _trace(record: Record, group: Group, options: Options) -> Facts:
    value = record.value
    fields = _facts(value, group, options)
    fields["agent"] = pop_text(value, "name")
    fields["variant"] = fields["variant"] or pop_text(value, "version")
    fields["started_at"] = pop_time(value, "timestamp")
    return Facts(record.place, said(fields))


def _facts(value: dict[str, Any], group: Group, options: Options) -> dict[str, Any]:
    """What a trace, or a row that was enriched by its trace, says of the conversation."""
    project = pop_text(value, "projectId", "project_id")
    session = pop_text(value, "sessionId", "session_id")
    if session is not None and session != group.key:
        value["sessionId"] = session
    fields = {
        "conversation_id": group.key,
        "source": options.source or (f"langfuse/{project}" if project else "langfuse"),
        "subject_id": pop_text(value, options.subject_key) if options.subject_key else None,
        "variant": pop_text(value, "release"),
    }
    if fields["subject_id"] is None:
        fields["subject_id"] = pop_text(value, "userId", "user_id")
    if isinstance(value.get("tags"), list):
        fields["tags"] = value.pop("tags")
    return fields


def _score(record: Record) -> Facts:
    value = record.value
    label = pop_text(value, "stringValue", "string_value")
    kind = _KINDS.get(str(value.get("dataType", value.get("data_type"))))
    source = _SOURCES.get(str(value.get("source")))
    if kind is not None:
        pop_any(value, "dataType", "data_type")
    score = {
        "name": pop_text(value, "name"),
        "value": pop_number(value, "value") if not isinstance(value.get("value"), bool) else pop_any(value, "value"),
        "label": label,
        "kind": kind,
        "source": pop_any(value, "source") and source if source else None,
        "comment": pop_text(value, "comment"),
        "recorded_at": pop_time(value, "timestamp"),
        "call_id": pop_text(value, "observationId", "observation_id"),
    }
    return Facts(record.place, scores=[{key: each for key, each in score.items() if each is not None}], rest=value)


def _kind(value: dict[str, Any]) -> Literal["call", "tool", "mark"]:
    """What an observation is: older SDKs and those of OpenTelemetry have spans for what has a type of its own today."""
    if value.get("type") == "GENERATION":
        return "call"
    is_tool = value.get("type") == "TOOL" or str(value.get("name")).startswith(_FUNCTION)
    return "tool" if is_tool or _attributes(value).get("gen_ai.operation.name") == "execute_tool" else "mark"


def _attributes(value: dict[str, Any]) -> dict[str, Any]:
    """The attributes of OpenTelemetry that an observation has, else its metadata."""
    metadata = value["metadata"] if isinstance(value.get("metadata"), dict) else {}
    return metadata["attributes"] if isinstance(metadata.get("attributes"), dict) else metadata


def _observation(record: Record, group: Group, options: Options) -> tuple[Facts, Call | Step]:
    value = record.value
    facts = Facts(
        record.place, said({**_facts(value, group, options), "agent": pop_text(value, "traceName", "trace_name")})
    )
    is_what = _kind(value)
    taken = value if is_what != "mark" else dict(value)  # of a span that only holds others all is kept
    kind, name = str(pop_any(taken, "type") or "SPAN"), pop_text(taken, "name")
    metadata = value["metadata"] if isinstance(value.get("metadata"), dict) else {}
    attributes = _attributes(value)
    common = {
        "id": pop_text(taken, "id") or record.place,
        "place": record.place,
        "parent": first_text(value, "parentObservationId", "parent_observation_id"),
        "start": pop_time(taken, "startTime", "start_time"),
        "end": pop_time(taken, "endTime", "end_time"),
        "agent": first_text(attributes, *_AGENTS),
        "error": _error(taken),
        "rest": value,
    }
    if is_what == "call":
        return facts, _call(common, name, record, metadata, attributes)
    if is_what == "tool":
        return facts, _tool(common, name, value, attributes)
    if kind == "AGENT" and common["agent"] is None:
        common["agent"] = name
    return facts, Step("mark", name=name, **common)


def _error(value: dict[str, Any]) -> Any:
    if value.get("level") != "ERROR":
        return None
    return pop_text(value, "statusMessage", "status_message") or value.pop("level")


def _tool(common: dict[str, Any], name: str | None, value: dict[str, Any], attributes: dict[str, Any]) -> Step:
    named = pop_text(attributes, *_TOOLS)
    if named is None or named == name:
        named = (name or "").removeprefix(_FUNCTION) or None
    elif name is not None:
        value["name"] = name
    arguments = pop_any(value, "input")
    if isinstance(arguments, dict) and arguments.keys() == {"input"} and isinstance(arguments["input"], dict):
        arguments = arguments["input"]
    return Step(
        "tool",
        name=named,
        call_id=pop_text(attributes, *_TOOL_CALLS),
        arguments=arguments,
        output=pop_any(value, "output"),
        **common,
    )


def _call(
    common: dict[str, Any],
    name: str | None,
    record: Record,
    metadata: dict[str, Any],
    attributes: dict[str, Any],
) -> Call:
    value = record.value
    if name is not None:
        value["name"] = name
    parameters = pop_any(value, "modelParameters", "model_parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    call = Call(**common, params=said(parameters))
    call.model = pop_text(value, "model", "providedModelName", "provided_model_name") or pop_text(attributes, *_MODELS)
    call.model_requested = pop_text(attributes, *_REQUESTED) or pop_text(metadata, *_REQUESTED)
    call.provider = pop_text(attributes, *_PROVIDERS) or pop_text(metadata, *_PROVIDERS)
    call.response_id = pop_text(attributes, "gen_ai.response.id", "ai.response.id")
    call.usage = _usage(value)
    call.usage_basis = "with_cache" if call.usage else None
    _cost_and_time(call, value)
    call.prompt = said(
        {
            "name": pop_text(value, "promptName", "prompt_name"),
            "version": pop_text(value, "promptVersion", "prompt_version"),
        }
    )
    _spoken(call, value)
    if call.input is None and not call.output:
        _spoken_of_attributes(call, record, attributes)
    name_reason(call, call.finish_reason or pop_text(call.params, "finishReason", "finish_reason"))
    if isinstance(tools := value.get("toolDefinitions") or value.get("tool_definitions"), dict) and tools:
        pop_any(value, "toolDefinitions", "tool_definitions")
        call.tools = [_schema(key, each) for key, each in tools.items()]
    return call


def _schema(name: str, definition: Any) -> dict[str, Any]:
    inner = json.loads(definition) if isinstance(definition, str) and definition[:1] == "{" else definition
    return {
        "type": "function",
        "function": {"name": name, **(inner if isinstance(inner, dict) else {"definition": inner})},
    }


def _spoken(call: Call, value: dict[str, Any]) -> None:
    """Input and output as messages; what cannot be read as such stays, and nothing is guessed."""
    asked = value.get("input")
    history = take_request(asked) if isinstance(asked, dict) and "role" not in asked else Read()
    if not history.messages:
        history = read(asked) if asked is not None else history
        if history.messages or not asked:
            value.pop("input", None)
    call.input = history.messages if asked is not None else None
    call.tools = history.tools or None
    said_back = value.get("output")
    answer = Read()
    if isinstance(said_back, dict) and "role" not in said_back:
        answer = take_answer(said_back)
        call.response_id = call.response_id or pop_text(said_back, "id")
    if not answer.messages and said_back is not None:
        answer = read(said_back, "assistant")
        if not answer.messages and (said_back or said_back == 0):  # the model answered in JSON
            text = said_back if isinstance(said_back, str) else json.dumps(said_back, ensure_ascii=False)
            answer = Read([Message({"role": "assistant", "content": text})])
        value.pop("output", None)
    call.output, call.finish_reason = answer.messages, answer.finish_reason
    keep_other(value, history, answer)


def _spoken_of_attributes(call: Call, record: Record, attributes: dict[str, Any]) -> None:
    """Input and output as OpenTelemetry's attributes say them, where the observation itself has neither."""
    told = Record(record.place, {"attributes": attributes})
    span = Span(told, Texts())
    content = content_of(span)
    span.put_back()
    record.leaves, record.repeated = record.leaves + told.leaves, record.repeated + told.repeated
    call.system, call.input, call.output = content.system, content.input, content.output
    call.finish_reason, call.request = content.finish_reason, content.request
    if content.tools:
        call.tools = [tool_schema(each) for each in content.tools]
    if content.choices:
        record.value["choices_read"] = content.choices


def _usage(value: dict[str, Any]) -> dict[str, Any]:
    """Tokens of a call. The store keeps what was cached or reasoned apart from the rest, so the parts are added up again.

    What is itself a field is taken out; a total, and the parts of a sum, stay beside it.
    """
    details: dict[str, Any] = next(
        (value[each] for each in _USAGES if isinstance(value.get(each), dict) and value[each]), {}
    )
    numbers = {key: each for key, each in details.items() if isinstance(each, int | float) and each == int(each)}
    sums = {
        "input_tokens": [
            next((key for key in ("input", "input_tokens", "promptTokens") if key in numbers), None),
            *(
                key
                for key in numbers
                if key.startswith(("input_", "cache_read", "cache_creation")) and key != "input_tokens"
            ),
        ],
        "output_tokens": [
            next((key for key in ("output", "output_tokens", "completionTokens") if key in numbers), None),
            *(key for key in numbers if key.startswith("output_") and key != "output_tokens"),
        ],
        **{name: [next((key for key in keys if key in numbers), None)] for name, keys in _PARTS.items()},
    }
    made = {
        name: int(sum(numbers[key] for key in keys if key is not None))
        for name, keys in sums.items()
        if keys[0] is not None
    }
    for name, keys in sums.items():
        for key in keys:
            if key is not None and (numbers[key] == made.get(name) or numbers[key] == 0):
                details.pop(key, None)
    return made


def _cost_and_time(call: Call, value: dict[str, Any]) -> None:
    costs: dict[str, Any] = next(
        (value[each] for each in ("costDetails", "cost_details") if isinstance(value.get(each), dict)), {}
    )
    if costs or value.get("total_cost") or value.get("totalCost"):  # no price is not a price of nothing
        call.cost_usd = pop_number(value, "totalCost", "total_cost", "calculatedTotalCost")
        total = pop_number(costs, "total")
        call.cost_usd = total if call.cost_usd is None else call.cost_usd
    seconds = pop_number(value, "latency")
    if seconds is not None:
        call.latency_ms = seconds * 1000
    first = pop_number(value, "timeToFirstToken", "time_to_first_token")
    began = pop_time(value, "completionStartTime", "completion_start_time")
    if first is not None:
        call.ttft_ms = first * 1000
    elif began is not None and call.start is not None:
        call.ttft_ms = (began - call.start) / 10**6
