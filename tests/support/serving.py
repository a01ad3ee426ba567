"""A web application in a thread of its own, over real HTTP, for the length of a block."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from tests.support.waiting import PATIENCE


@contextmanager
def listening(
    application: web.Application, told: Callable[[int], None], host: str = "127.0.0.1", port: int = 0
) -> Iterator[None]:
    """Serve it at an address of this machine.

    Args:
        application: What is served.
        told: Told the port before the first request can come.
        host: The address.
        port: The port; 0 for any.
    """
    ready, loop, until = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        opened = socket.create_server((host, port), backlog=512)
        told(opened.getsockname()[1])
        await web.SockSite(runner, opened).start()
        ready.set()
        await until.wait()
        await runner.cleanup()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join(PATIENCE)
