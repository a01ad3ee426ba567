"""The values of a JSON document, with their places: those of documents that its strings hold, too.

Names of members are places, not values. A string that holds a JSON object or array is read as that document, as the arguments of tool
calls often are; a number is the text that it is written as.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DEPTH = 8
"""Documents in strings of documents that are read."""


class Number(str):
    """A number, as it is written."""

    __slots__ = ()


class _Members(tuple[tuple[str, Any], ...]):
    """The members of an object, also those whose name comes twice."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is neither object nor array.

    Attributes:
        path: JSON Pointer; in a string that holds JSON it goes on with the place in that document.
        name: The member that it is the value of; None for an item of an array.
        value: A text, a number as it is written, True, False or None.
    """

    path: str
    name: str | None
    value: str | Number | bool | None

    def equals(self, text: str) -> bool:
        """Whether it is what a text says: the same string, or the same number, or `true`, `false`, `null`."""
        if isinstance(self.value, Number):
            return (number := as_number(self.value)) is not None and number == as_number(text)
        if isinstance(self.value, str):
            return self.value == text
        return json.dumps(self.value) == text

    @property
    def text(self) -> str | None:
        """What it says, in which a text can stand; None for what is neither text nor number."""
        return self.value if isinstance(self.value, str) else None


def values_of(document: str) -> Iterator[Value]:
    """The values of a JSON document, in their order."""
    waiting: list[tuple[str, str | None, Any, int]] = [("", None, _read(document), 0)]
    while waiting:
        path, name, value, depth = waiting.pop()
        if isinstance(value, str) and not isinstance(value, Number) and depth < _DEPTH:
            held = _held(value)
            depth += held is not None
            value = value if held is None else held
        if isinstance(value, _Members):
            named = [(f"{path}/{_escaped(key)}", key, child, depth) for key, child in value]
            waiting += reversed(named)
        elif isinstance(value, list):
            items: Sequence[Any] = value
            waiting += reversed([(f"{path}/{number}", None, child, depth) for number, child in enumerate(items)])
        else:
            yield Value(path, name, value)


def _held(text: str) -> Any:
    """The object or array that a string holds; None for any other string."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return _read(text)
    except (ValueError, RecursionError):
        return None


def _read(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_Members, parse_int=Number, parse_float=Number, parse_constant=Number)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def as_number(text: str) -> Decimal | None:
    """The number that a text writes, as JSON does; None for any other text."""
    if _NUMBER.fullmatch(text) is None:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that no number has
        return None
