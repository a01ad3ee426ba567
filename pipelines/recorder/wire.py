"""What requests of the three APIs and their responses say, as dicts or as the SDKs' objects, by duck typing.

Only reading: which parts are messages, tools and parameters, which usage was counted, and what the model said. Chat completions
are the shape that everything is recorded in; how the two others are put into it is
`ingest.assemble.bodies`'.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.canonical.tools import tools_sha256
from pipelines.ingest.assemble import bodies
from pipelines.recorder import chunks
from pipelines.recorder.exchange import Api, Request, Response
from pipelines.recorder.storable import Storable, fields_of, is_omitted, member_of
from pipelines.recorder.usage import read_usage

_TRANSPORT = frozenset({"extra_headers", "extra_query", "extra_body", "timeout"})
"""Arguments of an SDK's `create` that are not part of the request's body; headers may hold keys."""
_CLIENTS: Mapping[str, Api] = {"Completions": "chat", "Responses": "responses", "Messages": "messages"}
"""Classes of the SDKs whose methods send requests, without `Async`."""
_ANSWERS: Mapping[str, Api] = {"choices": "chat", "output": "responses", "content": "messages"}
"""Fields in which responses say what the model said."""
_OF_RESPONSES = frozenset({"input", "instructions", "previous_response_id", "conversation", "prompt"})


def api_of_call(create: Any) -> Api | None:
    """The API that a method of an SDK's client speaks, by the name of its class; None of any other callable."""
    return _CLIENTS.get(type(member_of(create, "__self__")).__name__.removeprefix("Async"))


def api_of_answer(response: Any) -> Api | None:
    """The API that a response is of, by the member in which it says what the model said; None of what is none."""
    for name, api in _ANSWERS.items():
        if name in response if isinstance(response, Mapping) else isinstance(member_of(response, name), list):
            return api
    return None


def api_of(request: Any, response: Any) -> Api | None:
    """The API that an exchange is of, by its shape; None where it may be any."""
    answered = api_of_answer(chunks.first_of(response) if isinstance(response, list | tuple) else response)
    if answered is not None:
        return answered
    given = fields_of(request) or {}
    if "messages" not in given:
        return "responses" if _OF_RESPONSES & given.keys() else None
    tools = given.get("tools")
    is_anthropic = "system" in given or (
        isinstance(tools, list | tuple) and any(isinstance(each, Mapping) and "input_schema" in each for each in tools)
    )
    return "messages" if is_anthropic else None


def read_request(request: Any, api: Api = "chat") -> Request:
    """Read the body of a request, given as a mapping of what `create` was called with.

    What is no mapping, and messages and tools that are no objects, are kept as what can be said of them.
    """
    storable = Storable()
    fields = fields_of(request)
    if fields is None:
        params = {"request": storable(request, "/request")}
        return Request([], None, params, None, None, *_notes(storable), api)
    given = {key: value for key, value in fields.items() if not is_omitted(value)}
    extra = given.get("extra_body")
    body = {key: value for key, value in given.items() if key not in _TRANSPORT}
    body |= dict(extra) if isinstance(extra, Mapping) else {}
    if api != "chat":
        try:
            return _translated(body, api, storable)
        except Exception:  # noqa: BLE001 -- whatever stands where a message should
            storable = Storable()
            return Request([], None, {"request": storable(body, "/request")}, None, None, *_notes(storable), api)
    messages = _objects(storable(_listed(body.pop("messages", None)), "/messages"), "content")
    model = storable(body.pop("model", None), "/model")
    tools = _objects(storable(_listed(body.pop("tools", None)), "/tools"), "tool")
    return _request(messages, model, storable(body), tools, storable)


def _translated(given: Mapping[str, Any], api: Api, storable: Storable) -> Request:
    """A request of one of the two other APIs."""
    body = storable({**given, "tools": _listed(given.get("tools"))})
    read = bodies.READ_REQUEST[api](body)
    tools = _objects(read.tools, "tool")
    read_as = {"api": api, "instructions": read.instructions, "state": read.state}
    beside = {"marks": read.marks, "other": tuple(read.other)}
    return _request(read.messages, body.pop("model", None), body, tools, storable, **read_as, **beside)


def _request(
    messages: list[dict[str, Any]],
    model: Any,
    params: dict[str, Any],
    tools: list[dict[str, Any]],
    storable: Storable,
    **beside: Any,
) -> Request:
    return Request(
        messages=messages,
        model=None if model is None else str(model),
        params=params,
        tools=tools or None,
        tools_sha256=tools_sha256(tools) if tools else None,
        changed=tuple(storable.changed),
        described=storable.described,
        **beside,
    )


def read_response(response: Any, api: Api = "chat") -> Response:
    """Read a response, or the list of the pieces that it was streamed in; None, or one without a choice, has no message.

    What cannot be read is kept as what can be said of it.
    """
    if response is None:
        return Response()
    try:
        read = _read_response(response, api)
    except Exception:  # noqa: BLE001 -- whatever stands where a message should
        read = None
    if read is None:
        unread = Storable()
        return Response(unread=unread(response), changed=tuple(unread.changed), described=unread.described)
    return read


def _read_response(response: Any, api: Api) -> Response | None:
    storable = Storable()
    given = chunks.assemble(response) if isinstance(response, list | tuple) else response
    fields = fields_of(given)
    if fields is None:
        return None
    return _chat(fields, storable) if api == "chat" else _other(fields, api, storable)


def _chat(fields: Mapping[str, Any], storable: Storable) -> Response | None:
    """A chat completion; None where it is none."""
    choices = _listed(fields.get("choices"))
    choice = fields_of(choices[0]) if choices else {}
    message = None if choice is None or choice.get("message") is None else storable(choice["message"])
    if choice is None or not isinstance(message, dict | None):
        return None
    messages = [] if message is None else [{**message, "role": "assistant"}]
    return _response(fields, messages, "chat", storable, choice.get("finish_reason"))


def _other(fields: Mapping[str, Any], api: Api, storable: Storable) -> Response | None:
    body = storable(fields)
    answer = bodies.READ_RESPONSE[api](body)
    if answer is None:
        return None
    details = {"error": answer.error, "stop_details": answer.stop_details, "other": tuple(answer.other)}
    return _response(body, answer.messages, api, storable, answer.finish_reason, **details)


def _response(
    fields: Mapping[str, Any], messages: list[dict[str, Any]], api: Api, storable: Storable, finish: Any, **beside: Any
) -> Response:
    return Response(
        messages=tuple(messages),
        finish_reason=_text(finish),
        usage=read_usage(fields_of(fields.get("usage")), api),
        model=_text(fields.get("model")),
        response_id=_text(fields.get("id")),
        changed=tuple(storable.changed),
        described=storable.described,
        **beside,
    )


def amount(value: Any) -> float | int | None:
    """A latency or a price: a finite number from 0 on, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _listed(value: Any) -> list[Any]:
    """The items of a list; anything else is one item, unless it is nothing."""
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value is None or is_omitted(value) else [value]


def _objects(values: Iterable[Any], name: str) -> list[dict[str, Any]]:
    return [value if isinstance(value, dict) else {name: value} for value in values]


def _notes(storable: Storable) -> tuple[tuple[str, ...], int]:
    return tuple(storable.changed), storable.described
