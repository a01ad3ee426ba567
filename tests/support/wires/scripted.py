"""A model that decides by what a request says, whatever wire it came by: the same conversation gets the same answer over each.

Wires differ in where a prompt stands, in ids of calls, in how neighbouring messages are joined, in what may be empty, in where the
result of a call stands, and in what has to be said where nothing was recorded. `essence` is what is left when none of that counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.wires.form import Body, Message, digest, text_of

Saying = tuple[str, ...]
PLACED = (
    "[the conversation begins]",
    "[go on]",
    "[no result of this call was recorded]",
    "Result of a tool call that is not shown:",
)
"""What is put where a wire wants something to be said and nothing was."""


def essence(body: Body) -> list[Saying]:
    """What was said and called, and what calls brought, in order; neighbours of one kind are one, and nothing is empty.

    Args:
        body: A request in the neutral form.
    """
    results = _results(body["messages"])
    found: list[Saying] = [("prompt", "")]
    for place, each in enumerate(body["messages"]):
        is_prompt = each["role"] in ("system", "developer") and len(found) == 1
        for saying in _sayings(body["messages"], place, results):
            kind = "prompt" if is_prompt else saying[0]
            if len(saying) == 2 and found[-1][0] == kind:
                found[-1] = (kind, found[-1][1] + saying[1])
            else:
                found.append((kind, *saying[1:]))
    return found


def _results(messages: Sequence[Message]) -> dict[str, int]:
    """Places of what calls brought, by their ids: of several results the first after the call."""
    asked: set[str] = set()
    found: dict[str, int] = {}
    for place, each in enumerate(messages):
        asked |= {call["id"] for call in each.get("tool_calls") or ()}
        if each["role"] == "tool" and each["tool_call_id"] in asked:
            found.setdefault(each["tool_call_id"], place)
    return found


def _sayings(messages: Sequence[Message], place: int, results: Mapping[str, int]) -> list[Saying]:
    """What one message says; a result that answers no call is said by the person, and a late prompt too."""
    message = messages[place]
    if message["role"] == "tool" and results.get(message["tool_call_id"]) == place:
        return []
    said = _said(message)
    found: list[Saying] = [("assistant" if message["role"] == "assistant" else "user", said)] if said else []
    for call in message.get("tool_calls") or ():
        function, at = call["function"], results.get(call["id"])
        brought = "" if at is None else _said(messages[at])
        found.append(("call", function["name"], _arguments(function["arguments"]), brought))
    return found


def _said(message: Message) -> str:
    return _words(text_of(message.get("content") or message.get("refusal")))


def _words(text: str) -> str:
    """The text without blanks: wires join it with none, one or a new line."""
    for placed in PLACED:
        text = text.replace(placed, "")
    return "".join(text.split())


def _arguments(text: str) -> str:
    """Arguments as canonical JSON; what is no object, or has a name twice, is the one argument `input` of some wires, and is itself."""
    try:
        value = json.loads(text or "{}", object_pairs_hook=_unique)
    except ValueError:
        value = {"input": text}
    if not isinstance(value, dict):
        value = {"input": text}
    is_wrapped = value.keys() == {"input"} and isinstance(value["input"], str)
    return value["input"] if is_wrapped else json.dumps(value, sort_keys=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def scripted_answer(body: Body) -> Message:
    """A tool that is on offer after the person spoke, by turns; else a text. A JSON object where the request asks for one."""
    mark = digest(essence(body))
    shape = (body.get("response_format") or {}).get("json_schema")
    if shape is not None:
        return {"role": "assistant", "content": json.dumps(_filled(shape["schema"], mark))}
    tools = [tool["function"]["name"] for tool in body.get("tools") or () if tool["type"] == "function"]
    if tools and body["messages"][-1]["role"] == "user":
        name = tools[int(mark[:8], 16) % len(tools)]
        function = {"name": name, "arguments": json.dumps({"key": mark[:12]})}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"call_{mark[:8]}", "type": "function", "function": function}],
        }
    return {"role": "assistant", "content": f"Answer {mark[:16]}"}


def _filled(schema: dict[str, Any], mark: str) -> Any:
    """A value of the schema, as far as tests ask for one."""
    kind = schema.get("type")
    if kind == "object":
        return {name: _filled(inner, mark) for name, inner in schema.get("properties", {}).items()}
    return {"integer": 7, "number": 0.5, "boolean": True, "array": []}.get(str(kind), f"Answer {mark[:16]}")


@dataclass
class Following:
    """A model that does what was recorded, where a request says what was said then; now and then it does something else.

    Attributes:
        recorded: Replies by what was said before them.
        every: One in so many of these replies is another one.
        known: Requests whose context was a recorded one.
        unknown: Other requests.
    """

    recorded: dict[str, Message]
    every: int = 8
    known: int = 0
    unknown: int = 0

    def __call__(self, body: Body) -> Message:
        mark = digest(essence(body))
        reply = self.recorded.get(mark)
        if reply is None:
            self.unknown += 1
            return {"role": "assistant", "content": f"Answer {mark[:16]}"}
        self.known += 1
        if int(mark[-8:], 16) % self.every:
            return reply
        calls = reply.get("tool_calls") or ()
        text = {"role": "assistant", "content": f"Instead of {len(calls)} calls: {mark[:16]}"}
        return text if len(calls) < 2 else {**reply, "tool_calls": calls[1:]}
