"""The examples of commands, and Python agents that run as commands: each asks a model twice, and a recorded tool between."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.replay.agents.commands import Command, CommandAgents
from pipelines.replay.agents.gateway import Gateway
from pipelines.replay.agents.sandbox import why_no_sandbox
from pipelines.replay.agents.session import Session, Tool
from pipelines.replay.agents.stage import AgentFailedError, Served, Task
from tests.support.environments import node_modules_with
from tests.support.stages import ScriptedStage

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
RUNNER = [sys.executable, "-m", "pipelines.replay.agents.runner"]
AGENT = """
import asyncio
from pipelines.replay.agents.session import AgentStopped

def messages_of(session):
    return [*session.messages, {"role": "user", "content": session.user}]

def run(session):
    print("thinking")
    if session.user == "broken":
        return 1 / 0
    if session.user == "stopped":
        try:
            session.result("other", {})
        except AgentStopped as error:
            return error.reason
    tools = {tool.name: tool for tool in session.tools}
    messages = messages_of(session)
    while True:
        body = {"model": session.model, "messages": messages, "tools": [tool.schema for tool in session.tools]}
        message = session.ask("chat", body)["choices"][0]["message"]
        messages.append(message)
        if not message.get("tool_calls"):
            return message["content"]
        for call in message["tool_calls"]:
            content = tools[call["function"]["name"]](call["function"]["arguments"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})

async def both(session):
    said = [session.ask("chat", {"model": session.model, "messages": messages_of(session)}) for _ in range(2)]
    return str(len(await asyncio.gather(*said)))
"""


def look_up_first(_api, body):
    """A tool call, and once its result is there the text that repeats it."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return Reply(f"It is {last['content']}.")
    return Reply(None, (ToolCall("look_up", {"key": last["content"]}),))


@asynccontextmanager
async def running(words, folder, stage, **named):
    """What runs a unit of the stage, given what its user says."""
    schema = {"type": "object", "properties": {"key": {"type": "string"}}}
    tool = Tool("look_up", "Finds.", schema, print)
    past = [{"role": "system", "content": "Be kind."}]
    async with Gateway() as gateway, CommandAgents(Command(words, folder, **named), gateway, 1) as crew:

        async def run(user):
            with gateway.unit(stage) as urls:
                return await crew.run(Task(Session(past, user, [tool], "m", *urls, {}, print, print), stage))

        yield run


async def run_once(words, folder, stage, **named):
    async with running(words, folder, stage, **named) as run:
        return await run("grüß dich")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    (folder / "own_agent.py").write_text(AGENT, encoding="utf-8")
    return folder


def check(words, folder, **named):
    stage = ScriptedStage(look_up_first, results={"look_up": "there"})
    assert asyncio.run(run_once(words, folder, stage, **named)) == "It is there."
    ((name, arguments),) = stage.fetched
    assert (name, json.loads(arguments) if isinstance(arguments, str) else arguments) == (
        "look_up",
        {"key": "grüß dich"},
    )
    assert [body["messages"][-1]["role"] for _, body, _ in stage.asked] == ["user", "tool"]
    assert {body["model"] for _, body, _ in stage.asked} == {"m"}
    assert stage.refused == []


def test_the_python_example(folder):
    """It has no packages."""
    check([sys.executable, "-I", "-S", str(EXAMPLES / "agent.py")], folder)


def test_the_node_example(tmp_path):
    """It has the official client."""
    (tmp_path / "node_modules").symlink_to(node_modules_with(EXAMPLES / "package.json"))
    shutil.copy(EXAMPLES / "agent.mjs", tmp_path)
    check(["node", "agent.mjs"], tmp_path)


def test_a_function_runs_as_a_command(folder):
    """As in the process: what it prints is no answer, it is told why nothing more is answered, and where it raised."""
    stage = ScriptedStage(look_up_first, results={"look_up": "there"})

    async def ask():
        async with running([*RUNNER, "own_agent:run"], folder, stage) as run:
            texts = [await run("hello"), await run("stopped")]
            with pytest.raises(AgentFailedError, match=r"ZeroDivisionError: division by zero at own_agent\.py:"):
                await run("broken")
            return [*texts, await run("hello")]

    assert asyncio.run(ask()) == ["It is there.", "unrequested_call", "It is there."]
    assert [name for name, _ in stage.fetched] == ["look_up", "other", "look_up"]


def test_a_function_runs_in_a_sandbox(folder):
    """Unchanged, with this Python and its packages."""
    if (why := why_no_sandbox(folder)) is not None:
        pytest.skip(f"no sandbox here: {why}")
    check([*RUNNER, "own_agent:run"], folder, is_confined=True)


def test_a_function_that_awaits_asks_at_once(folder):
    """Two model calls of one agent are under way together."""
    stage = ScriptedStage()
    assert asyncio.run(run_once([*RUNNER, "own_agent:both"], folder, stage)) == "2"
    assert len(stage.asked) == 2


def test_an_example_says_why_it_stopped(folder):
    """The gateway's refusal is the last thing that it tells."""
    over = Served(400, b'{"error": {"message": "budget_exhausted: no more"}}', 0)
    with pytest.raises(AgentFailedError, match="HTTPError: HTTP Error 400"):
        asyncio.run(run_once([sys.executable, str(EXAMPLES / "agent.py")], folder, ScriptedStage(lambda *_: over)))
