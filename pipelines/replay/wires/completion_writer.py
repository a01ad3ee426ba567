"""Write a chat completion: a reply as an answer of that wire, and an answer as the chunks by which it would have come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.replay.asking.fault import storable
from pipelines.replay.wires.calls import arguments_as_sent, fresh_id
from pipelines.replay.wires.sse import event, objects
from pipelines.replay.wires.thoughts import FIELD, ORDER, read_thoughts

_NOT_SHARED = frozenset(("choices", "object", "usage"))
_TAKEN = frozenset(("content", "refusal", "role", "tool_calls"))
"""Members of a message that are written from the reply's own fields."""


def write(reply: Reply, *, model: str | None, number: int, custom: frozenset[str] = frozenset()) -> dict[str, Any]:
    """See `Wire.write`."""
    message: dict[str, Any] = {"role": "assistant", **_said(reply)}
    if reply.tool_calls:
        message["tool_calls"] = [
            _call(call, fresh_id(number, place), is_custom=call.name in custom)
            for place, call in enumerate(reply.tool_calls)
        ]
    message |= _extra(reply)
    finish = reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": reply.model or model or "",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": _usage(reply),
    }


def _said(reply: Reply) -> dict[str, Any]:
    text = None if reply.text is None else storable(reply.text)
    return {"content": None, "refusal": text} if reply.is_refusal else {"content": text, "refusal": None}


def _extra(reply: Reply) -> dict[str, Any]:
    """What goes back with the message; thoughts of other wires in words, where they have some."""
    extra = dict(reply.extra or {})
    parts = extra.get("content")
    kept = {key: value for key, value in extra.items() if key not in (*_TAKEN, ORDER)}
    if isinstance(extra.get(FIELD), list):
        del kept[FIELD]
        words = "".join(thought.text or "" for thought in read_thoughts({FIELD: extra[FIELD]}))
        kept |= {"reasoning_content": words} if words and "reasoning_content" not in kept else {}
    return kept | ({"content": parts} if isinstance(parts, list) and not reply.is_refusal else {})


def _call(call: ToolCall, call_id: str, *, is_custom: bool) -> dict[str, Any]:
    name, given = storable(call.name), arguments_as_sent(call.arguments)
    if is_custom:
        return {"id": call_id, "type": "custom", "custom": {"name": name, "input": given}}
    extra = dict(call.extra or {})
    inner = extra.pop("function", None)
    function = {"name": name, "arguments": given, **(inner if isinstance(inner, Mapping) else {})}
    return {"id": call_id, "type": "function", "function": function, **extra}


def _usage(reply: Reply) -> dict[str, Any]:
    given, made = reply.input_tokens or 0, reply.output_tokens or 0
    usage: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    told = {"cached_tokens": reply.cached_input_tokens, "cache_write_tokens": reply.cache_write_tokens}
    if cached := {name: count for name, count in told.items() if count is not None}:
        usage["prompt_tokens_details"] = cached
    if reply.reasoning_tokens is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": reply.reasoning_tokens}
    return usage


def events(document: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[bytes]:
    """See `Wire.events`. Tokens are counted in it where the request asks for that, as the API does."""
    shared = {key: value for key, value in document.items() if key not in _NOT_SHARED}
    shared["object"] = "chat.completion.chunk"
    for place, choice in enumerate(objects(document.get("choices"))):
        index = choice.get("index", place)
        message = choice.get("message")
        for delta in _deltas(message if isinstance(message, dict) else {}):
            said = {"index": index, "delta": delta, "finish_reason": None}
            yield event({**shared, "choices": [said]}, is_named=False)
        ended = {key: value for key, value in choice.items() if key not in ("message", "delta")}
        yield event({**shared, "choices": [{**ended, "index": index, "delta": {}}]}, is_named=False)
    options = asked.get("stream_options")
    if isinstance(options, Mapping) and options.get("include_usage") is True:
        yield event({**shared, "choices": [], "usage": document.get("usage")}, is_named=False)
    yield b"data: [DONE]\n\n"


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The pieces of a message: who speaks, each member, each call by its name and then its arguments."""
    content = message.get("content")
    yield {"role": "assistant", "content": "" if isinstance(content, str) else None}
    for name, value in message.items():
        if name not in ("role", "content", "tool_calls") and value not in (None, "", []):
            yield {name: value}
    if content:
        yield {"content": content}
    for index, call in enumerate(objects(message.get("tool_calls"))):
        kind, given = next(((each, call[each]) for each in ("function", "custom") if each in call), ("function", {}))
        name = "input" if kind == "custom" else "arguments"
        text = given.get(name) if isinstance(given, dict) else None
        if not isinstance(text, str):
            yield {"tool_calls": [{**call, "index": index}]}
            continue
        yield {"tool_calls": [{**call, "index": index, kind: {**given, name: ""}}]}
        yield {"tool_calls": [{"index": index, kind: {name: text}}]}
