"""A command answers a line with a line; whatever else it does fails its unit, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.replay.agents import supervisor
from pipelines.replay.agents.commands import Command, CommandAgents, CommandsEndedError
from pipelines.replay.agents.environment import environment_of
from pipelines.replay.agents.gateway import Gateway
from pipelines.replay.agents.session import Session, Tool
from pipelines.replay.agents.stage import AgentFailedError, Task
from tests.support.stages import ScriptedStage
from tests.support.waiting import wait_until

MODEL_URL = "http://127.0.0.1:9/token/v1"
AGENT = r"""
import json, os, signal, subprocess, sys, time
KEPT = []
DOES = {
    "sleep": lambda unit: time.sleep(600),
    "exit": lambda unit: sys.exit(3),
    "leave": lambda unit: sys.exit(),
    "signal": lambda unit: os.kill(os.getpid(), signal.SIGUSR1),
    "garbage": lambda unit: print("thinking \x1b[2J"),
    "other id": lambda unit: print('{"id": "0", "text": "late"}'),
    "neither": lambda unit: print(json.dumps({"id": unit["id"]})),
    "number": lambda unit: print(json.dumps({"id": unit["id"], "text": 7})),
    "long": lambda unit: print("x" * (5 * 2**20)),
    "memory": lambda unit: (KEPT.append(bytearray(os.urandom(1)) * 300_000_000), time.sleep(600)),
}
for line in sys.stdin:
    unit = json.loads(line)
    user = unit["user"]
    if user.startswith("orphan "):  # a child of a child, in a session of its own, whose parent has ended
        code = "import os, sys, time; os.fork() and os._exit(0); os.setsid(); print(os.getpid(), file=open(sys.argv[1], 'w'), flush=True)"
        subprocess.run([sys.executable, "-S", "-c", code + "; time.sleep(600)", user[7:]], stdout=subprocess.DEVNULL)
        user = "sleep"
    print(f"about {user}", file=sys.stderr)
    if user in DOES:
        DOES[user](unit)
    elif user == "error":
        print(json.dumps({"id": unit["id"], "error": "no \x1b way"}))
    elif user == "twice":
        print(json.dumps({"id": unit["id"], "text": "one"}) + "\n{}")
    elif user == "half":
        print('{"id": "' + unit["id"] + '", "text": "cut \\ud83d"}')
    elif user == "none":
        print(json.dumps({"id": unit["id"], "text": None}))
    elif user == "environment":
        print(json.dumps({"id": unit["id"], "text": json.dumps(dict(os.environ))}))
    elif user == "pid":
        print(json.dumps({"id": unit["id"], "text": str(os.getpid())}))
    else:
        print(json.dumps({"id": unit["id"], "text": json.dumps(unit)}))
