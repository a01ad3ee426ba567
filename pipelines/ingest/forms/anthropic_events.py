"""Events of Anthropic's managed agents: a session that is a log already, in order and with ids.

What a request of the model came to stands between its start and its end; the calls are made of that. States of the session and
what was sent to it (which comes again as its events) stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.messages import read, system_messages
from pipelines.ingest.assemble.rows import Call, Facts, Message, Record, Row, Step
from pipelines.ingest.beside import with_cache
from pipelines.ingest.forms.fields import hand_down, map_fields, nanoseconds, take, take_text, take_time, take_usage
from pipelines.ingest.forms.gathering import Delivered

EVENT = "event"
_TYPE = re.compile(r"(user|agent|session|span|system)(\.[a-z_]+)*")
_USE = re.compile(r"agent\.(mcp_|custom_)?tool_use")
_RESULT = re.compile(r"(agent\.(mcp_)?|user\.custom_)tool_result")
_SAID = ("user.message", "agent.message")
_RESULT_IDS = ("tool_use_id", "custom_tool_use_id", "mcp_tool_use_id")
_USAGE = {
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    "cached_input_tokens": ("cache_read_input_tokens",),
    "cache_write_tokens": ("cache_creation_input_tokens",),
}


def take_usage_of(record: dict[str, Any], *path: str) -> dict[str, Any]:
    """Take the usage of an answer. Anthropic's input leaves cached tokens out; here they are in."""
    return with_cache(take_usage(record, {name: (*path, *each) for name, each in _USAGE.items()}))


def is_event(value: Any) -> bool:
    """Whether a line is an event, a call of the SDK that gave one, or a list of events."""
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str):
            return value[0].startswith("client.")
        return bool(value) and all(isinstance(each, dict) and is_event(each) for each in value)
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("data"), list):
        return is_event(value["data"])
    kind = value.get("type")
    return isinstance(kind, str) and _TYPE.fullmatch(kind) is not None and ("." in kind or "agent" in value)


def events_of(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a line, each with its place; what was sent is one record."""
    if isinstance(value, dict) and "type" in value:
        yield place, value
    elif isinstance(value, list) and isinstance(value[0], str):
        method, payload = value
        is_own = isinstance(payload, dict) and "type" in payload
        yield place, {"method": method, **payload} if is_own else {"method": method, "sent": payload}
    else:
        if isinstance(value, dict):
            hand_down(value, "data")
        for index, each in enumerate(value["data"] if isinstance(value, dict) else value):
            yield f"{place}#$[{index}]", each


def event_rows(first: Record, others: Iterator[Record]) -> Iterator[Row]:
    """The session as rows: its facts, what was said, and the model's requests with what they came to."""
    session = _Session()
    yield from session.rows(first)
    for record in others:
        yield from session.rows(record)
    yield from session.end()


class _Session:
    """What of a session is waited for: the request that is open, reasoning that has no message yet, ids that were seen."""

    def __init__(self) -> None:
        self._delivered = Delivered()
        self._open: Call | None = None
        self._model: str | None = None
        self._thoughts: list[dict[str, Any]] = []
        self._is_begun = False

    def rows(self, record: Record) -> Iterator[Row]:
        event = record.value
        kind, name = event.get("type"), event.get("id")
        if self._delivered.is_again(record, name):
            return
        if not self._is_begun and kind != "session":
            self._is_begun = True
            yield Facts(record.place, {"source": "anthropic"})
        is_said = kind in _SAID or _USE.fullmatch(str(kind)) or _RESULT.fullmatch(str(kind))
        moment = take_time(event, "processed_at") if is_said else nanoseconds(event.get("processed_at"))
        if kind == "session":
            self._is_begun = True
            yield from self._session(record)
        elif kind == "span.model_request_start":
            yield from self.end()
            self._open = Call(
                str(name or record.place),
                record.place,
                start=moment,
                model=self._model,
                provider="anthropic",
                rest=event,
            )
        elif kind == "span.model_request_end":
            yield from self._answered(record, moment)
        elif kind == "agent.thinking":
            self._thoughts.append({k: event.pop(k) for k in list(event) if k not in ("type", "id", "method")})
        elif message := _message(str(kind), event):
            yield from self._said(record, message, moment)

    def end(self) -> Iterator[Row]:
        """A request that did not come to its end is a call nevertheless."""
        if self._open is not None:
            yield self._open
            self._open = None

    def _session(self, record: Record) -> Iterator[Row]:
        event = record.value
        self._model = take_text(event, "agent", "model", "id")
        own = {"agent": lambda e: take_text(e, "agent", "name"), "started_at": lambda e: take_time(e, "created_at")}
        fields: dict[str, Any] = {"source": "anthropic", **map_fields(event, own)}
        system = system_messages(take(event, "agent", "system"))
        yield Facts(record.place, fields, [], event)
        for message in system:
            yield Step(
                "utterance", f"{record.place}/system", record.place, start=fields.get("started_at"), message=message
            )

    def _answered(self, record: Record, moment: int | None) -> Iterator[Row]:
        event = record.value
        call = self._open or Call(record.place, record.place, model=self._model, provider="anthropic")
        call.end = moment
        call.usage = take_usage_of(event, "model_usage")
        call.usage_basis = "with_cache" if call.usage else None
        if take(event, "is_error", of=bool):
            call.error = take(event, "error") or True
        self._open = None
        yield call

    def _said(self, record: Record, message: Message, moment: int | None) -> Iterator[Row]:
        message.at = moment
        if message.chat["role"] == "assistant" and self._thoughts:
            message.chat["reasoning"], self._thoughts = self._thoughts, []
        if message.chat["role"] == "assistant" and self._open is not None:
            self._open.output.append(message)
            return
        yield Step(
            "utterance", message.id or record.place, record.place, start=moment, message=message, rest=record.value
        )


def _message(kind: str, event: dict[str, Any]) -> Message | None:
    """What an event says as a message; taken out of it."""
    name = event.get("id")
    id_ = name if isinstance(name, str) else None
    if kind in _SAID:
        role = "user" if kind == "user.message" else "assistant"
        said = read([{"role": role, "content": take(event, "content")}]).messages
        return Message(said[0].chat, id_) if said else None
    if _USE.fullmatch(kind):
        call = {
            "id": id_,
            "type": "function",
            "function": {"name": take_text(event, "name") or "", "arguments": take(event, "input") or {}},
        }
        return Message({"role": "assistant", "content": None, "tool_calls": [call]}, id_)
    if _RESULT.fullmatch(kind):
        call_id = next((taken for each in _RESULT_IDS if (taken := take_text(event, each))), None)
        content = read([{"role": "tool", "tool_call_id": call_id, "content": take(event, "content")}]).messages
        chat: dict[str, Any] = content[0].chat if content else {"role": "tool", "tool_call_id": call_id}
        if take(event, "is_error", of=bool):
            chat["error"] = True
        return Message(chat, id_)
    return None
