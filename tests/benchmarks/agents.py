"""`agents`: what a whole agent under replay costs, whatever way it asks: over the gateway, by `Session.ask`, as a command.

Models answer at once and tools are recorded, so that what is measured is this program's. The peers do no more than they must: a bare
aiohttp server, and an MCP server of the `mcp` package with one tool, in an environment of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from pipelines.collecting import collecting_seldom
from pipelines.experiment.code import PythonCandidate
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.folds.run import fold_month
from pipelines.replay.agents.commands import Command, CommandAgents
from pipelines.replay.agents.functions import FunctionAgents
from pipelines.replay.agents.gateway import Gateway
from pipelines.replay.agents.session import Session
from pipelines.replay.agents.stage import Agents, Fetched, Served, Task
from pipelines.replay.run import run_replay
from pipelines.settings import Settings
from tests.benchmarks.candidates import act
from tests.benchmarks.copies import copied_lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, write_lake
from tests.benchmarks.replay_http import ANSWERS, PARAMS, request_of
from tests.benchmarks.rounds import ROOT, Bench, Measure, TrialFailed
from tests.support.environments import EnvironmentFailed, make_environment
from tests.support.stages import ScriptedStage
from tests.support.wires.wires import WIRES, Api

HERE = Path(__file__).parent
HOST = "http://127.0.0.1"
AT_ONCE = 8
WIDTH = 2
CPU = Target("at most", 1.0, of="figure")
ASKED = Target("at least", 2_000, of="figure")
LINES = Target("at least", 5_000, of="figure")
LINES_ASKING = Target("at least", 150, of="figure")
RESULT = "The order was sent on the third and is with the carrier. " * 6
EXPERIMENT = """
experiment: benchmark
candidate: {agent: "candidates:act", answers: recorded}
mode: turn
budget: {concurrency: %d}
"""
MCP = ("mcp==2.3.0",)
_VERSION = "2026-07-28"
_MCP_HEADERS = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": _VERSION,
    "mcp-method": "tools/call",
    "mcp-name": "find",
}
_MCP_META = {
    "io.modelcontextprotocol/protocolVersion": _VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `agents`."""
    calls = max(50, bench.events // 100)
    yield from _gateway_figures(bench, calls)
    yield from _mcp_figures(bench, calls)
    yield from _agent_figures(bench, calls)


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
    trials = {"gateway": (gateway_tool_calls, {"calls": calls})}
    peer: dict[str, Any] = {}
    try:
        python = str(make_environment(bench.folder / "mcp", MCP))
    except EnvironmentFailed as error:
        bench.tell(f"no figure against {MCP[0]}: {error}")
    else:
        trials["package"] = (package_tool_calls, {"calls": calls, "python": python})
        peer = {"peer": ("package", "cpu_ms"), "peer_name": MCP[0]}
    rounds = bench.interleave(trials)
    yield rounds.figure(
        "agents: gateway, MCP tool call, CPU per call", "ms", ("gateway", "cpu_ms"), target=CPU, **peer
    )


def _agent_figures(bench: Bench, calls: int) -> Iterator[Figure]:
    """Agents in turns of two model calls and a tool call, and commands that ask nothing."""
    root = bench.folder / "lake"
    bench.tell("making and folding the log")
    fold_month(write_lake(root, bench.events // 4), MONTH, ["conversation_months", "decisions"])
    rounds = bench.interleave(
        {
            "ask": (ask_turns, {"turns": calls * 4}),
            "replay": (replay_turns, {"root": str(root)}),
            "lines": (command_lines, {"units": calls * 8, "does": "answer"}),
            "asking": (command_lines, {"units": calls, "does": "ask"}),
        }
    )
    yield rounds.figure("agents: Session.ask, two calls a turn", "turns/s", ("ask", "rate"), target=ASKED)
    yield rounds.figure("agents: Session.ask, replayed and committed", "turns/s", ("replay", "rate"), target=ASKED)
    yield rounds.figure("agents: command, no model call", "units/s", ("lines", "rate"), target=LINES)
    yield rounds.figure("agents: command, two model calls", "units/s", ("asking", "rate"), target=LINES_ASKING)
    yield rounds.figure("agents: peak memory", "MB", ("replay", "peak_bytes"), scale=1e-6)


class ReadyStage(ScriptedStage):
    """Answers the same at once, and keeps nothing of what it is asked."""

    def __init__(self, answers: Mapping[Api, bytes] = ANSWERS) -> None:
        super().__init__()
        self._answers = answers

    async def answer(self, api: Api, body: dict[str, Any], *, is_retry: bool = False) -> Served:
        """The answer of the wire."""
        return Served(200, self._answers[api], 0)

    def delivered(self, call: int) -> None:
        """Nothing is kept."""

    def fetch(self, name: str, arguments: Any) -> Fetched:
        """One result."""
        return Fetched(RESULT)


def gateway_calls(api: Api, calls: int, *, is_streamed: bool = False) -> Measure:
    """Processor time of the gateway's process; the client is another."""

    async def work() -> Measure:
        async with Gateway() as gateway:
            with gateway.unit(ReadyStage()) as urls:
                url = urls.model_url.removesuffix("/v1") + WIRES[api].path
                return await _loaded(url, json.dumps({"api": api, "is_streamed": is_streamed}), calls)

    return asyncio.run(work())


def bare_calls(api: Api, calls: int) -> Measure:
    """The same of a server that reads the JSON of a request and answers."""

    async def answer(request: web.Request) -> web.Response:
        json.loads(await request.read())
        return web.Response(body=ANSWERS[api], content_type="application/json")

    async def work() -> Measure:
        application = web.Application(client_max_size=2**30)
        application.router.add_post("/", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            return await _loaded(f"{HOST}:{runner.addresses[0][1]}/", json.dumps({"api": api}), calls)
        finally:
            await runner.cleanup()

    return asyncio.run(work())


def gateway_tool_calls(calls: int) -> Measure:
    """Processor time of the gateway's process for tool calls over MCP."""

    async def work() -> Measure:
        async with Gateway() as gateway:
            with gateway.unit(ReadyStage()) as urls:
                return await _loaded(urls.mcp_url, json.dumps({"is_mcp": True}), calls)

    return asyncio.run(work())


def package_tool_calls(calls: int, python: str) -> Measure:
    """The same of the package's server, in its own process; the client is this one."""
    command = [python, str(HERE / "mcp_peer.py"), RESULT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise TrialFailed("the package's server did not start")
        asyncio.run(load(f"{HOST}:{int(line)}/mcp", {"is_mcp": True}, calls))
        process.stdin.close()
        return {"cpu_ms": float(process.stdout.readline()) / calls * 1e3}


async def _loaded(url: str, what: str, calls: int) -> Measure:
    """What this process takes while another one asks it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.agents",
        url,
        what,
        str(calls),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readline()  # its imports are done
    cpu = time.process_time()
    process.stdin.close()
    if await process.wait():
        raise TrialFailed(f"the client of {url} ended with code {process.returncode}")
    return {"cpu_ms": (time.process_time() - cpu) / calls * 1e3}


async def load(url: str, what: Mapping[str, Any], calls: int) -> None:
    """Make so many calls, some at once; each answer is looked at."""
    numbers, is_mcp = iter(range(calls)), "is_mcp" in what
    headers = {"content-type": "application/json", **(_MCP_HEADERS if is_mcp else {})}
    sign = RESULT.encode()[:30] if is_mcp else b"Your order is on its way."

    def body(number: int) -> bytes:
        if is_mcp:
            params = {"name": "find", "arguments": {"query": f"order {number}"}, "_meta": _MCP_META}
            return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()
        asked = request_of(number, what["api"]).body()
        return asked[:-1] + b',"stream":true}' if what.get("is_streamed") else asked

    async with aiohttp.ClientSession(headers=headers) as session:

        async def ask() -> None:
            for number in numbers:
                async with session.post(url, data=body(number)) as response:
                    said = await response.read()
                    assert response.status == 200, said
                    assert sign in said, said

        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))


def ask_turns(turns: int) -> Measure:
    """Turns of an agent in threads, each of which asks twice; no HTTP, no lake."""
    candidate = PythonCandidate("candidates:act", "0", act, HERE)
    return asyncio.run(_rate(FunctionAgents(candidate, WIDTH, 60.0), _Turns(turns)))


def replay_turns(root: str) -> Measure:
    """All turns of the lake from the recording's own decisions, to committed rows; the plan is made before."""
    with copied_lake(root) as lake:
        plan = make_plan(lake, parse_experiment(EXPERIMENT % WIDTH, "benchmark"), HERE)
        settings = Settings(home=Path(root).parent / "home", dsn=None, lake=lake.root)
        started = time.perf_counter()
        done = run_replay(lake, plan, settings=settings)
        assert done.failures == {}, done
        return {"rate": done.units / (time.perf_counter() - started)}


def command_lines(units: int, does: str) -> Measure:
    """Units before a command, in two processes; the second call of each is a fraction of the figure's."""

    async def work() -> Measure:
        async with Gateway() as gateway:
            command = Command([sys.executable, str(HERE / "agent_command.py"), does], ROOT)
            return await _rate(CommandAgents(command, [gateway.slot() for _ in range(WIDTH)]), _Turns(units))

    return asyncio.run(work())
