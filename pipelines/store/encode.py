r"""From events to the arguments of `refold.append_events`, refusing what jsonb cannot hold.

PostgreSQL's jsonb has no `\u0000`, no lone surrogates, no NaN or infinity. Such values are named by their JSON Pointer
before anything is sent. Arrays are sent in PostgreSQL's binary form, made here: neither side escapes or reads array
literals, which is a third of the client's work and a twentieth of the server's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any, ClassVar, Self
from uuid import UUID

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from pipelines.compact_json import ENCODER, NOT_ENCODED, compact_encoder, is_written_alike
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


_dumps = compact_encoder(_plain, allow_nan=False)


def _encoded(value: Mapping[str, Any], *, is_plain: bool) -> bytes:
    if type(value) is dict and (is_plain or is_written_alike(value)):
        with suppress(*NOT_ENCODED):
            return ENCODER.encode(value)
    return _dumps(value).encode()


def json_text(value: Mapping[str, Any], what: str) -> str:
    """`value` as JSON text that PostgreSQL's jsonb takes; raises as `json_bytes`."""
    return json_bytes(value, what).decode()


def json_bytes(value: Mapping[str, Any], what: str, *, is_plain: bool = False) -> bytes:
    """`value` as JSON in UTF-8 that PostgreSQL's jsonb takes.

    Args:
        value: The object.
        what: What errors call it.
        is_plain: As of `StreamBatch`.

    Raises:
        InvalidPayload: Something in it cannot be stored; the error names the place.
        PayloadTooLarge: It is longer than `MAX_EVENT_BYTES`.
    """
    try:
        text = _encoded(value, is_plain=is_plain)
    except RecursionError:
        raise InvalidPayload("", _TOO_DEEP, what=what) from None
    except (ValueError, TypeError) as error:  # UnicodeEncodeError is a ValueError
        if _is_deep(value):
            raise InvalidPayload("", _TOO_DEEP, what=what) from None
        path, reason = next(_misfits(value, ""), ("", str(error)))
        raise InvalidPayload(path, reason, what=what) from None
    if text.count(b"{") + text.count(b"[") > MAX_LEVELS and _is_deep(value):  # the text counts fast and never too few
        raise InvalidPayload("", _TOO_DEEP, what=what)
    if b"\\u0000" in text:  # may also be an escaped backslash before "u0000"
        for path, reason in _misfits(value, ""):
            raise InvalidPayload(path, reason, what=what)
    if len(text) > MAX_EVENT_BYTES:
        raise PayloadTooLarge(
            f"{what} holds {len(text):,} bytes, at most {MAX_EVENT_BYTES:,} are stored; keep the document elsewhere"
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


class _Array(bytes):
    """A one-dimensional PostgreSQL array in binary form."""

    __slots__ = ()
    element_oid: ClassVar[int]

    @classmethod
    def of(cls, items: Sequence[bytes | None]) -> Self:
        """The array of `items`, each in the element type's binary form; None is NULL."""
        parts = [_HEADER(1, None in items, cls.element_oid, len(items), 1)]
        for item in items:
            if item is None:
                parts.append(_NULL)
            else:
                parts += (_LENGTH(len(item)), item)
        return cls(b"".join(parts))


class TextArray(_Array):
    """`text[]`."""

    element_oid = 25


class JsonbArray(_Array):
    """`jsonb[]`; an item is the version byte 1 and the JSON text."""

    element_oid = 3802


class TimestampArray(_Array):
    """`timestamptz[]`; an item is the microseconds since 2000."""

    element_oid = 1184


_ARRAYS: dict[type[_Array], int] = {TextArray: 1009, JsonbArray: 3807, TimestampArray: 1185}
_HEADER = Struct(">iiIii").pack
_LENGTH = Struct(">i").pack
_NULL = _LENGTH(-1)
_TIME = Struct(">q").pack
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


_DUMPERS = {cls: type(f"{cls.__name__}Dumper", (_AsItIs,), {"oid": oid}) for cls, oid in _ARRAYS.items()}


def prepare_connection(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Let `conn` send what `append_arguments` returns.

    Raises:
        InvalidEvent: The connection speaks another encoding than UTF-8.
    """
    if conn.info.encoding != "utf-8":
        raise InvalidEvent(
            f"the connection's client_encoding is {conn.info.encoding}; connect with client_encoding=UTF8"
        )
    for cls, dumper in _DUMPERS.items():
        conn.adapters.register_dumper(cls, dumper)


def _times(events: Sequence[NewEvent]) -> TimestampArray | None:
    """The times given; None for the whole where none is, which spares the database looking at each."""
    items = [None if e.created_at is None else _microseconds(e.created_at) for e in events]
    return None if items.count(None) == len(items) else TimestampArray.of(items)


def _microseconds(at: datetime) -> bytes:
    return _TIME(((at.replace(tzinfo=UTC) if at.tzinfo is None else at) - _EPOCH) // _MICROSECOND)


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


Arguments = tuple[str, str, str, TextArray, JsonbArray, JsonbArray, TimestampArray | None]


def append_arguments(batch: StreamBatch) -> Arguments:
    """The seven arguments of `refold.append_events` for `batch`.

    Raises:
        InvalidEvent: The batch is empty, or its stream, names, times or expectation are none.
        InvalidPayload: A payload or metadata cannot be stored as jsonb.
        PayloadTooLarge: One is too long.
    """
    if not batch.events:
        raise InvalidEvent(f"a batch for stream {batch.aggregate_id} has no events; give at least one")
    if not isinstance(batch.aggregate_id, UUID):
        raise InvalidEvent(f"aggregate_id is {batch.aggregate_id!r}; give a UUID")
    types = [_name(e.event_type, f"event_type of event {i}").encode() for i, e in enumerate(batch.events, 1)]
    payloads, metadatas = [], []
    for i, event in enumerate(batch.events, 1):
        what = f"event {i} ({event.event_type})"
        payloads.append(b"\x01" + json_bytes(event.payload, what, is_plain=batch.is_plain))
        metadata = event.metadata
        text = json_bytes(metadata, f"metadata of {what}", is_plain=batch.is_plain) if metadata else b"{}"
        metadatas.append(b"\x01" + text)
    return (
        str(batch.aggregate_id),
        _name(batch.aggregate_type, "aggregate_type"),
        _expected_text(batch.expected_version),
        TextArray.of(types),
        JsonbArray.of(payloads),
        JsonbArray.of(metadatas),
        _times(batch.events),
    )
