"""Write a message object of Anthropic's Messages: a reply as an answer of that wire, and an answer as the events of its stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.replay.asking.fault import storable
from pipelines.replay.wires.calls import arguments_as_object, fresh_id
from pipelines.replay.wires.sse import event, objects
from pipelines.replay.wires.thoughts import Thought, in_order, read_thoughts

Block = dict[str, Any]
_STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}
_SPELLED_BY_PIECES = ("tool_use", "server_tool_use", "mcp_tool_use")
"""Types of blocks whose input comes as pieces of JSON."""
_TOLD_AT_THE_END = ("stop_reason", "stop_sequence", "stop_details", "container")


def write(reply: Reply, *, model: str | None, number: int, custom: frozenset[str] = frozenset()) -> dict[str, Any]:
    """See `Wire.write`. Why a filter stopped has one word here: what another wire tells as that is a refusal."""
    made = {
        "reasoning": [block for each in read_thoughts(reply.extra or {}) if (block := _thinking(each)) is not None],
        "text": [] if reply.text is None else [{"type": "text", "text": storable(reply.text)}],
        "tool_call": [
            _call(call, fresh_id(number, place), is_custom=call.name in custom)
            for place, call in enumerate(reply.tool_calls)
        ],
    }
    counts = {kind: len(blocks) for kind, blocks in made.items()}
    finish = reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": reply.model or model or "",
        "content": [made[kind][place] for kind, place in in_order(reply.extra or {}, counts)],
        "stop_reason": "refusal" if reply.is_refusal else _STOPS.get(finish, finish),
        "stop_sequence": None,
        "usage": _usage(reply),
    }


def _thinking(thought: Thought) -> Block | None:
    """A thought as a block, whoever thought it; None for what is hidden by another vendor."""
    if thought.is_redacted:
        return {"type": "redacted_thinking", "data": thought.encrypted or ""}
    if thought.text is None and thought.signature is None:
        return None
    return {"type": "thinking", "thinking": thought.text or "", "signature": thought.signature or ""}


def _call(call: ToolCall, call_id: str, *, is_custom: bool) -> Block:
    given = arguments_as_object(call.arguments, is_custom=is_custom)
    return {"type": "tool_use", "id": call_id, "name": storable(call.name), "input": given}


def _usage(reply: Reply) -> dict[str, Any]:
    """Counts; what the cache gave or took is beside the input here."""
    cached, written = reply.cached_input_tokens, reply.cache_write_tokens
    usage: dict[str, Any] = {
        "input_tokens": max(0, (reply.input_tokens or 0) - (cached or 0) - (written or 0)),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": reply.output_tokens or 0,
    }
    thought = reply.reasoning_tokens
    return usage | ({} if thought is None else {"output_tokens_details": {"thinking_tokens": thought}})


def events(document: Mapping[str, Any], _asked: Mapping[str, Any]) -> Iterator[bytes]:
    """See `Wire.events`."""
    usage = document.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    ended = {name: document[name] for name in _TOLD_AT_THE_END if name in document}
    begun = {**document, "content": [], **dict.fromkeys(ended), "usage": {**counted, "output_tokens": 0}}
    yield event({"type": "message_start", "message": begun})
    for index, block in enumerate(objects(document.get("content"))):
        start, deltas = _pieces(block)
        yield event({"type": "content_block_start", "index": index, "content_block": start})
        for delta in deltas:
            yield event({"type": "content_block_delta", "index": index, "delta": delta})
        yield event({"type": "content_block_stop", "index": index})
    yield event({"type": "message_delta", "delta": ended, "usage": {"output_tokens": 0, **counted}})
    yield event({"type": "message_stop"})


def _pieces(block: Block) -> tuple[Block, list[Block]]:
    """(A block as it begins, the pieces that it comes in); of other kinds a block comes whole."""
    kind = block.get("type")
    if kind == "text":
        citations = block.get("citations")
        cited = citations if isinstance(citations, list) else []
        deltas = [{"type": "citations_delta", "citation": each} for each in cited]
        text = block.get("text")
        told = [{"type": "text_delta", "text": text}] if text else []
        return {**block, "text": "", **({"citations": []} if cited else {})}, [*told, *deltas]
    if kind == "thinking":
        named = [(name, f"{name}_delta") for name in ("thinking", "signature") if block.get(name)]
        return {**block, "thinking": "", "signature": ""}, [{"type": of, name: block[name]} for name, of in named]
    if kind in _SPELLED_BY_PIECES:
        given = block.get("input")
        text = given if isinstance(given, str) else json.dumps({} if given is None else given)
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text}]
    return block, []
