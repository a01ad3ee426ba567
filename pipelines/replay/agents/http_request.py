"""One request that came to the gateway for a unit: whether it is answered, by whom, and whether the answer arrived."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from pipelines.experiment.sides import Api
from pipelines.replay.agents import mcp
from pipelines.replay.agents.stage import Refused, Served, Stage
from pipelines.replay.asking.fault import storable_json
from pipelines.replay.wires.registry import find_wire

if TYPE_CHECKING:
    from aiohttp import web

HOST = "127.0.0.1"
MAX_BODY = 32 * 2**20
"""Bytes of a request, decompressed; more than providers take."""
_BODY_SECONDS, _READER_SECONDS = 60.0, 60.0
"""How long a client may take to send a body, and to read an answer that waits for it."""
MCP_PATH, TOOLS_PATH = "/mcp", "/tools/"
_PATHS: Mapping[str, Api] = {"/chat/completions": "chat", "/responses": "responses", "/messages": "messages"}
_ROUTES: Mapping[str, Api] = {
    f"{version}{path}": api
    for version in ("", "/v1", "/v1/v1")  # a client that adds `/v1` itself is given `model_url` by mistake
    for path, api in _PATHS.items()
}
_NAMES = (HOST, "localhost", "[::1]")
_FINAL: Mapping[str, str] = {"x-should-retry": "false"}
"""What clients made by the providers understand: asking again would not help."""
_OK = 200
_OF_STREAMS = ("stream", "stream_options")
_AGAIN = "x-stainless-retry-count"
"""Header in which they say how often they have asked before."""

_decode = msgspec.json.Decoder().decode


@dataclass
class Unit:
    """A unit under way, as requests come to it.

    Attributes:
        stage: Where it acts.
        unanswered: Model calls that wait for their answer: path, body, request.
        arrived: Model calls whose answers arrived, at least once.
        fault: What the stage raised first, which is a fault of ours and none of the agent's.
    """

    stage: Stage
    unanswered: list[tuple[str, bytes, web.BaseRequest]] = field(default_factory=list)
    arrived: set[int] = field(default_factory=set)
    fault: Exception | None = None

    def take_up(self, target: str, body: bytes) -> bool:
        """Whether an equal call is unanswered whose client has gone, and is taken up by this one, once.

        The providers' clients say that they ask again; others do not.
        """
        left = next((each for each in self.unanswered if each[:2] == (target, body) and not _is_there(each[2])), None)
        if left is not None:
            self.unanswered.remove(left)
        return left is not None

    def end(self, call: int, *, is_whole: bool) -> None:
        """Tell the stage what became of an answer; one that another request has got already is not lost."""
        if is_whole:
            self.arrived.add(call)
            self.stage.delivered(call)
        elif call not in self.arrived:
            self.stage.lost(call)


class RefusedError(Exception):
    """A request that is turned away."""

    def __init__(self, why: Refused, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.why, self.status, self.headers = why, status, headers or {}


async def serve(request: web.BaseRequest, unit: Unit | None, target: str) -> web.StreamResponse:
    """Answer a request.

    Args:
        request: As it came.
        unit: The unit at whose path it came; None for no unit's.
        target: The rest of the path.

    Raises:
        RefusedError: It is none that is answered here.
    """
    _check_place(request)
    if unit is None:
        raise RefusedError("unit", 404, "no unit is under way at this address")
    if target == MCP_PATH:
        return await _mcp_call(request, unit)
    if target not in _ROUTES and not target.startswith(TOOLS_PATH):
        raise RefusedError(
            "path", 404, "here are chat/completions, responses, messages, tools and mcp, and nothing else"
        )
    _check_method(request)
    if target.startswith(TOOLS_PATH):
        return await _tool_call(request, unit, unquote(target.removeprefix(TOOLS_PATH)))
    return await _model_call(request, unit, target, await _read_body(request))


def error_response(
    target: str, status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A refusal in the form of the wire that is asked for; in that of most clients, where it is none."""
    document = find_wire(_ROUTES.get(target, "chat")).error(reason, detail)
    return _response(status, json.dumps(document).encode(), {**_FINAL, **(headers or {})})


def _check_place(request: web.BaseRequest) -> None:
    """Refuse what is meant for another server, or comes from a page.

    Raises:
        RefusedError: It is, or does.
    """
    if not request.raw_path.startswith("/") or request.method == "CONNECT":
        raise RefusedError("proxy", 403, "this is no proxy: the target of a request is a path", {"connection": "close"})
    hosts = request.headers.getall("host", [])
    if len(hosts) > 1 or any(_name(host) not in _NAMES for host in hosts):
        raise RefusedError("host", 403, f"Host names another server; this one is {HOST}")
    if "origin" in request.headers:
        raise RefusedError("host", 403, "Origin: no page may ask here")


