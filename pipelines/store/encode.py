r"""From events to the arguments of `refold.append_events`, refusing what jsonb cannot hold.

PostgreSQL's jsonb has no `\u0000`, no lone surrogates, no NaN or infinity. Such values are named by their JSON Pointer
before anything is sent. Arrays are sent as PostgreSQL array literals made here, by string replacement alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pipelines.store.errors import InvalidEvent, InvalidPayload, PayloadTooLarge
from pipelines.store.events import Expected, NewEvent, StreamBatch

MAX_EVENT_BYTES = 64 * 2**20
"""UTF-8 bytes of one payload or metadata; the function `refold.append_events` has the same limit for the event."""
MAX_INT_DIGITS = 4300
"""Python's own limit for turning an integer into text; far inside of PostgreSQL's. The function has the same limit."""
MAX_LEVELS = 250
"""Levels of a value below its document's root: what JSON readers of every kind take. The function has the same limit."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_TOO_DEEP = f"nested too deeply; at most {MAX_LEVELS} levels are stored"


def _plain(value: object) -> object:
    """Mappings that are not dicts are JSON objects too."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is not a JSON value")


_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


def json_text(value: Mapping[str, Any], what: str) -> str:
    """`value` as JSON text that PostgreSQL's jsonb takes.

    Raises:
        InvalidPayload: Something in it cannot be stored; the error names the place.
        PayloadTooLarge: It is longer than `MAX_EVENT_BYTES`.
    """
    try:
        text = _dumps(value)
        size = len(text) if text.isascii() else len(text.encode())
    except RecursionError:
        raise InvalidPayload("", _TOO_DEEP, what=what) from None
    except (ValueError, TypeError) as error:  # UnicodeEncodeError is a ValueError
        if _is_deep(value):
            raise InvalidPayload("", _TOO_DEEP, what=what) from None
        path, reason = next(_misfits(value, ""), ("", str(error)))
        raise InvalidPayload(path, reason, what=what) from None
    if text.count("{") + text.count("[") > MAX_LEVELS and _is_deep(value):  # the text counts fast and never too few
        raise InvalidPayload("", _TOO_DEEP, what=what)
    if "\\u0000" in text:  # may also be an escaped backslash before "u0000"
        for path, reason in _misfits(value, ""):
            raise InvalidPayload(path, reason, what=what)
    if size > MAX_EVENT_BYTES:
        raise PayloadTooLarge(
            f"{what} holds {size:,} bytes, at most {MAX_EVENT_BYTES:,} are stored; keep the document elsewhere"
        )
    return text


def _is_deep(value: object) -> bool:
    """Whether a value lies more than `MAX_LEVELS` below the root; one that holds itself does.

    Level by level, each container once, so neither depth nor a circle is too much for it.
    """
    level: dict[int, object] = {id(value): value}
    for _ in range(MAX_LEVELS + 1):
        children = [child for parent in level.values() for child in _children(parent)]
        if not children:
            return False
        level = {id(child): child for child in children}
    return True


def _children(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _misfits(value: object, at: str) -> Iterator[tuple[str, str]]:
    """Places and reasons of what jsonb cannot hold, depth first."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            if not isinstance(key, str):
                yield at, f"the key {key!r} is not a string"
                continue
            name = key.replace("~", "~0").replace("/", "~1").encode("ascii", "backslashreplace").decode()
            if reason := _misfit(key):
                yield f"{at}/{name}", f"in the key: {reason}"
            yield from _misfits(child, f"{at}/{name}")
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from _misfits(child, f"{at}/{index}")
    elif reason := _misfit(value):
        yield at, reason


def _misfit(value: object) -> str | None:
    """Why jsonb cannot hold a value that is neither object nor array, or None."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        if "\x00" in value:
            return "the character U+0000 cannot be stored"
        return "a lone surrogate is not Unicode text" if _SURROGATE.search(value) else None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a JSON number"
    if isinstance(value, int):
        is_long = value.bit_length() > MAX_INT_DIGITS * math.log2(10)
        return f"an integer of more than {MAX_INT_DIGITS} digits cannot be stored" if is_long else None
    return f"a {type(value).__name__} is not a JSON value"


def _array(items: Sequence[str]) -> str:
    """PostgreSQL array literal of texts."""
    return "{" + ",".join('"' + t.replace("\\", "\\\\").replace('"', '\\"') + '"' for t in items) + "}"


def _times(events: Sequence[NewEvent]) -> str:
    return "{" + ",".join("NULL" if e.created_at is None else _iso(e.created_at) for e in events) + "}"


def _iso(at: datetime) -> str:
    try:
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)).isoformat()
    except OverflowError:
        raise InvalidEvent(f"created_at {at} is in UTC outside the years 1 to 9999") from None


def _name(name: str, what: str) -> str:
    """A stream's or event's type name; what is wrong with its form is the function's to say."""
    if not isinstance(name, str) or (reason := _misfit(name)):
        raise InvalidEvent(f"{what} is {name!r}" + (f": {reason}" if isinstance(name, str) else "; give a text"))
    return name


def _expected_text(expected: Expected) -> str:
    if isinstance(expected, str) and expected in ("any", "exists", "no_stream"):
        return expected
    if isinstance(expected, int) and not isinstance(expected, bool) and expected >= 0:
        return str(expected)
    raise InvalidEvent(f"expected_version is {expected!r}; give 'any', 'exists', 'no_stream' or the last version")


def append_arguments(batch: StreamBatch) -> tuple[str, str, str, str, str, str, str]:
    """The seven text arguments of `refold.append_events` for `batch`.

    Raises:
        InvalidEvent: The batch is empty, or its stream, names, times or expectation are none.
        InvalidPayload: A payload or metadata cannot be stored as jsonb.
        PayloadTooLarge: One is too long.
    """
    if not batch.events:
        raise InvalidEvent(f"a batch for stream {batch.aggregate_id} has no events; give at least one")
    if not isinstance(batch.aggregate_id, UUID):
        raise InvalidEvent(f"aggregate_id is {batch.aggregate_id!r}; give a UUID")
    payloads = [json_text(e.payload, f"event {i} ({e.event_type})") for i, e in enumerate(batch.events, 1)]
    metadatas = [
        json_text(e.metadata, f"metadata of event {i} ({e.event_type})") if e.metadata else "{}"
        for i, e in enumerate(batch.events, 1)
    ]
    return (
        str(batch.aggregate_id),
        _name(batch.aggregate_type, "aggregate_type"),
        _expected_text(batch.expected_version),
        _array([_name(e.event_type, f"event_type of event {i}") for i, e in enumerate(batch.events, 1)]),
        _array(payloads),
        _array(metadatas),
        _times(batch.events),
    )
