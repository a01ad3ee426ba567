"""`agents`: what a whole agent under replay costs, whatever way it asks: over the gateway, by `Session.ask`, as a command.

Models answer at once and tools are recorded, so that what is measured is this program's.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pipelines.experiment.code import PythonCandidate
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.folds.run import fold_month
from pipelines.replay.agents.commands import Command, CommandAgents
from pipelines.replay.agents.functions import FunctionAgents
from pipelines.replay.agents.gateway import Gateway, Urls
from pipelines.replay.agents.session import Session
from pipelines.replay.agents.stage import Agents, Task
from pipelines.replay.run import run_replay
from pipelines.settings import Settings
from tests.benchmarks.agents_http import ReadyStage, bare_calls, gateway_calls, gateway_tool_calls, package_tool_calls
from tests.benchmarks.candidates import ask_once
from tests.benchmarks.copies import copied_lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, write_lake
from tests.benchmarks.rounds import ROOT, Bench, Measure, Trial, TrialFailed
from tests.support.documented import write_documented
from tests.support.environments import python_beside, python_with
from tests.support.wires.wires import WIRES

HERE = Path(__file__).parent
REQUIREMENTS = ROOT / "tests" / "agents" / "requirements"
FRAMEWORKS = {
    "plain": "openai_agent",
    "openai_agents": "agents_sdk_agent",
    "pydantic_ai": "pydantic_agent",
    "langgraph": "langgraph_agent",
}
"""By requirements, an agent of `docs/agents.md`."""
FRAMEWORK_EVENTS = 900
"""Of a log of 120 turns."""
WIDTH = 2
AT_ONCE = 64
"""Units that are under way or wait for their turn."""
CPU = Target("at most", 1.0, of="figure")
ASKED = Target("at least", 2_000, of="figure")
LINES = Target("at least", 5_000, of="figure")
LINES_ASKING = Target("at least", 150, of="figure")
SAID = "Please refund my order. " * 10
EXPERIMENT = """
experiment: benchmark
candidate: {agent: "candidates:loop", answers: recorded}
mode: turn
budget: {concurrency: %d}
"""
MCP = "mcp==2.3.0"
LEAST_FOR_PEERS = 10_000
"""Events from which environments are made; they take longer than the smallest runs."""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `agents`."""
    calls = max(50, bench.events // 100)
    yield from _gateway_figures(bench, calls)
    yield from _mcp_figures(bench, calls)
    yield from _agent_figures(bench, calls)
    yield from _framework_figures(bench)


def _gateway_figures(bench: Bench, calls: int) -> Iterator[Figure]:
    """Model calls over the gateway, beside a server that reads and answers."""
    trials = {}
    for api in WIRES:
        given = {"api": api, "calls": calls}
        trials |= {
            f"{api}": (gateway_calls, given),
            f"{api}, streamed": (gateway_calls, {**given, "is_streamed": True}),
            f"{api}, bare": (bare_calls, given),
        }
    rounds = bench.interleave(trials)
    for api in WIRES:
        for what in (f"{api}", f"{api}, streamed"):
            yield rounds.figure(
                f"agents: gateway, {what}, CPU per call",
                "ms",
                (what, "cpu_ms"),
                peer=(f"{api}, bare", "cpu_ms"),
                peer_name="bare aiohttp server",
                target=CPU,
            )


def _mcp_figures(bench: Bench, calls: int) -> Iterator[Figure]:
    """Tool calls over MCP, beside the package's server."""
    trials: dict[str, Trial] = {"gateway": (gateway_tool_calls, {"calls": calls})}
    peer: dict[str, Any] = {}
    if bench.events >= LEAST_FOR_PEERS:
        python = _installed(partial(python_with, MCP))
        trials["package"] = (package_tool_calls, {"calls": calls, "python": str(python)})
        peer = {"peer": ("package", "cpu_ms"), "peer_name": MCP}
    else:
        bench.tell(f"no peers in environments of their own: from {LEAST_FOR_PEERS:,} events")
    rounds = bench.interleave(trials)
    yield rounds.figure("agents: gateway, MCP tool call, CPU per call", "ms", ("gateway", "cpu_ms"), target=CPU, **peer)


def _agent_figures(bench: Bench, calls: int) -> Iterator[Figure]:
    """Agents in turns of two model calls and a tool call, and commands that ask nothing."""
    root = bench.folder / "lake"
    bench.tell("making and folding the log")
    fold_month(write_lake(root, bench.events // 4), MONTH, ["conversation_months", "decisions"])
    rounds = bench.interleave(
        {
            "ask": (ask_turns, {"turns": calls * 4}),
            "replay": (replay_turns, {"root": str(root)}),
            "lines": (command_units, {"units": calls * 8, "does": "answer"}),
            "asking": (command_units, {"units": calls, "does": "ask"}),
        }
    )
    yield rounds.figure("agents: Session.ask, a call a turn", "turns/s", ("ask", "rate"), target=ASKED)
    yield rounds.figure("agents: Session.ask, CPU per call", "ms", ("ask", "cpu_ms"))
    yield rounds.figure("agents: a turn of two calls, replayed and committed, CPU", "ms", ("replay", "cpu_ms"))
    yield rounds.figure("agents: command, no model call", "units/s", ("lines", "rate"), target=LINES)
    yield rounds.figure("agents: command, no model call, CPU of the replay", "ms", ("lines", "cpu_ms"))
    yield rounds.figure("agents: command, two model calls", "units/s", ("asking", "rate"), target=LINES_ASKING)
    yield rounds.figure("agents: peak memory", "MB", ("replay", "peak_bytes"), scale=1e-6)


def _framework_figures(bench: Bench) -> Iterator[Figure]:
    """The documented agents, under replay and by themselves, each in its framework's environment."""
    if bench.events < LEAST_FOR_PEERS:
        return
    root = bench.folder / "turns"
    fold_month(write_lake(root, FRAMEWORK_EVENTS), MONTH, ["conversation_months", "decisions"])
    trials: dict[str, Trial] = {}
    for framework, agent in FRAMEWORKS.items():
        pinned = REQUIREMENTS / f"{framework}.txt"
        python = Path(sys.executable) if framework == "plain" else _installed(partial(python_beside, pinned))
        trials[agent] = (framework_turns, {"python": str(python), "root": str(root), "agent": agent})
    rounds = bench.interleave(trials)
    for agent in trials:
        yield rounds.figure(
            f"agents: {agent}, CPU per turn",
            "ms",
            (agent, "replay_ms"),
            peer=(agent, "own_ms"),
            peer_name="without a replay",
        )


def _installed(make: Callable[[], Path]) -> Path:
    """An environment's interpreter.

    Raises:
        TrialFailed: No package index can be reached.
    """
    try:
        return make()
    except pytest.skip.Exception as error:  # what tests do then
        raise TrialFailed(str(error)) from error


def framework_turns(python: str, root: str, agent: str) -> Measure:
    """Two model calls and a tool call a turn."""
    with TemporaryDirectory() as folder, copied_lake(root) as lake:
        write_documented("agents.md", Path(folder))
        command = [python, "-m", "tests.benchmarks.framework_child", str(lake.root), folder, agent]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrialFailed(f"{agent} ended with code {done.returncode}:\n{done.stderr[-3000:]}")
    measure: Measure = json.loads(done.stdout.splitlines()[-1])[agent]
    return measure


def ask_turns(turns: int) -> Measure:
    """Turns of an agent in threads, each of which asks once; no HTTP, no lake."""
    candidate = PythonCandidate("candidates:ask_once", "0", ask_once, HERE)
    return asyncio.run(_rate(FunctionAgents(candidate, WIDTH, 60.0), turns))


def replay_turns(root: str) -> Measure:
    """All turns of the lake, answered by the recorded decisions, to committed rows; the plan is made before."""
    with copied_lake(root) as lake:
        plan = make_plan(lake, parse_experiment(EXPERIMENT % WIDTH, "benchmark"), HERE)
        settings = Settings(home=Path(root).parent / "home", dsn=None, lake=lake.root)
        cpu = time.process_time()
        done = run_replay(lake, plan, settings=settings)
        assert done.failures == {}, done
        return {"cpu_ms": (time.process_time() - cpu) / done.units * 1e3}


def command_units(units: int, does: str) -> Measure:
    """Units before a command that answers at once, or asks two models first, in two processes that have started."""

    async def work() -> Measure:
        async with Gateway() as gateway:
            command = Command([sys.executable, str(HERE / "agent_command.py"), does], ROOT)
            return await _rate(CommandAgents(command, gateway, WIDTH), units)

    return asyncio.run(work())


async def _rate(agents: Agents, units: int) -> Measure:
    """Units per second, of agents that have done a few."""
    stage = ReadyStage()
    task = Task(_session(), stage)
    waiting = iter(range(units))

    async def work() -> None:
        for _ in waiting:
            assert await agents.run(task)

    async with agents:
        await asyncio.gather(*(agents.run(task) for _ in range(2 * WIDTH)))
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return {
            "rate": units / (time.perf_counter() - started),
            "cpu_ms": (time.process_time() - cpu) / units * 1e3,
        }


def _session() -> Session:
    """A turn of a short conversation; a command is given its slot's addresses in its environment."""
    urls = Urls("http://127.0.0.1:9/none/v1", "http://127.0.0.1:9/none/mcp")
    past = [{"role": ("user", "assistant")[place % 2], "content": f"{SAID} {place}"} for place in range(6)]
    nobody: Callable[..., Any] = lambda *_: None  # noqa: E731 -- a function that ends nowhere
    return Session(past, SAID, [], "m", urls.model_url, urls.mcp_url, {}, nobody, nobody)
