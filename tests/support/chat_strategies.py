"""Hypothesis strategies for recorded conversations: everything that the importer accepts, mostly ugly."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# What jsonb can hold: no NUL, no lone surrogates. The rest of Unicode is fair.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), numbers, text)
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=6,
)
times = st.one_of(
    st.none(),
    st.sampled_from(["2025-08-01T15:57:33.620589", "2025-08-01 15:57:33", "2025-08-01T17:57:33+02:00", "2024-02-29"]),
    st.integers(0, 2_000_000_000),
)
ids = st.one_of(st.none(), st.just(""), text, st.integers(0, 2**70))
parts = st.lists(
    st.one_of(
        text,
        st.fixed_dictionaries({"type": st.just("text")}, optional={"text": text, "content": text}),
        st.dictionaries(text, json_values, max_size=2),
    ),
    max_size=3,
)
contents = st.one_of(st.none(), text, parts)
_tool_parts = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("tool_use"), "name": text.filter(bool)}, optional={"id": ids, "input": json_values, "x": text}
    ),
    st.fixed_dictionaries({"type": st.sampled_from(["text", "thinking"]), "text": text}),
)
_result_parts = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("tool_result")},
        optional={"tool_use_id": ids, "content": json_values, "is_error": json_values, "x": text},
    ),
    st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url"]), "text": text}),
)


def _object(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these fields and now and then a field that nobody knows."""
    known = st.fixed_dictionaries(required, optional=optional)
    unknown = st.dictionaries(st.sampled_from(["type", "refusal", "x y", "annotations"]), json_values, max_size=2)
    return st.builds(lambda more, sure: {**more, **sure}, unknown, known)


