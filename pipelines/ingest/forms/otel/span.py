"""A span that is being read: what was recorded of a call, and what helps to take it out of the span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.messages import Read, read, take_answer
from pipelines.ingest.assemble.rows import Message, Record
from pipelines.ingest.forms.otel.texts import Items, Texts, json_of, take_indexed


@dataclass(slots=True)
class Content:
    """What a call was sent and answered.

    Attributes:
        system: System messages that stand apart.
        input: Messages that it was sent; None where they were not recorded.
        output: What came back.
        finish_reason: As recorded.
        tools: Tool schemas as recorded.
        choices: Further choices, verbatim.
        request: The body that was sent.
    """

    system: list[Message] = field(default_factory=list)
    input: list[Message] | None = None
    output: list[Message] = field(default_factory=list)
    finish_reason: str | None = None
    tools: list[Any] | None = None
    choices: list[Any] = field(default_factory=list)
    request: dict[str, Any] | None = None

    @property
    def is_there(self) -> bool:
        """Whether any of it was recorded."""
        return self.input is not None or bool(self.output)


class Span:
    """A record that is being read, and what helps to read it.

    Args:
        record: The record; what is read is taken out of its value.
        texts: What was read of the conversation before.
    """

    def __init__(self, record: Record, texts: Texts) -> None:
        self.record = record
        self.where = record.where or record.place
        self.texts = texts
        self.value = record.value
        self.attributes: dict[str, Any] = record.value.setdefault("attributes", {})
        self.indexed: dict[str, list[Items]] = take_indexed(self.attributes)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Events of the span."""
        return self.value.get("events") or []

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Log records of the span."""
        return self.value.get("logs") or []

    def take(self, *names: str) -> Any:
        """Take out the first of these attributes that is there."""
        for name in names:
            if (value := self.attributes.get(name)) is not None:
                del self.attributes[name]
                return value
        return None

    def put_back(self) -> None:
        """Put numbered attributes that nobody took back under their names."""
        for family, numbered in self.indexed.items():
            for number, items in enumerate(numbered):
                self.attributes |= {f"{family}.{number}.{path}": value for path, value in items}
        self.indexed = {}

    def take_json(self, name: str) -> Any:
        """Take out an attribute that is JSON in a text; it counts by what is in it."""
        return self.take_counted(name)[0]

    def take_counted(self, name: str) -> tuple[Any, int]:
        """As `take_json`, and how many leaves are in it."""
        text = self.attributes.pop(name, None)
        if text is None:
            return None, 0
        value = json_of(text, f"{self.where}, {name}")
        count = leaves(value)
        self.record.leaves += count - leaves(text)
        return value, count

    def take_history(self, name: str) -> Read | None:
        """Take out an attribute that is a list of messages, as JSON or as values; one that was cut stays."""
        given = self.attributes.get(name)
        if given is None:
            return None
        if isinstance(given, str):
            known = self.texts.history(given, f"{self.where}, {name}")
            if known is None:
                self.attributes[f"unparsed {name}"] = self.attributes.pop(name)
                return None
            made, count = known
            self.record.leaves += count - 1
        else:
            made = read(given)
        del self.attributes[name]
        return made


def name_of(event: dict[str, Any]) -> str:
    """The name of an event or log record; older log records have it among their attributes."""
    name = event.get("eventName") or event.get("name")
    if not name:
        name = (event.get("attributes") or {}).get("event.name")
    return name if isinstance(name, str) else ""


def leave_out_repeated(span: Span, made: Content) -> None:
    """System texts that are said twice, apart and as the first message, are said once."""
    assert made.input is not None
    if [m.chat.get("content") for m in made.system] == [made.input[0].chat.get("content")]:
        span.record.repeated += sum(m.leaves for m in made.system)
        made.system = []


def answered(made: Content, choices: Sequence[Any]) -> None:
    """Take the choices of an answer: the first is what was said, the others are alternatives or further calls of it."""
    told = [
        {
            "finish_reason": choice.get("finish_reason"),
            "message": {k: v for k, v in choice.items() if k != "finish_reason"},
        }
        if isinstance(choice, dict) and "message" not in choice
        else choice
        for choice in choices
    ]
    answer = take_answer({"choices": told})
    made.output, made.finish_reason, made.choices = answer.messages, answer.finish_reason, answer.choices


def numbered_messages(span: Span, family: str) -> list[Message]:
    """The messages of a family of numbered attributes, which are taken out of the span."""
    return [message for items in span.indexed.pop(family, ()) for message in span.texts.messages(items)]
