"""What a sample of Inspect and its events say.

Events tell what happened and when; messages are what was left of it at the end, and are read where no event has a model's call. The
calls that a scorer makes are not the agent's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.leaves import leaves, said
from pipelines.ingest.assemble.messages import read
from pipelines.ingest.assemble.rows import Call, Facts, Group, Message, Record, Row, Step
from pipelines.ingest.canonical import digest
from pipelines.ingest.forms.fields import name_reason, nanoseconds
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.stores.copies import Said
from pipelines.ingest.forms.stores.values import first_text, inner, pop_any, pop_number, pop_text, pop_time

_ON_THE_WIRE = ("messages", "input", "contents", "system", "instructions", "tools", "model")
"""Fields of a request's body that say once more what the event says."""
_TELLING = ("input", "output", "arguments", "result", "tools")
"""Fields of events of models and tools that say what happened."""
_REPEATING = ("changes", "sample", "state", "output", "cmd", "score", "input", "result")
"""Fields of other events that mostly repeat these."""
_SUCCESS = {"C": True, "I": False, "True": True, "False": False}
"""Whether a sample succeeded, by the value of its one score; numbers have scales of their own."""
_DIGITS = 8
"""Hex digits of the hash by which settings of one model are told apart."""


def rows_of(group: Group, options: Options) -> Iterator[Row]:
    """The rows of one sample; what they map is taken out of its records, and what others of them repeat is left out."""
    said_already, held, tree = Said(), list[tuple[Record, Row]](), _Tree()
    sample: Record | None = None
    has_calls = False
    for record in group.records:
        if record.kind == "header":
            yield _header(record, group, options)
            continue
        if record.kind == "sample":
            sample = record
            continue
        if record.value.get("event") in ("model", "tool"):
            said_already.add([record.value.get(name) for name in _TELLING])
        row = tree.row(record)
        has_calls |= isinstance(row, Call) and not row.is_aside
        if isinstance(row, Step) and row.kind == "mark":
            held.append((record, row))
            continue
        said_already.leave_out(record, "call", "view")
        yield row
    if sample is not None:
        if not has_calls:
            yield from _from_messages(sample)
        facts = _sample(sample)
        said_already.leave_out(sample, "messages", "output", "input")
        yield facts
    for record, row in held:
        said_already.leave_out(record, *_REPEATING)
        yield row


def _header(record: Record, group: Group, options: Options) -> Facts:
    log = record.value["eval"] if isinstance(record.value.get("eval"), dict) else {}
    task, model = pop_text(log, "task"), pop_text(log, "model")
    settings = said({"config": log.get("model_generate_config"), "args": log.get("task_args")})
    variant = model if model is None or not settings else f"{model}#{digest(settings)[:_DIGITS]}"
    fields = {
        "conversation_id": group.key,
        "source": options.source or f"inspect/{task or 'unknown'}",
        "variant": variant,
        "started_at": None,
    }
    return Facts(record.place, said(fields), rest=record.value)


def _sample(record: Record) -> Facts:
    """What the sample says of itself; its messages stay for where no event tells of them."""
    sample = record.value
    scores = [made for name, score in inner(sample, "scores").items() for made in _scores(str(name), score)]
    if scores:
        del sample["scores"]
    limit, error = sample.get("limit"), sample.get("error")
    outcome = {each["name"]: each.get("value", each.get("label")) for each in scores}
    if len(scores) == 1 and (is_good := _SUCCESS.get(str(scores[0].get("value", scores[0].get("label"))))) is not None:
        outcome = {"success": is_good, **outcome}
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        outcome["error"] = error["message"]
    fields: dict[str, Any] = {
        "task_id": pop_text(sample, "id"),
        "outcome": outcome,
        "ended_reason": pop_text(limit, "type") if isinstance(limit, dict) else None,
        "started_at": pop_time(sample, "started_at"),
        "ended_at": pop_time(sample, "completed_at"),
        "metadata": pop_any(sample, "metadata"),
    }
    return Facts(record.place, said(fields), scores, rest=sample)


