"""What a request says that an agent made itself, on every wire, in the form of chat completions: the other way round of `Wire.body`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.experiment.sides import Api
from pipelines.ingest.assemble.bodies import READ_REQUEST


class UnreadableRequestError(ValueError):
    """A body is no request of its wire; the message says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an agent asks.

    Attributes:
        messages: Chat-completions messages, those that the wire keeps apart (`instructions`, `system`) first.
        tools: Tool schemas in the form of chat completions; the provider's own as they stand.
        model: The model asked for; None for none.
        params: Everything else in the body.
        state: What names messages that the provider keeps (`previous_response_id`, `conversation`, `prompt`), and `items` that stand
            for such: what it asks cannot be known from the body, then.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    model: str | None
    params: dict[str, Any]
    state: Mapping[str, Any] = field(default_factory=dict)


def read_asked(api: Api, body: Mapping[str, Any]) -> Asked:
    """Read a request by the rule by which recordings of that wire are read.

    Args:
        api: The wire.
        body: The request's JSON; it is not changed. Over chat the messages are those of the body, as they stand.

    Raises:
        UnreadableRequestError: What is listed in it is no list of objects.
    """
    params = dict(body)
    model, tools = params.pop("model", None), params.pop("tools", None)
    if not (model is None or isinstance(model, str)):
        raise UnreadableRequestError("model is no text")
    params["tools"] = _objects("tools", [] if tools is None else tools)
    if api == "chat":
        return Asked(_objects("messages", params.pop("messages", None)), params.pop("tools"), model, params)
    if api == "messages" or not isinstance(body.get("input"), str | None):
        _objects(listed := "messages" if api == "messages" else "input", body.get(listed))
    try:
        read = READ_REQUEST[api](params)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UnreadableRequestError(f"no request of {api}: {type(error).__name__}") from error
    return Asked(read.messages, read.tools, model, params, read.state)


def _objects(name: str, listed: Any) -> list[dict[str, Any]]:
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise UnreadableRequestError(f"{name} is no list of objects")
    return listed
