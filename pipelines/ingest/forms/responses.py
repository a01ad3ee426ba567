"""OpenAI's Responses API and Agents SDK: exchanges and stored responses, rollouts, lists of items, sessions, traces.

A session (SQLite) and a list of items are streams; a response is a call, whose history its input has, or, where it names the one
before, the provider. Traces of the Agents SDK are spans (`responses_traces`): where they hold no content, which is so for the
Responses API, the session beside them has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.canonical.finish_reasons import finish_of_items
from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.messages import read, system_messages, take_answer
from pipelines.ingest.assemble.rows import Call, Facts, Group, Record, Row, Step
from pipelines.ingest.assemble.tool_schemas import of_responses
from pipelines.ingest.faults import shown
from pipelines.ingest.forms.fields import (
    around,
    at,
    keep_other,
    named,
    take,
    take_number,
    take_text,
    take_time,
    take_usage,
)
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.gathering import Found, gathered
from pipelines.ingest.forms.items import is_kind, turns
from pipelines.ingest.forms.reading import expect, values
from pipelines.ingest.forms.responses_sessions import SQLITE, is_session, session_items
from pipelines.ingest.forms.responses_traces import SPAN, TRACE, USAGE, Spans, is_traces, spans_of

_ITEM, _EXCHANGE, _ROLLOUT = "item", "exchange", "rollout"
_ASKED = {_EXCHANGE: ("request",), _ROLLOUT: ("responses_create_params",)}
_SESSIONS = (
    ("request", "conversation"),
    ("request", "conversation", "id"),
    ("response", "conversation", "id"),
    ("response", "conversation"),
)
_PARAMS = (
    "temperature", "top_p", "max_output_tokens", "max_tool_calls", "parallel_tool_calls", "tool_choice", "reasoning", "text",
    "truncation", "stream", "service_tier", "top_logprobs", "background", "store", "include",
)  # fmt: skip


class Responses:
    """The form `responses`."""

    name = "responses"

    def recognises(self, head: Head) -> bool:
        """Whether the file is a session, or begins with a response, a rollout, an item, or a trace."""
        return head.data.startswith(SQLITE) or _kind(head.first) is not None

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """Sessions by their id, traces by their group, responses by the one they go on from, items by file.

        Raises:
            BadInputError: A file is none of these, or cannot be read.
        """
        names: dict[str, str] = {}
        return gathered((found for path in files for found in _found(path, options, names)), options, names)

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """The items as they were said, the responses as calls, the spans as what they are."""
        first = next(group.records)
        records = _with(first, group.records)
        if first.kind in (SPAN, TRACE):
            yield from map(Spans(options.subject_key).row, records)
            return
        subject = named(first.value, options.subject_key, (("request", "user"), ("response", "user")))
        source = "openai/session" if first.kind == _ITEM else "openai"
        facts = Facts(first.place, {"source": source} | ({"subject_id": subject} if subject else {}))
        if (reward := take_number(first.value, "reward")) is not None:
            facts.scores.append({"name": "reward", "value": reward, "kind": "numeric", "source": "rule"})
        yield facts
        if first.kind == _ITEM:
            yield from _item_rows(records)
            return
        responses = list(records)
        is_stream = any(map(_goes_on, responses))
        for record in responses:
            yield from _response_rows(record, is_stream=is_stream)


def _with(first: Record, others: Iterator[Record]) -> Iterator[Record]:
    yield first
    yield from others


def _kind(value: dict[str, Any]) -> str | None:
    """What a record is; None where it is nothing of this form."""
    if is_traces(value):
        return SPAN
    if isinstance(value.get("responses_create_params"), dict) and isinstance(value.get("response"), dict):
        return _ROLLOUT
    is_asked = isinstance(value.get("request"), dict) and ("input" in value["request"] or "prompt" in value["request"])
    if is_asked or value.get("object") == "response":
        return _EXCHANGE
    is_list = value.get("object") == "list" and isinstance(value.get("data"), list)
    is_item = is_kind(value.get("type")) and "sessionId" not in value and "payload" not in value
    return _ITEM if is_list or is_item else None


def _found(path: Path, options: Options, names: dict[str, str]) -> Iterator[Found]:
    if is_session(path):
        for session, place, record in session_items(path, options.folder):
            yield Found(session, True, place, record, _ITEM)
        return
    file = path.name.split(".")[0]
    roots: dict[str, str] = {}
    for place, value in values(path, options.memory_bytes):
        kind = _kind(value) if isinstance(value, dict) else None
        if kind is None:
            raise BadInputError(
                f"{place}: is {shown(value)} and no response, rollout, item, or trace of the Agents SDK"
            )
        if kind == SPAN:
            for each_place, span in spans_of(value, place):
                yield _span(span, each_place, options, names)
        elif kind == _ITEM:
            is_list = value.get("object") == "list"
            beside = around(value, "data") if is_list else {}
            for index, item in enumerate(value["data"] if is_list else [value]):
                expect(item, dict, place, "data", index)
                at_place = f"{place}#$.data[{index}]" if is_list else place
                yield Found(file, False, at_place, {"item": item, **(beside if index == 0 else {})}, _ITEM)
        else:
            yield _response(value, kind, place, options, roots, file)


def _span(span: dict[str, Any], place: str, options: Options, names: dict[str, str]) -> Found:
    is_trace = span.get("object") == TRACE
    trace = str(span.get("id" if is_trace else "trace_id"))
    session = named(span, options.conversation_key, (("group_id",),)) if is_trace else None
    if session is not None:
        names[trace] = session
    start = take_time({"at": span.get("started_at")}, "at") or 0
    return Found(trace, False, place, span, str(span["object"]), start)


def _response(
    value: dict[str, Any], kind: str, place: str, options: Options, roots: dict[str, str], file: str
) -> Found:
    """A response, and the conversation that it is of: one that it names, the one that it goes on from, or its file's."""
    if value.get("object") == "response":
        value = {"response": value}
    own = str(at(value, "response", "id") or place)
    before = at(value, "request", "previous_response_id") or at(value, "response", "previous_response_id")
    session = named(value, options.conversation_key, _SESSIONS)
    if kind == _ROLLOUT and session is None:
        return Found(own, False, place, value, kind)
    if isinstance(before, str) and before:
        root = roots[own] = roots.get(before, before)
    elif at(value, "request") is None:
        root = roots[own] = own
    else:
        root = roots[own] = roots.setdefault("", own if own != place else f"{file}/responses")
    return Found(session or root, session is not None, place, value, kind)


