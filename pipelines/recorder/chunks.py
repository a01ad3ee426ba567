"""The pieces of a streamed response put together into the response that would have come whole: of all three APIs. Pure.

Pieces are dicts or the SDKs' objects. What came of a stream that was cut is a response, too, and says that it is not whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from pipelines.recorder.storable import fields_of

_FIRST = frozenset({"role", "type", "id", "index", "name"})
"""Members of a delta that are said once, and that some endpoints repeat."""
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_DELTAS: Mapping[str, tuple[str, str, str]] = {
    "response.output_text.delta": ("content", "output_text", "text"),
    "response.refusal.delta": ("content", "refusal", "refusal"),
    "response.reasoning_text.delta": ("content", "reasoning_text", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_text", "text"),
}
"""Events that say a piece of a part of an item: the list that the part is in, its type, and its text's name."""
_ITEM_DELTAS = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}
"""Events that say a piece of a text of an item."""
_BLOCK_DELTAS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "compaction_delta": "content",
}
"""Types of deltas that say a piece of a text of a block, which has the same name in both."""


class Assembler(Protocol):
    """Takes the pieces of one response."""

    is_whole: bool
    """Whether the response has come to its end."""

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take the next piece."""

    def response(self) -> dict[str, Any]:
        """What came so far."""


class ChatChunks:
    """Chunks of a chat completion; of several choices the first."""

    def __init__(self) -> None:
        self.is_whole = False
        self._fields: dict[str, Any] = {}
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._finish: Any = None

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take the next chunk."""
        self._fields |= {key: piece[key] for key in ("id", "model", "usage") if piece.get(key) is not None}
        for choice in piece.get("choices") or ():
            if choice.get("index", 0) == 0:
                _merge(self._message, choice.get("delta") or {})
                self._finish = choice.get("finish_reason") or self._finish
                self.is_whole = self._finish is not None

    def response(self) -> dict[str, Any]:
        """The completion."""
        message = dict(self._message)
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [{key: value for key, value in each.items() if key != "index"} for each in calls]
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        return {**self._fields, "object": "chat.completion", "choices": [choice]}


class ResponsesEvents:
    """Events of a response of the Responses API."""

    def __init__(self) -> None:
        self.is_whole = False
        self._response: dict[str, Any] = {}
        self._items: dict[int, dict[str, Any]] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take the next event."""
        kind = str(piece.get("type"))
        index = piece.get("output_index", 0)
        if isinstance(piece.get("response"), Mapping):
            self._response = dict(piece["response"])
            self.is_whole = kind in _ENDS
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._items[index] = dict(piece["item"])
        elif kind in _ITEM_DELTAS:
            item, name = self._items.setdefault(index, {}), _ITEM_DELTAS[kind]
            item[name] = (item.get(name) or "") + piece["delta"]
        elif kind in _DELTAS:
            self._add_text(index, piece, *_DELTAS[kind])
        elif kind == "error":
            self._response["error"] = {key: value for key, value in piece.items() if key in ("code", "message")}

    def _add_text(self, index: int, piece: Mapping[str, Any], listed: str, kind: str, name: str) -> None:
        item = self._items.setdefault(index, {"type": "message", "role": "assistant"})
        place = piece.get("content_index", piece.get("summary_index", 0))
        parts = item[listed] = list(item.get(listed) or ())
        parts += [{"type": kind, name: ""} for _ in range(len(parts), place + 1)]
        parts[place] = {**parts[place], name: parts[place].get(name, "") + piece["delta"]}

    def response(self) -> dict[str, Any]:
        """The response; items as their events said them, where its last event does not."""
        items = [self._items[index] for index in sorted(self._items)]
        output = self._response.get("output") if self.is_whole else None
        return {"object": "response", **self._response, "output": output or items}


class MessagesEvents:
    """Events of a message of the Messages API."""

    def __init__(self) -> None:
        self.is_whole = False
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, str] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take the next event."""
        kind, index = piece.get("type"), piece.get("index", 0)
        if kind == "message_start":
            self._message = dict(piece["message"])
        elif kind == "content_block_start":
            self._blocks[index] = dict(piece["content_block"])
        elif kind == "content_block_delta":
            self._add_delta(index, piece["delta"])
        elif kind == "message_delta":
            self._message |= _given(piece.get("delta"))
            self._message["usage"] = _given(self._message.get("usage")) | _given(piece.get("usage"))
        elif kind == "message_stop":
            self.is_whole = True
        elif kind == "error":
            self._message["error"] = piece.get("error")

    def _add_delta(self, index: int, delta: Mapping[str, Any]) -> None:
        block, kind = self._blocks.setdefault(index, {"type": "text"}), delta.get("type")
        if kind == "input_json_delta":
            self._inputs[index] = self._inputs.get(index, "") + delta["partial_json"]
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        elif kind in _BLOCK_DELTAS:
            name = _BLOCK_DELTAS[kind]
            block[name] = (block.get(name) or "") + delta[name]

    def response(self) -> dict[str, Any]:
        """The message; arguments that are no JSON yet are the text that came of them."""
        blocks = {index: dict(block) for index, block in self._blocks.items()}
        for index, text in self._inputs.items():
            if text:
                blocks[index]["input"] = _parsed(text)
        return {"type": "message", "role": "assistant", **self._message, "content": [blocks[n] for n in sorted(blocks)]}


