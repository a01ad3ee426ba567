"""Whatever stands where a field should be: an import gives lines that can be imported, or says where it is wrong."""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.convert import Place, convert
from pipelines.ingest.faults import BadLineError
from tests.support.foreign_lines import foreign_lines, written

TEXT = [{"type": "text", "text": "Hi"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
ANSWER = {"role": "assistant", "content": "Yes", "tool_calls": [CALL]}
USAGE = {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 1}
TIME = "2026-01-01T00:00:00Z"
ROWS: dict[str, list[Any]] = {
    "litellm": [
        {"messages": [{"role": "user", "content": "Hi"}], "tools": [CALL], "kwargs": {"metadata": {"session_id": "s"}, "temperature": 0},
         "response": {"id": "r", "model": "m", "choices": [{"message": ANSWER, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}},
    ],
    "anthropic": [
        {"request": {"model": "m", "system": TEXT, "messages": [{"role": "user", "content": TEXT}], "tools": [{"name": "t", "input_schema": {}}]},
         "response": {"id": "m1", "content": [{"type": "thinking", "thinking": "h", "signature": "s"}, *TEXT], "usage": USAGE, "stop_reason": "end_turn"}},
        {"custom_id": "a", "result": {"type": "succeeded", "message": {"content": TEXT, "usage": USAGE}}},
        {"id": "e0", "type": "session", "agent": {"model": {"id": "m"}, "system": "Be brief."}, "created_at": TIME},
        {"id": "e1", "type": "span.model_request_start", "processed_at": TIME},
        {"id": "e2", "type": "agent.tool_use", "name": "t", "input": {}, "processed_at": TIME},
        {"id": "e3", "type": "span.model_request_end", "model_usage": USAGE, "is_error": False},
        {"id": "e4", "type": "agent.tool_result", "tool_use_id": "e2", "content": TEXT, "is_error": True},
    ],
    "responses": [
        {"request": {"model": "m", "input": [{"role": "user", "content": "Hi"}], "instructions": "Be brief.", "tools": []},
         "response": {"id": "r1", "object": "response", "created_at": 1, "output": [{"type": "reasoning", "summary": []}], "usage": USAGE}},
        {"responses_create_params": {"input": "Hi"}, "response": {"id": "r2", "output": []}, "reward": 1.0},
        {"data": [
            {"object": "trace", "id": "t", "group_id": "g", "metadata": {"user_id": "u"}},
            {"object": "trace.span", "id": "s1", "trace_id": "t", "started_at": TIME, "span_data": {"type": "generation", "input": [],
             "output": [ANSWER], "model": "m", "model_config": {"temperature": 0}, "usage": USAGE}},
            {"object": "trace.span", "id": "s2", "trace_id": "t", "parent_id": "s1", "span_data": {"type": "function", "name": "look"}},
        ]},
        {"object": "list", "data": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes"}]}]},
    ],
    "voice": [
        {"data": {"conversation_id": "c", "metadata": {"start_time_unix_secs": 9}, "analysis": {"evaluation_criteria_results": {"a": {"result": "x"}}},
         "transcript": [{"role": "agent", "message": "Hi", "tool_calls": [{"request_id": "r", "tool_name": "t", "params_as_json": "{}"}],
                         "tool_results": [{"request_id": "r", "result_value": "x", "tool_latency_secs": 1}], "time_in_call_secs": 1,
                         "llm_usage": {"model_usage": {"m": {"input": {"tokens": 1, "price": 0.1}}}}}]}},
        {"call": {"call_id": "d", "start_timestamp": 9, "call_analysis": {"custom_analysis_data": {"a": 1}}, "transcript_with_tool_calls": [
            {"role": "user", "content": "Hi", "words": [{"word": "Hi", "start": 0.1, "end": 0.2}]}, {"role": "tool_call_result", "content": "x"}]}},
        {"message": {"call": {"id": "e"}, "startedAt": TIME, "assistant": {"model": {"model": "m", "temperature": 0}}, "artifact": {
            "messages": [{"role": "user", "message": "Hi", "time": 1, "endTime": 2}, {"role": "tool_calls", "toolCalls": [CALL]}]}}},
        {"job_id": "f", "events": [{"type": "close", "created_at": 9}], "chat_history": {"items": [
            {"type": "message", "role": "assistant", "content": ["Hi"], "metrics": {"started_speaking_at": 1, "llm_node_ttft": 0.1}}]}},
    ],
    "claude-code": [
        {"type": "user", "uuid": "u", "sessionId": "s", "timestamp": TIME, "message": {"role": "user", "content": "Hi"}},
        {"type": "assistant", "uuid": "a", "parentUuid": "u", "sessionId": "s", "timestamp": TIME, "message": {"id": "m", "role": "assistant",
         "content": [{"type": "tool_use", "id": "t", "name": "Task", "input": {"prompt": "Go"}}], "usage": USAGE, "stop_reason": "end_turn"}},
        {"type": "user", "uuid": "r", "parentUuid": "a", "isSidechain": True, "sessionId": "s", "toolUseResult": {"agentId": "x"},
         "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x", "is_error": False}]}},
        {"type": "system", "subtype": "compact_boundary", "uuid": "b", "sessionId": "s", "compactMetadata": {"trigger": "auto"}},
    ],
    "codex": [
        {"timestamp": TIME, "type": "session_meta", "payload": {"id": "s", "timestamp": TIME, "base_instructions": {"text": "Be brief."}}},
        {"type": "turn_context", "payload": {"model": "m", "effort": "low"}},
        {"type": "response_item", "payload": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes"}]}},
        {"type": "event_msg", "payload": {"type": "token_count", "info": {"total_token_usage": USAGE, "last_token_usage": USAGE}}},
        {"type": "response_item", "payload": {"type": "function_call", "name": "t", "arguments": "{}", "call_id": "c"}},
        {"type": "event_msg", "payload": {"type": "exec_command_end", "call_id": "c", "aggregated_output": "x"}},
        {"type": "compacted", "payload": {"message": "x", "replacement_history": [{"type": "message", "role": "user", "content": "Hi"}]}},
    ],
    "atif": [
        {"schema_version": "ATIF-v1.7", "session_id": "s", "agent": {"name": "a", "model_name": "m", "tool_definitions": [CALL]}, "steps": [
            {"source": "user", "message": "Hi", "timestamp": TIME}, {"source": "agent", "message": "Yes", "reasoning_content": "h",
             "tool_calls": [{"tool_call_id": "c", "function_name": "t", "arguments": {}}], "metrics": {"prompt_tokens": 1, "cost_usd": 1},
             "observation": {"results": [{"source_call_id": "c", "content": "x"}]}}]},
    ],
    "swe-agent": [
        {"trajectory": [{"action": "ls", "observation": "x"}], "info": {"exit_status": "x", "model_stats": {"api_calls": 1, "tokens_sent": 2}},
         "history": [{"role": "assistant", "content": "ls", "thought": "ls", "tool_calls": [CALL]},
                     {"role": "tool", "content": "x", "tool_call_ids": ["c1"], "is_demo": False}]},
    ],
    "openhands": [
        {"kind": "MessageEvent", "id": "1", "source": "user", "timestamp": TIME, "llm_message": {"role": "user", "content": TEXT}},
        {"kind": "ActionEvent", "id": "2", "thought": TEXT, "tool_name": "t", "tool_call_id": "c", "llm_response_id": "r",
         "tool_call": {"id": "c", "name": "t", "arguments": "{}"}, "thinking_blocks": []},
        {"kind": "ObservationEvent", "tool_name": "t", "tool_call_id": "c", "observation": {"content": TEXT, "is_error": True}},
        {"instance_id": "i", "history": [{"action": "run", "id": 1, "args": {"command": "ls", "thought": "h"}, "tool_call_metadata":
         {"tool_call_id": "c", "model_response": {"model": "m", "usage": {"prompt_tokens": 1}}}}, {"observation": "run", "cause": 1, "content": "x"}]},
    ],
    "dataset": [
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "function_call", "value": '{"name": "t", "arguments": {}}'},
                           {"from": "observation", "value": "x"}, {"from": "gpt", "value": "<tool_call>{}</tool_call>"}], "tools": "[]", "system": "x"},
        {"messages": [{"role": "assistant", "content": [{"type": "text", "value": "Hi"}, {"type": "tool_call", "value": "{}"}]}]},
        {"query": "Hi", "answers": '[{"name": "t", "arguments": {}}]', "tools": "[]"},
    ],
}  # fmt: skip
"""Records of every form, with most of the fields that it maps."""
ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "[{",
    '{"a": 1}',
    [],
    {},
    [None],
    [[]],
    ["x"],
    {"a": None},
    [{}],
    10**30,
    -(10**30),
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from paths(inner, (*path, key))


def changed(row: Any, data: st.DataObject) -> Any:
    row = copy.deepcopy(row)
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(paths(row))
        if not places:
            break
        *outer, last = data.draw(st.sampled_from(places))
        inside = row
        for key in outer:
            inside = inside[key]
        if data.draw(st.booleans()) and isinstance(inside, dict):
            del inside[last]
        else:
            inside[last] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
    return row


@pytest.mark.parametrize("form", ROWS)
@settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_odd_records(form: str, data: st.DataObject) -> None:
    """A record of a form with something else in some of its places: refused with the file's name, or lines whose leaves add up."""
    rows = [changed(row, data) if data.draw(st.booleans()) else copy.deepcopy(row) for row in ROWS[form]]
    tally, lines, refused = Tally(), [], ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            lines = foreign_lines(form, [written(Path(folder) / "log.jsonl", *rows)], Path(folder), tally)
        except BadInputError as error:
            refused = str(error)
    assert lines or "log" in refused
    assert min(tally.mapped, tally.kept, tally.repeated) >= 0
    for line in lines:
        with contextlib.suppress(BadLineError):
            convert(line, place=Place("log.jsonl", 1), at=datetime(2026, 1, 1, tzinfo=UTC))
