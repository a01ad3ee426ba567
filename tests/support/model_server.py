"""A server that speaks chat completions on 127.0.0.1, with every fault that endpoints show, for the tests of replays.

What it answers is a function of the request's messages and draw-free body, so a run with faults can be compared with one
without. Which call gets which fault is a function of the body and of how often it was sent. It counts per request what a
provider would charge for: complete answers that were sent out.

    python -m tests.support.model_server --faults 0.05      # prints its port; counts go to stdout as JSON when stdin is closed
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

FAULTS = (
    "rate_limited",  # 429, with retry-after-ms and Retry-After in turn
    "error",  # 500 with an error, 503 with a page, in turn
    "hang",  # accepts, never answers
    "truncated",  # promises more bytes than it sends
    "cut",  # a complete HTTP response of half a JSON document
    "malformed",  # JSON that is no completion
    "html",  # 200 with a page
    "wrong_type",  # a good answer that calls itself text/plain
    "drip",  # a good answer, byte by byte, too slowly
    "reset",  # closes the connection without a word
)
MOST_FAULTS = 7
"""In a row for one request: a request that nobody answers is another test."""
_PAID = frozenset(("wrong_type",))
"""Faults that are complete answers nevertheless."""

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def echo_answer(body: dict[str, Any]) -> dict[str, Any]:
    """A message that depends on the request alone: a tool call after the user spoke, a text otherwise."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    if body["messages"][-1]["role"] == "user":
        function = {"name": "look_up", "arguments": json.dumps({"key": digest[:12]})}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": function}],
        }
    return {"role": "assistant", "content": f"Answer {digest[:16]}"}


@dataclass
class ModelServer:
    """The server and what it saw.

    Attributes:
        answer: Makes the message.
        fault_share: Share of calls that get each fault.
        latency: Seconds before an answer.
        hang: Seconds for which a hanging call is kept open.
        answered: Complete answers sent out, by idempotency key.
        paid: Those that are charged for, likewise.
        calls: Calls by idempotency key.
        seen: Faults shown.
        headers: Of the last call.
        bodies: Bodies received, when kept.
        is_deduplicating: Whether a key that was answered is answered again without charge, as its header asks for.
        respond: A whole response (status, headers, body), given the request's body and how often it was sent before; None
            leaves it to the rest.
        host: Address of this machine that it listens at.
    """

    answer: Answer = echo_answer
    fault_share: float = 0.0
    faults: tuple[str, ...] = FAULTS
    latency: float = 0.0
    hang: float = 30.0
    keep_bodies: bool = False
    is_deduplicating: bool = False
    status: Callable[[int], tuple[int, dict[str, str], bytes] | None] = lambda _number: None
    respond: Callable[[dict[str, Any], int], tuple[int, dict[str, str], bytes] | None] = lambda _body, _times: None
    answered: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0
    host: str = "127.0.0.1"
    under_way: int = 0
    most_under_way: int = 0

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        key = request.headers.get("Idempotency-Key", "")
        number = sum(self.calls.values())
        self.calls[key] += 1
        self.headers = dict(request.headers)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.latency)
            body = json.loads(raw)
            if self.keep_bodies:
                self.bodies.append(body)
            if (fixed := self.status(number) or self.respond(body, self.calls[key] - 1)) is not None:
                status, headers, content = fixed
                return web.Response(status=status, headers=headers, body=content)
            fault = self._fault(key, raw)
            self.seen[fault or "none"] += 1
            return await self._respond(request, key, body, fault)
        finally:
            self.under_way -= 1

    def _fault(self, key: str, raw: bytes) -> str | None:
        if not self.fault_share or self.calls[key] > MOST_FAULTS:
            return None
        digest = hashlib.sha256(raw + f"{key}{self.calls[key]}".encode()).digest()
        place = int.from_bytes(digest[:8]) / 2**64 / self.fault_share
        return self.faults[int(place)] if place < len(self.faults) else None

    async def _respond(
        self, request: web.Request, key: str, body: dict[str, Any], fault: str | None
    ) -> web.StreamResponse:
        is_even = self.calls[key] % 2 == 0
        if fault == "rate_limited" and is_even:
            return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"retry-after-ms": "20"})
        if fault == "rate_limited":
            return web.Response(status=429, text="later", headers={"Retry-After": "0.02"})
        if fault == "error" and is_even:
            return web.json_response({"error": {"message": "boom"}}, status=500)
        if fault == "error":
            return web.Response(status=503, text="<html>busy</html>", content_type="text/html")
        if fault == "hang":
            await asyncio.sleep(self.hang)
        if fault in {"hang", "reset"}:
            _hang_up(request)
            return web.Response()
        if fault == "malformed":
            return web.json_response({"object": "chat.completion", "choices": [{"finish_reason": "stop"}]})
        if fault == "html":
            return web.Response(text="<html>hello</html>", content_type="text/html")
        content = json.dumps(self._completion(body)).encode()
        if fault == "cut":
            return web.Response(body=content[: len(content) // 2], content_type="application/json")
        if fault in {"truncated", "drip"}:
            return await self._partly(request, content, fault)
        self.answered[key] += 1
        if not (self.is_deduplicating and self.paid[key]):
            self.paid[key] += 1
        return web.Response(body=content, content_type="text/plain" if fault in _PAID else "application/json")

    async def _partly(self, request: web.Request, content: bytes, fault: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(content))})
        with suppress(ConnectionError):  # whoever asked has gone
            await response.prepare(request)
            if fault == "truncated":
                await response.write(content[: len(content) // 2])
            else:
                for at in range(len(content) - 1):
                    await response.write(content[at : at + 1])
                    await asyncio.sleep(self.hang / len(content))
        _hang_up(request)
        return response

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        message = self.answer(body)
        given = len(json.dumps(body["messages"])) // 4
        usage = {"prompt_tokens": given, "completion_tokens": 10, "total_tokens": given + 10}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
        }
        return {"id": "x", "object": "chat.completion", "model": body.get("model"), "choices": [choice], "usage": usage}

    async def serve(self, ready: Callable[[], None], until: asyncio.Event) -> None:
        application = web.Application(client_max_size=2**30)
        application.router.add_post("/v1/chat/completions", self.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        listening = socket.create_server((self.host, self.port), backlog=512)
        self.port = listening.getsockname()[1]
        await web.SockSite(runner, listening).start()
        ready()
        await until.wait()
        await runner.cleanup()


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


@contextmanager
def serving(server: ModelServer | None = None, **settings: Any) -> Iterator[ModelServer]:
    """A server in a thread of its own for the length of the block."""
    server = server or ModelServer(**settings)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    until = asyncio.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(server.serve(ready.set, until))
        finally:
            loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join(10)


def main() -> None:
    """Serve until stdin is closed; the port, then the counts, go to stdout."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--hang", type=float, default=30.0)
    parser.add_argument("--deduplicate", action="store_true")
    options = parser.parse_args()
    with serving(
        fault_share=options.faults,
        latency=options.latency,
        hang=options.hang,
        is_deduplicating=options.deduplicate,
    ) as server:
        print(server.port, flush=True)
        sys.stdin.read()
        print(json.dumps({"paid": server.paid, "calls": server.calls, "seen": server.seen}), flush=True)


if __name__ == "__main__":
    main()
