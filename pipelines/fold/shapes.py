"""The shapes of what the fold gives and goes on from; the lake's tables of the same names have these columns.

Types are written as in SQL. Nothing here needs Arrow, which a verb that only reads does not import; `schemas` has them as Arrow's.
"""

from __future__ import annotations

from typing import TypeAlias

Shape: TypeAlias = str | list["Shape"] | dict[str, "Shape"]
"""A type by its name in SQL, a list of one type, or a struct's fields."""
STATE_LISTS = ("transcript", "tool_calls", "redactions")
"""The columns of a state that grow with its stream."""

_TIME = "TIMESTAMP WITH TIME ZONE"
MONEY = "DECIMAL(38, 12)"
"""Sums of money are exact: decimals of 12 places."""


def _structs(**fields: Shape) -> Shape:
    return [fields]


_LISTS: dict[str, Shape] = {
    "transcript": _structs(stream_version="INTEGER", role="VARCHAR", text="VARCHAR", created_at=_TIME),
    "tool_calls": _structs(
        stream_version="INTEGER",
        actor="VARCHAR",
        call_id="VARCHAR",
        name="VARCHAR",
        arguments="VARCHAR",
        result_version="INTEGER",
        output="VARCHAR",
        error="VARCHAR",
    ),
    "redactions": _structs(
        stream_version="INTEGER", target_version="INTEGER", path="VARCHAR", method="VARCHAR", reason="VARCHAR"
    ),
}
_TOLD: dict[str, Shape] = {
    "source": "VARCHAR",
    "source_id": "VARCHAR",
    "source_ordinal": "BIGINT",
    "subject_id": "VARCHAR",
    **dict.fromkeys(("agent", "variant", "task", "channel", "vertical", "outcome", "ended_reason"), "VARCHAR"),
    **dict.fromkeys(("parent_id", "parent_call_id", "tags", "metadata"), "VARCHAR"),
}
_COUNTS: dict[str, Shape] = dict.fromkeys(
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
        "interruptions",
    ),
    "INTEGER",
)
_TOKENS: dict[str, Shape] = dict.fromkeys(("input_tokens", "output_tokens", "user_talk_ms", "agent_talk_ms"), "BIGINT")
FIDELITY = ("content_missing", "history_compacted", "reasoning_lost", "is_truncated", "session_ambiguous")
"""What the record of a stream may lack."""
_TOLD_OF_FIDELITY: dict[str, Shape] = {
    "fidelity": "VARCHAR",
    "reasoning_tokens": "BIGINT",
    **dict.fromkeys(("contents_missing", "compactions", "truncations", "reasonings"), "INTEGER"),
}
"""What tells it."""

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
    "ended_reason",
    "parent_id",
    "parent_call_id",
    "tags",
    "metadata",
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
    "erased_events",
    *FIDELITY,
)
_TYPES: dict[str, Shape] = {
    "aggregate_id": "VARCHAR",
    "status": "VARCHAR",
    "started_at": _TIME,
    "ended_at": _TIME,
    "last_at": _TIME,
    "duration_seconds": "DOUBLE",
    "last_version": "INTEGER",
    "last_position": "BIGINT",
    "event_count": "INTEGER",
    "skipped_events": "INTEGER",
    "erased_events": "INTEGER",
    "cost_usd": "DOUBLE",
    "final_text": "VARCHAR",
    **_TOLD,
    **_COUNTS,
    **_TOKENS,
    **_LISTS,
    **dict.fromkeys(FIDELITY, "BOOLEAN"),
}
STATE = {name: _TYPES[name] for name in STATE_NAMES}
"""A row of `conversation_months` or `call_months`: the state of one stream."""

LISTS = {name: _LISTS[name] for name in STATE_LISTS}
"""The lists of a state."""

WAITING = _structs(
    stream_version="INTEGER",
    position="BIGINT",
    message_id="VARCHAR",
    group_no="INTEGER",
    turn="INTEGER",
    actor="VARCHAR",
    call_id="VARCHAR",
    name="VARCHAR",
    arguments="VARCHAR",
    recorded="VARCHAR",
    is_invalid_json="BOOLEAN",
    is_erased="BOOLEAN",
    created_at=_TIME,
)
"""Tool calls that a result can still answer."""

STANDING: dict[str, Shape] = {
    "aggregate_id": "VARCHAR",
    "aggregate_type": "VARCHAR",
    "stream_version": "INTEGER",
    "position": "BIGINT",
    "created_at": _TIME,
    **_TOLD,
    "started_at": _TIME,
    "ended_at": _TIME,
    "event_count": "INTEGER",
    "skipped_events": "INTEGER",
    "erased_events": "INTEGER",
    **_COUNTS,
    **_TOKENS,
    **_TOLD_OF_FIDELITY,
    "cost_usd": MONEY,
    "final_text": "VARCHAR",
    "groups": "INTEGER",
    "inputs": "INTEGER",
    "hidden_results": "INTEGER",
    "open_message": "VARCHAR",
    "is_asking": "BOOLEAN",
    "said_in": "VARCHAR",
    "user_message": "VARCHAR",
    "subjects": ["VARCHAR"],
    "last_role": "VARCHAR",
    "waiting": WAITING,
}
"""The columns of a snapshot that say where a stream stands; its others say what was new, and what was folded."""
