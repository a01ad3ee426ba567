"""What is wrong with one line of an import, said so that its writer can find the place.

Only the error itself and JSON paths; who finds a fault is `lines`, `strict_json`, `clock` or `convert`, and who
decides whether it stops the import is the importer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pipelines.errors import BadInputError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN = 80
"""Characters of a value that an error quotes: enough to find it, too few to flood a terminal."""

_TYPE_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}

_STEPS_SHOWN = 20
"""Steps of a path that an error prints; real messages need about eight."""


class BadLineError(BadInputError):
    """One line cannot be imported.

    Attributes:
        json_path: Where in the line, for example `$.messages[3].content`; `$` is the line itself.
        reason: What is wrong there and what would be right.
    """

    def __init__(self, json_path: str, reason: str) -> None:
        super().__init__(f"{json_path}: {reason}")
        self.json_path = json_path
        self.reason = reason


def json_path(steps: Sequence[str | int]) -> str:
    """`["messages", 3, "a b"]` as `$.messages[3]["a b"]`; a very deep one ends in `…`."""
    path = "$"
    for depth, step in enumerate(steps):
        if depth == _STEPS_SHOWN:
            return path + "…"
        if isinstance(step, int):
            path += f"[{step}]"
        elif _NAME.fullmatch(step):
            path += f".{step}"
        else:
            path += f"[{json.dumps(step)}]"
    return path


def shown(value: object) -> str:
    """`value` as an error quotes it: its kind, and a string's or number's beginning."""
    kind = _TYPE_NAMES.get(type(value), type(value).__name__)
    if isinstance(value, bool) or value is None:
        return "null" if value is None else f"the boolean {str(value).lower()}"
    if isinstance(value, (str, int, float)):
        text = json.dumps(value)
        return f"{kind} {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"
    return kind
