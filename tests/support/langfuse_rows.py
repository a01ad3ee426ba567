"""Rows of Langfuse, made up: a session of two calls and a tool between them."""

from __future__ import annotations

from typing import Any


def trace(**fields: Any) -> dict[str, Any]:
    return {"id": "t1", "projectId": "p1", "name": "desk", "timestamp": "2026-03-01T10:00:00.000Z", **fields}


def observation(number: int, kind: str = "GENERATION", **fields: Any) -> dict[str, Any]:
    return {
        "id": f"o{number}",
        "traceId": "t1",
        "projectId": "p1",
        "type": kind,
        "name": "chat",
        "startTime": f"2026-03-01T10:00:{number:02}.000Z",
        "endTime": f"2026-03-01T10:00:{number:02}.500Z",
        "parentObservationId": None,
        **fields,
    }


ASKED = [{"role": "user", "content": "Where is my parcel?"}]


CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"parcel": 7}'}}],
}


ANSWERED = {"role": "tool", "tool_call_id": "c1", "content": "at the depot"}


TOLD = {"role": "assistant", "content": "It is at the depot."}


def a_session() -> list[dict[str, Any]]:
    """Two calls and a tool between them."""
    return [
        observation(1, input=ASKED, output=CALLED, model="gpt-x", usageDetails={"input": 10, "output": 3, "total": 13}),
        observation(2, "TOOL", name="track", input={"parcel": 7}, output="at the depot"),
        observation(
            3,
            input=[*ASKED, CALLED, ANSWERED],
            output=TOLD,
            model="gpt-x",
            usageDetails={"input": 20, "output": 5, "total": 25},
        ),
    ]
