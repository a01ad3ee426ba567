"""The server on this machine through which an agent reaches models and recorded tools: HTTP over the stage of the unit that it is in.

Each unit, or each worker slot, has a path that cannot be guessed. Below it are the model calls of the three wires, plain and
streamed, and the tools, as an MCP server and by their names; everything else is refused, and the refusal noted. What is answered is
the stage's matter: also whether messages that a provider keeps (`previous_response_id`) or kept answers (`store`, `background`) can be
asked for. Keys and all other headers of the agent's end here. What goes around this server cannot be seen from here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import unquote

import msgspec

from pipelines.experiment.sides import Api
from pipelines.replay.agents import mcp
from pipelines.replay.agents.stage import Refused, Stage
from pipelines.replay.asking.fault import storable
from pipelines.replay.wires.registry import find_wire

if TYPE_CHECKING:
    from aiohttp import web

HOST = "127.0.0.1"
MAX_BODY = 32 * 2**20
"""Bytes of a request, decompressed; more than providers take."""
MAX_STRAYS = 1_000
"""Refusals outside of units that are kept; the others are counted."""
_TARGET = 500
"""Characters of a target that are kept."""
_BODY_SECONDS, _READER_SECONDS = 60.0, 60.0
"""How long a client may take to send a body, and to read an answer that waits for it."""
_IDLE_SECONDS = 600.0
_END_SECONDS = 1.0
_TOKEN_BYTES = 24
_MCP, _TOOLS = "/mcp", "/tools/"
_PATHS: Mapping[str, Api] = {"/chat/completions": "chat", "/responses": "responses", "/messages": "messages"}
_ROUTES: Mapping[str, Api] = {
    f"{version}{path}": api
    for version in ("", "/v1", "/v1/v1")  # a client that adds `/v1` itself is given `model_url` by mistake
    for path, api in _PATHS.items()
}
_NAMES = (HOST, "localhost", "[::1]")
_LOG = logging.getLogger("refold.gateway")
"""For the server's library, which logs requests that it cannot parse: silent, since their texts may be anything."""
_LOG.disabled = True

_decode = msgspec.json.Decoder().decode


class Urls(NamedTuple):
    """Addresses of one place.

    Attributes:
        model_url: Base URL of models, with `/v1`; Anthropic's clients take it without.
        mcp_url: The recorded tools as an MCP server.
    """

    model_url: str
    mcp_url: str

    @property
    def tools_url(self) -> str:
        """The recorded tools by `POST` to their names below it: arguments in, `{"content": …}` out."""
        return self.mcp_url.removesuffix(_MCP) + _TOOLS.rstrip("/")


class Stray(NamedTuple):
    """A refused request that belongs to no unit.

    Attributes:
        why: Why.
        method: Of HTTP.
        target: As it was asked for, without the name of a place; it may hold anything.
    """

    why: Refused
    method: str
    target: str


class Slot:
    """A place at which one unit is at a time.

    Attributes:
        urls: Its addresses, the same for its whole life.
        stage: The unit that is there; None for none.
    """

    def __init__(self, urls: Urls) -> None:
        self.urls = urls
        self.stage: Stage | None = None
        self._fault: Exception | None = None

    @contextmanager
    def enter(self, stage: Stage) -> Iterator[Urls]:
        """Let a unit be here for the length of the block; in the loop of the gateway.

        Raises:
            RuntimeError: Another unit is here.
            Exception: What the stage raised meanwhile, which is a fault of ours and none of the agent's.
        """
        if self.stage is not None:
            raise RuntimeError("a slot of the gateway has one unit at a time")
        self.stage, self._fault = stage, None
        try:
            yield self.urls
        finally:
            self.stage = None
        if self._fault is not None:
            raise self._fault

    def note(self, fault: Exception) -> None:
        """Keep what the stage raised, the first time."""
        self._fault = self._fault or fault


