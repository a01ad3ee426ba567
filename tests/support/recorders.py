"""Conversations of an agent, and recorders that keep the calls of its model in the ways that real ones do.

A conversation is told once, as `Told`; what a recorder keeps are rows, each call with the history that it was sent. An import has
to get the conversation back.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Call, Message, Row, Step

SECOND = 10**9
START = 1_760_000_000 * SECOND

Chat = dict[str, Any]


@dataclass
class Told:
    """What was said and called, in order, and where the model was asked.

    Attributes:
        system: The system text; empty for none.
        messages: Everything after it.
        asked: For each message of the agent, its place among `messages`.
    """

    system: str
    messages: list[Chat] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    def whole(self) -> list[Chat]:
        """All messages, the system text first."""
        return [*([{"role": "system", "content": self.system}] if self.system else []), *self.messages]


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
said = st.one_of(words, st.sampled_from(['[{"event_id": 0}]', '{"a": 1}', "ok", "Called Tool: x", " "]))
arguments = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(st.integers(0, 9), words), max_size=2),
    st.sampled_from(['{"a": 1}', '{ "b":2, "a": 1 }', "", "not json"]),
)
names = st.sampled_from(["look", "book", "cancel"])


@st.composite
def told(draw: st.DrawFn, *, max_turns: int = 4, calls_max: int = 3) -> Told:
    """A conversation of a few turns, in which the agent calls tools before it answers."""
    made = Told(draw(st.sampled_from(["", "You help.", "Be brief."])))
    number = 0
    for _ in range(draw(st.integers(1, max_turns))):
        made.messages.append({"role": "user", "content": draw(said)})
        for _ in range(draw(st.integers(0, 2))):
            calls = []
            for _ in range(draw(st.integers(1, calls_max))):
                number += 1
                function = {"name": draw(names), "arguments": draw(arguments)}
                calls.append({"id": f"call-{number}", "type": "function", "function": function})
            made.asked.append(len(made.messages))
            text = draw(st.one_of(st.none(), said.filter(str.strip)))
            made.messages.append({"role": "assistant", "content": text, "tool_calls": calls})
            made.messages += [{"role": "tool", "tool_call_id": c["id"], "content": draw(said)} for c in calls]
        made.asked.append(len(made.messages))
        made.messages.append({"role": "assistant", "content": draw(said)})
    return made


def message(chat: Chat) -> Message:
    """A message as a reader of dialects gives it."""
    return Message(deepcopy(chat), leaves=leaves(chat))


def calls_of(
    told: Told,
    *,
    name: str = "c",
    history: Callable[[list[Chat]], list[Chat]] = lambda sent: sent,
    at: int = START,
    step: int = 10 * SECOND,
    **fields: Any,
) -> list[Call]:
    """The calls of a conversation, each with the history that a recorder keeps of what it was sent.

    Args:
        told: The conversation.
        name: Beginning of their ids.
        history: What the recorder makes of a history.
        at: When the first call began, in nanoseconds.
        step: Between the beginnings of two; a call takes a fifth of it.
        fields: Further fields of the calls.
    """
    made = []
    lead = len(told.whole()) - len(told.messages)
    for number, place in enumerate(told.asked):
        begin = at + number * step
        sent = history(deepcopy(told.whole()[: lead + place]))
        made.append(
            Call(
                f"{name}{number:03}",
                f"calls:{name}{number:03}",
                start=begin,
                end=begin + step // 5,
                model="m",
                input=[message(each) for each in sent],
                output=[message(told.messages[place])],
                usage={"input_tokens": 10, "output_tokens": 1},
                **fields,
            )
        )
    return made


def as_text(sent: list[Chat]) -> list[Chat]:
    """Agents' calls come back as text, as some frameworks send them."""
    return [
        {"role": "assistant", "content": f"Called Tool: {json.dumps([c['function'] for c in each['tool_calls']])}"}
        if each.get("tool_calls")
        else each
        for each in sent
    ]


def without_ids(sent: list[Chat]) -> list[Chat]:
    """Ids of calls are left out, JSON of arguments is spelt anew, and blanks are trimmed."""
    found = []
    for each in sent:
        other = {key: value for key, value in each.items() if key != "tool_call_id"}
        if isinstance(other.get("content"), str):
            other["content"] = f" {other['content'].strip()}\n"
        if other.get("tool_calls"):
            other["tool_calls"] = [{"function": _respelt(call["function"])} for call in other["tool_calls"]]
        found.append(other)
    return found


def _respelt(function: Chat) -> Chat:
    given = function["arguments"]
    if given == "":
        return {**function, "arguments": {}}
    try:
        value = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return function
    return {**function, "arguments": json.dumps(value, indent=1)}


def one_by_one(sent: list[Chat]) -> list[Chat]:
    """Parallel calls come back each by itself, before its result."""
    found: list[Chat] = []
    waiting: dict[str, Chat] = {}
    for each in sent:
        if each.get("tool_calls"):
            first, *others = each["tool_calls"]
            found.append({**each, "tool_calls": [first]})
            waiting = {call["id"]: call for call in others}
        elif each["role"] == "tool":
            if each["tool_call_id"] in waiting:
                call = waiting.pop(each["tool_call_id"])
                found.append({"role": "assistant", "content": None, "tool_calls": [call]})
            found.append(each)
        else:
            found.append(each)
    return found


def only_results(sent: list[Chat]) -> list[Chat]:
    """After a tool ran, only what is new is kept: its results."""
    last = max((n for n, each in enumerate(sent) if each["role"] == "assistant"), default=-1)
    new = sent[last + 1 :]
    return new if new and all(each["role"] == "tool" for each in new) else sent


def wrapped(calls: list[Call], *, is_parent: bool) -> list[Row]:
    """Each call recorded twice: by a span around it that is its parent, or that only its time and content tell."""
    rows: list[Row] = []
    for call in calls:
        outer = deepcopy(call)
        outer.id, outer.place = f"outer-{call.id}", f"{call.place}/outer"
        assert outer.start is not None
        assert outer.end is not None
        outer.start, outer.end = outer.start - 5, outer.end + 5
        outer.usage = {"input_tokens": 3, "output_tokens": 3}
        if is_parent:
            call.parent = outer.id
        rows += [outer, call]
    return rows


def tool_spans(told: Told, *, at: int = START, step: int = 10 * SECOND) -> list[Step]:
    """The spans of the tools that a conversation called."""
    made = []
    for number, place in enumerate(told.asked):
        begin = at + number * step + step // 4
        for k, call in enumerate(told.messages[place].get("tool_calls") or ()):
            function = call["function"]
            made.append(
                Step(
                    "tool",
                    f"tool-{call['id']}",
                    f"calls:tool-{call['id']}",
                    start=begin + k,
                    end=begin + k + 1,
                    name=function["name"],
                    arguments=function["arguments"],
                    output="from the span",
                )
            )
    return made