"""


@asynccontextmanager
async def open_agents(folder, width=1, **named):
    words = named.pop("words", [sys.executable, "-S", "agent.py"])
    async with Gateway() as gateway, CommandAgents(Command(words, folder, **named), gateway, width) as crew:
        yield crew


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    (folder / "agent.py").write_text(AGENT, encoding="utf-8")
    return folder


def task(user, **environment):
    tool = Tool("look_up", "Finds.", {"type": "object"}, lambda name, arguments: None)
    past = [{"role": "system", "content": "Be kind."}]
    session = Session(past, user, [tool], "m", MODEL_URL, "http://127.0.0.1:9/token/mcp", {"turn": 1}, print, print)
    return Task(session, ScriptedStage(), environment)


def is_running(pid):
    return int(pid) in supervisor.running()


def test_a_unit_is_a_line(folder):
    """A line holds what a session holds; the process that answered is asked again, and another only beside it."""

    async def ask():
        async with open_agents(folder, 2) as crew:
            unit = json.loads(await crew.run(task("hello")))
            pids = [await crew.run(task("pid")) for _ in range(3)]
            beside = await asyncio.gather(crew.run(task("pid")), crew.run(task("pid")))
            return unit, pids, beside, await crew.run(task("none")), await crew.run(task("half"))

    unit, pids, beside, nothing, half = asyncio.run(ask())
    assert unit == {
        "id": "1",
        "messages": [{"role": "system", "content": "Be kind."}],
        "user": "hello",
        "tools": [
            {
                "type": "function",
                "function": {"name": "look_up", "description": "Finds.", "parameters": {"type": "object"}},
            }
        ],
        "model": "m",
        "model_url": MODEL_URL,
        "mcp_url": "http://127.0.0.1:9/token/mcp",
        "tools_url": "http://127.0.0.1:9/token/tools",
        "metadata": {"turn": 1},
    }
    assert len({*pids}) == 1
    assert len({*beside, *pids}) == 2
    assert nothing is None
    assert half == "cut \ufffd"
    assert not any(map(is_running, beside))


FAULTS = {
    "exit": ("agent_ended", "with exit code 3; it wrote: about exit"),
    "leave": ("agent_ended", "with exit code 0 and was to read on; it wrote: about leave"),
    "signal": ("agent_ended", f"by signal {int(signal.SIGUSR1)}"),
    "sleep": ("agent_timeout", "no answer within 0.5 s; it wrote: about sleep"),
    "garbage": (
        "candidate_error",
        r"no answer, and all else belongs on standard error (Expecting value: line 1 column 1 (char 0)): thinking \x1b[2J",
    ),
    "other id": ("candidate_error", "it answered '0' and was asked about '2'"),
    "neither": ("candidate_error", "neither text nor error"),
    "number": ("candidate_error", "Expected `str | null`, got `int`"),
    "long": ("candidate_error", "longer than 4,194,304 bytes"),
    "memory": ("agent_memory", "MB of at most 200"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_its_unit_alone(folder, fault):
    """The unit has the reason and what the process wrote last, inert; the process is gone and the next unit has another one."""

    async def ask():
        limit = {"timeout_seconds": 0.5} if fault == "sleep" else {}
        async with open_agents(folder, memory_mb=200 if fault == "memory" else None, **limit) as crew:
            before = await crew.run(task("pid"))
            with pytest.raises(AgentFailedError) as failed:
                await crew.run(task(fault))
            return before, failed.value, is_running(before), await crew.run(task("pid"))

    before, failed, is_left, after = asyncio.run(ask())
    assert (failed.reason, str(failed)) == (FAULTS[fault][0], str(failed))
    assert FAULTS[fault][1] in str(failed)
    assert "\x1b" not in str(failed)
    assert not is_left
    assert after != before


def test_an_error_is_an_answer(folder):
    """Who says that there is no text has kept to the protocol, and lives on; who says more than one line does not."""

    async def ask():
        async with open_agents(folder) as crew:
            before = await crew.run(task("pid"))
            with pytest.raises(AgentFailedError, match=r"^no \\x1b way$") as failed:
                await crew.run(task("error"))
            same = await crew.run(task("pid"))
            with pytest.raises(
                AgentFailedError, match="neither text nor error"
            ):  # `{}` is no answer, and the first line was none
                await crew.run(task("neither"))
            return failed.value.reason, before, same

    reason, before, same = asyncio.run(ask())
    assert reason == "candidate_error"
    assert before == same


def test_a_line_that_nobody_asked_for_ends_the_process(folder):
    """The unit that was answered has its text; the next one is put before another process."""

    async def ask():
        async with open_agents(folder) as crew:
            before = await crew.run(task("pid"))
            text = await crew.run(task("twice"))
            return before, text, await crew.run(task("pid"))

    before, text, after = asyncio.run(ask())
    assert (text, before != after) == ("one", True)


def test_who_left_the_group_ends_too(folder, tmp_path):
    """A process in a session of its own, whose parent has ended, ends with the command that started it."""
    written = tmp_path / "pid"

    async def ask():
        async with open_agents(folder, timeout_seconds=30) as crew:
            asking = asyncio.create_task(crew.run(task(f"orphan {written}")))
            await asyncio.to_thread(
                wait_until, lambda: written.exists() and written.read_text(encoding="utf-8").strip()
            )
            pid = int(written.read_text(encoding="utf-8"))
            assert is_running(pid)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            return pid

    assert not is_running(asyncio.run(ask()))


def test_a_killed_replay_leaves_nobody_behind(folder, tmp_path):
    """SIGKILL ends whoever runs the agents without a last word; their processes notice, and what they wrote goes with them."""
    written = tmp_path / "pid"
    program = (
        "import asyncio, sys; from pathlib import Path; from pipelines.replay.agents import process\n"
        "async def ask():\n"
        "    agent = await process.start([sys.executable, '-S', 'agent.py'], Path(sys.argv[1]), {}, (), sys.argv[3])\n"
        "    await agent.ask(b'{\"user\": \"orphan ' + sys.argv[2].encode() + b'\"}\\n', 600)\n"
        "asyncio.run(ask())"
    )
    root = Path(__file__).parents[4]
    scratch = tmp_path / "scratch"
    (scratch / "of the agent").mkdir(parents=True)
    replay = subprocess.Popen([sys.executable, "-c", program, str(folder), str(written), str(scratch)], cwd=root)
    try:
        wait_until(lambda: written.exists() and written.read_text(encoding="utf-8").strip())
        left = supervisor.below(replay.pid, supervisor.running())
        assert int(written.read_text(encoding="utf-8")) in left
    finally:
        replay.kill()
        replay.wait()
    wait_until(lambda: not left & supervisor.running().keys())
    assert not scratch.exists()


def test_a_command_that_never_answers_ends_the_run(folder):
    """Ten processes in a row that answered nothing: one error, with the last one's words."""

    async def ask(words):
        async with open_agents(folder, words=words) as crew:
            for _ in range(9):
                with pytest.raises(AgentFailedError):
                    await crew.run(task("hello"))
            await crew.run(task("hello"))

    says = "started 10 times in a row and gave no answer to anything; the last time: the command ended with exit code 7; it wrote: no"
    with pytest.raises(CommandsEndedError, match=says):
        asyncio.run(ask(["sh", "-c", "echo no >&2; exit 7"]))