def assembler_of(piece: Any) -> Assembler | None:
    """What takes the pieces of the response that this is the first one of; None where it is none."""
    fields = fields_of(piece) or {}
    kind = str(fields.get("type"))
    if "choices" in fields:
        return ChatChunks()
    if kind.startswith("response."):
        return ResponsesEvents()
    return MessagesEvents() if kind in ("message_start", "content_block_start", "ping") else None


def assemble(pieces: Iterable[Any]) -> dict[str, Any] | None:
    """The response that was streamed in these pieces; None where they are none."""
    made: Assembler | None = None
    for piece in pieces:
        made = assembler_of(piece) if made is None else made
        if made is None:
            return None
        made.add(fields_of(piece) or {})
    return None if made is None else made.response()


def first_of(pieces: Any) -> dict[str, Any] | None:
    """An empty response of the API that the pieces are of."""
    made = assembler_of(pieces[0]) if pieces else None
    return None if made is None else made.response()


def _merge(into: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add what a delta says: texts go on, lists by the index of their items, and the rest is as it was said last."""
    for key, value in delta.items():
        known = into.get(key)
        if value is None:
            continue
        if key in _FIRST:
            into[key] = known or value
        elif isinstance(value, str):
            into[key] = (known or "") + value
        elif isinstance(value, Mapping):
            into[key] = dict(known or {})
            _merge(into[key], value)
        elif isinstance(value, list):
            into[key] = _merged_list(list(known or ()), value)
        else:
            into[key] = value


def _merged_list(known: list[Any], items: list[Any]) -> list[Any]:
    for item in items:
        place = _place(known, item)
        if place is None:
            known.append(dict(item) if isinstance(item, Mapping) else item)
        else:
            known[place] = dict(known[place])
            _merge(known[place], item)
    return known


def _place(known: list[Any], item: Any) -> int | None:
    """Where a list has the item that this is a piece of; some endpoints leave the index out, or give one to several."""
    if not isinstance(item, Mapping):
        return None
    names = [name for name in ("index", "id") if item.get(name) is not None]
    if not names:
        return len(known) - 1 if known and "function" in item else None
    same = (n for n, each in enumerate(known) if all(each.get(name) in (None, item[name]) for name in names))
    return next(same, None)


def _given(value: Any) -> dict[str, Any]:
    """The members of an object that say something."""
    return {key: inner for key, inner in value.items() if inner is not None} if isinstance(value, Mapping) else {}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
