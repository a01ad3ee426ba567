"""One text per JSON value: the form that importers hash and compare.

Keys sorted by code point, no spaces, no escapes but the needed ones, numbers by value (`1.0`, `1` and `1e0` are one
number; an integer keeps all its digits). It is not RFC 8785, which has no integers above 2^53; recorded data does. The
form survives a round trip through jsonb, which rewrites key order, spacing, escapes and exponents.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from pipelines.ingest.faults import json_path

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_alike = msgspec.json.Encoder(order="sorted").encode
"""Writes most values as `_encode` does, in an eighth of the time."""
_SCALARS = frozenset((str, int, bool, type(None)))
_LEAST_ALIKE = 1e-4
"""Smaller numbers have an exponent in one of the two."""
_NOT_ALIKE = (ValueError, OverflowError, TypeError)
"""A small number, or none; half a surrogate pair; an integer beyond 64 bits; a value that is none of JSON."""


def canonical_json(value: Any) -> str:
    """The canonical text of a JSON value; equal values, and only they, have equal texts."""
    if type(value) is str:
        return _encode(value)
    try:
        return _encode_alike(_alike(value)).decode()
    except _NOT_ALIKE:
        return _encode(_by_value(value))


def same_json(left: Any, right: Any) -> bool:
    """Whether two JSON values are one value: key order and number spelling aside; `true` is not `1`."""
    return canonical_json(left) == canonical_json(right)


def digest(value: Any, inexact: Sequence[tuple[str, str]] = ()) -> str:
    """SHA-256 (hex) of the canonical text, and of the literals that a double could not hold, if there are any."""
    text = canonical_json(value)
    if inexact:
        text += "\n" + canonical_json([list(pair) for pair in inexact])
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(
    record: Mapping[str, Any], lists: Mapping[str, Sequence[str]], inexact: Sequence[tuple[str, str]] = ()
) -> str:
    """`digest` of an object of which some members, lists, are given as the canonical texts of their items."""
    texts = {key: canonical_json(value) for key, value in record.items() if key not in lists}
    texts |= {key: f"[{','.join(items)}]" for key, items in lists.items()}
    text = "{" + ",".join(f"{canonical_json(key)}:{texts[key]}" for key in sorted(texts)) + "}"
    if inexact:
        text += "\n" + canonical_json([list(pair) for pair in inexact])
    return hashlib.sha256(text.encode()).hexdigest()


def _alike(value: Any) -> Any:
    """As `_by_value`, of what both encoders write in the same way; what is as it was is the same object.

    Raises:
        ValueError: They do not.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        if _SCALARS.issuperset(map(type, value.values())):
            return value
        others = {
            key: new
            for key, inner in value.items()
            if type(inner) not in _SCALARS and (new := _alike(inner)) is not inner
        }
        return value | others if others else value
    if kind is list:
        return value if _SCALARS.issuperset(map(type, value)) else [_alike(inner) for inner in value]
    if kind is not float:
        raise TypeError(kind)
    if value.is_integer():
        return int(Decimal(repr(value)))
    if not _LEAST_ALIKE <= abs(value) < math.inf:
        raise ValueError(value)
    return value


def _by_value(value: Any) -> Any:
    """`value` with each whole float as the integer that its shortest decimal text says, as jsonb reads it back."""
    if isinstance(value, dict):
        return {key: inner if type(inner) is str else _by_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [inner if type(inner) is str else _by_value(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    return value


def first_difference(left: Any, right: Any) -> str | None:
    """The JSON path of the first place, in key order, where two values differ; None when they are one value."""
    return _difference(left, right, ())


def _difference(left: Any, right: Any, steps: tuple[str | int, ...]) -> str | None:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            if key not in left or key not in right:
                return json_path((*steps, key))
            if found := _difference(left[key], right[key], (*steps, key)):
                return found
        return None
    if isinstance(left, list) and isinstance(right, list):
        for index, (one, other) in enumerate(zip(left, right, strict=False)):
            if found := _difference(one, other, (*steps, index)):
                return found
        return None if len(left) == len(right) else json_path((*steps, min(len(left), len(right))))
    return None if same_json(left, right) else json_path(steps)
