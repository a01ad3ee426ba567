"""Requests of `agents` over HTTP: the gateway and its peers, each asked by another process, or itself one.

The peers do no more than they must: an aiohttp server that reads the JSON of a request and answers, and an MCP server of the `mcp`
package with one tool, in an environment of its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from pipelines.experiment.sides import Api
from pipelines.replay.agents.gateway import Gateway
from pipelines.replay.agents.stage import Fetched, Served
from tests.benchmarks.http_client import ask_all
from tests.benchmarks.replay_http import ANSWERS, request_of
from tests.benchmarks.rounds import Measure, TrialFailed
from tests.support.stages import ScriptedStage
from tests.support.wires.wires import WIRES

HOST = "http://127.0.0.1"
RESULT = "The order was sent on the third and is with the carrier. " * 6
_PEER = Path(__file__).with_name("mcp_peer.py")
_CLIENT = Path(__file__).with_name("http_client.py")
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
                return await asked_by_another(url, model_bodies(api, calls, is_streamed=is_streamed))

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
            return await asked_by_another(f"{HOST}:{runner.addresses[0][1]}/", model_bodies(api, calls))
        finally:
            await runner.cleanup()

    return asyncio.run(work())


def gateway_tool_calls(calls: int) -> Measure:
    """Processor time of the gateway's process for tool calls over MCP."""

    async def work() -> Measure:
        async with Gateway() as gateway:
            with gateway.unit(ReadyStage()) as urls:
                return await asked_by_another(urls.mcp_url, tool_bodies(calls), _MCP_HEADERS)

    return asyncio.run(work())


def package_tool_calls(calls: int, python: str) -> Measure:
    """The same of the package's server, in its own process; the client is this one."""
    command = [python, str(_PEER), RESULT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise TrialFailed("the package's server did not start")
        asyncio.run(ask_all(f"{HOST}:{int(line)}/mcp", tool_bodies(calls), _MCP_HEADERS))
        process.stdin.close()
        return {"cpu_ms": float(process.stdout.readline()) / calls * 1e3}


def model_bodies(api: Api, calls: int, *, is_streamed: bool = False) -> list[bytes]:
    """Requests of 30 messages and 20 kB."""
    bodies = (request_of(number, api).body() for number in range(calls))
    return [body[:-1] + b',"stream":true}' if is_streamed else body for body in bodies]


def tool_bodies(calls: int) -> list[bytes]:
    """Tool calls over MCP."""
    return [
        json.dumps(
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": "tools/call",
                "params": {"name": "find", "arguments": {"query": f"order {number}"}, "_meta": _MCP_META},
            }
        ).encode()
        for number in range(calls)
    ]


async def asked_by_another(url: str, bodies: Sequence[bytes], headers: Mapping[str, str] | None = None) -> Measure:
    """What this process takes while another one asks it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_CLIENT), url, json.dumps(headers or {}), stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n".join(bodies) + b"\n\n")
    await process.stdout.readline()  # it has read them
    cpu = time.process_time()
    process.stdin.close()
    if await process.wait():
        raise TrialFailed(f"the client of {url} ended with code {process.returncode}")
    return {"cpu_ms": (time.process_time() - cpu) / len(bodies) * 1e3}
