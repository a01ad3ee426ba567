"""JSON that stands in the text of an attribute, and attributes with a number in their names, read as what they spell.

Histories repeat: each call of a conversation says all messages before it once more. What was read of one call is taken again for
the next, so a message is read once; the objects are shared and must not be changed. Caches are bounded.
"""

from __future__ import annotations

import marshal
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgspec

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.messages import Read, read
from pipelines.ingest.assemble.rows import Message
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.reading.strict_json import parse

_decode = msgspec.json.Decoder().decode
_HISTORIES = 4
"""Histories that one may go on from: of the agents of a conversation whose calls alternate."""
_CACHED_CHARACTERS = 16_000_000
_MOST_TOOLS = 64
"""Lists of tools that are held."""
_INDEXED = re.compile(
    r"(gen_ai\.prompt|gen_ai\.completion|llm\.input_messages|llm\.output_messages|llm\.prompts|llm\.choices|llm\.tools"
    r"|llm\.request\.functions)\.([0-9]{1,9})\.(.+)"
)
_AROUND = ("message", "tool_call", "message_content", "tool", "prompt", "completion")
"""Steps of OpenInference's names that only say what stands there."""

Items = tuple[tuple[str, Any], ...]


def json_of(text: Any, place: str) -> Any:
    """The value of a JSON text; a text that is none, as it is.

    Raises:
        BadInputError: It holds what the store cannot keep.
    """
    if not isinstance(text, str) or text[:64].lstrip()[:1] not in ("{", "["):
        return text
    try:
        if "\\u0000" not in text:
            return _decode(text)
        return parse(text).value
    except BadLineError as error:
        if "\\u0000" in error.reason:
            raise BadInputError(f"{place}: {error.json_path} of a JSON text: {error.reason}") from error
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        pass
    return text


