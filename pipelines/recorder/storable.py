r"""Any value as the JSON that the store gives back: a recorder hashes what a later reader will see.

PostgreSQL's jsonb orders keys, writes numbers out and refuses `\u0000`, lone surrogates, NaN and infinity. Here the same
is done beforehand, and what it would refuse is written in another way and named, so that nothing is dropped silently.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any

MAX_DEPTH = 200
"""Deeper than any real message, and well inside the stacks of Python and PostgreSQL."""
_MAX_INT_BITS = 14_000
"""A little less than the 4,300 digits that Python turns into text."""
_REFUSED = re.compile("[\0\ud800-\udfff]")
_OMITTED = frozenset({"NotGiven", "Omit"})
"""Names of the openai SDK's markers for "not part of the request"."""


@dataclass(slots=True)
class Storable:
    """Makes values storable and remembers what had to be written in another way.

    Attributes:
        changed: JSON Pointers of the values that are not what was given, in the order met.
    """

    changed: list[str] = field(default_factory=list)

    def __call__(self, value: Any, at: str = "") -> Any:
        """`value` as jsonb returns it: plain dicts, lists, strings, numbers, booleans and None.

        Mappings, sequences and objects with `model_dump` become JSON as the openai SDK would send them. Characters and
        numbers that jsonb refuses, other objects and what is nested too deeply become text.
        """
        if isinstance(value, Enum):
            return self(value.value, at)
        if value is None or isinstance(value, bool | str | int | float):
            return self._scalar(value, at)
        if at.count("/") >= MAX_DEPTH:
            return self._changed(f"nested more than {MAX_DEPTH} levels deep", at)
        if isinstance(value, Mapping):
            return self._object(value, at)
        if isinstance(value, list | tuple):
            items = [item for item in value if not is_omitted(item)]
            return [self(item, f"{at}/{index}") for index, item in enumerate(items)]
        dump = getattr(value, "model_dump", None)
        dumped = dump(mode="json", exclude_unset=True) if callable(dump) else None
        return self._changed(self._text(str(value), at), at) if dumped is None else self(dumped, at)

    def _scalar(self, value: bool | str | float | None, at: str) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(str(value), at)
        if isinstance(value, int):
            return int(value) if value.bit_length() <= _MAX_INT_BITS else self._changed(hex(value), at)
        return _number(value) if math.isfinite(value) else self._changed(str(value), at)

    def _object(self, value: Mapping[Any, Any], at: str) -> dict[str, Any]:
        result = {}
        for given, inner in value.items():
            if is_omitted(inner):
                continue
            name = _key(given)
            place = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
            key = self._text(name, place)
            result[key] = self(inner, _REFUSED.sub("?", place))
        return dict(sorted(result.items(), key=lambda pair: (len(pair[0].encode()), pair[0].encode())))

    def _text(self, text: str, at: str) -> str:
        if not _REFUSED.search(text):
            return text
        return str(self._changed(_REFUSED.sub(lambda found: f"\\u{ord(found[0]):04x}", text), _REFUSED.sub("?", at)))

    def _changed(self, value: Any, at: str) -> Any:
        self.changed.append(at)
        return value


def is_omitted(value: Any) -> bool:
    """Whether a value stands for "leave this field out"."""
    return type(value).__name__ in _OMITTED


def _key(key: Any) -> str:
    """A key as JSON encoders write it."""
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)


def _number(value: float) -> int | float:
    """A finite double as jsonb returns it: written out, so that whole numbers without a point are integers."""
    text = format(Decimal(repr(float(value))), "f")
    return (float(text) or 0.0) if "." in text else int(text)
