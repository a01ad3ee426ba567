"""Agents that send the last messages of a long conversation: a window that slides, so that no call begins with all that was said."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pipelines.ingest.assemble.conversation import assemble
from pipelines.ingest.assemble.rows import Call, Message
from pipelines.ingest.convert import Place, convert
from pipelines.log.context import Context, request_sha256

_CALLS, _WINDOW = 150, 80


def window_calls(count: int, size: int, system: int = 1) -> Iterator[Call]:
    """Calls of one conversation, each sent the system messages and the last messages; read anew, as of a file."""
    said: list[dict[str, str]] = []
    for number in range(count):
        said.append({"role": "user", "content": f"question {number}" * 10})
        sent = [{"role": "system", "content": f"rule {n}"} for n in range(system)] + said[-size:]
        call = Call(f"c{number}", f"f:{number}", model="m", start=number * 10 + 1, end=number * 10 + 5)
        call.input = [Message(json.loads(json.dumps(each)), leaves=2) for each in sent]
        answer = {"role": "assistant", "content": f"answer {number}"}
        call.output = [Message(dict(answer), leaves=2)]
        said.append(answer)
        yield call


@pytest.mark.parametrize(("size", "system"), [(2, 1), (3, 0), (4, 2), (7, 1), (200, 1)])
def test_every_request_comes_back(size: int, system: int) -> None:
    """All is said once, what left the window is told as a range, and the context of every call is what it was sent."""
    calls = list(window_calls(30, size, system))
    sent = [[message.chat for message in call.input or ()] for call in calls]
    made = assemble("c", iter(calls), source="s")
    (line,) = made.lines
    said = [each["content"] for each in line["messages"] if each["role"] == "user"]
    assert said == [f"question {n}" * 10 for n in range(30)]
    assert made.tally.leaves == 0
    assert made.tally.repeated == sum(2 * len(each) for each in sent) - 2 * (system + 30)
    context, found = Context(), []
    for event in convert(line, place=Place("f", 1), at=datetime(2026, 1, 1, tzinfo=UTC)).events:
        if event.event_type.startswith("model.decision."):
            assert request_sha256(context.messages, model="m") == event.payload["request_sha256"]
            found.append([dict(each) for each in context.messages])
        if event.event_type.startswith("context.compacted."):
            assert (event.payload["kind"], event.payload["replacement"]) == ("truncate", [])
        context.apply(event.event_type, event.payload, event.metadata)
    assert found == sent


def test_memory_is_of_the_messages() -> None:
    """What calls were sent again takes little: neither its texts are held for every call, nor are they in the line."""
    tracemalloc.start()
    try:
        made = assemble("c", window_calls(_CALLS, _WINDOW), source="s")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    sent = _CALLS * _WINDOW
    assert peak / sent < 400
    assert len(json.dumps(made.lines)) < _CALLS * 1_000
