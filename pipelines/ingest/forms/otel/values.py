"""OTLP's JSON encoding of spans and log records, made plain: one dictionary each, whatever wrote it.

Two encodings are in use: the specification's (hex ids, enums as integers) and that of protobuf's own JSON printer (ids in base64,
enums by name, sometimes field names with underscores). Both come out alike. Nothing is left out: fields that have no meaning here
are passed on as they are.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_HEX = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{16}").fullmatch
_NO_ID = ("", "0" * 16, "0" * 32)
_ID_BYTES = (8, 16)
_MOST_NANOSECONDS = 2**63
_SPAN_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
ENUMS: dict[str, int] = {
    **{f"SPAN_KIND_{name}": number for number, name in enumerate(_SPAN_KINDS)},
    "STATUS_CODE_UNSET": 0,
    "STATUS_CODE_OK": 1,
    "STATUS_CODE_ERROR": 2,
}
"""Names of enum values, as protobuf's printer writes them."""
SIGNALS = (
    ("resourceSpans", "scopeSpans", "spans"),
    ("resourceLogs", "scopeLogs", "logRecords"),
)
"""What holds what, for spans and for log records."""
_OLD_NAMES = {"instrumentationLibrarySpans": "scopeSpans", "instrumentationLibrary": "scope"}
"""Names before OTLP 0.19."""


class NotOtlpError(ValueError):
    """A value is not what OTLP has there; the message says which and what would be right."""


def identifier(value: Any, what: str) -> str:
    """An id as lower-case hex, from hex or base64; empty where there is none.

    Raises:
        NotOtlpError: It is neither.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        if _HEX(value):
            return "" if value in _NO_ID else value.lower()
        if not value:
            return ""
        try:
            raw = b64decode(value + "=" * (-len(value) % 4), validate=True)
        except ValueError:
            raw = b""
        if len(raw) in _ID_BYTES:
            return raw.hex() if any(raw) else ""
    raise NotOtlpError(f"{what} is {_shown(value)}; an id is 32 or 16 hex digits, or the base64 of as many bytes")


def nanoseconds(value: Any, what: str) -> int | None:
    """A time as nanoseconds since 1970; None where it is absent or 0, which says that nobody knows.

    Raises:
        NotOtlpError: It is no such number.
    """
    if value is None or value == "":
        return None
    try:
        time = int(value)
    except (TypeError, ValueError, OverflowError):
        time = -1
    if isinstance(value, bool) or not 0 <= time < _MOST_NANOSECONDS:
        raise NotOtlpError(f"{what} is {_shown(value)}; it must be nanoseconds since 1970 as an integer, or its text")
    return time or None


def plain(value: Any) -> Any:
    """An `AnyValue` as JSON has it: text, number, boolean, list, dictionary; bytes keep their base64.

    Raises:
        NotOtlpError: It is not an `AnyValue`.
    """
    if not value:
        return None
    if not isinstance(value, dict):
        raise NotOtlpError(f'a value is {_shown(value)}; it must be an object such as {{"stringValue": …}}')
    (kind, inner), *others = value.items()
    if others:
        raise NotOtlpError(f"a value says {', '.join(value)}; it can be one of them")
    return _PLAIN[kind](inner) if kind in _PLAIN else value


def _integer(inner: Any) -> int:
    try:
        return int(inner)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotOtlpError(f"an intValue is {_shown(inner)}") from error


def _listed(inner: Any) -> list[Any]:
    return [plain(each) for each in (inner or {}).get("values") or ()]


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "stringValue": lambda inner: inner,
    "boolValue": lambda inner: inner,
    "doubleValue": lambda inner: inner,
    "intValue": _integer,
    "arrayValue": _listed,
    "kvlistValue": lambda inner: attributes((inner or {}).get("values")),
}


def attributes(listed: Any) -> dict[str, Any]:
    """A list of `KeyValue`s as a dictionary; of a key that comes again the last value has it, the earlier ones `KEY#2`, ….

    Raises:
        NotOtlpError: An entry has no key, or one that is no string, or is no `KeyValue`.
    """
    named: dict[str, Any] = {}
    if not listed:
        return named
    for each in listed:
        value = each.get("value")
        key = each["key"]
        if type(key) is not str:
            raise NotOtlpError(f"the key of an attribute is {_shown(key)}; it must be a string")
        if key in named:
            _make_room(named, key)
        if not value:
            named[key] = None
            continue
        for kind in value:  # the usual case is here, for there are dozens in a span
            if kind != "stringValue" or len(value) != 1:
                named[key] = plain(value)
            else:
                named[key] = value["stringValue"]
            break
    return named


def _make_room(named: dict[str, Any], key: str) -> None:
    copies = 2
    while f"{key}#{copies}" in named:
        copies += 1
    named[f"{key}#{copies}"] = named[key]


@dataclass(slots=True)
class Block:
    """The records of one scope in an export request.

    Attributes:
        is_logs: Whether they are log records; else spans.
        records: As they stand in the document.
        around: `resource`, `scope` and what else is said of all of them.
        path: Where they stand.
    """

    is_logs: bool
    records: list[dict[str, Any]]
    around: dict[str, Any]
    path: str


def blocks_of(document: Any) -> Iterator[Block]:
    """The spans and log records of one export request.

    Raises:
        NotOtlpError: The document is none.
    """
    document = as_specified(document)
    for resources, scopes, records in SIGNALS:
        for i, block in enumerate(document.get(resources) or ()):
            for j, inner in enumerate(block.get(scopes) or ()):
                said = around_of(block, inner, (resources, scopes, records))
                path = f".{resources}[{i}].{scopes}[{j}].{records}"
                yield Block(resources == "resourceLogs", inner.get(records) or [], said, path)


def around_of(block: dict[str, Any], inner: dict[str, Any], signal: tuple[str, str, str]) -> dict[str, Any]:
    """What the blocks around records say of all of them; `signal` is one of `SIGNALS`."""
    _, scopes, records = signal
    outer = {**_around(block, scopes, "resource"), "resource": _described(block.get("resource"))}
    return {**outer, **_around(inner, records, "scope"), "scope": _described(inner.get("scope"))}


def as_specified(document: Any) -> Any:
    """The document under today's names, as protobuf's printer gives them by default; the same object where it has them.

    Raises:
        NotOtlpError: It is no export request.
    """
    if not isinstance(document, dict):
        raise NotOtlpError(f"is {_shown(document)}; an export request is an object with resourceSpans or resourceLogs")
    if "resourceSpans" in document or "resourceLogs" in document or not document:
        old = any(
            name in block for block in document.get("resourceSpans") or () for name in ("instrumentationLibrarySpans",)
        )
        return _renamed(document) if old else document
    if "resource_spans" in document or "resource_logs" in document:
        return _renamed(document)
    if "resourceMetrics" in document or "resource_metrics" in document:
        return {}
    raise NotOtlpError(f"has {', '.join(list(document)[:5])}; an export request has resourceSpans or resourceLogs")


def _renamed(value: Any) -> Any:
    """Field names as the specification has them; keys of attributes are values and stay."""
    if isinstance(value, list):
        return [_renamed(each) for each in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): each for name, each in value.items()}
    return {_OLD_NAMES.get(name, name): _renamed(each) for name, each in named.items()}


def _around(block: dict[str, Any], inner: str, own: str) -> dict[str, Any]:
    """What a block says beside its records, under names that do not collide with the inner block's."""
    return {f"{own}.{name}": each for name, each in block.items() if name not in (inner, own)}


