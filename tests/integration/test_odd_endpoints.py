"""Endpoints with a habit of their own, asked by an experiment: the same agent behind each is the recording again.

A parcel agent is recorded through the import and then answers itself over HTTP, exactly; what is odd is what its endpoint wants
in a request or how it writes an answer. A habit that is not met turns units down, or loses calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store
from tests.support.history import query
from tests.support.model_server import ModelServer, serving
from tests.support.shop import add, replay, text_of

Message = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]
PARCELS = 3
DECISIONS = 4 * PARCELS
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("read_clock", "find_parcel")]


def call(name: str, arguments: str) -> Message:
    return {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}


def parcel_agent(messages: list[Message]) -> Message:
    """Declines the first wish; then reads the clock, finds the parcel and says where it is."""
    since = max(place for place, message in enumerate(messages) if message["role"] == "user")
    done = len([message for message in messages[since:] if message["role"] == "tool"])
    if since < 2:
        return {"content": None, "refusal": "I do not give out addresses."}
    if done == 2:
        return {"content": "In Lund."}
    calls = [call("read_clock", "{}"), call("find_parcel", '{"parcel": "P-1"}')]
    return {"content": None, "tool_calls": [calls[done]]}


def conversation(number: int) -> dict[str, Any]:
    """Recorded: somebody named asks twice, and the agent answers as above."""
    messages: list[Message] = [{"role": "system", "content": "You serve a parcel shop."}]
    for wish in (f"Whose is parcel {number}?", "Then where is mine?"):
        messages.append({"role": "user", "name": "Ines", "content": wish})
        while True:
            answer = parcel_agent(messages)
            messages.append({"role": "assistant", **answer})
            if not answer.get("tool_calls"):
                break
            messages.append({"role": "tool", "tool_call_id": answer["tool_calls"][0]["id"], "content": "{}"})
    started = f"2026-01-0{number + 1}T09:00:00Z"
    facts = {"source": "parcels", "conversation_id": str(number), "started_at": started, "tools": TOOLS}
    return {**facts, "messages": messages}


def is_strict(messages: list[Message]) -> bool:
    """Ids of nine letters or digits, speakers by name, and no message of the agent's without any content."""
    said = [message for message in messages if message["role"] == "assistant"]
    ids = [made["id"] for message in said for made in message.get("tool_calls") or ()]
    ids += [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    return (
        all(re.fullmatch("[0-9A-Za-z]{9}", each) for each in ids)
        and all(message.get("name") == "Ines" for message in messages if message["role"] == "user")
        and all(message.get("content") or message.get("tool_calls") or message.get("refusal") for message in said)
    )


def as_function_call(choice: Message) -> list[Message]:
    calls = choice["message"].pop("tool_calls", None)
    if calls:
        choice["message"]["function_call"] = calls[0]["function"]
        choice["finish_reason"] = "function_call"
    return [choice]


def in_two_choices(choice: Message) -> list[Message]:
    calls = choice["message"].pop("tool_calls", None)
    if not calls:
        return [choice]
    second = {"role": "assistant", "content": None, "tool_calls": calls}
    return [choice, {"index": 1, "finish_reason": "tool_calls", "message": second}]


def without_arguments(choice: Message) -> list[Message]:
    for made in choice["message"].get("tool_calls", ()):
        if made["function"]["arguments"] == "{}":
            made["function"]["arguments"] = ""
    return [choice]


def with_reasoning(choice: Message) -> list[Message]:
    choice["message"]["reasoning_content"] = "I think about parcels."
    return [choice]


HABITS: dict[str, Callable[[Message], list[Message]]] = {
    "function_call": as_function_call,
    "two choices": in_two_choices,
    "no arguments": without_arguments,
    "reasoning": with_reasoning,
}


def endpoint(habit: str) -> Callable[[dict[str, Any], int], Response]:
    """A strict endpoint that writes its answers in one way; after a new message of the person's, one that reasons wants its
    reasoning of the calls since then back."""

    def respond(body: dict[str, Any], _times: int) -> Response:
        messages = body["messages"]
        since = max(place for place, message in enumerate(messages) if message["role"] == "user")
        is_wanting = habit == "reasoning" and any(
            message.get("tool_calls") and not message.get("reasoning_content") for message in messages[since:]
        )
        if is_wanting or not is_strict(messages):
            return 400, {}, json.dumps({"error": {"message": f"not taken: {messages}"}}).encode()
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **parcel_agent(messages)}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        document = {"model": body["model"], "choices": HABITS[habit](choice), "usage": usage}
        return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()

    return respond


@pytest.fixture
def lake(store: Store, settings: Settings, tmp_path: Path) -> Lake:
    lake = Lake.from_settings(settings)
    add(store, lake, tmp_path, [conversation(number) for number in range(PARCELS)])
    return lake


def test_the_agent_behind_any_endpoint_is_its_recording(lake: Lake, settings: Settings, tmp_path: Path) -> None:
    """Each turn of a walk: no unit fails, and calls, texts and refusals are the recorded ones."""
    recorded = query(lake, "SELECT turn, text, is_refusal, [c.name FOR c IN tool_calls] FROM decisions ORDER BY ALL")
    assert len(recorded) == DECISIONS
    refusals = {(turn, text, declined) for turn, text, declined, calls in recorded if not calls}
    assert refusals == {(1, "I do not give out addresses.", True), (2, "In Lund.", False)}
    for habit in HABITS:
        with serving(ModelServer(respond=endpoint(habit))) as server:
            mode = "tools: {unknown: read}\nmode: turn\n"
            result = replay(lake, settings, text_of(server, name=habit.replace(" ", "-"), rest=mode), tmp_path)
        assert (result.units, result.failures) == (2 * PARCELS, {}), habit
        found = query(
            lake,
            "SELECT turn, text, is_refusal, [c.name FOR c IN tool_calls], divergence, coverage, count(*) FROM replays_history "
            f"WHERE version_id = '{result.version_id}' GROUP BY ALL ORDER BY ALL",
        )
        assert found == [
            (1, "I do not give out addresses.", True, [], None, None, PARCELS),
            (2, "In Lund.", False, ["read_clock", "find_parcel"], None, 1.0, PARCELS),
        ], habit
