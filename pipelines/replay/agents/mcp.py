"""The recorded tools as an MCP server: one JSON-RPC message over a stage, and its answer. No HTTP, no session, nothing kept.

A tool call is answered with what the recorded agent read. Equal tool calls have a result each, given in their order; clients that make
them at once send them in any.

Two generations of the protocol are spoken, and a message says which. Up to 2025-11-25 a client shakes hands (`initialize`); since
2026-07-28 it asks `server/discover`, or nothing, and each request names its version. What goes wrong with a tool is a result with
`isError`, not an error of the protocol, which clients retry, or take as the end of the connection.

No result has `structuredContent`: no client needs it of a tool that has no output schema, the recorded agent read text, and a
client that gets both prefers the one that was not read (PydanticAI gives its model `x` where `{"result": x}` was read).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from typing import Any, Final

from pipelines.replay.agents.stage import Stage
from pipelines.replay.wires.parts import Medium, Text, read_parts

HANDSHAKES: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Versions of the protocol that begin with `initialize`, oldest first."""
STATELESS: Final = ("2026-07-28",)
"""Versions that each request names."""
_VERSIONS = (*HANDSHAKES, *STATELESS)

INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
UNSUPPORTED_VERSION: Final = -32022

_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_SERVER_KEY = "io.modelcontextprotocol/serverInfo"
_CAPABILITIES: Mapping[str, Any] = {"tools": {}}
_UNKEPT: Mapping[str, Any] = {"ttlMs": 0, "cacheScope": "private"}
"""The next unit at the same address may have other tools."""

_Object = dict[str, Any]
_Method = Callable[[Mapping[str, Any], Stage], _Object]


class _ProtocolError(Exception):
    """What the client is told instead of a result."""

    def __init__(self, code: int, message: str, **data: Any) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **({"data": data} if data else {})}


def handle(message: Any, stage: Stage) -> _Object | list[_Object] | None:
    """Answer what a client posted.

    Args:
        message: The JSON value: a message, or a list of them as the protocol had it in 2025-03-26.
        stage: The unit that it is asked of.

    Returns:
        The answer, sent with HTTP 200 even where it is an error (older clients take another status as the end of the connection);
        None where none is due, which is HTTP 202.
    """
    if not isinstance(message, list) or not message:
        return _answer(message, stage)
    answers = [_answer(each, stage) for each in message]
    return [answer for answer in answers if answer is not None] or None


def _answer(message: Any, stage: Stage) -> _Object | None:
    if not isinstance(message, dict):
        return _refusal(None, _ProtocolError(INVALID_REQUEST, "a message is an object"))
    method, number = message.get("method"), message.get("id")
    if ("id" not in message and isinstance(method, str)) or (method is None and message.keys() & {"result", "error"}):
        return None
    if type(number) not in (str, int):
        return _refusal(None, _ProtocolError(INVALID_REQUEST, "the id of a request is text or an integer"))
    try:
        return {"jsonrpc": "2.0", "id": number, "result": _result(method, message.get("params", {}), stage)}
    except _ProtocolError as error:
        return _refusal(number, error)


def _refusal(number: Any, error: _ProtocolError) -> _Object:
    return {"jsonrpc": "2.0", "id": number, "error": error.error}


def _result(method: Any, params: Any, stage: Stage) -> _Object:
    if not isinstance(method, str):
        raise _ProtocolError(INVALID_REQUEST, "a request has a method")
    if not isinstance(params, dict):
        raise _ProtocolError(INVALID_PARAMS, "params is an object")
    meta = params.get("_meta")
    version = meta.get(_VERSION_KEY) if isinstance(meta, dict) else None
    if version not in (None, *_VERSIONS):
        raise _ProtocolError(
            UNSUPPORTED_VERSION, "the version is not spoken here", supported=_VERSIONS, requested=version
        )
    if method not in _METHODS:
        raise _ProtocolError(METHOD_NOT_FOUND, "the recorded tools are all that is here")
    result = _METHODS[method](params, stage)
    if version not in STATELESS and method != "server/discover":
        return result
    kept = _UNKEPT if method in ("server/discover", "tools/list") else {}
    return {**result, **kept, "resultType": "complete"}


def _initialize(params: Mapping[str, Any], _stage: Stage) -> _Object:
    asked = params.get("protocolVersion")
    version = asked if asked in HANDSHAKES else HANDSHAKES[-1]
    return {"protocolVersion": version, "capabilities": _CAPABILITIES, "serverInfo": _server()}


def _discover(_params: Mapping[str, Any], _stage: Stage) -> _Object:
    return {"supportedVersions": STATELESS, "capabilities": _CAPABILITIES, "_meta": {_SERVER_KEY: _server()}}


def _ping(_params: Mapping[str, Any], _stage: Stage) -> _Object:
    return {}


def _list_tools(_params: Mapping[str, Any], stage: Stage) -> _Object:
    functions = (tool.get("function") for tool in stage.tools)
    return {
        "tools": [_tool(each) for each in functions if isinstance(each, Mapping) and isinstance(each.get("name"), str)]
    }


def _tool(function: Mapping[str, Any]) -> _Object:
    """A tool as a client takes it; one whose schema says no object, or nothing, would cost a client all of the list."""
    parameters = function.get("parameters")
    schema = parameters if isinstance(parameters, Mapping) else {"properties": {}}
    told = {"description": function["description"]} if isinstance(function.get("description"), str) else {}
    return {"name": function["name"], **told, "inputSchema": {**schema, "type": "object"}}


def _call_tool(params: Mapping[str, Any], stage: Stage) -> _Object:
    name, arguments = params.get("name"), params.get("arguments")
    if not isinstance(name, str) or not (arguments is None or isinstance(arguments, dict)):
        raise _ProtocolError(INVALID_PARAMS, "a tool call has a name, and arguments that are an object")
    fetched = stage.fetch(name, arguments or {})
    if fetched.over is not None:
        return {"content": [_text(f"{fetched.over}: nothing more is answered in this unit")], "isError": True}
    return {"content": _content(fetched.content), "isError": False}


def _content(content: Any) -> list[_Object]:
    return [_block(part) for part in (content if isinstance(content, list) else [content])]


def _block(part: Any) -> _Object:
    """A part as MCP has it; the JSON of what it has no form for, as text."""
    match next(read_parts([part]), None):
        case Text(text):
            return _text(text)
        case Medium(kind="image", media_type=str(media_type), data=str(data)):
            return {"type": "image", "data": data, "mimeType": media_type}
    return _text(json.dumps(part, ensure_ascii=False, separators=(",", ":")))


def _text(text: str) -> _Object:
    return {"type": "text", "text": text}


@cache
def _server() -> Mapping[str, str]:
    return {"name": "refold", "version": metadata.version("refold")}


_METHODS: Mapping[str, _Method] = {
    "initialize": _initialize,
    "server/discover": _discover,
    "ping": _ping,
    "tools/list": _list_tools,
    "tools/call": _call_tool,
}
