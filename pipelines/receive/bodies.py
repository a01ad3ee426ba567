"""Bodies of OTLP/HTTP: an export request as JSON or protobuf, gzip or not, made one line of OTLP/JSON; and what is answered.

`opentelemetry-proto` is imported when the first body of protobuf comes.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.web.guard import RefusedError

Kind = Literal["json", "protobuf"]
KINDS: dict[bytes, Kind] = {b"application/json": "json", b"application/x-protobuf": "protobuf"}
"""Encodings by media type."""
SIGNALS = {"/v1/traces": "traces", "/v1/logs": "logs"}
"""What is sent to which path."""
_GZIP = 16 + zlib.MAX_WBITS
_IDS = ("traceId", "spanId", "parentSpanId")
_FIRST_NUMBER, _FIRST_MESSAGE, _SECOND_TEXT = 1 << 3, 1 << 3 | 2, 2 << 3 | 2
"""Tags of protobuf: of field 1 as a number and with a length, of field 2 (the text of `google.rpc.Status`, too) with one."""
_REJECTED = {"traces": "rejectedSpans", "logs": "rejectedLogRecords"}
_UNSPACED = bytes.maketrans(b"\r\n", b"  ")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered.

    Attributes:
        status: Of HTTP.
        kind: Encoding of the body, the request's own.
        body: An `Export…ServiceResponse`, or a `Status`.
        headers: More than its type and length.
    """

    status: int
    kind: Kind
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def accepted(kind: Kind) -> Answer:
    """Everything is kept; of protobuf the message without fields, which has no bytes."""
    return Answer(200, kind, b"{}" if kind == "json" else b"")


def accepted_partly(signal: str, kind: Kind, rejected: int, text: str) -> Answer:
    """Everything but some records is kept; exporters do not send these again.

    Args:
        signal: `traces` or `logs`.
        kind: Encoding of the request.
        rejected: How many records.
        text: Why.
    """
    if kind == "json":
        told = {_REJECTED[signal]: str(rejected), "errorMessage": text}  # 64 bits are text in the JSON of protobuf
        return Answer(200, kind, json.dumps({"partialSuccess": told}).encode())
    inner = bytes([_FIRST_NUMBER]) + _varint(rejected) + _field(_SECOND_TEXT, text.encode())
    return Answer(200, kind, _field(_FIRST_MESSAGE, inner))


def refused(kind: Kind, status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """A `Status` that says why."""
    if kind == "json":
        return Answer(status, kind, json.dumps({"message": text}).encode(), headers)
    return Answer(status, kind, _field(_SECOND_TEXT, text.encode()), headers)


def _field(tag: int, data: bytes) -> bytes:
    """A field with a length, as protobuf writes it."""
    return bytes([tag]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def unpacked(data: bytes, most_bytes: int) -> bytes:
    """What gzip holds, of at most so many bytes.

    Raises:
        RefusedError: It is no whole gzip (400), or holds more (413).
    """
    made = bytearray()
    try:
        while data:
            member = zlib.decompressobj(_GZIP)
            made += member.decompress(data, most_bytes + 1 - len(made))
            if len(made) > most_bytes:
                raise RefusedError(413, too_large(most_bytes))
            if not member.eof:
                raise RefusedError(400, "the body is gzip that ends early")
            data = member.unused_data
    except zlib.error as error:
        raise RefusedError(400, f"the body is no gzip ({error})") from error
    return bytes(made)


def too_large(most_bytes: int) -> str:
    """Why a body is not taken, and what to do."""
    return f"the body is larger than {most_bytes:,} bytes; send smaller batches, or start the receiver with --max-body"


def line_of(signal: str, kind: Kind, data: bytes) -> bytes:
    """The export request as one line of OTLP/JSON with its newline; JSON is kept as it is.

    Args:
        signal: `traces` or `logs`.
        kind: How it is encoded.
        data: The body.

    Raises:
        RefusedError: It is none; of JSON only its beginning is looked at.
    """
    if kind == "protobuf":
        return _of_protobuf(signal, data)
    if not data.lstrip(b" \t\r\n").startswith(b"{"):
        raise RefusedError(400, "the body is no JSON object; an export request is one")
    return data.translate(_UNSPACED) + b"\n"  # between values it is space, and within a text it may not be


def _of_protobuf(signal: str, data: bytes) -> bytes:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 -- for protobuf alone
    from google.protobuf.message import DecodeError  # noqa: PLC0415 -- as above
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # noqa: PLC0415 -- as above
        ExportLogsServiceRequest,
    )
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 -- as above
        ExportTraceServiceRequest,
    )

    request = ExportTraceServiceRequest() if signal == "traces" else ExportLogsServiceRequest()
    try:
        request.ParseFromString(data)
    except DecodeError as error:
        raise RefusedError(400, f"the body is no Export{signal.capitalize()}ServiceRequest ({error})") from error
    document = MessageToDict(request, use_integers_for_enums=True)
    for block in document.get("resourceSpans") or document.get("resourceLogs") or ():
        for inner in block.get("scopeSpans") or block.get("scopeLogs") or ():
            for record in inner.get("spans") or inner.get("logRecords") or ():
                _with_hex_ids((record, *record.get("links", ())))
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _with_hex_ids(records: Iterable[dict[str, Any]]) -> None:
    """Ids as OTLP's JSON has them; protobuf's printer writes base64."""
    for record in records:
        for name in _IDS:
            if name in record:
                record[name] = b64decode(record[name]).hex()


def kind_of(headers: Mapping[bytes, bytes]) -> Kind | None:
    """How a body is encoded; None is in no way that is read."""
    return KINDS.get(headers.get(b"content-type", b"").partition(b";")[0].strip().lower())