class _FaultError(Exception):
    """A stage raised, which none does for the agent's sake."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _RefusedError(Exception):
    """A request that is turned away."""

    def __init__(self, why: Refused, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.why, self.status, self.headers = why, status, headers or {}


class _Door(NamedTuple):
    """A socket that is listened on, and who answers there."""

    server: asyncio.Server
    protocols: web.Server


class Gateway:
    """The server, in the loop in which it is entered.

    Attributes:
        strays: Refused requests that belong to no unit, the first `MAX_STRAYS`.
        stray_count: How many there were.
    """

    def __init__(self) -> None:
        self.strays: list[Stray] = []
        self.stray_count = 0
        self._slots: dict[str, Slot] = {}
        self._port = 0
        self._doors: list[_Door] = []

    async def __aenter__(self) -> Self:
        listening = socket.create_server((HOST, 0), backlog=512)
        self._port = listening.getsockname()[1]
        await self.listen(listening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for door in self._doors:
            door.server.close()
        for door in self._doors:
            door.protocols.pre_shutdown()
            await door.protocols.shutdown(_END_SECONDS)
            await door.server.wait_closed()
        self._doors = []

    async def listen(self, listening: socket.socket, slot: Slot | None = None) -> asyncio.Server:
        """Answer on another socket as well, such as one that listens in a network of its own; it is closed with the gateway.

        Args:
            listening: The socket; it is the server's from now on.
            slot: Who alone can reach it: what is refused there is noted by the unit that is in this place, though it names none.
        """
        from aiohttp import web  # noqa: PLC0415 -- verbs that serve nothing pay nothing

        loop = asyncio.get_running_loop()

        def request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)

        protocols = web.Server(
            partial(self._answer, slot),
            request_factory=request,
            access_log=None,
            logger=_LOG,
            keepalive_timeout=_IDLE_SECONDS,
        )
        server = await loop.create_server(protocols, sock=listening)
        self._doors = [*(door for door in self._doors if door.server.is_serving()), _Door(server, protocols)]
        return server

    def slot(self) -> Slot:
        """A place for the life of the gateway."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        root = f"http://{HOST}:{self._port}/{token}"
        slot = self._slots[token] = Slot(Urls(f"{root}/v1", f"{root}{_MCP}"))
        return slot

    @contextmanager
    def unit(self, stage: Stage) -> Iterator[Urls]:
        """A place of its own for a unit, for the length of the block. Raises as `Slot.enter`."""
        slot = self.slot()
        try:
            with slot.enter(stage) as urls:
                yield urls
        finally:
            self._slots = {token: each for token, each in self._slots.items() if each is not slot}

    async def _answer(self, whose: Slot | None, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is; `whose` is the place of the only one who can have made it."""
        slot, target = self._find(request.raw_path)
        try:
            return await _serve(request, None if slot is None else slot.stage, target)
        except _RefusedError as refused:
            place = slot or whose
            if place is None or place.stage is None:
                self._stray(refused.why, request.method, target)
            else:
                place.stage.refuse(refused.why, request.method, target)
            return _error(target, refused.status, refused.why, str(refused), refused.headers)
        except _FaultError as fault:
            if slot is not None:
                slot.note(fault.error)
            return _error(target, 500, "internal", "a fault of the gateway, and not of the request")

    def _find(self, raw: str) -> tuple[Slot | None, str]:
        """(The place that a target names, the rest of the path); None for no place, and the target without what may be one."""
        if not raw.startswith("/"):
            return None, raw
        token, slash, rest = raw.partition("?")[0][1:].partition("/")
        slot = self._slots.get(token)
        is_ours = slot is not None or len(token) == len(secrets.token_urlsafe(_TOKEN_BYTES))
        return slot, f"{slash}{rest}" if is_ours else raw

    def _stray(self, why: Refused, method: str, target: str) -> None:
        self.stray_count += 1
        if len(self.strays) < MAX_STRAYS:
            self.strays.append(Stray(why, method, storable(target[:_TARGET])))


_FINAL: Mapping[str, str] = {"x-should-retry": "false"}
"""What clients made by the providers understand: asking again would not help."""
_OK = 200
_OF_STREAMS = ("stream", "stream_options")
_AGAIN = "x-stainless-retry-count"
"""Header in which they say how often they have asked before."""


async def _serve(request: web.BaseRequest, stage: Stage | None, target: str) -> web.StreamResponse:
    """Answer a request for the unit.

    Raises:
        _RefusedError: It is none that is answered here.
        _FaultError: The stage raised.
    """
    _check_place(request)
    if stage is None:
        raise _RefusedError("unit", 404, "no unit is under way at this address")
    if target == _MCP:
        return await _mcp_call(request, stage)
    if target not in _ROUTES and not target.startswith(_TOOLS):
        raise _RefusedError(
            "path", 404, "here are chat/completions, responses, messages, tools and mcp, and nothing else"
        )
    _check_method(request)
    if target.startswith(_TOOLS):
        return await _tool_call(request, stage, unquote(target.removeprefix(_TOOLS)))
    return await _model_call(request, stage, _ROUTES[target], _read_object(await _read_body(request)))


def _error(
    target: str, status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A refusal in the form of the wire that is asked for; in that of most clients, where it is none."""
    document = find_wire(_ROUTES.get(target, "chat")).error(reason, detail)
    return _response(status, json.dumps(document).encode(), {**_FINAL, **(headers or {})})


def _check_place(request: web.BaseRequest) -> None:
    """Refuse what is meant for another server, or comes from a page.

    Raises:
        _RefusedError: It is, or does.
    """
    if not request.raw_path.startswith("/") or request.method == "CONNECT":
        raise _RefusedError(
            "proxy", 403, "this is no proxy: the target of a request is a path", {"connection": "close"}
        )
    hosts = request.headers.getall("host", [])
    if len(hosts) > 1 or any(_name(host) not in _NAMES for host in hosts):
        raise _RefusedError("host", 403, f"Host names another server; this one is {HOST}")
    if "origin" in request.headers:
        raise _RefusedError("host", 403, "Origin: no page may ask here")


def _name(host: str) -> str:
    """The name in a `Host`, in lower case, whatever port is with it: in a network of its own that may be another one."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _check_method(request: web.BaseRequest) -> None:
    if request.method != "POST":
        raise _RefusedError("method", 405, "it is asked by POST", {"allow": "POST"})


async def _read_body(request: web.BaseRequest) -> bytes:
    """The body, decompressed.

    Raises:
        _RefusedError: It is too large, takes too long, or is not what its headers say.
        ConnectionError: The client has gone.
    """
    from aiohttp import http_exceptions, web  # noqa: PLC0415 -- imported by then

    if request.headers.get("expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # or the answer is taken for begun
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _RefusedError(
            "body", 413, f"a body has at most {MAX_BODY // 2**20} MB", {"connection": "close"}
        ) from None
    except TimeoutError:
        raise _RefusedError("body", 408, "the body did not come in time", {"connection": "close"}) from None
    except (web.RequestPayloadError, http_exceptions.HttpProcessingError):
        raise _RefusedError(
            "body", 400, "the body is not encoded as its headers say", {"connection": "close"}
        ) from None


def _read_json(body: bytes) -> Any:
    """A JSON value; half of a surrogate pair, which UTF-8 cannot carry, is replaced.

    Raises:
        _RefusedError: It is none.
    """
    try:
        return _decode(body)
    except (ValueError, RecursionError):
        pass
    try:
        return _decode(storable(json.dumps(json.loads(body), ensure_ascii=False)))
    except (ValueError, RecursionError):
        raise _RefusedError("body", 400, "the body is no JSON") from None


def _read_object(body: bytes) -> dict[str, Any]:
    value = _read_json(body)
    if not isinstance(value, dict):
        raise _RefusedError("body", 400, "the body is no JSON object")
    return value


async def _model_call(request: web.BaseRequest, stage: Stage, api: Api, body: dict[str, Any]) -> web.StreamResponse:
    """Answer a model call, and tell the stage whether the answer arrived."""
    asked: dict[str, Any] = {name: body.pop(name) for name in _OF_STREAMS if name in body}
    try:
        served = await stage.answer(api, body, is_retry=request.headers.get(_AGAIN, "0") != "0")
        content, kind = served.body, "application/json"
        if asked.get("stream") is True and served.status == _OK:
            content, kind = b"".join(find_wire(api).events(json.loads(content), asked)), "text/event-stream"
    except Exception as fault:
        raise _FaultError(fault) from fault
    is_whole = False
    try:
        response = _response(served.status, content, {} if served.status == _OK else _FINAL, kind)
        is_whole = await _send(request, response)
    finally:
        (stage.delivered if is_whole else stage.lost)(served.call)
    return response


async def _mcp_call(request: web.BaseRequest, stage: Stage) -> web.StreamResponse:
    """Answer an MCP client. Nothing is sent unasked and there are no sessions: GET and DELETE are declined, as the transport has it."""
    if request.method in ("GET", "DELETE"):
        return _response(405, b"", {"allow": "POST"})
    _check_method(request)
    message = _read_json(await _read_body(request))
    answer = await _tools_say(stage, mcp.handle, message, stage)
    return _response(202, b"") if answer is None else _response(200, json.dumps(answer).encode())


async def _tool_call(request: web.BaseRequest, stage: Stage, name: str) -> web.StreamResponse:
    """Answer a tool call of a client that speaks no MCP: its result as it was recorded."""
    body = await _read_body(request)
    arguments = _read_json(body) if body.strip() else None
    content, over = await _tools_say(stage, stage.fetch, name, arguments)
    if over is not None:
        return _error("", 400, over, "nothing more is answered in this unit")
    return _response(200, json.dumps({"content": content}).encode())


async def _tools_say(stage: Stage, ask: Callable[..., Any], *given: Any) -> Any:
    """What is said for a stage's tools; in a thread where they wait for each other, since they all come by this loop.

    Raises:
        _FaultError: The stage raised.
    """
    try:
        return await asyncio.to_thread(ask, *given) if stage.waits else ask(*given)
    except Exception as fault:
        raise _FaultError(fault) from fault


async def _send(request: web.BaseRequest, response: web.Response) -> bool:
    """Send a response; whether the client has taken all of it."""
    with suppress(ConnectionError, TimeoutError):
        await response.prepare(request)
        await response.write_eof()
        transport = request.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.set_write_buffer_limits(high=0)  # `drain` waits until nothing is left
            async with asyncio.timeout(_READER_SECONDS):
                await request.writer.drain()
        transport = request.transport
        return transport is not None and not transport.is_closing()
    if request.transport is not None:
        request.transport.abort()
    return False


def _response(
    status: int, body: bytes, headers: Mapping[str, str] | None = None, kind: str = "application/json"
) -> web.Response:
    from aiohttp import web  # noqa: PLC0415 -- imported by then

    response = web.Response(status=status, body=body, headers=headers, content_type=kind)
    if headers is not None and headers.get("connection") == "close":
        response.force_close()
    return response
