"""Requests of `agents` over HTTP: the gateway and its peers, each asked by another process, or itself one.

The peers do no more than they must: an aiohttp server that reads the JSON of a request and answers, and an MCP server of the `mcp`
package with one tool, in an environment of its own. As a program this is the client.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from pipelines.experiment.sides import Api
from pipelines.replay.agents.gateway import Gateway
from pipelines.replay.agents.stage import Fetched, Served
from tests.benchmarks.replay_http import ANSWERS, request_of
from tests.benchmarks.rounds import ROOT, Measure, TrialFailed
from tests.support.stages import ScriptedStage
from tests.support.wires.wires import WIRES

HOST = "http://127.0.0.1"
AT_ONCE = 8
RESULT = "The order was sent on the third and is with the carrier. " * 6
_PEER = Path(__file__).with_name("mcp_peer.py")
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
    command = [python, str(_PEER), RESULT]
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
        "tests.benchmarks.agents_http",
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


def main(url: str, what: str, calls: str) -> None:
    """Say that the imports are done, wait to be told to begin, and make the calls."""
    print(flush=True)
    sys.stdin.read()
    asyncio.run(load(url, json.loads(what), int(calls)))


if __name__ == "__main__":
    main(*sys.argv[1:])