def _name(host: str) -> str:
    """The name in a `Host`, in lower case, whatever port is with it: in a network of its own that may be another one."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _check_method(request: web.BaseRequest) -> None:
    if request.method != "POST":
        raise RefusedError("method", 405, "it is asked by POST", {"allow": "POST"})


async def _read_body(request: web.BaseRequest) -> bytes:
    """The body, decompressed.

    Raises:
        RefusedError: It is too large, takes too long, or is not what its headers say.
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
        raise RefusedError("body", 413, f"a body has at most {MAX_BODY // 2**20} MB", {"connection": "close"}) from None
    except TimeoutError:
        raise RefusedError("body", 408, "the body did not come in time", {"connection": "close"}) from None
    except (web.RequestPayloadError, http_exceptions.HttpProcessingError):
        raise RefusedError("body", 400, "the body is not encoded as its headers say", {"connection": "close"}) from None


def _read_json(body: bytes) -> Any:
    """A JSON value; half of a surrogate pair, which UTF-8 cannot carry, is replaced.

    Raises:
        RefusedError: It is none.
    """
    try:
        return _decode(body)
    except (ValueError, RecursionError):
        pass
    try:
        return _decode(storable_json(body))
    except (ValueError, RecursionError):
        raise RefusedError("body", 400, "the body is no JSON") from None


def _read_object(body: bytes) -> dict[str, Any]:
    value = _read_json(body)
    if not isinstance(value, dict):
        raise RefusedError("body", 400, "the body is no JSON object")
    return value


async def _model_call(request: web.BaseRequest, unit: Unit, target: str, content: bytes) -> web.StreamResponse:
    """Answer a model call, and tell the stage whether the answer arrived."""
    api, body = _ROUTES[target], _read_object(content)
    asked: dict[str, Any] = {name: body.pop(name) for name in _OF_STREAMS if name in body}
    is_retry = unit.take_up(target, content) or request.headers.get(_AGAIN, "0") != "0"
    waiting = (target, content, request)
    unit.unanswered.append(waiting)
    try:
        served = await unit.stage.answer(api, body, is_retry=is_retry)
        response = _answer(target, served, asked)
    except Exception as fault:  # noqa: BLE001 -- raised where the unit ends
        return _our_fault(unit, target, fault)
    finally:
        with suppress(ValueError):  # it was taken up
            unit.unanswered.remove(waiting)
    is_whole = False
    try:
        is_whole = await _send(request, response)
    finally:
        unit.end(served.call, is_whole=is_whole)
    return response


def _answer(target: str, served: Served, asked: Mapping[str, Any]) -> web.Response:
    """What the stage gave, streamed where that is asked for."""
    if served.status != _OK:
        return _response(served.status, served.body, _FINAL)
    if asked.get("stream") is not True:
        return _response(_OK, served.body)
    try:
        events = b"".join(find_wire(_ROUTES[target]).events(json.loads(served.body), asked))
    except (ValueError, RecursionError):  # an endpoint may nest what nobody reads
        return error_response(target, 400, "invalid_json", "the endpoint's answer cannot be sent as events")
    return _response(_OK, events, kind="text/event-stream")


def _our_fault(unit: Unit, target: str, fault: Exception) -> web.Response:
    unit.fault = unit.fault or fault
    return error_response(target, 500, "internal", "a fault of the gateway, and not of the request")


async def _mcp_call(request: web.BaseRequest, unit: Unit) -> web.StreamResponse:
    """Answer an MCP client. Nothing is sent unasked and there are no sessions: GET and DELETE are declined, as the transport has it."""
    if request.method in ("GET", "DELETE"):
        return _response(405, b"", {"allow": "POST"})
    _check_method(request)
    message = _read_json(await _read_body(request))
    try:
        answer = await _tools_say(unit.stage, mcp.handle, message, unit.stage)
    except Exception as fault:  # noqa: BLE001 -- raised where the unit ends
        return _our_fault(unit, MCP_PATH, fault)
    return _response(202, b"") if answer is None else _response(200, json.dumps(answer).encode())


async def _tool_call(request: web.BaseRequest, unit: Unit, name: str) -> web.StreamResponse:
    """Answer a tool call of a client that speaks no MCP: its result as it was recorded."""
    body = await _read_body(request)
    arguments = _read_json(body) if body.strip() else None
    try:
        content, over = await _tools_say(unit.stage, unit.stage.fetch, name, arguments)
    except Exception as fault:  # noqa: BLE001 -- raised where the unit ends
        return _our_fault(unit, TOOLS_PATH, fault)
    if over is not None:
        return error_response(TOOLS_PATH, 400, over, "nothing more is answered in this unit")
    return _response(200, json.dumps({"content": content}).encode())


async def _tools_say(stage: Stage, ask: Callable[..., Any], *given: Any) -> Any:
    """What is said for a stage's tools; in a thread where they wait for each other, since they all come by this loop."""
    return await asyncio.to_thread(ask, *given) if stage.waits else ask(*given)


def _is_there(request: web.BaseRequest) -> bool:
    """Whether the client still holds its connection."""
    return request.transport is not None and not request.transport.is_closing()


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
        return _is_there(request)
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
