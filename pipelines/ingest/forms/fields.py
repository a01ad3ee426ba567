"""Taking fields out of a record: what is mapped goes, what is left is kept as it was.

An adapter takes with these, so that nothing it maps stays in `rest` and nothing it cannot read is lost: a field is taken only
where it is what the form says it is, and otherwise stays where it stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.canonical.finish_reasons import finish_reason
from pipelines.ingest.assemble.leaves import said
from pipelines.ingest.assemble.messages import Read
from pipelines.ingest.assemble.rows import Call

_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"(?P<whole>.*:\d\d)[.,](?P<digits>\d{1,9})(?P<zone>Z|[+-]\d\d:?\d\d)?")


def at(record: Any, *path: str) -> Any:
    """The value at a path of keys; None where there is none."""
    for key in path:
        record = record.get(key) if isinstance(record, dict) else None
    return record


def objects_at(record: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of the list at a path; none where there is no list."""
    value = at(record, *path)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def named(record: dict[str, Any], wanted: str | None, paths: Iterable[tuple[str, ...]]) -> str | None:
    """What names a conversation or a person; it stays where it is.

    Args:
        record: Where it is looked for.
        wanted: The field that was asked for, as `a.b`.
        paths: Where else it may stand, the best first. A name is a text, or a whole number.
    """
    for path in (*([tuple(wanted.split("."))] if wanted else ()), *paths):
        value = at(record, *path)
        if (isinstance(value, str) and value) or (isinstance(value, int) and not isinstance(value, bool)):
            return str(value)
    return None


def keep_other(rest: dict[str, Any], *reads: Read) -> None:
    """Keep in a record what the reading of its messages found beside them: items that are none, and alternative answers."""
    for name in ("other", "choices"):
        found = [each for made in reads for each in getattr(made, name)]
        if found:
            rest[f"{name}_read"] = found


def around(value: dict[str, Any], *lists: str) -> dict[str, Any]:
    """What stands around lists of records, as the number of a page, as a field of a record that keeps it."""
    beside = said({name: each for name, each in value.items() if name not in lists})
    return {"around": beside} if beside else {}


def hand_down(value: dict[str, Any], *lists: str) -> None:
    """Give what stands around lists of records to the first of these."""
    found = around(value, *lists)
    for name in lists if found else ():
        for number, each in enumerate(value.get(name) or ()):
            if isinstance(each, dict):
                value[name][number] = {**each, **found}
                return


def name_reason(call: Call, literal: str | None) -> None:
    """Say why a model stopped by its name in chat completions; what the form calls it stays beside, where that is another name."""
    call.finish_reason = finish_reason(literal)
    if literal != call.finish_reason:
        call.rest["finish_reason"] = literal


def without(value: Any, other: Any) -> Any:
    """What a record says that another does not, field by field; lists are compared whole, or as the other's beginning.

    Returns:
        None where that is nothing.
    """
    if isinstance(value, dict) and isinstance(other, dict):
        left = {key: without(inner, other.get(key)) for key, inner in value.items()}
        return {key: inner for key, inner in left.items() if inner is not None} or None
    if isinstance(value, list) and isinstance(other, list) and value == other[: len(value)]:
        return None
    return None if value == other and type(value) is type(other) else value


def take(record: dict[str, Any], *path: str, of: type | tuple[type, ...] = object) -> Any:
    """Take the value at `path` out of a record, and the objects that it leaves empty.

    Args:
        record: The record; it changes.
        path: Keys, from the outermost.
        of: What it must be to be taken; a boolean is no number.

    Returns:
        The value; None where there is none, or another thing, which then stays.
    """
    value = at(record, *path)
    if value is None or not isinstance(value, of) or (isinstance(value, bool) and of in (int, (int, float))):
        return None
    _delete(record, path)
    return value


def take_text(record: dict[str, Any], *path: str) -> str | None:
    """Take a text that is not empty."""
    text = at(record, *path)
    return take(record, *path) if isinstance(text, str) and text else None


def take_number(record: dict[str, Any], *path: str) -> float | None:
    """Take a number; what is none (a boolean, a text) stays."""
    return take(record, *path, of=(int, float))  # type: ignore[no-any-return]


def take_time(record: dict[str, Any], *path: str, unit: str | None = None) -> int | None:
    """Take a time, in nanoseconds since 1970 UTC; what is no time stays.

    Args:
        record: The record; it changes.
        path: Keys, from the outermost.
        unit: Of a number: s, ms, us or ns. None takes ISO 8601 text alone.
    """
    time = nanoseconds(at(record, *path), unit)
    if time is not None:
        _delete(record, path)
    return time


def nanoseconds(value: Any, unit: str | None = None) -> int | None:
    """A time as nanoseconds since 1970 UTC: ISO 8601 text (without a zone: UTC), or a number of `unit`; None for anything else."""
    if isinstance(value, str):
        return _from_text(value)
    if unit is None:
        return None
    if isinstance(value, int) or _UNITS[unit] <= 1000:
        return scaled(value, _UNITS[unit])
    microseconds = scaled(value, _UNITS[unit] // 1000)
    return None if microseconds is None else microseconds * 1000


def scaled(value: Any, factor: float) -> int | None:
    """A number times a factor, rounded to an integer; None for what is no number (a boolean too), or beyond all floats then."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    made = value * factor
    return round(made) if math.isfinite(made) else None


def _from_text(text: str) -> int | None:
    match = _FRACTION.fullmatch(text.strip())
    digits = match["digits"] if match else ""
    whole = f"{match['whole']}{match['zone'] or ''}" if match else text.strip()
    try:
        time = datetime.fromisoformat(whole)
    except ValueError:
        return None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    apart = time - _EPOCH
    return (apart.days * 86_400 + apart.seconds) * 10**9 + int(digits.ljust(9, "0") if digits else 0)


def take_usage(record: dict[str, Any], names: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Take token counts by name: `{"input_tokens": ("usage", "prompt_tokens"), …}`; those that are not said are left out."""
    usage = {name: take_number(record, *path) for name, path in names.items()}
    return {name: count for name, count in usage.items() if count is not None}


def map_fields(record: dict[str, Any], names: Mapping[str, Callable[[dict[str, Any]], Any]]) -> dict[str, Any]:
    """Fields by name, each taken by its function; those that are not said are left out."""
    fields = {name: taken(record) for name, taken in names.items()}
    return {name: value for name, value in fields.items() if value is not None}


def _delete(record: dict[str, Any], path: tuple[str, ...]) -> None:
    key, inner = path[0], path[1:]
    if inner:
        _delete(record[key], inner)
        if record[key]:
            return
    del record[key]
