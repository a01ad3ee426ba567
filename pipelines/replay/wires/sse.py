"""Server-sent events: how an answer goes out piece by piece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_encode = json.JSONEncoder(separators=(",", ":")).encode
"""ASCII, so that no line of a text ends the event's."""


def event(data: Mapping[str, Any], *, is_named: bool = True) -> bytes:
    """One event.

    Args:
        data: What it says.
        is_named: Whether the type of the data is the event's name, too.
    """
    name = f"event: {data['type']}\n" if is_named else ""
    return f"{name}data: {_encode(data)}\n\n".encode()


def objects(listed: Any) -> list[dict[str, Any]]:
    """The objects of a list that an endpoint wrote; none of anything else."""
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