class Texts:
    """What was read of the JSON texts and messages of a conversation, for what comes after to be read from it."""

    def __init__(self) -> None:
        self._histories: list[tuple[str, Read, int]] = []
        self._messages: dict[Any, tuple[Message, ...]] = {}
        self._values: dict[str, tuple[Any, int]] = {}
        self._tools: dict[Any, list[dict[str, Any]]] = {}
        self._characters = 0

    def history(self, text: str, place: str) -> tuple[Read, int] | None:
        """The messages of a JSON list, and its leaves; None where the text is cut.

        Raises:
            BadInputError: It holds what the store cannot keep.
        """
        for stem, known, count in self._histories:
            if text.startswith(stem):
                made = self._go_on(text, stem, known, count, place)
                if made is not None:
                    return made
        value = json_of(text, place)
        if isinstance(value, str):
            made_of_text = read(value)
            is_cut = value[:64].lstrip()[:1] in ("[", "{") and [m.chat["content"] for m in made_of_text.messages] == [
                value
            ]
            return None if is_cut else (made_of_text, 1)
        made = read(value), leaves(value)
        self._keep(text, *made)
        return made

    def _go_on(self, text: str, stem: str, known: Read, count: int, place: str) -> tuple[Read, int] | None:
        tail = text[len(stem) :].lstrip()
        if tail == "]":
            return known, count
        if tail[:1] != ",":
            return None
        value = json_of(f"[{tail[1:]}", place)
        if not isinstance(value, list) or _begins_inside(value, known):
            return None
        more = read(value)
        made = replace(known, messages=known.messages + more.messages, tools=known.tools + more.tools)
        total = count + leaves(value)
        self._keep(text, made, total)
        return made, total

    def _keep(self, text: str, made: Read, count: int) -> None:
        stem = text.rstrip()
        if stem[:1] == "[" and stem[-1:] == "]" and made.messages:
            self._histories = [(stem[:-1], made, count), *self._histories[: _HISTORIES - 1]]

    def value(self, text: Any, place: str) -> tuple[Any, int]:
        """The value of a JSON text and its leaves; of the same text the same object."""
        if not isinstance(text, str):
            return text, leaves(text)
        if text not in self._values:
            value = json_of(text, place)
            self._make_room(len(text))
            self._values[text] = value, leaves(value)
        return self._values[text]

    def tools(self, key: Any, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """A list of tools by what it was made of; of the same the same object."""
        try:
            known = self._tools.get(key)
        except TypeError:  # values, where a text is usual
            return make()
        if known is None:
            if len(self._tools) >= _MOST_TOOLS:
                self._tools.clear()
            known = self._tools[key] = make()
        return known

    def messages(self, items: Items) -> tuple[Message, ...]:
        """What the numbered attributes of one message say; of the same the same objects."""
        try:
            known = self._messages.get(items)
        except TypeError:  # a list, where a text is usual
            return tuple(read([nested(items)]).messages)
        if known is None:
            known = tuple(read([nested(items)]).messages)
            for message in known:
                message.leaves = 0
            if known:
                known[-1].leaves = len(items)
            self._make_room(sum(len(value) for _, value in items if isinstance(value, str)))
            self._messages[items] = known
        return known

    def message(self, given: dict[str, Any], at: int | None) -> tuple[tuple[Message, ...], bool]:
        """What one recorded message says, and whether it is new; of the same the same objects, with the time of the first."""
        raw = marshal.dumps(given, 2)
        known = self._messages.get(raw)
        if known is None:
            known = tuple(read([given]).messages)
            for message in known:
                message.at = at
            self._make_room(len(raw))
            self._messages[raw] = known
            return known, True
        return known, False

    def _make_room(self, characters: int) -> None:
        self._characters += characters + 100
        if self._characters > _CACHED_CHARACTERS:
            self._messages.clear()
            self._values.clear()
            self._characters = characters


def _begins_inside(value: list[Any], known: Read) -> bool:
    """Whether the first of further messages may be a part of the last one: reading decides that of both together."""
    first = value[0] if value else None
    is_agents = not isinstance(first, dict) or first.get("role") not in ("user", "system", "tool")
    return is_agents and bool(known.messages) and known.messages[-1].chat["role"] == "assistant"


_SPLIT: dict[str, tuple[str, int, str] | None] = {}
_MOST_SPLIT = 16_384
_NOT_YET = ("", 0, "")


def _split(name: str) -> tuple[str, int, str] | None:
    found = _INDEXED.fullmatch(name)
    if len(_SPLIT) >= _MOST_SPLIT:
        _SPLIT.clear()
    _SPLIT[name] = made = (found[1], int(found[2]), found[3]) if found else None
    return made


@lru_cache(maxsize=16_384)
def _steps(path: str) -> tuple[str | int, ...]:
    steps = [step for step in path.split(".") if step not in _AROUND] or path.split(".")
    return tuple(int(step) if step.isdecimal() and len(step) < 10 else step for step in steps)


def take_indexed(attributes: dict[str, Any]) -> dict[str, list[Items]]:
    """Numbered attributes by their family, each number's as path and value, in the order of the numbers; they are taken out."""
    found: dict[str, dict[int, list[tuple[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for name in [*attributes]:
        split = _SPLIT.get(name, _NOT_YET)
        if split is _NOT_YET:
            split = _split(name)
        if split is not None:
            family, number, path = split
            found[family][number].append((path, attributes.pop(name)))
    return {family: [tuple(numbered[n]) for n in sorted(numbered)] for family, numbered in found.items()}


def nested(items: Items) -> dict[str, Any]:
    """Paths and values as the object that they spell."""
    tree: dict[Any, Any] = {}
    for path, value in items:
        *steps, last = _steps(path)
        node = tree
        for step in steps:
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                node = tree
                last = path
                break
        node[last if not isinstance(node.get(last), dict) else path] = value
    made: dict[str, Any] = _lists(tree)
    if "contents" in made and "content" not in made:  # OpenInference's name of parts
        made["content"] = made.pop("contents")
    if "function_call_name" in made:
        made["function_call"] = {
            "name": made.pop("function_call_name"),
            "arguments": made.pop("function_call_arguments_json", ""),
        }
    return made


def _lists(tree: Any) -> Any:
    """Objects whose keys are numbers as lists."""
    if not isinstance(tree, dict):
        return tree
    if tree and all(isinstance(key, int) for key in tree):
        return [_lists(tree[key]) for key in sorted(tree)]
    return {str(key): _lists(value) for key, value in tree.items()}
