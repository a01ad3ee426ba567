"""Runs of LangSmith, made up: a graph of two calls and a tool between them."""

from __future__ import annotations

from typing import Any


def constructor(name: str, **kwargs: Any) -> dict[str, Any]:
    """A message as LangChain serialises it."""
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", name], "kwargs": kwargs}


HUMAN = constructor("HumanMessage", content="Where is my parcel?", type="human", id="h-1")


AGENT = constructor(
    "AIMessage",
    content="",
    id="lc_run--r2-0",
    tool_calls=[{"name": "track", "args": {"parcel": 7}, "id": "c1", "type": "tool_call"}],
    response_metadata={"model_name": "gpt-x-1", "id": "resp-1", "finish_reason": "tool_calls"},
    usage_metadata={
        "input_tokens": 10,
        "output_tokens": 3,
        "total_tokens": 13,
        "input_token_details": {"cache_read": 4},
    },
)


TOOL = constructor("ToolMessage", content="at the depot", tool_call_id="c1", id="t-1")


TOLD = constructor(
    "AIMessage", content="It is at the depot.", id="lc_run--r4-0", response_metadata={"finish_reason": "stop"}
)


def run(number: int, kind: str, parent: int | None = 1, trace: str = "r1", **fields: Any) -> dict[str, Any]:
    start = f"20260301T10000{number}000000Zr{number}"
    return {
        "id": f"r{number}",
        "trace_id": trace,
        "parent_run_id": None if parent is None else f"r{parent}",
        "dotted_order": start if parent is None else f"20260301T100001000000Zr1.{start}",
        "run_type": kind,
        "name": {"llm": "ChatOpenAI", "tool": "track"}.get(kind, "desk"),
        "start_time": f"2026-03-01T10:00:0{number}.000000",
        "end_time": f"2026-03-01T10:00:0{number}.500000",
        "session_id": "project-uuid",
        "session_name": "shop",
        "status": "success",
        "extra": {"metadata": {"thread_id": "s1", "user_id": "ann", "ls_model_name": "gpt-x", "ls_provider": "openai"}},
        **fields,
    }


def generated(message: dict[str, Any]) -> dict[str, Any]:
    return {"generations": [[{"text": message["kwargs"]["content"], "type": "ChatGeneration", "message": message}]]}


def a_thread() -> list[dict[str, Any]]:
    """A graph of two calls of a model and a tool between them, as its runs end: the outermost last."""
    params = {
        "invocation_params": {
            "model": "gpt-x",
            "temperature": 0.5,
            "tools": [{"type": "function", "function": {"name": "track"}}],
        }
    }
    first = run(2, "llm", inputs={"messages": [[HUMAN]]}, outputs=generated(AGENT))
    first["extra"] |= params
    return [
        first,
        run(3, "tool", inputs={"parcel": 7}, outputs={"output": TOOL}),
        run(4, "llm", inputs={"messages": [[HUMAN, AGENT, TOOL]]}, outputs=generated(TOLD)),
        run(1, "chain", None, inputs={"messages": []}, outputs={"messages": []}),
    ]
