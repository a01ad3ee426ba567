"""What a chat-completions request and its response say, as dicts or as the openai SDK's objects, by duck typing.

Only reading: which parts are messages, tools and parameters, which usage was counted, and which message was chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.canonical.tools import tools_sha256
from pipelines.recorder.storable import Storable, is_omitted

_TRANSPORT = frozenset({"extra_headers", "extra_query", "extra_body", "timeout"})
"""Arguments of the SDK's `create` that are not part of the request's body; headers may hold keys."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as sent.

    Attributes:
        messages: The messages, as the store can hold them.
        model: The model asked for.
        params: Everything else in the body but the tools.
        tools: The tool schemas, None when the request has none.
        tools_sha256: Their hash (hex), None likewise.
        changed: JSON Pointers of values that the store cannot hold as sent.
        described: How many of them are kept as a description alone.
    """

    messages: list[dict[str, Any]]
    model: str | None
    params: dict[str, Any]
    tools: list[dict[str, Any]] | None
    tools_sha256: str | None
    changed: tuple[str, ...] = ()
    described: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """The part of a response that is recorded.

    Attributes:
        message: The first choice's message; None when there is none.
        finish_reason: Why the model stopped.
        usage: Tokens in the words of `model.decision`; None when not told.
        model: The model that answered.
        response_id: The provider's id of the response.
        changed: JSON Pointers into the message of values that the store cannot hold as sent.
        described: How many of them are kept as a description alone.
        unread: What can be said of a response that is none; None when it could be read.
    """

    message: dict[str, Any] | None
    finish_reason: str | None
    usage: dict[str, int | None] | None
    model: str | None
    response_id: str | None
    changed: tuple[str, ...] = ()
    described: int = 0
    unread: Any = None


def read_request(request: Any) -> Request:
    """Read the body of a request, given as a mapping of what `create` was called with.

    What is no mapping, and messages and tools that are no objects, are kept as what can be said of them.
    """
    storable = Storable()
    fields = _fields(request)
    if fields is None:
        return Request([], None, {"request": storable(request, "/request")}, None, None, *_notes(storable))
    given = {key: value for key, value in fields.items() if not is_omitted(value)}
    extra = given.get("extra_body")
    body = {key: value for key, value in given.items() if key not in _TRANSPORT}
    body |= dict(extra) if isinstance(extra, Mapping) else {}
    messages = _objects(storable(_listed(body.pop("messages", None)), "/messages"), "content")
    model = storable(body.pop("model", None), "/model")
    tools = _objects(storable(_listed(body.pop("tools", None)), "/tools"), "tool") or None
    return Request(
        messages=messages,
        model=None if model is None else str(model),
        params=storable(body),
        tools=tools,
        tools_sha256=None if tools is None else tools_sha256(tools),
        changed=tuple(storable.changed),
        described=storable.described,
    )


def read_response(response: Any) -> Response:
    """Read a response; None, or one without a choice, has no message. What cannot be read is kept as what can be said of it."""
    if response is None:
        return Response(None, None, None, None, None)
    storable = Storable()
    fields = _fields(response)
    choices = [] if fields is None else _listed(fields.get("choices"))
    choice = _fields(choices[0]) if choices else {}
    message = None if choice is None or choice.get("message") is None else storable(choice["message"])
    if fields is None or choice is None or not isinstance(message, dict | None):
        unread = storable(response)
        return Response(None, None, None, None, None, *_notes(storable), unread)
    return Response(
        message=message,
        finish_reason=_text(choice.get("finish_reason")),
        usage=_usage(fields.get("usage")),
        model=_text(fields.get("model")),
        response_id=_text(fields.get("id")),
        changed=tuple(storable.changed),
        described=storable.described,
    )


def amount(value: Any) -> float | int | None:
    """A latency or a price: a finite number from 0 on, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _usage(usage: Any) -> dict[str, int | None] | None:
    if usage is None:
        return None
    fields = _fields(usage)
    if fields is None:
        return None
    details = fields.get("prompt_tokens_details") or fields.get("input_tokens_details")
    cached = (_fields(details) or {}).get("cached_tokens") if details is not None else fields.get("cached_input_tokens")
    counted = {
        "input_tokens": _count(fields.get("prompt_tokens", fields.get("input_tokens"))),
        "output_tokens": _count(fields.get("completion_tokens", fields.get("output_tokens"))),
    }
    return counted if cached is None else {**counted, "cached_input_tokens": _count(cached)}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _fields(value: Any) -> Mapping[str, Any] | None:
    """The fields of a mapping or of an SDK object; None of anything else."""
    if isinstance(value, Mapping):
        return value
    try:
        fields = value.model_dump(mode="json", exclude_unset=True)
    except Exception:  # noqa: BLE001 -- the value's own code
        return None
    return fields if isinstance(fields, dict) else None


def _listed(value: Any) -> list[Any]:
    """The items of a list; anything else is one item, unless it is nothing."""
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value is None or is_omitted(value) else [value]


def _objects(values: list[Any], name: str) -> list[dict[str, Any]]:
    return [value if isinstance(value, dict) else {name: value} for value in values]


def _notes(storable: Storable) -> tuple[tuple[str, ...], int]:
    return tuple(storable.changed), storable.described
