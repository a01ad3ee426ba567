"""A server that speaks chat completions, Responses and Messages on 127.0.0.1, with every fault that endpoints show.

One model stands behind all wires: `answer` is a function of the request in the neutral form (`tests/support/wires/form.py`), and
what a wire makes of it is written there, apart from how a replay writes and reads. With `stream: true` an answer is sent as events.

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
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from tests.support.serving import listening
from tests.support.wires.form import Refused, Tokens
from tests.support.wires.quirks import quirk_of
from tests.support.wires.responses import keep, whole
from tests.support.wires.wires import WIRES, Api

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
_INSTEAD = frozenset(("rate_limited", "error", "malformed", "html"))
"""Faults that are another response."""
_VERSIONED = {"anthropic-version": "2023-06-01"}

_OVERLOADED = {"messages": 529}
"""What a provider answers when it has too much to do, where that is a status of its own."""

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def count_tokens(body: dict[str, Any]) -> Tokens:
    """A token for four characters of the messages; nothing cached, nothing thought."""
    return Tokens(len(json.dumps(body["messages"])) // 4)


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
        answer: Makes the message, of a request in the neutral form.
        count: What an answer counts, likewise.
        quirk: A habit of the endpoint, of `tests/support/wires/quirks.py`, given the request in the neutral form; None for none.
        events: Events of a stream after which the connection breaks off; None for none.
        kept: What Responses keeps at the server: items by the id of a response or a conversation.
        fault_share: Share of calls that get each fault.
        latency: Seconds before an answer.
        error: What an error of the server says.
        hang: Seconds for which a hanging call is kept open.
        answered: Complete answers sent out, by idempotency key.
        paid: Those that are charged for, likewise.
        calls: Calls by idempotency key.
        seen: Faults shown.
        refused: Requests that the provider would not take, by its words.
        headers: Of the last call.
        bodies: Bodies received, when kept.
        is_deduplicating: Whether a key that was answered is answered again without charge, as its header asks for.
        respond: A whole response (status, headers, body), given the request's body and how often it was sent before; None
            leaves it to the rest.
        host: Address of this machine that it listens at.
    """

    answer: Answer = echo_answer
    count: Callable[[dict[str, Any]], Tokens] = count_tokens
    quirk: Callable[[dict[str, Any]], str | None] = lambda _body: None
    events: int | None = None
    kept: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    fault_share: float = 0.0
    faults: tuple[str, ...] = FAULTS
    latency: float = 0.0
    error: str = "boom"
    hang: float = 30.0
    keep_bodies: bool = False
    is_deduplicating: bool = False
    status: Callable[[int], tuple[int, dict[str, str], bytes] | None] = lambda _number: None
    respond: Callable[[dict[str, Any], int], tuple[int, dict[str, str], bytes] | None] = lambda _body, _times: None
    answered: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0
    host: str = "127.0.0.1"
    under_way: int = 0
    most_under_way: int = 0

    @property
    def base_url(self) -> str:
        return self.address("chat")

    def address(self, api: Api) -> str:
        """The address that a client of a wire is given."""
        return f"http://{self.host}:{self.port}{WIRES[api].base}"

    async def handle(self, api: Api, request: web.Request) -> web.StreamResponse:
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
            return await self._respond(api, request, key, body, fault)
        finally:
            self.under_way -= 1

    def _fault(self, key: str, raw: bytes) -> str | None:
        if not self.fault_share or self.calls[key] > MOST_FAULTS:
            return None
        digest = hashlib.sha256(raw + f"{key}{self.calls[key]}".encode()).digest()
        place = int.from_bytes(digest[:8]) / 2**64 / self.fault_share
        return self.faults[int(place)] if place < len(self.faults) else None

    async def _respond(
        self, api: Api, request: web.Request, key: str, body: dict[str, Any], fault: str | None
    ) -> web.StreamResponse:
        if fault in _INSTEAD:
            status, headers, content = self._instead(api, fault, is_even=self.calls[key] % 2 == 0)
            return web.Response(status=status, headers=headers, body=content)
        if fault == "hang":
            await asyncio.sleep(self.hang)
        if fault in {"hang", "reset"}:
            _hang_up(request)
            return web.Response()
        status, headers, document = self.reply(api, body, self.calls[key], request.headers)
        content = json.dumps(document).encode()
        if fault == "cut":
            return web.Response(body=content[: len(content) // 2], content_type="application/json")
        if fault in {"truncated", "drip"}:
            return await self._partly(request, content, fault)
        if status == 200:
            self.answered[key] += 1
            if not (self.is_deduplicating and self.paid[key]):
                self.paid[key] += 1
            if body.get("stream"):
                return await self._stream(request, list(WIRES[api].stream(body, document)))
        content_type = "text/plain" if fault in _PAID else "application/json"
        return web.Response(status=status, headers={"Content-Type": content_type, **headers}, body=content)

    def reply(
        self, api: Api, body: dict[str, Any], times: int = 1, headers: Mapping[str, str] = _VERSIONED
    ) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and document for one request.

        Args:
            api: The wire.
            body: As it was sent.
            times: How often it was.
            headers: Sent with it.
        """
        wire = WIRES[api]
        try:
            wire.check_headers(headers)
            given = whole(body, self.kept) if api == "responses" else body
            neutral = wire.read(given)
            quirk = quirk_of(self.quirk(neutral), api)
            if (fixed := quirk.instead(neutral, times)) is not None:
                return fixed
            document = wire.write(neutral, quirk.message(neutral, self.answer(neutral)), self.count(neutral))
        except Refused as refused:
            self.refused[refused.message] += 1
            return refused.status, {}, wire.error(refused)
        if api == "responses":
            keep(given, document, self.kept)
        return 200, {}, quirk.document(document)

    def _instead(self, api: Api, fault: str, *, is_even: bool) -> tuple[int, dict[str, str], bytes]:
        """What is sent instead of an answer."""
        wire, page = WIRES[api], {"Content-Type": "text/html"}
        if fault == "rate_limited" and is_even:
            return 429, {"retry-after-ms": "20"}, json.dumps(wire.error(Refused("slow down", 429))).encode()
        if fault == "rate_limited":
            return 429, {"Retry-After": "0.02"}, b"later"
        if fault == "error" and is_even:
            status = _OVERLOADED.get(api, 500)
            return status, {}, json.dumps(wire.error(Refused(self.error, status))).encode()
        if fault == "error":
            return 503, page, b"<html>busy</html>"
        if fault == "malformed":
            return 200, {"Content-Type": "application/json"}, json.dumps(wire.malformed).encode()
        return 200, page, b"<html>hello</html>"

    async def _stream(self, request: web.Request, events: Sequence[bytes]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with suppress(ConnectionError):  # whoever asked has gone
            await response.prepare(request)
            for each in events[: self.events]:
                await response.write(each)
            if self.events is not None:
                _hang_up(request)
            else:
                await response.write_eof()
        return response

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

    def application(self) -> web.Application:
        application = web.Application(client_max_size=2**30)
        for api, wire in WIRES.items():
            application.router.add_post(wire.path, partial(self.handle, api))
        return application

    def listens_at(self, port: int) -> None:
        self.port = port


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


@contextmanager
def serving(server: ModelServer | None = None, **settings: Any) -> Iterator[ModelServer]:
    """A server in a thread of its own for the length of the block."""
    server = server or ModelServer(**settings)
    with listening(server.application(), server.listens_at, server.host, server.port):
        yield server


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
