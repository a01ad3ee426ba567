"""Write a response object of OpenAI's Responses: a reply as an answer of that wire, and an answer as the events of its stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipelines.experiment.decision import Reply, ToolCall
from pipelines.replay.asking.fault import storable
from pipelines.replay.wires.calls import arguments_as_sent, fresh_id
from pipelines.replay.wires.sse import event, objects
from pipelines.replay.wires.thoughts import Thought, in_order, read_thoughts

Item = dict[str, Any]
Made = Iterator[tuple[str, Item]]
_CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why a response is incomplete, by the names of chat completions; ends of other names have none here."""
_ENDS = {"incomplete": "response.incomplete", "failed": "response.failed"}


def write(reply: Reply, *, model: str | None, number: int, custom: frozenset[str] = frozenset()) -> dict[str, Any]:
    """See `Wire.write`. A response says why it ended only where it is cut."""
    made = {
        "reasoning": [
            _reasoning(each, f"rs_{number}_{place}")
            for place, each in enumerate(read_thoughts(reply.extra or {}))
            if not each.is_redacted and not (each.text is None and each.signature is not None)
        ],
        "text": [] if reply.text is None and reply.tool_calls else [_message(reply, f"msg_{number}")],
        "tool_call": [
            _call(call, number, place, is_custom=call.name in custom) for place, call in enumerate(reply.tool_calls)
        ],
    }
    counts = {kind: len(items) for kind, items in made.items()}
    cut = _CUT.get(reply.finish_reason or "")
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 0,
        "status": "completed" if cut is None else "incomplete",
        "error": None,
        "incomplete_details": None if cut is None else {"reason": cut},
        "instructions": None,
        "metadata": {},
        "model": reply.model or model or "",
        "output": [made[kind][place] for kind, place in in_order(reply.extra or {}, counts)],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": _usage(reply),
    }


def _reasoning(thought: Thought, made_id: str) -> Item:
    summary = [{"type": "summary_text", "text": each} if isinstance(each, str) else each for each in thought.summary]
    item: Item = {"type": "reasoning", "id": thought.id or made_id, "summary": summary}
    if thought.text is not None:
        item["content"] = [{"type": "reasoning_text", "text": thought.text}]
    if thought.encrypted is not None:
        item["encrypted_content"] = thought.encrypted
    return item | ({"status": thought.status} if thought.status is not None else {})


def _message(reply: Reply, item_id: str) -> Item:
    text = storable(reply.text or "")
    part: Item = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    if reply.is_refusal:
        part = {"type": "refusal", "refusal": text}
    phase = (reply.extra or {}).get("phase")
    item: Item = {"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": [part]}
    return item | ({"phase": phase} if isinstance(phase, str) else {})


def _call(call: ToolCall, number: int, place: int, *, is_custom: bool) -> Item:
    named = {"call_id": fresh_id(number, place), "name": storable(call.name)}
    given = arguments_as_sent(call.arguments)
    if is_custom:
        return {"type": "custom_tool_call", "id": f"ctc_{number}_{place}", **named, "input": given}
    item_id = f"fc_{number}_{place}"
    return {"type": "function_call", "id": item_id, "status": "completed", **named, "arguments": given}


def _usage(reply: Reply) -> dict[str, Any]:
    given, made = reply.input_tokens or 0, reply.output_tokens or 0
    cached = {"cached_tokens": reply.cached_input_tokens or 0, "cache_write_tokens": reply.cache_write_tokens or 0}
    return {
        "input_tokens": given,
        "input_tokens_details": cached,
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens or 0},
        "total_tokens": given + made,
    }


def events(document: Mapping[str, Any], _asked: Mapping[str, Any]) -> Iterator[bytes]:
    """See `Wire.events`."""
    for number, (kind, data) in enumerate(_events(document)):
        yield event({"type": kind, "sequence_number": number, **data})


def _events(document: Mapping[str, Any]) -> Made:
    begun = {**document, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, given in enumerate(objects(document.get("output"))):
        item = given if given.get("id") else {**given, "id": f"item_{index}"}  # its events say which item they are of
        pieces = _PIECES.get(str(item.get("type")))
        start, made = (item, iter(())) if pieces is None else pieces(item)
        yield "response.output_item.added", {"output_index": index, "item": start}
        for kind, data in made:
            yield kind, {"item_id": item["id"], "output_index": index, **data}
        yield "response.output_item.done", {"output_index": index, "item": item}
    yield _ENDS.get(str(document.get("status")), "response.completed"), {"response": document}


def _of_message(item: Item) -> tuple[Item, Made]:
    return {**item, "status": "in_progress", "content": []}, _parts(item)


def _parts(item: Item) -> Made:
    for place, part in enumerate(objects(item.get("content"))):
        name, kind = ("refusal", "refusal") if part.get("type") == "refusal" else ("text", "output_text")
        at, text = {"content_index": place}, part.get(name)
        empty = {**part, name: "", **({"annotations": []} if "annotations" in part else {})}
        yield "response.content_part.added", {**at, "part": empty}
        if isinstance(text, str):
            beside = {"logprobs": part.get("logprobs") or []} if name == "text" else {}
            if text:
                yield f"response.{kind}.delta", {**at, "delta": text, **beside}
            yield f"response.{kind}.done", {**at, name: text, **beside}
        yield "response.content_part.done", {**at, "part": part}


def _of_reasoning(item: Item) -> tuple[Item, Made]:
    start = {**item, "summary": []} | ({"content": []} if item.get("content") else {})
    return start, _thought(item)


def _thought(item: Item) -> Made:
    for place, part in enumerate(objects(item.get("summary"))):
        at, text = {"summary_index": place}, str(part.get("text") or "")
        yield "response.reasoning_summary_part.added", {**at, "part": {**part, "text": ""}}
        yield "response.reasoning_summary_text.delta", {**at, "delta": text}
        yield "response.reasoning_summary_text.done", {**at, "text": text}
        yield "response.reasoning_summary_part.done", {**at, "part": part}
    for place, part in enumerate(objects(item.get("content"))):
        at, text = {"content_index": place}, str(part.get("text") or "")
        yield "response.content_part.added", {**at, "part": {**part, "text": ""}}
        yield "response.reasoning_text.delta", {**at, "delta": text}
        yield "response.reasoning_text.done", {**at, "text": text}
        yield "response.content_part.done", {**at, "part": part}


def _of_call(name: str, kind: str) -> Callable[[Item], tuple[Item, Made]]:
    """A call whose text comes in pieces.

    Args:
        name: Member that has the text.
        kind: Of the events.
    """

    def pieces(item: Item) -> tuple[Item, Made]:
        text = str(item.get(name) or "")
        named = {"name": item.get("name")} if kind == "function_call_arguments" else {}
        made: list[tuple[str, Item]] = [(f"response.{kind}.delta", {"delta": text})] if text else []
        made.append((f"response.{kind}.done", {name: text, **named}))
        begun = {"status": "in_progress"} if "status" in item else {}
        return {**item, name: "", **begun}, iter(made)

    return pieces


_PIECES: Mapping[str, Callable[[Item], tuple[Item, Made]]] = {
    "message": _of_message,
    "reasoning": _of_reasoning,
    "function_call": _of_call("arguments", "function_call_arguments"),
    "custom_tool_call": _of_call("input", "custom_tool_call_input"),
}
"""By type: an item as it begins, and the events of its pieces; others come whole."""
