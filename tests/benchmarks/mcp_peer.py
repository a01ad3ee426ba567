"""An MCP server of the `mcp` package (2.x), whose one tool gives a fixed text: the peer of the recorded tools.

    python tests/benchmarks/mcp_peer.py TEXT     # prints its port; the seconds of processor time since then when stdin is closed

It runs in an environment of its own and imports nothing of this project.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

import uvicorn
from mcp.server.lowlevel import Server
from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool

SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}}


class Peer(uvicorn.Server):
    """The server; it says where it is, and what it took."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and have a thread wait for the end."""
        await super().startup(sockets)
        assert sockets
        threading.Thread(target=self._wait, args=(sockets[0].getsockname()[1],)).start()

    def _wait(self, port: int) -> None:
        print(port, flush=True)
        began = time.process_time()
        sys.stdin.read()
        print(time.process_time() - began, flush=True)
        self.should_exit = True


def main(text: str) -> None:
    """Serve until stdin is closed."""

    async def list_tools(_context: object, _params: object) -> ListToolsResult:
        return ListToolsResult(tools=[Tool(name="find", input_schema=SCHEMA)])

    async def call_tool(_context: object, _params: object) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text=text)])

    server = Server("peer", on_list_tools=list_tools, on_call_tool=call_tool)
    application = server.streamable_http_app(json_response=True, stateless_http=True)
    opened = socket.create_server(("127.0.0.1", 0), backlog=512)
    Peer(uvicorn.Config(application, log_level="error")).run(sockets=[opened])


if __name__ == "__main__":
    main(sys.argv[1])
