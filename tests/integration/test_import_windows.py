"""Export windows of trace stores: a conversation that goes on in the next one is the same as one that was imported whole."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.foreign import written
from tests.support.verbs import Verbs


def said(number: int) -> dict[str, Any]:
    return {"role": "user" if number % 2 == 0 else "assistant", "content": f"message {number}"}


def langfuse(number: int) -> dict[str, Any]:
    """An observation of the day `number`, with all that was said on the days before."""
    return {
        "id": f"o{number}", "traceId": f"t{number}", "projectId": "p", "type": "GENERATION", "name": "chat", "sessionId": "s1", "model": "gpt-x",
        "startTime": f"2026-03-0{number}T10:00:00Z", "endTime": f"2026-03-0{number}T10:00:01Z",
        "input": [said(n) for n in range(2 * number - 1)], "output": said(2 * number - 1), "usageDetails": {"input": 10, "output": 2},
    }  # fmt: skip


def langsmith(number: int) -> dict[str, Any]:
    """The same as a run."""
    return {
        "id": f"r{number}", "trace_id": f"r{number}", "run_type": "llm", "name": "ChatOpenAI", "dotted_order": f"2026030{number}T100000000000Zr{number}",
        "start_time": f"2026-03-0{number}T10:00:00", "end_time": f"2026-03-0{number}T10:00:01",
        "extra": {"metadata": {"thread_id": "s1", "ls_model_name": "gpt-x"}},
        "inputs": {"messages": [said(n) for n in range(2 * number - 1)]}, "outputs": {"choices": [{"message": said(2 * number - 1)}]},
    }  # fmt: skip


def score(number: int) -> dict[str, Any]:
    return {"id": f"s{number}", "traceId": f"t{number}", "projectId": "p", "name": "helpful", "value": number, "dataType": "NUMERIC", "source": "EVAL",
            "timestamp": f"2026-03-0{number}T12:00:00Z"}  # fmt: skip


@pytest.mark.parametrize(("form", "row"), [("langfuse", langfuse), ("langsmith", langsmith)])
def test_day_by_day_and_at_once(refold: Verbs, tmp_path: Path, form: str, row: Any) -> None:
    """Three days, each window overlapping the one before, against one import of everything; then again, which appends nothing."""
    days = [[row(n) for n in (1, 2, 3) if n <= day] for day in (1, 2, 3)]
    if form == "langfuse":
        days[1].append(score(1))  # what is found later is about what was there
        days[2].append(score(1))
    for day, rows in enumerate(days, start=1):
        code, _, error = refold("import", form, "--source", "grown", str(written(tmp_path / f"{day}.jsonl", rows)))
        assert code == 0, error
    code, _, error = refold("import", form, "--source", "whole", str(tmp_path / "3.jsonl"))
    assert code == 0, error
    grown, whole = (line_of(refold, source) for source in ("grown", "whole"))
    assert [each["content"] for each in grown["messages"]] == [f"message {n}" for n in range(6)]
    assert grown["messages"] == whole["messages"]
    assert scores(grown) == scores(whole) == ([("helpful", 1)] if form == "langfuse" else [])
    again = json.loads(refold("import", form, "--source", "grown", "--json", str(tmp_path / "3.jsonl"))[1])
    assert again["imported"]["events"] == 0


def scores(line: dict[str, Any]) -> list[tuple[str, Any]]:
    """Name and value of each; those that came later stand among the events that no field of a line says."""
    later = [
        each["payload"]
        for each in line.get("records", {}).get("refold", {}).get("events", ())
        if each["event_type"].startswith("score.")
    ]
    return [(each["name"], each["value"]) for each in [*line.get("scores", ()), *later]]


def line_of(refold: Verbs, source: str) -> dict[str, Any]:
    """The one line of a source."""
    code, told, error = refold("lines", "--source", source, "-o", "-")
    assert code == 0, error
    (line,) = [each for each in map(json.loads, told.splitlines()) if "messages" in each]
    for message in line["messages"]:  # a time is the same however many digits it is written with
        message["timestamp"] = datetime.fromisoformat(message["timestamp"])
    return dict(line)