_function = _object(
    {"name": text.filter(bool)}, {"arguments": st.one_of(st.dictionaries(text, json_values), json_values)}
)
_custom = _object({"name": text.filter(bool)}, {"input": json_values})
_executors = st.sampled_from(["client", "provider", "nobody", None, 1])
_of_call = {"executor": _executors, "server": st.none() | text, "has_nested_calls": st.booleans() | json_values}
_call = st.one_of(_object({"function": _function}, {"id": ids, **_of_call}), _object({"custom": _custom}, {"id": ids}))
_calls = st.one_of(st.none(), st.lists(_call, max_size=3))
_decisions = st.one_of(
    json_values,
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.none() | text,
            "tools_sha256": st.none() | st.just("0" * 64),
            "usage": st.none() | st.fixed_dictionaries({}, optional={"input_tokens": st.none() | st.integers(0, 99)}),
            "error": text,
            "model_requested": st.none() | text,
            "history": st.sampled_from(["exact", "delta", None]),
            "retries": st.integers(0, 3),
        },
    ),
)
_thought = st.fixed_dictionaries(
    {},
    optional={
        "text": st.none() | text,
        "summary": st.none() | st.lists(json_values, max_size=2),
        "encrypted": text,
        "signature": text | st.just(7),
        "redacted": st.booleans(),
        "id": text,
    },
)
_thoughts = st.one_of(text, st.lists(_thought, max_size=3), json_values)
_time_sources = st.sampled_from(["span", "call", "message", None, 3])
_usage = st.one_of(
    json_values,
    st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "input_tokens", "completion_tokens_details"]),
        st.integers(-1, 99) | st.just({"reasoning_tokens": 4}),
    ),
)
_speech = st.one_of(
    json_values,
    st.fixed_dictionaries(
        {},
        optional={
            "start_ms": st.none() | st.integers(0, 9) | st.just("a"),
            "heard_text": text,
            "interrupted": st.booleans(),
        },
    ),
)
"""What a message says of the model call that led to it; what is no object is a field like any other."""
_beside = {
    "decision": _decisions,
    "content": st.sampled_from([None, "", [], "x"]),
    "refusal": st.none() | text,
    "audio": st.fixed_dictionaries({"id": text}, optional={"transcript": text}),
    "function_call": st.one_of(st.none(), _function),
    "tool_calls": _calls,
    "name": st.none() | text,
}
EVENTS: list[dict[str, Any]] = [
    {"compacted": {"kind": "summary", "from_message": 0, "to_message": 1, "replacement": []}},
    {"compacted": {"replacement": [{"role": "user", "content": "so far"}], "trigger": "auto"}},
    {"compacted": {"from_message": -1}},
    {"compacted": {"kind": "clear", "from_message": None, "to_message": 1}},
    {"handoff": {"from": None, "to": "billing", "reason": "asked for"}},
    {"handoff": {"to": 7}},
    {"event": {"kind": "dtmf", "digits": "1", "x": {"y": 1.5}}},
    {"event": {"name": "mark"}},
    {"event": {"kind": ""}, "content": None},
    {"supplied": {"kind": "unparsed_input", "content": "[{"}},
    {"supplied": {"kind": "system_message", "content": {"a": [None]}, "role": "user"}},
    {"supplied": {"kind": "row", "content": {"a": [None]}, "role": "user"}},
    {"handoff": {}, "event": {"kind": "state"}},
]
"""What a line says among its messages and is none."""
messages = st.one_of(
    _object({"role": st.sampled_from(["system", "developer"])}, {"content": contents, "timestamp": times}),
    _object(
        {"role": st.sampled_from(["user", "assistant"])},
        {"content": contents, "timestamp": times, "tool_calls": _calls},
    ),
    _object({"role": st.just("assistant")}, _beside),
    _object(
        {"role": st.just("assistant")},
        {
            "decision": _decisions,
            "timestamp": times,
            "time_source": _time_sources,
            "tool_calls": _calls,
            "reasoning": _thoughts,
            "reasoning_content": text,
            "executor": _executors,
            "actor": st.sampled_from(["service", "agent", None]),
        },
    ),
    _object(
        {"role": st.just("assistant"), "content": contents},
        {"reasoning": _thoughts, "usage": _usage, "model": text, "speech": _speech, "ended_at": times},
    ),
    _object({"role": st.just("user"), "content": contents}, {"speech": _speech, "time_source": _time_sources}),
    st.builds(
        lambda event, more: {"role": "system", **event, **more},
        st.sampled_from(EVENTS),
        st.fixed_dictionaries({}, optional={"timestamp": times, "time_source": _time_sources, "x": json_values}),
    ),
    _object(
        {"role": st.just("assistant"), "content": st.lists(_tool_parts, max_size=4)},
        {"name": text, "tool_calls": _calls},
    ),
    _object({"role": st.just("user"), "content": st.lists(_result_parts, max_size=4)}, {"name": text}),
    _object(
        {"role": st.sampled_from(["tool", "function"])},
        {
            "content": json_values,
            "timestamp": times,
            "tool_call_id": ids,
            "name": st.one_of(st.none(), text),
            "error": json_values,
            "requestor": st.one_of(st.none(), text),
            "executor": _executors,
            "latency_ms": st.none() | st.floats(-1, 9) | st.booleans(),
            "denied": st.booleans() | text,
            "truncated": st.none() | st.booleans(),
        },
    ),
)
_score = st.fixed_dictionaries(
    {"name": text.filter(bool), "value": json_values},
    optional={
        "message": st.none() | st.integers(0, 2),
        "call_id": st.none() | text,
        "kind": st.sampled_from(["numeric", "odd"]),
        "source": st.sampled_from(["human", "model", None]),
        "comment": st.none() | text,
        "recorded_at": times,
        "x": json_values,
    },
)
_labels = st.one_of(st.none(), text)
lines = _object(
    {
        "conversation_id": st.one_of(text.filter(bool), st.integers(0, 2**70)),
        "messages": st.lists(messages, max_size=6),
    },
    {
        "source": st.one_of(st.none(), text.filter(bool)),
        "id": json_values,
        "task_id": ids,
        "variant": _labels,
        "agent": _labels,
        "channel": _labels,
        "vertical": _labels,
        "outcome": json_values,
        "subject_id": ids,
        "tools": st.just([{"type": "function", "function": {"name": "refund"}}]) | json_values,
        "started_at": times,
        "ended_at": times,
        "ended_reason": st.none() | text,
        "kind": st.sampled_from(["call", "conversation", "odd", None]),
        "scores": st.lists(_score, max_size=3) | json_values,
        "tags": st.lists(text, max_size=2) | json_values,
        "metadata": st.dictionaries(text, json_values, max_size=2) | json_values,
        "fidelity": st.lists(st.sampled_from(["content_missing", "is_truncated", "odd"]), max_size=2),
        "parent": st.fixed_dictionaries({}, optional={"conversation_id": text, "call_id": st.none() | text, "y": text}),
        "usage": _usage,
        "file": json_values,
        "source_record": json_values,
    },
)
