"""Items of OpenAI's Responses API that stand in a log one by one, as sessions and rollouts keep them.

What a model answered at once is several items (reasoning, a message, calls): those that follow each other are one answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipelines.ingest.assemble.messages import read
from pipelines.ingest.assemble.rows import Message, Record
from pipelines.ingest.forms.fields import keep_other

_NOT_ANSWERED = ("_output", "_response")
_ANSWERED = ("reasoning", "function_call", "custom_tool_call", "local_shell_call", "mcp_list_tools", "compaction")
_KINDS = ("message", "item_reference", *_ANSWERED)


@dataclass(slots=True)
class Turn:
    """Items that say one thing: an answer of the model, or one item of anybody else.

    Attributes:
        records: The records in which they stand.
        items: The items, taken out of them.
        is_answer: Whether the model said them.
    """

    records: list[Record] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    is_answer: bool = False

    def messages(self) -> list[Message]:
        """What the items say; what is no message stays in the first record."""
        made = read(self.items)
        keep_other(self.records[0].value, made)
        return made.messages


def is_kind(kind: Any) -> bool:
    """Whether a type is one of items."""
    return isinstance(kind, str) and (kind in _KINDS or kind.endswith(("_call", "_call_output", "_approval_request")))


def is_answer(item: dict[str, Any]) -> bool:
    """Whether an item is of the model."""
    kind = item.get("type")
    if item.get("role") is not None:
        return bool(item["role"] == "assistant")
    return isinstance(kind, str) and (
        kind in _ANSWERED or (kind.endswith(("_call", "_request")) and not kind.endswith(_NOT_ANSWERED))
    )


def turns(items: Iterable[tuple[Record, dict[str, Any]]]) -> Iterator[Turn]:
    """Items by what they say, in order.

    Args:
        items: Each with the record that it was taken out of; an empty one for a record that is none, before which an answer has
            ended. It is a turn of its own.
    """
    turn = Turn()
    for record, item in items:
        if not item:
            if turn.items:
                yield turn
            yield Turn([record])
            turn = Turn()
            continue
        answers = is_answer(item)
        if turn.items and not (answers and turn.is_answer):
            yield turn
            turn = Turn()
        turn.is_answer = answers
        turn.records.append(record)
        turn.items.append(item)
    if turn.items:
        yield turn