def _scores(name: str, score: Any) -> Iterator[dict[str, Any]]:
    """The scores of one scorer: one for each of its values, where it gives several."""
    given = dict(score) if isinstance(score, dict) else {"value": score}
    value = given.pop("value", None)
    about = said({"comment": given.pop("explanation", None), **given})
    for part, each in value.items() if isinstance(value, dict) else [(None, value)]:
        made: dict[str, Any] = {"name": name if part is None else f"{name}.{part}", **about}
        if isinstance(each, bool):
            made |= {"value": each, "kind": "boolean"}
        elif isinstance(each, int | float):
            made |= {"value": each, "kind": "numeric"}
        elif each is not None:
            made |= {"label": each if isinstance(each, str) else json.dumps(each), "kind": "categorical"}
        yield made


class _Tree:
    """The spans of a sample: which agent a call is of, and whether it is a scorer's."""

    def __init__(self) -> None:
        self._agents: dict[str | None, str | None] = {}
        self._scorers: set[str | None] = set()
        self._parents: dict[str, str] = {}
        self._open_tool: tuple[str, str | None] | None = None

    def row(self, record: Record) -> Row:
        """The row of an event; of one that is no call of a model or a tool all is kept."""
        event = record.value
        kind, span = str(event.get("event") or "unknown"), first_text(event, "span_id")
        taken = event if kind in ("model", "tool", "compaction") else dict(event)
        pop_any(taken, "event")
        common: dict[str, Any] = {
            "id": pop_text(taken, "uuid") or record.place,
            "place": record.place,
            "start": pop_time(taken, "timestamp"),
            "rest": event,
        }
        if kind == "span_begin":
            return self._span(common, event)
        common |= {"parent": self._parents.get(span or "", span), "agent": self._agents.get(span)}
        opened, self._open_tool = self._open_tool, None
        if kind == "model":
            call = _call(common, event)
            call.is_aside = span in self._scorers
            record.repeated += leaves(call.request)
            return call
        if kind == "tool":
            step = _tool(common, event)
            tool_span = opened[0] if opened is not None and opened[1] == step.name else None
            for inner in (tool_span, event.get("agent_span_id")):
                if isinstance(inner, str):
                    self._parents[inner] = step.id
            return step
        if kind == "compaction":
            detail = said({"kind": pop_text(event, "type"), "trigger": pop_text(event, "source")})
            return Step("compaction", detail=detail, **common)
        return Step("mark", name=kind, end=nanoseconds(event.get("completed")), **common)

    def _span(self, common: dict[str, Any], event: dict[str, Any]) -> Step:
        known, parent = first_text(event, "id") or common["id"], first_text(event, "parent_id")
        kind, name, end = first_text(event, "type"), first_text(event, "name"), event.get("end")
        self._agents[known] = name if kind == "agent" else self._agents.get(parent)
        if kind in ("scorer", "scorers") or parent in self._scorers:
            self._scorers.add(known)
        if kind == "tool":
            self._open_tool = known, name
        common |= {"id": known, "parent": self._parents.get(known, parent), "agent": name if kind == "agent" else None}
        return Step(
            "mark", name=name, end=nanoseconds(end.get("timestamp")) if isinstance(end, dict) else None, **common
        )


def _call(common: dict[str, Any], event: dict[str, Any]) -> Call:
    call = Call(**common)
    call.end = pop_time(event, "completed")
    call.model_requested = pop_text(event, "model")
    call.provider = (call.model_requested or "").partition("/")[0] or None
    config = pop_any(event, "config")
    call.params = said({**(config if isinstance(config, dict) else {}), "tool_choice": pop_any(event, "tool_choice")})
    call.input = None if "input_refs" in event else _messages(pop_any(event, "input"))
    tools = pop_any(event, "tools")
    if isinstance(tools, list):
        call.tools = [_schema(each) for each in tools if isinstance(each, dict)] or None
    call.error = pop_any(event, "error")
    output = event.get("output")
    if isinstance(output, dict):
        _answered(call, event, output)
    wire = event.get("call")
    if isinstance(wire, dict):
        request, response = wire.get("request"), wire.get("response")
        if isinstance(request, dict):
            call.request = {name: request.pop(name) for name in _ON_THE_WIRE if request.get(name) is not None}
        call.response_id = pop_text(response, "id") if isinstance(response, dict) else None
    return call