def _item_rows(records: Iterator[Record]) -> Iterator[Row]:
    for turn in turns((record, take(record.value, "item")) for record in records):
        first = turn.records[0]
        starts = [take_time(record.value, "created_at") for record in turn.records]
        decision: dict[str, Any] = {}
        for item in turn.items if turn.is_answer else ():
            model, response = take_text(item, "provider_data", "model"), take_text(item, "provider_data", "response_id")
            decision |= {name: said for name, said in (("model", model), ("response_id", response)) if said}
        for index, message in enumerate(turn.messages()):
            if decision and message.chat["role"] == "assistant":
                message.chat["decision"], decision = decision, {}
            message.at = starts[0]
            name = first.place if index == 0 else f"{first.place}/{index}"
            rest = first.value if index == 0 else {}
            yield Step("utterance", name, first.place, start=starts[0], message=message, rest=rest)


def _goes_on(record: Record) -> bool:
    """Whether the provider has the history of a response, so that its input is only what is new."""
    parts = (at(record.value, *_ASKED[record.kind]), record.value.get("response"))
    return any(at(part, name) for part in parts for name in ("previous_response_id", "conversation"))


def _response_rows(record: Record, *, is_stream: bool) -> Iterator[Row]:
    value = record.value
    asked, answered = at(value, *_ASKED[record.kind]), value.get("response")
    request: dict[str, Any] = asked if isinstance(asked, dict) else {}
    response: dict[str, Any] = answered if isinstance(answered, dict) else {}
    body = dict(request) if request else None
    start = take_time(response, "created_at", unit="s")
    system = system_messages(take(request, "instructions"))
    given = take(request, "input") if request else None
    sent, tools = read(given), take(request, "tools", of=list)
    repeated = ("instructions", "tools", *_PARAMS)
    record.repeated += _drop_repeated(response, body or {}, repeated)
    error, reason = take(response, "error"), take_text(response, "incomplete_details", "reason")
    response_id, model = take_text(response, "id"), take_text(response, "model")
    end = take_time(response, "completed_at", unit="s")
    usage = take_usage(response, {name: ("usage", *path) for name, path in USAGE.items()})
    answer = take_answer(response)
    keep_other(value, sent, answer)
    params = {key: taken for key in _PARAMS if (taken := take(request, key)) is not None}
    params = {key: taken for key in _PARAMS if (taken := take(response, key)) is not None} | params
    if is_stream:
        for index, message in enumerate([*system, *sent.messages]):
            yield Step("utterance", f"{record.place}/{index}", record.place, start=start, message=message)
    yield Call(
        response_id or record.place,
        record.place,
        start=start,
        end=end if end is not None else start,
        model_requested=take_text(request, "model"),
        model=model,
        provider="openai",
        params=params,
        system=[] if is_stream else system,
        input=None if is_stream or given is None else sent.messages,
        output=answer.messages,
        tools=None if tools is None else [of_responses(tool) for tool in tools],
        usage=usage,
        usage_basis="with_cache" if usage else None,
        finish_reason=finish_of_items([message.chat for message in answer.messages], reason),
        response_id=response_id,
        error=error,
        request=body,
        rest=value,
    )


def _drop_repeated(response: dict[str, Any], request: dict[str, Any], names: Sequence[str]) -> int:
    """Take out of a response what it only repeats of its request; the number of leaves that went."""
    same = [name for name in names if response.get(name) is not None and response[name] == request.get(name)]
    return sum(leaves(response.pop(name)) for name in same)


FORM = Responses()
