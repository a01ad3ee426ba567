"""The shapes of what the fold gives and goes on from, as Arrow schemas; the lake's tables of the same names have these columns."""

from __future__ import annotations

import pyarrow as pa

_TIME = pa.timestamp("us", tz="UTC")
MONEY = pa.decimal128(38, 12)
"""Sums of money are exact: decimals of 12 places."""

STATE_LISTS = ("transcript", "tool_calls", "redactions")
"""The columns of a state that grow with its stream."""


def _struct(**fields: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("l", pa.struct(list(fields.items()))))


_LISTS: dict[str, pa.DataType] = {
    "transcript": _struct(stream_version=pa.int32(), role=pa.string(), text=pa.string(), created_at=_TIME),
    "tool_calls": _struct(
        stream_version=pa.int32(),
        actor=pa.string(),
        call_id=pa.string(),
        name=pa.string(),
        arguments=pa.string(),
        result_version=pa.int32(),
        output=pa.string(),
        error=pa.string(),
    ),
    "redactions": _struct(
        stream_version=pa.int32(), target_version=pa.int32(), path=pa.string(), method=pa.string(), reason=pa.string()
    ),
}
_TOLD: dict[str, pa.DataType] = {
    "source": pa.string(),
    "source_id": pa.string(),
    "source_ordinal": pa.int64(),
    "subject_id": pa.string(),
    **dict.fromkeys(("agent", "variant", "task", "channel", "vertical", "outcome"), pa.string()),
}
_COUNTS: dict[str, pa.DataType] = dict.fromkeys(
    (
        "user_messages",
        "turns",
        "agent_messages",
        "agent_text_messages",
        "tool_call_count",
        "tool_result_count",
        "unanswered_tool_calls",
        "failed_tool_calls",
        "redaction_count",
    ),
    pa.int32(),
)
_TOKENS: dict[str, pa.DataType] = {"input_tokens": pa.int64(), "output_tokens": pa.int64()}

STATE_NAMES = (
    "aggregate_id",
    "source",
    "source_id",
    "source_ordinal",
    "agent",
    "variant",
    "task",
    "channel",
    "vertical",
    "subject_id",
    "status",
    "outcome",
    "started_at",
    "ended_at",
    "last_at",
    "duration_seconds",
    "last_version",
    "last_position",
    "event_count",
    *_COUNTS,
    *_TOKENS,
    "cost_usd",
    "final_text",
    *STATE_LISTS,
    "skipped_events",
)
_TYPES: dict[str, pa.DataType] = {
    "aggregate_id": pa.string(),
    "status": pa.string(),
    "started_at": _TIME,
    "ended_at": _TIME,
    "last_at": _TIME,
    "duration_seconds": pa.float64(),
    "last_version": pa.int32(),
    "last_position": pa.int64(),
    "event_count": pa.int32(),
    "skipped_events": pa.int32(),
    "cost_usd": pa.float64(),
    "final_text": pa.string(),
    **_TOLD,
    **_COUNTS,
    **_TOKENS,
    **_LISTS,
}
STATE = pa.schema([(name, _TYPES[name]) for name in STATE_NAMES])
"""A row of `conversation_months` or `call_months`: the state of one stream."""

LISTS = pa.schema([(name, _LISTS[name]) for name in STATE_LISTS])
"""The lists of a state."""

WAITING = _struct(
    stream_version=pa.int32(),
    position=pa.int64(),
    message_id=pa.string(),
    group_no=pa.int32(),
    turn=pa.int32(),
    actor=pa.string(),
    call_id=pa.string(),
    name=pa.string(),
    arguments=pa.string(),
    recorded=pa.string(),
    is_invalid_json=pa.bool_(),
    created_at=_TIME,
)
"""Tool calls that a result can still answer."""

_STANDING: dict[str, pa.DataType] = {
    "aggregate_id": pa.string(),
    "aggregate_type": pa.string(),
    "stream_version": pa.int32(),
    "position": pa.int64(),
    "created_at": _TIME,
    **_TOLD,
    "started_at": _TIME,
    "ended_at": _TIME,
    "event_count": pa.int32(),
    "skipped_events": pa.int32(),
    **_COUNTS,
    **_TOKENS,
    "cost_usd": MONEY,
    "final_text": pa.string(),
    "groups": pa.int32(),
    "inputs": pa.int32(),
    "hidden_results": pa.int32(),
    "open_message": pa.string(),
    "said_in": pa.string(),
    "user_message": pa.string(),
    "subjects": pa.list_(pa.field("l", pa.string())),
    "last_role": pa.string(),
    "waiting": WAITING,
}
STANDING = pa.schema(_STANDING)
"""The columns of a snapshot that say where a stream stands; its others say what was new, and what was folded."""
