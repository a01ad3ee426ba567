"""Values of foreign records: taken out of them, JSON inside of text, times.

Taking out is what tells mapped from kept: what an adapter does not take stays in the record, and so in the `rest` of its row.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from pipelines.ingest import strict_json
from pipelines.ingest.assemble.message import decoded as from_text
from pipelines.ingest.faults import BadLineError

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9})\d*)?\s*(Z|UTC|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE
)
_MILLISECONDS_FROM = 10**11
"""Numbers from here on are milliseconds since 1970 (1973), smaller ones seconds (until 5138)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def take(value: dict[str, Any], *names: str) -> Any:
    """Take out the first of these fields that is there and not null; one name for each spelling of the form."""
    for name in names:
        if value.get(name) is not None:
            return value.pop(name)
    return None


def take_text(value: dict[str, Any], *names: str) -> str | None:
    """Take out the first of these fields that is a text with something in it, or a whole number as text."""
    for name in names:
        found = value.get(name)
        if isinstance(found, str) and found:
            return str(value.pop(name))
        if isinstance(found, int) and not isinstance(found, bool):
            return str(value.pop(name))
    return None


def take_number(value: dict[str, Any], *names: str) -> float | int | None:
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


def take_time(value: dict[str, Any], *names: str) -> int | None:
    """Take out the first of these fields that is a time, as nanoseconds since 1970."""
    for name in names:
        at = nanoseconds(value.get(name))
        if at is not None:
            del value[name]
            return at
    return None


def nanoseconds(value: Any) -> int | None:
    """A time as nanoseconds since 1970; None where it is none.

    Text is ISO 8601, also with a space for the T; without a zone it is UTC. Numbers are seconds, or milliseconds from 1e11 on.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        if not 0 < value < 10**14:
            return None
        return round(value * 10**6) if value >= _MILLISECONDS_FROM else round(value * 10**9)
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    day, clock, fraction, zone = found.groups()
    try:
        whole = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone is None or zone.upper() in ('Z', 'UTC') else zone}")
    except ValueError:
        return None
    seconds = whole - _EPOCH
    return (seconds.days * 86_400 + seconds.seconds) * 10**9 + int((fraction or "").ljust(9, "0"))


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
    try:
        return strict_json.parse(json.dumps(from_text(text))).value
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
