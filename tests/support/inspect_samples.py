"""Samples of Inspect, made up: two calls, a tool between them, and a call that a judge makes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

LONG = "A system text that stands in the attachments, since it is long."


HASH = hashlib.md5(LONG.encode(), usedforsecurity=False).hexdigest()


SYSTEM = {"id": "m0", "role": "system", "content": f"attachment://{HASH}"}


USER = {"id": "m1", "role": "user", "content": "How many lamps?", "source": "input"}


CALLED = {
    "id": "m2", "role": "assistant", "content": "", "source": "generate", "model": "gpt-x-1",
    "tool_calls": [{"id": "c1", "type": "function", "function": "stock", "arguments": {"item": "lamp"}}],
}  # fmt: skip


ANSWERED = {"id": "m3", "role": "tool", "content": "3", "tool_call_id": "c1", "function": "stock"}


TOLD = {
    "id": "m4",
    "role": "assistant",
    "content": [{"type": "reasoning", "reasoning": "count", "signature": "sig"}, {"type": "text", "text": "Three."}],
}


HEADER = {
    "version": 2,
    "status": "success",
    "eval": {"eval_id": "e1", "task": "shop", "model": "openai/gpt-x", "model_generate_config": {}, "task_args": {}},
    "plan": {"steps": []},
}


def second(number: float) -> str:
    return f"2026-03-01T10:00:{number:06.3f}+00:00"


def model(
    number: float, sent: list[dict[str, Any]], answer: dict[str, Any], span: str = "solver", **fields: Any
) -> dict[str, Any]:
    return {
        "event": "model", "uuid": f"e{number}", "span_id": span, "timestamp": second(number), "completed": second(number + 0.5),
        "model": "openai/gpt-x", "input": sent, "tools": [], "tool_choice": "auto", "config": {"temperature": 0.5},
        "output": {"model": "gpt-x-1", "choices": [{"message": answer, "stop_reason": "stop"}], "time": 0.4,
                   "usage": {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12, "input_tokens_cache_read": 4}},
        **fields,
    }  # fmt: skip


def begin(number: float, span: str, kind: str, parent: str | None = None, name: str = "x") -> dict[str, Any]:
    return {"event": "span_begin", "uuid": f"b{span}", "span_id": span, "timestamp": second(number), "id": span, "parent_id": parent,
            "type": kind, "name": name}  # fmt: skip


def end(number: float, span: str) -> dict[str, Any]:
    return {"event": "span_end", "uuid": f"z{span}", "span_id": span, "timestamp": second(number), "id": span}


def tool(number: float, **fields: Any) -> dict[str, Any]:
    return {"event": "tool", "uuid": f"e{number}", "span_id": "solver", "timestamp": second(number), "completed": second(number + 0.2),
            "type": "function", "id": "c1", "function": "stock", "arguments": {"item": "lamp"}, "result": "3", **fields}  # fmt: skip


def sample(**fields: Any) -> dict[str, Any]:
    """Two calls and a tool, then a judge's call, as a sample with its events."""
    judge = [{"id": "j0", "role": "user", "content": "Is it right?"}]
    return {
        "id": "lamps", "epoch": 1, "uuid": "u1", "input": "How many lamps?", "target": "3", "metadata": {"level": 2},
        "messages": [{**SYSTEM}, USER, CALLED, ANSWERED, TOLD],
        "scores": {"right": {"value": "C", "answer": "Three.", "explanation": "so it is"}, "speed": {"value": 0.5}},
        "attachments": {HASH: LONG},
        "events": [
            begin(0, "solver", "solver"),
            model(1, [SYSTEM, USER], CALLED),
            begin(2, "t1", "tool", "solver", "stock"), tool(2), end(2.2, "t1"),
            model(3, [SYSTEM, USER, CALLED, ANSWERED], TOLD),
            end(4, "solver"),
            begin(5, "scorers", "scorers"), begin(5, "s1", "scorer", "scorers", "right"),
            model(6, judge, {"id": "j1", "role": "assistant", "content": "GRADE: C"}, "s1"),
            end(7, "s1"), end(7, "scorers"),
        ],
        **fields,
    }  # fmt: skip


def log(
    path: Path, *given: dict[str, Any], header: dict[str, Any] | None = HEADER, method: int = zipfile.ZIP_DEFLATED
) -> Path:
    """A log of these samples."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("_journal/start.json", json.dumps({key: HEADER[key] for key in ("version", "eval", "plan")}))
        for each in given:
            archive.writestr(f"samples/{each['id']}_epoch_{each['epoch']}.json", json.dumps(each))
        if header is not None:
            archive.writestr("header.json", json.dumps(header))
    return path
