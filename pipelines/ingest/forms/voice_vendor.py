"""How reports of calls are read, whoever wrote them: what a vendor's table says, and the steps that its items become."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Facts, Message, Record, Step
from pipelines.ingest.forms.fields import at, take, take_text

Value = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Vendor:
    """How one vendor's reports are read.

    Attributes:
        name: Its name, which is the source of its calls.
        within: Key of the envelope in which a webhook sends the call; empty where there is none.
        items: Path of the items in the call.
        ids: Paths of what names the call, the best first.
        facts: Takes what is known of the whole call into the facts; gives its start.
        steps: What one item says, given the start of the call.
        decision: What the report says of how all of the agent's answers came to be; None where each item says it.
        repeated: Fields of the call that say the items again, with what makes each from the items.
        is_ordered: Whether items are in the order that counts, whatever their times say.
    """

    name: str
    within: tuple[str, ...]
    items: tuple[str, ...]
    ids: tuple[tuple[str, ...], ...]
    facts: Callable[[Value, Facts], int | None]
    steps: Callable[[Record, int | None], Iterator[Step]]
    decision: Callable[[Value], Value] | None = None
    repeated: tuple[tuple[tuple[str, ...], Callable[[list[Value]], Any]], ...] = ()
    is_ordered: bool = False

    def call(self, report: Value) -> Value:
        """The call in its envelope, or without one."""
        inner = at(report, *self.within) if self.within else report
        return inner if isinstance(inner, dict) else report

    def drop_repeated(self, call: Value, items: list[Any]) -> int:
        """Take out of a call what only says its items again; the number of leaves that went."""
        dropped = 0
        for path, again in self.repeated:
            value = at(call, *path)
            if value and value == again([item for item in items if isinstance(item, dict)]):
                dropped += leaves(take(call, *path))
        return dropped


def utterance(
    record: Record, chat: Value, start: int | None, speech: Value | None = None, *, more: bool = False
) -> Step:
    """An utterance; `more` is for a further one of the same item, of which the first has the rest."""
    if speech:
        chat["speech"] = speech
    name = f"{record.place}/{chat.get('tool_call_id')}" if more else record.place
    return Step(
        "utterance", name, record.place, start=start, message=Message(chat, at=start), rest={} if more else record.value
    )


def state(record: Record, start: int | None, kind: str) -> Step:
    """An item that is no speech, whole, as an event of the call."""
    detail = {"kind": kind, **{key: record.value.pop(key) for key in list(record.value)}}
    return Step("state", record.place, record.place, start=start, name=kind, detail=detail)


def call_of(call: Value, id_: str, name: tuple[str, ...], arguments: tuple[str, ...]) -> Value:
    """A call of a tool in the shape of chat completions, taken out of the item."""
    return {
        "id": take_text(call, id_),
        "type": "function",
        "function": {"name": take_text(call, *name) or "", "arguments": take(call, *arguments, of=(str, dict)) or {}},
    }


def result_of(result: Value, id_: str, name: str, output: str) -> Value:
    """What a tool answered, as a message, taken out of the item."""
    named = take_text(result, name)
    chat = {"role": "tool", "tool_call_id": take_text(result, id_), "content": take(result, output)}
    return chat | ({"name": named} if named else {})


def speech_of(**said: Any) -> Value:
    """How something was spoken: those of the fields of `speech` that are known."""
    return {name: value for name, value in said.items() if value is not None}


def score(name: str, value: Any, comment: Any = None) -> Value:
    """A judgement of the vendor's analysis as a score."""
    kind = "boolean" if isinstance(value, bool) else "numeric" if isinstance(value, (int, float)) else "categorical"
    said = {"value": value} if kind != "categorical" else {"label": value}
    return {"name": name, **said, "kind": kind, "source": "model"} | ({"comment": comment} if comment else {})


def collected(call: Value, *path: str) -> list[Value]:
    """What an analysis collected of a call, as scores; what is no scalar stays."""
    found = at(call, *path)
    names = [k for k, v in found.items() if isinstance(v, (str, int, float))] if isinstance(found, dict) else []
    return [score(name, take(call, *path, name)) for name in names]
