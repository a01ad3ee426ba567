"""Chat completions as the test server speaks them: the neutral form is theirs, so nothing is read; what is strict is a quirk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.wires.form import (
    Body,
    Document,
    Message,
    Refused,
    Tokens,
    check_names,
    check_types,
    event,
    finish_of,
    pieces,
)

PATH = "/v1/chat/completions"
MALFORMED: Document = {"object": "chat.completion", "choices": [{"finish_reason": "stop"}]}
_OWN = ("reasoning", "finish")
_FINISH = {"refusal": "stop"}


def read(body: Body) -> Body:
    """The request in the neutral form; reasoning that was brought back by its neutral name as well."""
    tools = [tool["function"] for tool in body.get("tools") or () if "function" in tool]
    calls = [call["function"] for each in body["messages"] for call in each.get("tool_calls") or ()]
    check_names(each.get("name") for each in (*tools, *calls))
    for tool in tools:
        check_types(tool.get("parameters"), tool["name"])
    messages = [
        {**each, "reasoning": each["reasoning_content"]} if each.get("reasoning_content") else each
        for each in body["messages"]
    ]
    return {**body, "messages": messages}


def write(body: Body, message: Message, tokens: Tokens) -> Document:
    """A completion."""
    said = {key: value for key, value in {"role": "assistant", **message}.items() if key not in _OWN}
    if message.get("reasoning"):
        said["reasoning_content"] = message["reasoning"]
    usage: dict[str, Any] = {
        "prompt_tokens": tokens.given,
        "completion_tokens": tokens.made,
        "total_tokens": tokens.given + tokens.made,
    }
    if tokens.cached or tokens.thought:
        usage["prompt_tokens_details"] = {"cached_tokens": tokens.cached}
        if tokens.written:
            usage["prompt_tokens_details"]["cache_write_tokens"] = tokens.written
        usage["completion_tokens_details"] = {"reasoning_tokens": tokens.thought}
    finish = finish_of(message)
    choice = {"index": 0, "message": said, "finish_reason": _FINISH.get(finish, finish)}
    document = {"id": "x", "object": "chat.completion", "created": 1, "model": body.get("model")}
    return {**document, "choices": [choice], "usage": usage}


def error(refused: Refused) -> Document:
    """An error."""
    kind = "server_error" if refused.status >= 500 else "invalid_request_error"
    return {"error": {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}}


def stream(body: Body, document: Document) -> Iterator[bytes]:
    """The completion in chunks."""
    shared = {key: document[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event({**shared, "choices": [choice]}, is_named=False)

    (choice,) = document["choices"]
    message = choice["message"]
    yield chunk({"role": "assistant", "content": ""})
    for name in ("reasoning_content", "content", "refusal"):
        for piece in pieces(message.get(name) or ""):
            yield chunk({name: piece})
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        yield chunk({"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]})
        for piece in pieces(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, choice["finish_reason"])
    if (body.get("stream_options") or {}).get("include_usage"):
        yield event({**shared, "choices": [], "usage": document["usage"]}, is_named=False)
    yield b"data: [DONE]\n\n"
