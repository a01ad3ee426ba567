"""One small log of every form, made up: a question, two calls of tools at once, their answers, and what the agent said then.

Nothing is said twice in them, so that all that stands in a file must stand in its run lines.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

ASKED, SAID = "Where are my two parcels?", "One is at the depot, one is lost."
CALLS = (("c-one", "track", {"parcel": 71}), ("c-two", "track", {"parcel": 72}))
ANSWERS = (("c-two", "lost since May"), ("c-one", "at the depot"))
CHAT_CALLS = [{"id": i, "type": "function", "function": {"name": n, "arguments": json.dumps(a)}} for i, n, a in CALLS]
CHAT_ANSWERS = [{"role": "tool", "tool_call_id": i, "content": text} for i, text in ANSWERS]
CHAT = [
    {"role": "user", "content": ASKED},
    {"role": "assistant", "content": None, "tool_calls": CHAT_CALLS},
    *CHAT_ANSWERS,
]


@dataclass(frozen=True)
class Log:
    """One log.

    Attributes:
        form: What reads it.
        values: Its lines, or its one document.
        is_document: Whether it is one document.
        said: Messages of the user, texts of the agent, calls and results, as somebody counts them who reads it.
    """

    form: str
    values: list[Any]
    is_document: bool = False
    said: tuple[int, int, int, int] = (1, 1, 2, 2)


def at(second: int) -> str:
    return f"2026-03-01T10:00:{second:02d}.000Z"


def _claude(kind: str, second: int, content: Any, **more: Any) -> dict[str, Any]:
    message = {"role": kind, "content": content, **more}
    return {"type": kind, "uuid": f"u{second}", "sessionId": "s", "timestamp": at(second), "message": message}


def _claude_code() -> list[Any]:
    uses = [{"type": "tool_use", "id": i, "name": n, "input": a} for i, n, a in CALLS]
    results = [{"type": "tool_result", "tool_use_id": i, "content": text} for i, text in ANSWERS]
    return [
        _claude("user", 1, ASKED),
        *(_claude("assistant", n, [use], id="m1", model="m") for n, use in enumerate(uses, start=2)),
        *(_claude("user", n, [result]) for n, result in enumerate(results, start=4)),
        _claude("assistant", 6, [{"type": "text", "text": SAID}], id="m2", model="m"),
        {"type": "summary", "summary": "Parcels", "leafUuid": "u6"},
    ]


def _items() -> list[dict[str, Any]]:
    return [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": ASKED}]},
        *({"type": "function_call", "call_id": i, "name": n, "arguments": json.dumps(a)} for i, n, a in CALLS),
        *({"type": "function_call_output", "call_id": i, "output": text} for i, text in ANSWERS),
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": SAID}]},
    ]


def _codex() -> list[Any]:
    items = [{"timestamp": at(n), "type": "response_item", "payload": item} for n, item in enumerate(_items(), start=2)]
    head = {
        "timestamp": at(0),
        "type": "session_meta",
        "payload": {"id": "s", "timestamp": at(0), "git": {"branch": "b"}},
    }
    turn = {"timestamp": at(1), "type": "turn_context", "payload": {"model": "m", "cwd": "/w"}}
    end = {"timestamp": at(9), "type": "event_msg", "payload": {"type": "task_started", "window": 7}}
    return [head, turn, *items, end]


def _atif() -> dict[str, Any]:
    calls = [{"tool_call_id": i, "function_name": n, "arguments": a} for i, n, a in CALLS]
    results = [{"source_call_id": i, "content": text} for i, text in ANSWERS]
    sub = {
        "trajectory_id": "t2",
        "agent": {"name": "sub"},
        "steps": [{"step_id": 1, "source": "system", "message": "Look."}],
    }
    steps = [
        {"step_id": 1, "source": "user", "message": ASKED},
        {"step_id": 2, "source": "agent", "message": "", "tool_calls": calls, "observation": {"results": results}},
        {"step_id": 3, "source": "agent", "message": SAID, "metrics": {"prompt_tokens": 8, "extra": {"a": 1}}},
    ]
    agent = {"name": "a", "version": "1", "extra": {"k": "v"}}
    return {
        "schema_version": "ATIF-v1.8",
        "session_id": "s",
        "agent": agent,
        "steps": steps,
        "subagent_trajectories": [sub],
    }


def _swe_agent() -> dict[str, Any]:
    results = [{"role": "tool", "content": text, "tool_call_ids": [i]} for i, text in ANSWERS]
    history = [*CHAT[:2], *results, {"role": "assistant", "content": SAID, "agent": "main"}]
    return {
        "trajectory": [{"action": "x", "state": {"open": "a.py"}}],
        "history": history,
        "info": {"model_stats": {"api_calls": 2}},
    }


def _openhands() -> list[Any]:
    def event(kind: str, number: int, source: str = "agent", **more: Any) -> dict[str, Any]:
        return {"kind": kind, "id": f"e{number}", "timestamp": at(number), "source": source, **more}

    def said(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": [{"type": "text", "text": text}]}

    actions = [
        event("ActionEvent", n, thought=[], tool_name=name, tool_call_id=i, llm_response_id="r1",
              tool_call={"id": i, "name": name, "arguments": json.dumps(a)}, action={"kind": "Track", "summary": f"s{n}"})
        for n, (i, name, a) in enumerate(CALLS, start=2)
    ]  # fmt: skip
    results = [
        event(
            "ObservationEvent",
            n,
            "environment",
            tool_call_id=i,
            observation={"content": [{"type": "text", "text": text}]},
        )
        for n, (i, text) in enumerate(ANSWERS, start=4)
    ]
    return [
        event("MessageEvent", 1, "user", llm_message=said("user", ASKED)),
        *actions,
        *results,
        event("MessageEvent", 6, llm_message=said("assistant", SAID)),
        event("PauseEvent", 7, "user"),
    ]


def _openhands_history() -> list[Any]:
    runs = [{"id": n, "action": "run", "args": {"command": f"track {n}"}, "source": "agent"} for n in (2, 3)]
    results = [
        {"id": 7 - n, "observation": "run", "content": f"at {n}", "cause": n, "extras": {"exit_code": 0}}
        for n in (3, 2)
    ]
    history = [
        {"action": "initialize", "args": {"runtime": "docker"}},
        {"id": 1, "action": "message", "source": "user", "args": {"content": ASKED}},
        *runs,
        *results,
        {"id": 6, "action": "message", "source": "agent", "args": {"content": SAID}},
    ]
    return [{"instance_id": "i", "history": history, "metrics": {"cost": 1.5}}]


def _voice(vendor: str) -> dict[str, Any]:
    calls = {
        "elevenlabs": {"role": "agent", "time_in_call_secs": 2, "tool_calls": [{"request_id": i, "tool_name": n, "params_as_json": json.dumps(a)} for i, n, a in CALLS]},
        "vapi": {"role": "tool_calls", "toolCalls": [{"id": i, "function": {"name": n, "arguments": json.dumps(a)}} for i, n, a in CALLS]},
    }  # fmt: skip
    if vendor == "elevenlabs":
        results = [{"request_id": i, "tool_name": "track", "result_value": text} for i, text in ANSWERS]
        items = [
            {
                "role": "user",
                "message": ASKED,
                "time_in_call_secs": 1,
                "conversation_turn_metrics": {"metrics": {"a": {"b": 1}}},
            },
            calls[vendor] | {"tool_results": results},
            {"role": "agent", "message": SAID, "time_in_call_secs": 4},
        ]
        return {
            "type": "post_call_transcription",
            "data": {"conversation_id": "v", "transcript": items, "metadata": {"cost": 5}},
        }
    if vendor == "retell":
        invoked = [
            {"role": "tool_call_invocation", "tool_call_id": i, "name": n, "arguments": json.dumps(a)}
            for i, n, a in CALLS
        ]
        results = [{"role": "tool_call_result", "tool_call_id": i, "content": text} for i, text in ANSWERS]
        words = [{"word": "Where", "start": 0.5, "end": 0.9}]
        items = [
            {"role": "user", "content": ASKED, "words": words},
            *invoked,
            *results,
            {"role": "agent", "content": SAID},
        ]
        return {
            "event": "call_analyzed",
            "call": {"call_id": "v", "transcript_with_tool_calls": items, "latency": {"llm": {"p50": 9}}},
        }
    if vendor == "vapi":
        results = [{"role": "tool_call_result", "toolCallId": i, "result": text} for i, text in ANSWERS]
        items = [
            {"role": "user", "message": ASKED, "metadata": {"m": 1}},
            calls[vendor],
            *results,
            {"role": "bot", "message": SAID},
        ]
        return {
            "message": {
                "type": "end-of-call-report",
                "call": {"id": "v"},
                "artifact": {"messages": items},
                "costs": [{"cost": 1}],
            }
        }
    invoked = [{"type": "function_call", "call_id": i, "name": n, "arguments": json.dumps(a)} for i, n, a in CALLS]
    results = [{"type": "function_call_output", "call_id": i, "output": text} for i, text in ANSWERS]
    said = [
        {"type": "message", "role": role, "content": [text]} for role, text in (("user", ASKED), ("assistant", SAID))
    ]
    return {
        "job_id": "v",
        "chat_history": {"items": [said[0], *invoked, *results, said[1]]},
        "options": {"vad": {"k": 1}},
    }


def _langfuse() -> dict[str, Any]:
    call = {"id": "o1", "traceId": "t", "projectId": "p", "type": "GENERATION", "name": "g", "startTime": at(1), "input": CHAT,
            "output": {"role": "assistant", "content": SAID}, "usageDetails": {"input": 4}, "metadata": {"attributes": {"k": "v"}}}  # fmt: skip
    trace = {"id": "t", "projectId": "p", "name": "n", "timestamp": at(0), "metadata": {"m": {"n": 1}}}
    return {"trace": trace, "observations": [call]}


def _langsmith() -> dict[str, Any]:
    begun = {"id": "r1", "trace_id": "r1", "run_type": "llm", "name": "g", "start_time": 1_772_000_000_000,
             "inputs": {"messages": CHAT, "model": "m"}, "extra": {"metadata": {"ls_model_name": "m"}, "runtime": {"sdk": "x"}}}  # fmt: skip
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": SAID},
        "finish_reason": "stop",
        "logprobs": {"content": [{"token": "One"}]},
    }
    outputs = {"choices": [choice], "usage_metadata": {"input_tokens": 4, "input_token_details": {"audio": 2}}}
    return {"post": [begun], "patch": [{"end_time": 1_772_000_001_000, "outputs": outputs}]}


def _exchange() -> list[Any]:
    uses = [{"type": "tool_use", "id": i, "name": n, "input": a} for i, n, a in CALLS]
    results = [{"type": "tool_result", "tool_use_id": i, "content": text} for i, text in ANSWERS]
    messages = [
        {"role": "user", "content": ASKED},
        {"role": "assistant", "content": uses},
        {"role": "user", "content": results},
    ]
    response = {"id": "r", "model": "m", "role": "assistant", "content": [{"type": "text", "text": SAID, "citations": [{"url": "u"}]}],
                "stop_reason": "end_turn", "usage": {"input_tokens": 3, "server_tool_use": {"web": 1}}}  # fmt: skip
    return [{"request": {"model": "m", "messages": messages, "metadata": {"user_id": "ann"}}, "response": response}]


def _managed() -> list[Any]:
    uses = [{"type": "agent.tool_use", "id": i, "name": n, "input": a, "processed_at": at(2)} for i, n, a in CALLS]
    results = [
        {"type": "agent.tool_result", "id": f"x{i}", "tool_use_id": i, "content": [{"type": "text", "text": text}]}
        for i, text in ANSWERS
    ]
    said = [{"type": f"{who}.message", "id": f"e-{who}", "content": [{"type": "text", "text": text}]}
            for who, text in (("user", ASKED), ("agent", SAID))]  # fmt: skip
    end = {"type": "span.model_request_end", "id": "sp", "model_usage": {"input_tokens": 2, "speed": {"k": 1}}}
    return [
        said[0],
        *uses,
        *results,
        said[1],
        end,
        {"type": "session.status_idle", "id": "z", "stop_reason": {"type": "end_turn"}},
    ]


def _litellm() -> list[Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": SAID},
        "finish_reason": "stop",
        "provider_specific_fields": {"k": 1},
    }
    response = {
        "id": "r",
        "model": "m",
        "choices": [choice],
        "usage": {"prompt_tokens": 5, "prompt_tokens_details": {"audio": 1}},
    }
    return [
        {"messages": CHAT, "kwargs": {"model": "m", "metadata": {"k": {"l": 1}}}, "response": response, "cost": 0.5}
    ]


def _rollout() -> list[Any]:
    asked, *came = _items()
    response = {"id": "r", "model": "m", "output": came, "usage": {"input_tokens": 2, "x": {"y": 1}}}
    return [{"responses_create_params": {"input": [asked]}, "response": response, "verifier": {"k": 1}}]


def _agents_traces() -> dict[str, Any]:
    trace = {"object": "trace", "id": "t", "workflow_name": "w", "group_id": "g", "metadata": {"k": "v"}}
    answer = [{"role": "assistant", "content": SAID}]
    usage = {"input_tokens": 3, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1, "text": 2}}
    data = {
        "type": "generation",
        "input": CHAT,
        "output": answer,
        "model": "m",
        "model_config": {"a": {"b": 1}},
        "usage": usage,
    }
    span = {
        "object": "trace.span",
        "id": "sp",
        "trace_id": "t",
        "started_at": at(1),
        "ended_at": at(2),
        "span_data": data,
    }
    return {"data": [trace, span], "page": 1}


def _inspect() -> dict[str, Any]:
    calls = [{"id": i, "function": n, "arguments": a} for i, n, a in CALLS]
    messages = [
        {"id": "1", "role": "user", "content": ASKED},
        {"id": "2", "role": "assistant", "content": "", "tool_calls": calls},
        *({"id": f"3{i}", "role": "tool", "tool_call_id": i, "content": text} for i, text in ANSWERS),
        {"id": "4", "role": "assistant", "content": SAID, "metadata": {"k": 1}},
    ]
    scores = {"s": {"value": 1, "metadata": {"k": 2}}}
    sample = {
        "id": "a",
        "epoch": 1,
        "uuid": "u",
        "messages": messages,
        "scores": scores,
        "store": {"k": {"l": 3}},
        "events": [],
    }
    return {"version": 2, "eval": {"task": "t", "model": "m", "dataset": {"name": "d"}}, "samples": [sample]}


def _sharegpt() -> list[Any]:
    called = [{"name": n, "arguments": a} for _, n, a in CALLS]
    turns = [
        ("human", ASKED),
        ("function_call", json.dumps(called)),
        *(("observation", text) for _, text in ANSWERS),
        ("gpt", SAID),
    ]
    return [{"id": "d", "conversations": [{"from": who, "value": value} for who, value in turns]}]


def _parts() -> list[Any]:
    called = [{"type": "tool_call", "value": json.dumps({"name": n, "arguments": a})} for _, n, a in CALLS]
    turns = [
        ("user", [{"type": "text", "value": ASKED}]),
        ("assistant", [{"type": "reasoning", "value": "two of them"}, *called]),
        ("tool", [{"type": "text", "value": text} for _, text in ANSWERS]),
        ("assistant", [{"type": "text", "value": SAID}]),
    ]
    return [{"id": "d", "messages": [{"role": role, "content": content} for role, content in turns]}]


LOGS = {
    "langfuse": Log("langfuse", [_langfuse()], is_document=True),
    "langsmith": Log("langsmith", [_langsmith()], is_document=True),
    "inspect": Log("inspect", [_inspect()], is_document=True),
    **{f"voice-{each}": Log("voice", [_voice(each)], is_document=True) for each in ("elevenlabs", "retell", "vapi", "livekit")},
    "responses-items": Log("responses", _items()),
    "responses-page": Log("responses", [{"object": "list", "data": _items(), "has_more": False}], is_document=True),
    "agents-traces": Log("responses", [_agents_traces()], is_document=True),
    "responses-rollout": Log("responses", _rollout()),
    "anthropic-exchange": Log("anthropic", _exchange()),
    "anthropic-events": Log("anthropic", _managed()),
    "anthropic-page": Log("anthropic", [{"data": _managed(), "next_page": "p2"}], is_document=True),
    "litellm": Log("litellm", _litellm()),
    "claude-code": Log("claude-code", _claude_code()),
    "codex": Log("codex", _codex()),
    "atif": Log("atif", [_atif()], is_document=True),
    "swe-agent": Log("swe-agent", [_swe_agent()], is_document=True),
    "openhands": Log("openhands", _openhands()),
    "openhands-history": Log("openhands", _openhands_history()),
    "sharegpt": Log("dataset", _sharegpt()),
    "parts": Log("dataset", _parts()),
}  # fmt: skip
