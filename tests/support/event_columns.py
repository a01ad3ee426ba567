"""Events as the columns that the fold reads, in plain Python: what the SQL that reads them is held to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa

from pipelines.folds.event_columns import with_values
from tests.oracles import left_fold
from tests.oracles.left_fold_values import is_erased, json_text, text_or_none

Event = Mapping[str, Any]
_SAID = ("user.utterance", "agent.utterance", "tool.call", "tool.result")
_RARE = ("conversation.started", "conversation.ended", "redaction.applied", "context.compacted")
_PICO = Decimal("0.000000000001")
SCHEMA = pa.schema(
    {
        "aggregate_id": pa.string(),
        "stream_version": pa.int32(),
        "aggregate_type": pa.string(),
        "position": pa.int64(),
        "created_at": pa.timestamp("us", tz="UTC"),
        "is_in_month": pa.bool_(),
        "event_name": pa.string(),
        "is_erased": pa.bool_(),
        "message_id": pa.string(),
        "is_by_user": pa.bool_(),
        "source": pa.string(),
        "source_id": pa.string(),
        "source_ordinal": pa.int64(),
        "subject_id": pa.string(),
        "text": pa.string(),
        "content": pa.string(),
        "is_refusal": pa.bool_(),
        "call_id": pa.string(),
        "name": pa.string(),
        "arguments": pa.string(),
        "output": pa.string(),
        "error": pa.string(),
        "rendered": pa.int32(),
        "from_message": pa.int64(),
        "to_message": pa.int64(),
        "time_source": pa.string(),
        "has_nested_calls": pa.bool_(),
        "input_tokens": pa.int64(),
        "output_tokens": pa.int64(),
        "cost_usd": pa.decimal128(38, 12),
        "agent": pa.string(),
        "variant": pa.string(),
        "task": pa.string(),
        "channel": pa.string(),
        "vertical": pa.string(),
        "outcome": pa.string(),
        **dict.fromkeys(("parent_id", "parent_call_id", "tags", "metadata", "fidelity"), pa.string()),
        **dict.fromkeys(("user_talk_ms", "agent_talk_ms"), pa.int64()),
        **dict.fromkeys(("is_interrupted", "is_truncated", "is_content_missing", "is_compacted"), pa.bool_()),
        "reasoning_tokens": pa.int64(),
        "target_version": pa.int32(),
        "path": pa.string(),
        "method": pa.string(),
        "reason": pa.string(),
    }
)


def event_columns(log: Iterable[Event], month: str) -> pa.Table:
    """The columns of events in the order given; redactions of all of them are applied, `arguments` as recorded."""
    rows = [_row(event, seen, month) for event, seen in left_fold.show(log)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def fold_columns(log: Iterable[Event], month: str) -> pa.Table:
    """The same as the fold takes them: arguments as values."""
    return with_values(event_columns(log, month))


def _row(event: Event, seen: dict[str, Any] | None, month: str) -> dict[str, Any]:
    metadata = event["metadata"]
    row: dict[str, Any] = {
        **{
            name: event[name] for name in ("aggregate_id", "stream_version", "aggregate_type", "position", "created_at")
        },
        "is_in_month": event["month"] == month,
        "event_name": seen["name"] if seen else None,
        "is_erased": is_erased(event),
        **{name: metadata.get(name) for name in ("message_id", "source", "source_id", "source_ordinal", "subject_id")},
        "is_by_user": metadata.get("actor") == "user",
        "is_refusal": False,
        "rendered": 0,
        "time_source": metadata.get("time_source"),
        **dict.fromkeys(_FLAGS, False),
    }
    if seen is None:
        return row
    name, payload = seen["name"], seen["payload"]
    if name in _SAID:
        row |= {field: payload.get(field) for field in ("text", "call_id", "name")}
        row |= {"is_refusal": payload.get("is_refusal") is True, "error": text_or_none(payload.get("error"))}
        row["output"] = text_or_none(payload.get("output"))
        row |= _spoken(name, payload)
    if name == "tool.call" and "arguments" in payload:
        row["arguments"] = json_text(payload["arguments"])
    if name == "user.utterance":
        row["content"] = _content(payload)
    if name in ("user.utterance", "tool.result", "context.supplied"):
        row["rendered"] = 1
    if name == "conversation.started":
        row["rendered"] = len(payload["messages"]) if isinstance(payload.get("messages"), list) else 0
    if name == "context.compacted":
        row["rendered"] = len(payload["replacement"]) if isinstance(payload.get("replacement"), list) else 0
        row |= {"is_compacted": True, **{end: _whole(payload.get(end)) for end in ("from_message", "to_message")}}
    if name == "model.decision":
        row |= _spent(payload)
    if name in _RARE:
        row |= _rare(payload)
    return row


_FLAGS = ("has_nested_calls", "is_truncated", "is_interrupted", "is_content_missing", "is_compacted")


def _spoken(name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    speech = payload["speech"] if isinstance(payload.get("speech"), Mapping) else {}
    start, end = speech.get("start_ms"), speech.get("end_ms")
    talk = {} if start is None or end is None else {f"{name.partition('.')[0]}_talk_ms": max(end - start, 0)}
    return talk | {
        "has_nested_calls": payload.get("has_nested_calls") is True,
        "is_truncated": payload.get("truncated") is True,
        "is_interrupted": speech.get("interrupted") is True,
    }


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _content(payload: Mapping[str, Any]) -> str | None:
    """What of an utterance's content says whether it is one, where its text does not."""
    content = payload.get("content")
    if payload.get("text") or not isinstance(content, (str, list)):
        return None
    parts = [
        {"type": _type_of(part)} if isinstance(part, Mapping) else part[:1] if isinstance(part, str) else None
        for part in content
    ]
    return json_text(content[:1] if isinstance(content, str) else parts)


def _type_of(part: Mapping[str, Any]) -> str | None:
    """A part's type, as text whatever it is: only one that is a known word says anything."""
    kind = part.get("type")
    return kind if kind is None or isinstance(kind, str) else json_text(kind)


def _spent(payload: Mapping[str, Any]) -> dict[str, Any]:
    usage = payload["usage"] if isinstance(payload.get("usage"), Mapping) else {}
    tokens = {name: usage.get(name) for name in ("input_tokens", "output_tokens", "reasoning_tokens")}
    cost = payload.get("cost_usd")
    return {
        **{name: count if isinstance(count, int) else None for name, count in tokens.items()},
        "is_content_missing": payload.get("content_missing") is True,
        "is_compacted": payload.get("history") == "compacted",
        "cost_usd": Decimal(str(cost)).quantize(_PICO, ROUND_HALF_UP) if isinstance(cost, (int, float)) else None,
    }


def _rare(payload: Mapping[str, Any]) -> dict[str, Any]:
    target, span = (payload.get(name) if isinstance(payload.get(name), Mapping) else {} for name in ("target", "span"))
    parent = payload["parent"] if isinstance(payload.get("parent"), Mapping) else {}
    assert target is not None
    assert span is not None
    path = payload.get("path")
    return {
        **{name: payload.get(name) for name in ("agent", "variant", "task", "channel", "vertical", "method", "reason")},
        **{each: text_or_none(payload.get(each)) for each in ("outcome", "tags", "metadata", "fidelity")},
        "parent_id": parent.get("conversation_id"),
        "parent_call_id": parent.get("call_id"),
        "target_version": target.get("stream_version"),
        "path": span.get("path") if path is None else path,
    }
