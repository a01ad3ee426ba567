"""The recorded tools over MCP: what any client can say is answered, with what was recorded and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.replay.agents.mcp import HANDSHAKES, STATELESS, handle
from tests.support.chat_strategies import json_values
from tests.support.recorded_tools import BLOCKS, LISTED, PARTS, TOOLS, RecordedTools


def stage(*results: tuple[str, Any, Any]) -> Any:
    return RecordedTools(TOOLS, results)


def request(method: Any, params: Any = None, number: Any = 1, version: str | None = None) -> dict[str, Any]:
    meta = {"_meta": {"io.modelcontextprotocol/protocolVersion": version}} if version else {}
    given_params = {**(params or {}), **meta} if isinstance(params, dict | None) else params
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": given_params}


def result(method: str, params: Any = None, of: Any = None, version: str | None = None) -> Any:
    answer = handle(request(method, params, version=version), of or stage())
    assert isinstance(answer, dict)
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", 1)
    return answer["result"]


def fetched(of: Any, name: str = "find", **arguments: Any) -> Any:
    return result("tools/call", {"name": name, "arguments": arguments}, of)


@pytest.mark.parametrize("asked", HANDSHAKES)
def test_a_known_version_is_agreed_to(asked):
    """Whoever shakes hands gets the version that it named."""
    assert result("initialize", {"protocolVersion": asked})["protocolVersion"] == asked


@pytest.mark.parametrize("asked", ["2019-01-01", "2026-07-28", None, 7, {}])
def test_another_version_is_answered_with_the_newest(asked):
    """The client decides whether it goes on; the newest generation has no handshake, so it is not agreed to in one."""
    assert result("initialize", {"protocolVersion": asked})["protocolVersion"] == "2025-11-25"


def test_a_version_from_the_future_is_told_which_there_are():
    """The error names them all, so that a client that knows older ones goes on with these."""
    answer: Any = handle(request("server/discover", version="2031-01-01"), stage())
    assert answer["error"]["code"] == -32022
    assert answer["error"]["data"] == {"supported": (*HANDSHAKES, *STATELESS), "requested": "2031-01-01"}


def test_results_say_that_they_are_complete_where_the_version_wants_it():
    """A member that older clients do not know is left out for them; tools are not kept, the next unit has others."""
    assert result("tools/list", version="2026-07-28").keys() == {"tools", "resultType", "ttlMs", "cacheScope"}
    assert result("tools/list").keys() == {"tools"}


def test_tools_are_what_was_recorded():
    """Names and descriptions are as they were, whatever they say; a schema is that of an object; no other kind of tool has a form."""
    assert result("tools/list") == {"tools": LISTED}


def test_parts_come_as_parts():
    """Text and pictures whose bytes are there have a form; the JSON of every other part is text, so that nothing is lost."""
    assert fetched(stage(("find", {}, PARTS)))["content"] == BLOCKS


@pytest.mark.parametrize("text", ['{"result": 1.0}', "[1]", "", "null", " {} "])
def test_text_comes_as_it_was(text):
    """Also where it is JSON: the recorded agent read this text, and nothing beside it."""
    assert fetched(stage(("find", {}, text))) == {"content": [{"type": "text", "text": text}], "isError": False}


def test_an_equal_tool_call_gets_the_next_result():
    """One after the other; a tool call that the model did not make has none, and is told so in a result."""
    of = stage(("find", {"query": "a"}, "one"), ("find", {"query": "a"}, "two"))
    assert [fetched(of, query="a")["content"][0]["text"] for _ in range(2)] == ["one", "two"]
    said = fetched(of, query="b")
    assert said["isError"]
    assert said["content"][0]["text"].startswith("unrequested_call: ")


def test_no_arguments_are_an_empty_object():
    """A client may leave them out."""
    assert not result("tools/call", {"name": "bare"}, stage(("bare", {}, "done")))["isError"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (request("resources/list"), -32601),
        (request("tools/call", {"name": 1}), -32602),
        (request("tools/call", {"name": "find", "arguments": "{}"}), -32602),
        (request("tools/list", [1]), -32602),
        (request("ping", number=None), -32600),
        (request("ping", number=True), -32600),
        (request(7), -32600),
        ("ping", -32600),
        ([], -32600),
        (None, -32600),
    ],
    ids=repr,
)
def test_what_is_no_request_is_told_so(message, code):
    """In JSON-RPC's words; the tools are not asked."""
    answer: Any = handle(message, stage(("find", {}, "untouched")))
    assert answer["error"]["code"] == code


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "find", "arguments": {}}},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        [{"jsonrpc": "2.0", "method": "notifications/cancelled"}],
    ],
)
def test_what_wants_no_answer_gets_none(message):
    """A notification, and an answer to what was not asked; neither takes a result."""
    of = stage(("find", {}, "untouched"))
    assert handle(message, of) is None
    assert fetched(of)["content"][0]["text"] == "untouched"


def test_a_list_of_messages_is_answered_with_a_list():
    """As the protocol had it in one version; each by itself, in order."""
    messages = [
        request("ping", number="a"),
        {"jsonrpc": "2.0", "method": "notifications/x"},
        3,
        request("ping", number=2),
    ]
    answers: Any = handle(messages, stage())
    assert [(each["id"], "error" in each) for each in answers] == [("a", False), (None, True), (2, False)]


METHODS = ("initialize", "server/discover", "ping", "tools/list", "tools/call")
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "id": json_values,
        "method": st.sampled_from(METHODS) | json_values,
        "params": st.fixed_dictionaries(
            {}, optional={"name": json_values, "arguments": json_values, "_meta": json_values}
        ),
    },
)


@given(message=MESSAGES | st.lists(MESSAGES | json_values) | json_values, content=json_values)
def test_any_message_is_answered_or_wants_no_answer(message, content):
    """Never an exception, and what is answered is a result or an error, in JSON."""
    answers = handle(message, stage(("find", {}, content)))
    for answer in answers if isinstance(answers, list) else [] if answers is None else [answers]:
        assert answer.keys() in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
        json.dumps(answer)
