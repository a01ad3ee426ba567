"""Ask an MCP server with the client of the `mcp` package, 1.x or 2.x, whichever is installed; print what came back.

    python tests/support/mcp_client.py URL CALLS     # CALLS: JSON list of [name, arguments]

Prints a JSON object: by way of connecting, the version agreed on, the tools, and the results of the tool calls, the first two of
which are made at once. It imports nothing of this project's: it runs in an environment of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

if version("mcp").startswith("1."):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client
else:
    from mcp import Client

Connect = Callable[[str], AbstractAsyncContextManager[tuple[str, Any]]]


@asynccontextmanager
async def old(url: str) -> AsyncIterator[tuple[str, Any]]:
    """The version agreed on, and a session of 1.x."""
    async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as session:
        agreed = await session.initialize()
        await session.send_ping()
        yield str(agreed.protocolVersion), session


@asynccontextmanager
async def new(url: str, mode: str) -> AsyncIterator[tuple[str, Any]]:
    """The version agreed on, and a client of 2.x."""
    async with Client(url, mode=mode) as client:
        yield client.protocol_version, client


def ways() -> dict[str, Connect]:
    """The ways in which the client that is installed connects."""
    if version("mcp").startswith("1."):
        return {"handshake": old}
    modes = {"discover": "auto", "handshake": "legacy", "pinned": "2026-07-28"}
    return {way: partial(new, mode=mode) for way, mode in modes.items()}


async def ask(url: str, calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Connect in each way and make the tool calls."""
    said = {}
    for way, connect in ways().items():
        async with connect(url) as (agreed, client):
            tools = await client.list_tools()
            results = await asyncio.gather(*(client.call_tool(*call) for call in calls[:2]))
            results += [await client.call_tool(*call) for call in calls[2:]]
            said[way] = {
                "version": agreed,
                "tools": plain(tools)["tools"],
                "results": [plain(result) for result in results],
            }
    return said


def plain(model: Any) -> dict[str, Any]:
    """What a model of the package holds, as JSON has it."""
    value: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return value


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(sys.argv[1], json.loads(sys.argv[2])))))
