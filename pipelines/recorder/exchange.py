"""A request and its response as a recorder understands them, whichever API they were of. Types only.

Messages are in the shape of chat completions, so that one conversation has the same events by every API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Api = Literal["chat", "responses", "messages"]
"""OpenAI's chat completions, OpenAI's Responses, Anthropic's Messages."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as sent.

    Attributes:
        messages: The messages, as the store can hold them; those that are kept apart from the others (`instructions`,
            `system`) first.
        model: The model asked for.
        params: Everything else in the body but the tools, and but what names a history that the provider keeps.
        tools: The tool schemas, None when the request has none.
        tools_sha256: Their hash (hex), None likewise.
        changed: JSON Pointers of values that the store cannot hold as sent.
        described: How many of them are kept as a description alone.
        api: Which API it is of.
        instructions: How many of the messages were kept apart; a response that goes on from this one does not see them.
        state: What names a history that the provider keeps: any of `previous_response_id`, `conversation`, `prompt`, and items
            that only refer to others.
        marks: Marks for the provider's cache, by JSON Pointer: the model does not see them.
        other: Items that are no messages.
    """

    messages: list[dict[str, Any]]
    model: str | None
    params: dict[str, Any]
    tools: list[dict[str, Any]] | None
    tools_sha256: str | None
    changed: tuple[str, ...] = ()
    described: int = 0
    api: Api = "chat"
    instructions: int = 0
    state: Mapping[str, Any] = field(default_factory=dict)
    marks: Mapping[str, Any] = field(default_factory=dict)
    other: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Response:
    """The part of a response that is recorded.

    Attributes:
        messages: What the model said: usually one message; none when nothing came.
        finish_reason: Why the model stopped, as chat completions name it.
        usage: Tokens in the words of `model.decision`, cached ones within the input; None when not told.
        model: The model that answered.
        response_id: The provider's id of the response.
        changed: JSON Pointers into the response of values that the store cannot hold as sent.
        described: How many of them are kept as a description alone.
        unread: What can be said of a response that is none; None when it could be read.
        error: What the response says went wrong.
        stop_details: What it says beside of why the model stopped.
        other: Items that are no messages.
    """

    messages: tuple[dict[str, Any], ...] = ()
    finish_reason: str | None = None
    usage: dict[str, int] | None = None
    model: str | None = None
    response_id: str | None = None
    changed: tuple[str, ...] = ()
    described: int = 0
    unread: Any = None
    error: Any = None
    stop_details: Any = None
    other: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Course:
    """How a call went.

    Attributes:
        latency_ms: How long it took.
        ttft_ms: Until the first piece of a stream.
        cost_usd: Its price in US dollars.
        retries: How often the client tried again.
        error: Why it failed: the name of an error.
        is_cut: Whether its stream ended before the answer did.
    """

    latency_ms: float | None = None
    ttft_ms: float | None = None
    cost_usd: float | None = None
    retries: int | None = None
    error: Any = None
    is_cut: bool = False
