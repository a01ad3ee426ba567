"""What an agent may hand to its recorder: anything at all, and nothing of it may break or be lost."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from itertools import count
from pathlib import PurePosixPath
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID

import pytest
from openai import NOT_GIVEN, omit
from pydantic import BaseModel

from pipelines.recorder.storable import MAX_VALUES, Storable
from tests.support.kept import Kept, new_talk


class Step(BaseModel):
    """A structured answer, as the SDK's `parse` is given its class."""

    action: str


class Silent:
    """Raises whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Unread(dict[str, Any]):
    """A mapping that cannot be read."""

    def items(self) -> Any:
        raise ValueError("no")


@dataclass
class Point:
    x: int
    y: Any


class Level(Enum):
    LOW = "low"


def numbers() -> Iterator[int]:
    yield 1


def ring() -> dict[str, Any]:
    """A mapping that holds itself."""
    made: dict[str, Any] = {"n": 1}
    made["self"] = [made]
    return made


def shared(levels: int) -> dict[str, Any]:
    """A mapping of a few objects that are 2 to the power of `levels` values."""
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"a": made, "b": made}
    return made


SCHEMA = {
    "name": "Step",
    "schema": {
        "type": "object",
        "title": "Step",
        "required": ["action"],
        "properties": {"action": {"type": "string", "title": "Action"}},
        "description": "A structured answer, as the SDK's `parse` is given its class.",
    },
}

CASES: list[tuple[Any, Any, int]] = [
    (Step, SCHEMA, 0),
    (Step(action="refund"), {"action": "refund"}, 0),
    (Silent, {"name": "Silent"}, 0),
    (Silent(), "<Silent that cannot be shown>", 1),
    (Unread(a=1), "{'a': 1}", 1),
    (numbers(), "<generator object numbers>", 1),
    (lambda: 1, "<function <lambda>>", 1),
    (float("nan"), "nan", 0),
    (float("-inf"), "-inf", 0),
    (b"\x00\xff", "b'\\x00\\xff'", 1),
    ({3, 1, 2}, [1, 2, 3], 0),
    (datetime(2026, 5, 4, tzinfo=UTC), "2026-05-04 00:00:00+00:00", 0),
    (date(2026, 5, 4), "2026-05-04", 0),
    (Decimal("1.10"), "1.10", 0),
    (UUID(int=5), "00000000-0000-0000-0000-000000000005", 0),
    (PurePosixPath("/tmp"), "/tmp", 0),
    (Point(1, Silent()), {"x": 1, "y": "<Silent that cannot be shown>"}, 1),
    (Level.LOW, "low", 0),
    ({1: "a", "1": "b", None: 0, (1, 2): 3}, {"1": "a", "null": 0, "1 (1)": "b", "(1, 2)": 3}, 0),
    (ring(), {"n": 1, "self": ["nested in itself"]}, 1),
    (MagicMock(), "<MagicMock>", 1),
    (threading.Lock(), "<unlocked _thread.lock object>", 1),
    ({"a": NOT_GIVEN, "b": [omit, 1]}, {"b": [1]}, 0),
    ("\ud800 \0", "\\ud800 \\u0000", 0),
    (1j, "1j", 1),
    (range(3), "range(0, 3)", 1),
]


@pytest.mark.parametrize(("value", "kept", "described"), CASES, ids=(str(number) for number in count()))
def test_any_value_is_kept_as_what_can_be_kept(value: Any, kept: Any, described: int) -> None:
    """JSON where it can be made, else a short description that is the same in every process; what changed is named."""
    storable = Storable()
    made = storable(value, "/here")
    json.dumps(made, allow_nan=False).encode()
    assert made == kept
    assert storable.described == described
    assert len(storable.changed) >= described


def test_descriptions_are_short_and_structures_bounded() -> None:
    """A million bytes are described in a line; what shares its parts without end is cut off."""
    storable = Storable()
    assert len(storable(b"x" * 1_000_000)) < 600
    nested: Any = []
    for _ in range(5_000):
        nested = [nested]
    storable(nested)
    assert storable.described == 2
    few = Storable()
    few._left = 5_000
    json.dumps(few(shared(40)))
    assert MAX_VALUES > few.described > 0


def test_a_value_that_the_stack_has_no_room_for_is_described_once() -> None:
    """An agent may call from so deep that its own stack ends first: what is below is one description, and is counted as one."""
    nested: Any = []
    for _ in range(150):
        nested = [nested]

    def from_below(frames: int) -> Storable:
        if frames:
            return from_below(frames - 1)
        storable = Storable()
        storable(nested)
        return storable

    depth, frame = 0, sys._getframe()
    while (frame := frame.f_back) is not None:
        depth += 1
    storable = from_below(sys.getrecursionlimit() - depth - 300)
    assert (storable.described, len(storable.changed)) == (1, 1)


def test_the_rest_of_a_talk_is_kept() -> None:
    """A class as response format, tools and outcome that no JSON can be made of: every event is there, and counted."""
    kept = Kept()
    talk = new_talk(kept)
    request = {
        "model": "m",
        "messages": [{"role": "system", "content": "Decide."}, {"role": "user", "content": "My lamp is broken."}],
        "response_format": Step,
        "tools": [Step, Silent()],
        "seed": Silent(),
        "stop": NOT_GIVEN,
    }
    answer = {"choices": [{"message": {"role": "assistant", "content": "Refund.", "parsed": Silent()}}]}
    talk.decision(request=request, response=answer)
    talk.tool_result("c", numbers(), error=Silent())
    talk.user(Silent())  # type: ignore[arg-type] -- whatever an agent may hand over
    talk.user([{"type": "tool_use"}, {"type": "text", "text": "Hello?"}])
    talk.context("row", ring())
    talk.end({"by": Silent()}, reason=None)
    assert [event.event_type.rsplit(".", 1)[0] for event in kept.events] == [
        "conversation.started",
        "user.utterance",
        "model.decision",
        "agent.utterance",
        "tool.result",
        "user.utterance",
        "user.utterance",
        "context.supplied",
        "conversation.ended",
    ]
    decision = kept.events[2]
    assert decision.payload["params"]["response_format"]["name"] == "Step"
    assert "stop" not in decision.payload["params"]
    assert set(decision.metadata["request_escaped"]) >= {"/response_format", "/seed", "/tools/1"}
    assert kept.events[6].payload["text"] == "Hello?"
    assert kept.described >= 6


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (Silent(), {"choices": [{"message": {"role": "assistant", "content": "x"}}]}),
        ({"model": "m", "messages": numbers()}, Silent()),
        ({"model": Silent(), "messages": [Silent(), {"role": "user", "content": "Hi"}], "tools": 5}, "text"),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, {"choices": 5}),
        ({"messages": {"role": "user"}}, {"choices": [Silent()], "usage": Silent()}),
        (None, {"choices": [{"message": Silent()}], "usage": {"prompt_tokens_details": 5}}),
    ],
    ids=(str(number) for number in count()),
)
def test_requests_and_responses_of_no_known_shape_are_decisions(request_: Any, response: Any) -> None:
    """Whatever was asked and answered, the decision is in the log, with what can be said of both."""
    kept = Kept()
    talk = new_talk(kept)
    talk.user("Hi")
    talk.decision(request=request_, response=response)
    types = [event.event_type.rpartition(".")[0] for event in kept.events]
    assert types.count("model.decision") == 1
    json.dumps([event.payload for event in kept.events], allow_nan=False)


def test_a_message_of_an_unknown_role_is_kept_whole() -> None:
    """What no event says is kept as what was supplied, and the messages beside it as what they are."""
    kept = Kept()
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "oracle", "content": "?"},
        {"role": "user", "content": "Yes"},
    ]
    new_talk(kept).decision(request={"model": "m", "messages": messages}, response={"choices": []})
    supplied = next(event for event in kept.events if event.event_type == "context.supplied.v1")
    assert supplied.payload["content"] == messages[1]
    assert [e.payload["text"] for e in kept.events if e.event_type == "user.utterance.v1"] == ["Hi", "Yes"]


@pytest.mark.parametrize(
    ("version", "path", "span", "told"),
    [
        (2, "", None, False),
        (2, "/text", None, False),
        (2, "/text", (0, 2), False),
        (2, "/txt", None, True),
        (2, "/text/0", None, True),
        (2, "text", None, True),
        (2, "/text", (5, 9), True),
        (9, "", None, True),
        (0, "", None, True),
        ("2", "", None, True),
    ],
)
def test_a_redaction_that_names_nothing_is_said(version: Any, path: str, span: Any, told: bool) -> None:
    """An event that is not there, a path that leads nowhere and a span outside its text are told; all are recorded."""
    kept = Kept()
    talk = new_talk(kept)
    talk.user("abcd")
    talk.redact(version, path=path, span=span, reason="r")
    assert kept.events[-1].event_type == "redaction.applied.v1"
    assert bool([about for about in kept.told if about.startswith("redaction")]) == told
