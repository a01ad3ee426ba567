"""Anthropic's Messages API as it is logged: exchanges of requests and answers, results of batches, events of managed agents.

An exchange is `{request, response}`; a batch is the file of its results, and that of its requests beside it where there is one,
joined by `custom_id`. Events of managed agents are a stream already (`anthropic_events`). Exchanges that say no session are one
conversation a file, named after their first answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.messages import take_answer, take_request
from pipelines.ingest.assemble.rows import Call, Facts, Group, Record, Row
from pipelines.ingest.assemble.tool_schemas import of_messages
from pipelines.ingest.faults import shown
from pipelines.ingest.forms.anthropic_events import EVENT, event_rows, events_of, is_event, take_usage_of
from pipelines.ingest.forms.fields import at, keep_other, name_reason, named, take, take_text, take_time
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.gathering import Delivered, Found, gathered
from pipelines.ingest.forms.reading import values

_SESSIONS = (("session_id",), ("conversation_id",), ("request", "metadata", "session_id"))
_SUBJECTS = (("request", "metadata", "user_id"), ("params", "metadata", "user_id"))
_PARAMS = (
    "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "stream", "thinking", "tool_choice", "service_tier",
    "output_config", "effort", "context_management",
)  # fmt: skip


class Anthropic:
    """The form `anthropic`."""

    name = "anthropic"

    def recognises(self, head: Head) -> bool:
        """Whether the file begins with an exchange, a line of a batch, or an event of a managed agent."""
        first = head.values[0] if head.values else None
        return is_event(first) or _kind(head.first) is not None

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """Exchanges by session, batches by `custom_id`, events by file.

        Raises:
            BadInputError: A file is no JSON, or a line of it is none of these.
        """
        return gathered((found for path in files for found in _found(path, options)), options)

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """The exchanges as calls; or the events as they were."""
        first = next(group.records)
        if first.kind == EVENT:
            yield from event_rows(first, group.records)
            return
        subject = named(first.value, options.subject_key, _SUBJECTS)
        yield Facts(first.place, {"source": self.name} | ({"subject_id": subject} if subject else {}))
        if first.kind == "exchange":
            delivered = Delivered()
            for record in chain([first], group.records):
                if not delivered.is_again(record, at(record.value, "response", "id")):
                    yield _exchange(record)
            return
        yield _batched(first, list(group.records))


def _kind(value: dict[str, Any]) -> str | None:
    if isinstance(value.get("request"), dict) and "messages" in value["request"]:
        return "exchange"
    if isinstance(value.get("custom_id"), str) and isinstance(value.get("result"), dict):
        return "result"
    is_request = isinstance(value.get("custom_id"), str) and at(value, "params", "messages") is not None
    return "params" if is_request else None


def _found(path: Path, options: Options) -> Iterator[Found]:
    fallback = None
    session = path.name.split(".")[0]
    for place, value in values(path, options.memory_bytes, is_list=False):
        kind = None if isinstance(value, list) else _kind(value) if isinstance(value, dict) else None
        if kind == "exchange":
            key = named(value, options.conversation_key, _SESSIONS)
            fallback = fallback or at(value, "response", "id") or session
            yield Found(key or str(fallback), key is not None, place, value, kind)
        elif kind is not None:
            yield Found(value["custom_id"], True, place, value, kind)
        elif is_event(value):
            for at_place, event in events_of(value, place):
                session = event.get("id", session) if event.get("type") == "session" else session
                yield Found(str(session), str(session).startswith("sesn"), at_place, event, EVENT)
        elif isinstance(value, list) and all(isinstance(each, dict) and _kind(each) == "exchange" for each in value):
            for index, each in enumerate(value):
                fallback = fallback or at(each, "response", "id") or session
                yield Found(str(fallback), False, f"{place}#$[{index}]", each, "exchange")
        else:
            raise BadInputError(
                f"{place}: is {shown(value)} and no exchange (request, response), no line of a batch (custom_id, result) and "
                "no event of a managed agent (type)"
            )


def _exchange(record: Record) -> Call:
    value = record.value
    value.setdefault("response", {})
    moment = take_time(value, "date") or take_time(value, "timestamp", unit="s")
    return _call(record, ("request",), ("response",), moment)


def _batched(record: Record, others: list[Record]) -> Call:
    """One request of a batch and its result, whichever was read first."""
    for other in others:
        record.leaves += other.leaves
        other.leaves = 0
        for key in [key for key in other.value if record.value.get(key) in (None, other.value[key])]:
            record.value.setdefault(key, other.value.pop(key))
            record.repeated += int(key == "custom_id")
    error = take(record.value, "result", "error")
    call = _call(record, ("params",), ("result", "message"), None)
    call.error = call.error if error is None else error
    return call


def _call(record: Record, asked: tuple[str, ...], answered: tuple[str, ...], moment: int | None) -> Call:
    value = record.value
    request = at(value, *asked)
    body = dict(request) if isinstance(request, dict) else None
    sent = take_request(request) if isinstance(request, dict) else None
    response = at(value, *answered)
    response = response if isinstance(response, dict) else {}
    response_id = take_text(response, "id")
    error = take(response, "error")
    reason = take_text(response, "stop_reason")
    usage = take_usage_of(response, "usage")
    model = take_text(response, "model")
    answer = take_answer(response)
    keep_other(value, *filter(None, (sent, answer)))
    tools = take(value, *asked, "tools", of=list)
    call = Call(
        response_id or record.place,
        record.place,
        start=moment,
        end=moment,
        model_requested=take_text(value, *asked, "model"),
        model=model,
        provider="anthropic",
        params={key: taken for key in _PARAMS if (taken := take(value, *asked, key)) is not None},
        input=None if sent is None else sent.messages,
        output=answer.messages,
        tools=None if tools is None else [of_messages(tool) for tool in tools],
        usage=usage,
        usage_basis="with_cache" if usage else None,
        response_id=response_id,
        error=error,
        request=body,
        rest=value,
    )
    name_reason(call, reason)
    return call


FORM = Anthropic()
