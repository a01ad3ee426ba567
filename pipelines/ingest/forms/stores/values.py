"""Values of rows that are spelled in more than one way: fields by any of their names, numbers in text, JSON inside of text.

Where a form has one name for a thing, `fields` takes it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pipelines.ingest.assemble.message import decoded as from_text
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.forms.fields import nanoseconds
from pipelines.ingest.reading import strict_json


def pop_any(value: dict[str, Any], *names: str) -> Any:
    """Take out the first of these fields that is there and not null; one name for each spelling of the form."""
    for name in names:
        if value.get(name) is not None:
            return value.pop(name)
    return None


def inner(value: dict[str, Any], name: str) -> dict[str, Any]:
    """The object that stands in this field, or an empty one."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def pop_text(value: dict[str, Any], *names: str) -> str | None:
    """Take out the first of these fields that is a text with something in it, or a whole number as text."""
    for name in names:
        found = value.get(name)
        if isinstance(found, str) and found:
            return str(value.pop(name))
        if isinstance(found, int) and not isinstance(found, bool):
            return str(value.pop(name))
    return None


def pop_number(value: dict[str, Any], *names: str) -> float | int | None:
    """Take out the first of these fields that is a number, or the text of one, as a table of text has it."""
    for name in names:
        found = value.get(name)
        if isinstance(found, str):
            try:
                found = int(found) if re.fullmatch(r"-?\d{1,18}", found) else strict_json.read_decimal(found) + 0.0
            except ValueError:
                continue
        if isinstance(found, int | float) and not isinstance(found, bool) and found == found and abs(found) < 1e300:  # noqa: PLR0124
            del value[name]
            return found
    return None


def pop_time(value: dict[str, Any], *names: str) -> int | None:
    """Take out the first of these fields that is a time, as nanoseconds since 1970; a number is milliseconds."""
    for name in names:
        at = nanoseconds(value.get(name), "ms")
        if at is not None:
            del value[name]
            return at
    return None


def decoded(value: Any, *, literals: bool = False) -> Any:
    """The object or array that a text is the JSON of, or the text that it quotes as JSON; any other value as it is.

    Only for fields that a form defines as JSON: a text of a conversation that happens to be JSON is text.

    Args:
        value: Any value.
        literals: Whether a Python literal of an object or array will do, as some SDKs write what they cannot serialise.
    """
    start = value.lstrip()[:2] if isinstance(value, str) else ""
    if start[:1] not in ("{", "[", '"'):
        return value
    try:
        inner = strict_json.parse(value).value
    except BadLineError:
        inner = _literal(value) if literals and start in ("[{", "{'") else None
    if isinstance(inner, str) and inner.lstrip()[:1] in ("{", "["):
        return decoded(inner, literals=literals)
    return inner if isinstance(inner, dict | list | str) else value


def _literal(text: str) -> Any:
    """The value of a Python literal of what JSON has; None where it is none."""
    value = from_text(text)
    if isinstance(value, str):
        return None
    try:
        return strict_json.parse(json.dumps(value)).value
    except (TypeError, ValueError, RecursionError, BadLineError):
        return None


def decode_fields(value: dict[str, Any], *names: str) -> dict[str, Any]:
    """`value` with the objects and arrays decoded that these fields hold as JSON text."""
    for name in names:
        if isinstance(value.get(name), str) and value[name].lstrip()[:1] in ("{", "["):
            value[name] = decoded(value[name])
    return value


def first_text(value: dict[str, Any], *names: str) -> str | None:
    """The first of these fields that says something, as text; it is not taken out."""
    found = next((value[name] for name in names if value.get(name) not in (None, "")), None)
    return None if found is None or isinstance(found, dict | list) else str(found)


def at_path(value: Any, path: str) -> Any:
    """What stands at a dotted path, or under a key of that name."""
    if isinstance(value, dict) and value.get(path) is not None:
        return value[path]
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return None if isinstance(value, dict | list) else value
