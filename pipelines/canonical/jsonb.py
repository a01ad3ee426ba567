"""JSON as PostgreSQL's jsonb gives it back: keys in its order, numbers written out.

What is hashed before it is stored is hashed in this form, since whoever rebuilds it reads it from the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any


def in_order(members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An object of these members, keys in jsonb's order: shorter ones first, then by their bytes."""
    return dict(sorted(members, key=lambda member: (len(member[0].encode()), member[0].encode())))


def written_out(number: float) -> int | float:
    """A finite double as jsonb returns it: whole numbers without a point are integers."""
    text = format(Decimal(repr(float(number))), "f")
    return (float(text) or 0.0) if "." in text else int(text)


def as_jsonb(value: Any) -> Any:
    """A JSON value, as `json.loads` makes it, as it comes back from jsonb."""
    if isinstance(value, dict):
        return in_order((key, as_jsonb(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return [as_jsonb(inner) for inner in value]
    return written_out(value) if isinstance(value, float) else value
