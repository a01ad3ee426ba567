"""Histories of older versions of OpenHands: a run with a list of actions and observations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.rows import Facts, Message, Record, Row, Step
from pipelines.ingest.forms.fields import at, take, take_text, take_time, take_usage

_TOOLS = (
    "run",
    "run_ipython",
    "edit",
    "read",
    "write",
    "browse",
    "browse_interactive",
    "finish",
    "delegate",
    "call_tool_mcp",
    "think",
)
"""Actions that call a tool; others are messages, or events of the run."""
_META = (
    "action",
    "observation",
    "id",
    "timestamp",
    "source",
    "cause",
    "message",
    "args",
    "extras",
    "tool_call_metadata",
    "thought",
)
_USAGE = {"input_tokens": ("prompt_tokens",), "output_tokens": ("completion_tokens",)}


def is_history(value: dict[str, Any]) -> bool:
    """Whether a value is a run with its history."""
    history = None if "trajectory" in value else value.get("history")
    is_list = isinstance(history, list) and all(isinstance(each, dict) for each in history)
    return is_list and any("action" in each or "observation" in each for each in history or ())


def history_rows(head: Record, records: Iterator[Record], fields: dict[str, Any]) -> Iterator[Row]:
    """The run as rows, in the order of its history.

    Args:
        head: The run without its history.
        records: The entries of that.
        fields: What else is known of the run.
    """
    for name, path in (("outcome", ("success",)), ("task_id", ("instance_id",))):
        if (said := take(head.value, *path)) is not None:
            fields[name] = said
    yield Facts(head.place, fields, [], head.value)
    waiting: list[str] = []
    is_first = True
    for record in records:
        message = _message(record, waiting, is_first=is_first)
        start = take_time(record.value, "timestamp")
        if message is not None:
            message.at = start
            yield Step("utterance", record.place, record.place, start=start, message=message, rest=record.value)
        is_first = False


def _message(record: Record, waiting: list[str], *, is_first: bool) -> Message | None:
    """What an entry says; `waiting` has the calls without an answer yet, the oldest first."""
    value = record.value
    if "observation" in value:
        cause = at(value, "tool_call_metadata", "tool_call_id")
        call_id = cause or (f"action-{value['cause']}" if value.get("cause") is not None else None)
        call_id = call_id if call_id in waiting else waiting[0] if waiting else call_id
        if call_id in waiting:
            waiting.remove(call_id)
        chat = {"role": "tool", "tool_call_id": call_id, "content": take(value, "content")}
        if value["observation"] == "error":
            chat["error"] = True
        return Message(chat)
    action = value.get("action")
    if action in _TOOLS:
        return _called(record, str(action), waiting)
    return _spoken(value, is_first=is_first)


def _spoken(value: dict[str, Any], *, is_first: bool) -> Message | None:
    content = take_text(value, "args", "content") or take_text(value, "content")
    if content is None:
        return None
    if value.get("action") == "system":
        return Message({"role": "system", "content": content})
    is_user = value.get("source") == "user" if value.get("source") in ("user", "agent") else is_first
    chat: dict[str, Any] = {"role": "user" if is_user else "assistant", "content": content}
    if not is_user and (decision := _decision(value)):
        chat["decision"] = decision
    return Message(chat)


def _called(record: Record, action: str, waiting: list[str]) -> Message:
    value = record.value
    known = take_text(value, "tool_call_metadata", "tool_call_id")
    call_id = known or f"action-{value['id'] if value.get('id') is not None else record.place}"
    waiting.append(call_id)
    thought = take_text(value, "thought") or take_text(value, "args", "thought")
    arguments = take(value, "args", of=dict)
    if arguments is None:
        arguments = {key: value.pop(key) for key in list(value) if key not in _META}
    name = take_text(value, "tool_call_metadata", "function_name")
    if name is None:
        name = action
        del value["action"]
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    chat: dict[str, Any] = {"role": "assistant", "content": thought, "tool_calls": [call]}
    return Message(chat | ({"decision": decision} if (decision := _decision(value)) else {}))


def _decision(value: dict[str, Any]) -> dict[str, Any]:
    """Which model was asked, where the entry has its answer."""
    answer = at(value, "tool_call_metadata", "model_response")
    if not isinstance(answer, dict):
        return {}
    said = {"model": take_text(answer, "model"), "response_id": take_text(answer, "id")}
    usage = take_usage(answer, {name: ("usage", *path) for name, path in _USAGE.items()})
    return {name: each for name, each in said.items() if each} | ({"usage": usage} if usage else {})