def _answered(call: Call, event: dict[str, Any], output: dict[str, Any]) -> None:
    choices = pop_any(output, "choices") or []
    first, *others = choices if isinstance(choices, list) and choices else [None]
    if isinstance(first, dict):
        call.output = _messages([pop_any(first, "message")])
        name_reason(call, pop_text(first, "stop_reason"))
        output["choice"] = first
    if others:
        event["choices"] = others
    call.model = pop_text(output, "model")
    if call.output and output.get("completion") == call.output[0].chat.get("content"):
        pop_any(output, "completion")
    seconds = pop_number(output, "time")
    call.latency_ms = None if seconds is None else seconds * 1000
    call.error = call.error or pop_any(output, "error")
    if call.error is not None and all(
        not each.chat.get("content") and "tool_calls" not in each.chat for each in call.output
    ):
        call.output = []  # what stands for the answer that did not come
    usage = output.get("usage")
    if isinstance(usage, dict):
        call.usage = _usage(usage)
        call.cost_usd = pop_number(usage, "total_cost")


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    made = {
        "input_tokens": pop_number(usage, "input_tokens"),
        "output_tokens": pop_number(usage, "output_tokens"),
        "cached_input_tokens": pop_number(usage, "input_tokens_cache_read"),
        "cache_write_tokens": pop_number(usage, "input_tokens_cache_write"),
        "reasoning_tokens": pop_number(usage, "reasoning_tokens"),
    }
    return {key: each for key, each in made.items() if each is not None}


def _schema(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": tool}


def _tool(common: dict[str, Any], event: dict[str, Any]) -> Step:
    result = pop_any(event, "result")
    if isinstance(result, list) and all(isinstance(each, dict) and each.get("type") == "text" for each in result):
        texts = [str(each.get("text", "")) for each in result]
        result = texts[0] if len(texts) == 1 else result
    return Step(
        "tool",
        end=pop_time(event, "completed"),
        name=pop_text(event, "function"),
        call_id=pop_text(event, "id"),
        arguments=pop_any(event, "arguments"),
        output=result,
        error=pop_any(event, "error"),
        **common,
    )


def _messages(values: Any) -> list[Message]:
    """Messages of Inspect; each has an id that stays the same in every later input."""
    made: list[Message] = []
    for value in values if isinstance(values, list) else []:
        if not isinstance(value, dict):
            continue
        given = dict(value)
        known = given.pop("id", None)
        if isinstance(given.get("tool_calls"), list):
            given["tool_calls"] = [_tool_call(each) for each in given["tool_calls"] if isinstance(each, dict)]
        if given.get("role") == "tool":
            given["name"] = given.pop("function", None)
        if isinstance(given.get("content"), list):
            given["content"] = [_part(each) for each in given["content"]]
        new = read([said(given) | {"role": given.get("role")}]).messages
        if new:
            new[-1].id = known if isinstance(known, str) else None
            new[-1].leaves = leaves(value)
        made += new
    return made


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    rest = {key: each for key, each in call.items() if key not in ("id", "type", "function", "arguments")}
    function = {"name": call.get("function"), "arguments": call.get("arguments") or {}}
    return {"id": call.get("id"), "type": "function", "function": function, **said(rest)}


def _part(part: Any) -> Any:
    """A part of a content; a tool that the provider ran is one of its own kind."""
    return {**part, "type": "server_tool_use"} if isinstance(part, dict) and part.get("type") == "tool_use" else part


def _from_messages(sample: Record) -> Iterator[Step]:
    """What was said, of a sample whose events do not tell."""
    for n, message in enumerate(_messages(pop_any(sample.value, "messages"))):
        place = f"{sample.place}.messages[{n}]"
        if message.chat.get("role") == "assistant" and isinstance(message.chat.get("model"), str):
            message.chat["decision"] = {"model": message.chat.pop("model")}
        yield Step("utterance", message.id or place, place, message=message)
