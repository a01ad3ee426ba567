"""What surrounds the messages of a request on a wire: made once for all requests with the same model, parameters and tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes around the messages.

    Attributes:
        prefix: Of the body, before the first message.
        suffix: Of the body, after the last message.
        custom: Names of the tools that take free text.
        names: Names of tools by those under which they are offered, where the wire does not take them.
        is_complete: Whether nothing is missing that the wire demands.
    """

    prefix: bytes
    suffix: bytes
    custom: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)
    is_complete: bool = True


def dump(value: Mapping[str, Any]) -> bytes:
    """An object as compact JSON, not escaped to ASCII; lone surrogates stay what they are."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "surrogatepass")
