"""The chat-completions shape: which fields a message has a place for, and what may stand in them.

Checks only; `convert` decides what becomes of the values. Lenient where logs differ harmlessly (ids may be integers,
content may be any list of parts), strict where guessing would make a wrong history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pipelines.ingest.faults import BadLineError, json_path, shown

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
SYSTEM_ROLES = ("system", "developer")

Steps = tuple[str | int, ...]


def an_object(value: Any, steps: Steps) -> dict[str, Any]:
    """`value`, which must be an object."""
    if not isinstance(value, dict):
        raise _wrong(steps, value, "an object")
    return value


def a_list(value: Any, steps: Steps) -> list[Any]:
    """`value`, which must be an array."""
    if not isinstance(value, list):
        raise _wrong(steps, value, "an array")
    return value


def text_or_none(value: Any, steps: Steps) -> str | None:
    """`value`, which must be a string or null."""
    if value is not None and not isinstance(value, str):
        raise _wrong(steps, value, "a string or null")
    return value


def id_text(value: Any, steps: Steps) -> str | None:
    """An id as text: a string or null as it is, an integer as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise _wrong(steps, value, "a string, an integer or null")
    return value


def required_text(value: Any, steps: Steps) -> str:
    """`value`, which must be a string with at least one character."""
    if not isinstance(value, str) or not value:
        raise _wrong(steps, value, "a string that is not empty")
    return value


def role_of(message: dict[str, Any], steps: Steps) -> str:
    """The message's role, one of `ROLES`."""
    role = message.get("role")
    if role not in ROLES:
        raise _wrong((*steps, "role"), role, "one of " + ", ".join(ROLES))
    return str(role)


def time_source_of(message: Mapping[str, Any]) -> Literal["span", "call"] | None:
    """Whose time a message's timestamp is, where it is not the message's own."""
    given = message.get("time_source")
    if message.get("timestamp") is None or given not in ("span", "call"):
        return None
    return "span" if given == "span" else "call"


def checked_content(content: Any, steps: Steps) -> str | list[Any] | None:
    """A message's content: a string, a list of parts or null."""
    if content is not None and not isinstance(content, (str, list)):
        raise _wrong(steps, content, "a string, an array of parts or null")
    return content


def _wrong(steps: Steps, value: Any, right: str) -> BadLineError:
    seen = "is absent or null" if value is None else f"is {shown(value)}"
    return BadLineError(json_path(steps), f"{seen}; it must be {right}")
