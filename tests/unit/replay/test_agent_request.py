"""What an agent asks is the same whichever wire it asks over, and read as a recording of it is."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from pipelines.recorder.wire import read_request
from pipelines.replay.wires.agent_request import UnreadableRequestError, read_asked
from tests.support.agents import APIS, SYSTEM, TOOLS, Api, Loop
from tests.support.wires.form import Tokens
from tests.support.wires.wires import WIRES

ANSWER: dict[str, Any] = {
    "role": "assistant",
    "content": "I look.",
    "reasoning": "hm",
    "tool_calls": [
        {"id": f"call_{n}", "type": "function", "function": {"name": "look_up", "arguments": '{"cache_control": [1]}'}}
        for n in range(2)
    ],
}


def asked_by(api: Api) -> dict[str, Any]:
    """The request of an agent that was answered two calls."""
    loop = Loop(api, temperature=0)
    loop.user("hi")
    answer = WIRES[api].write(
        {"model": "m", "messages": [], "include": ["reasoning.encrypted_content"]}, ANSWER, Tokens(1)
    )
    loop.results({call: f"result {n}" for n, call in enumerate(loop.took(answer))})
    return json.loads(json.dumps(loop.request()))


@pytest.mark.parametrize("api", APIS)
def test_a_request_says_the_same_over_every_wire(api):
    """Texts, calls, results and tools as chat completions; the rest are parameters; the body stays as it was."""
    body = asked_by(api)
    before = deepcopy(body)
    asked = read_asked(api, body)
    assert body == before
    system, user, agent, *results = asked.messages
    assert [system["content"], user["content"], agent["content"]] == [SYSTEM, "hi", "I look."]
    calls = [call["function"] for call in agent["tool_calls"]]
    given = [
        json.loads(call["arguments"]) if isinstance(call["arguments"], str) else call["arguments"] for call in calls
    ]
    assert given == [{"cache_control": [1]}] * 2
    ids = [call["id"] for call in agent["tool_calls"]]
    assert [(each["role"], each["tool_call_id"], each["content"]) for each in results] == [
        ("tool", ids[0], "result 0"),
        ("tool", ids[1], "result 1"),
    ]
    assert (asked.model, asked.tools, asked.params["temperature"], asked.state) == ("m", TOOLS["chat"], 0, {})
    assert not {"messages", "input", "system", "instructions", "tools", "model"} & asked.params.keys()


@pytest.mark.parametrize("api", APIS)
def test_a_request_is_read_as_a_recording_of_it(api):
    """The recorder's reading is the rule."""
    body = asked_by(api)
    asked, recorded = read_asked(api, body), read_request(body, api)
    assert asked.messages == recorded.messages
    assert (asked.tools, asked.params, asked.model) == (recorded.tools, recorded.params, recorded.model)


def test_messages_that_the_provider_keeps_are_named():
    """A request that goes on from an earlier response says so."""
    asked = read_asked("responses", {"input": "go on", "previous_response_id": "resp_1", "conversation": None})
    assert (asked.messages, asked.state) == ([{"role": "user", "content": "go on"}], {"previous_response_id": "resp_1"})


@pytest.mark.parametrize(
    ("api", "body", "words"),
    [
        ("chat", {}, "messages is no list of objects"),
        ("chat", {"messages": ["hi"]}, "messages is no list of objects"),
        ("chat", {"messages": [], "tools": {}}, "tools is no list of objects"),
        ("chat", {"messages": [], "model": 5}, "model is no text"),
        ("messages", {"messages": "hi"}, "messages is no list of objects"),
        ("responses", {"input": 5}, "input is no list of objects"),
        ("responses", {"input": [None]}, "input is no list of objects"),
    ],
)
def test_what_is_no_request_is_told(api, body, words):
    """Each wire's list is one."""
    with pytest.raises(UnreadableRequestError, match=words):
        read_asked(api, body)