def _described(value: Any) -> dict[str, Any]:
    """A resource or scope with plain attributes."""
    if not value:
        return {}
    return {**value, "attributes": attributes(value["attributes"])} if "attributes" in value else value


def plain_span(span: dict[str, Any], ids: tuple[str, str, str] | None = None) -> dict[str, Any]:
    """A span with plain ids, times, enums and attributes, every other field as it was.

    Args:
        span: As it is written.
        ids: Its trace, itself and its parent, where they were read already.

    Raises:
        NotOtlpError: A field is not what OTLP has there.
    """
    value = dict(span)
    if ids is None:
        ids = ids_of(span.get("traceId"), span.get("spanId"), span.get("parentSpanId"))
    value["traceId"], value["spanId"], parent = ids
    if "parentSpanId" in span:
        value["parentSpanId"] = parent
    value["startTimeUnixNano"] = nanoseconds(span.get("startTimeUnixNano"), "startTimeUnixNano")
    value["endTimeUnixNano"] = nanoseconds(span.get("endTimeUnixNano"), "endTimeUnixNano")
    kind = span.get("kind")
    if isinstance(kind, str):
        value["kind"] = ENUMS.get(kind, kind)
    status = span.get("status")
    if status and isinstance(status.get("code"), str):
        value["status"] = {**status, "code": ENUMS.get(status["code"], status["code"])}
    value["attributes"] = attributes(span.get("attributes"))
    for listed in ("events", "links"):
        if span.get(listed):
            value[listed] = [_plain_part(each) for each in span[listed]]
    return value


def ids_of(trace: Any, span: Any, parent: Any) -> tuple[str, str, str]:
    """The ids of a span: its trace's, its own, its parent's; the last is empty where it has none.

    Raises:
        NotOtlpError: One of them is none, or one of the first two is missing.
    """
    ids = identifier(trace, "traceId"), identifier(span, "spanId")
    if not all(ids):
        raise NotOtlpError("a span without traceId or spanId cannot be told from others")
    return *ids, identifier(parent, "parentSpanId")


def _plain_part(part: dict[str, Any]) -> dict[str, Any]:
    """An event or link of a span."""
    value = dict(part)
    if "attributes" in part:
        value["attributes"] = attributes(part["attributes"])
    if "timeUnixNano" in part:
        value["timeUnixNano"] = nanoseconds(part["timeUnixNano"], "timeUnixNano")
    for name in ("traceId", "spanId"):
        if name in part:
            value[name] = identifier(part[name], name)
    return value


def plain_log(record: dict[str, Any]) -> dict[str, Any]:
    """A log record with plain ids, times, attributes and body, every other field as it was.

    Raises:
        NotOtlpError: A field is not what OTLP has there.
    """
    value = dict(record)
    for name in ("traceId", "spanId"):
        value[name] = identifier(record.get(name), name)
    for name in ("timeUnixNano", "observedTimeUnixNano"):
        value[name] = nanoseconds(record.get(name), name)
    value["attributes"] = attributes(record.get("attributes"))
    if "body" in record:
        value["body"] = plain(record["body"])
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
