"""A model that decides by what a request says, whatever wire it came by: the same conversation gets the same answer over each.

Wires differ in where a prompt stands, in ids of calls, in how neighbouring messages are joined and in what may be empty. `essence` is
what is left when none of that counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.support.wires.form import Body, Message, digest, text_of

Saying = tuple[str, ...]


def essence(body: Body) -> list[Saying]:
    """What was said, called and returned, in order; neighbours of one kind are one, and nothing is empty.

    Args:
        body: A request in the neutral form.
    """
    prompts = [text_of(each["content"]) for each in body["messages"] if each["role"] in ("system", "developer")]
    found: list[Saying] = [("prompt", _words("\n".join(prompts)))]
    for each in body["messages"]:
        for saying in _sayings(each):
            is_more = saying[0] in ("user", "assistant") and found[-1][0] == saying[0]
            if is_more:
                found[-1] = (saying[0], f"{found[-1][1]} {saying[1]}".strip())
            else:
                found.append(saying)
    return found


def _sayings(message: Message) -> list[Saying]:
    role = message["role"]
    if role in ("system", "developer"):
        return []
    said = _words(text_of(message.get("content") or message.get("refusal")))
    if role == "tool":
        return [("result", said)]
    found: list[Saying] = [(role, said)] if said else []
    for call in message.get("tool_calls") or ():
        function = call["function"]
        found.append(("call", function["name"], _arguments(function["arguments"])))
    return found


def _words(text: str) -> str:
    return " ".join(text.split())


def _arguments(text: str) -> str:
    try:
        return json.dumps(json.loads(text or "{}"), sort_keys=True)
    except ValueError:
        return text


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