@pytest.mark.parametrize("words", [["no-such-program"], ["./agent.py"]])
def test_what_cannot_be_run_is_said_before(folder, words):
    """No such program, or one that may not be run: before the first unit."""

    async def enter():
        async with open_agents(folder, words=words):
            pass

    with pytest.raises(BadInputError, match="there is no program"):
        asyncio.run(enter())


def test_what_a_process_finds(folder, monkeypatch):
    """Keys of this process's are not there, a placeholder and the gateway are; what the run and the experiment name is."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("LC_TIME", "C")

    async def ask():
        async with open_agents(folder, environment={"FLAVOUR": "mint"}) as crew:
            first = json.loads(await crew.run(task("environment", REFOLD_UNIT="a")))
            second = json.loads(await crew.run(task("environment", REFOLD_UNIT="b")))
            return first, second

    found, later = asyncio.run(ask())
    model_url = found["OPENAI_BASE_URL"]
    assert found == environment_of(os.environ, model_url, {"REFOLD_UNIT": "a"}, {"FLAVOUR": "mint"})
    assert later == {**found, "REFOLD_UNIT": "b"}
    assert "secret" not in str(found)
    assert "sk-real" not in str(found)
    assert found["ANTHROPIC_BASE_URL"] == model_url.removesuffix("/v1")
    assert {"PATH", "LC_TIME", "FLAVOUR", "OPENAI_API_KEY"} <= found.keys()


def test_any_text_goes_in_and_comes_out(folder):
    """Whatever a person wrote is one line, and is read as it was."""
    with asyncio.Runner() as runner:
        opened = open_agents(folder)
        crew = runner.run(opened.__aenter__())
        try:

            @settings(max_examples=30, deadline=None)
            @given(st.text(st.characters(codec=None)))
            def check(text):
                assert json.loads(runner.run(crew.run(task("said: " + text))))["user"] == "said: " + text

            check()
        finally:
            runner.run(opened.__aexit__(None, None, None))
