"""Counts of what a record says: its leaves.

A leaf is a scalar of a record as it is decoded. Null, and lists and objects without anything in them, say nothing and are none.
"""

from __future__ import annotations

from typing import Any


def leaves(value: Any) -> int:
    """Scalars in a JSON value, at any depth; keys are none."""
    if not isinstance(value, (dict, list)):
        return 0 if value is None else 1
    count, level = 0, [value.values() if isinstance(value, dict) else value]
    for outer in level:  # which grows meanwhile
        for inner in outer:
            kind = type(inner)
            if kind is str:
                count += 1
            elif kind is dict:
                level.append(inner.values())
            elif kind is list:
                level.append(inner)
            elif inner is not None:
                count += 1
    return count


def said(value: dict[str, Any]) -> dict[str, Any]:
    """The fields of an object that say something, in their order."""
    return {key: inner for key, inner in value.items() if type(inner) is str or _says(inner)}


def _says(value: Any) -> bool:
    """Whether there is a scalar in a value."""
    if isinstance(value, dict):
        return any(map(_says, value.values()))
    if isinstance(value, list):
        return any(map(_says, value))
    return value is not None
