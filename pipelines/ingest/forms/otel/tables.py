"""Tables of spans or log records in Parquet, a record a row: as the collector's exporters, Databricks and ClickHouse have them.

Columns are told by their names without case and underscores. Attributes are a map, a struct, or JSON in a text; where all their values
are texts, numbers are read from them by who wants numbers. What has no meaning here stays under its own name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import BadInputError
from pipelines.ingest.forms.otel.texts import json_of
from pipelines.ingest.forms.otel.values import ENUMS, Block, NotOtlpError, identifier, nanoseconds

MAGIC = b"PAR1"
_ROWS = 2_000
_NAMES = {
    "traceid": "traceId",
    "spanid": "spanId",
    "parentspanid": "parentSpanId",
    "parentid": "parentSpanId",
    "name": "name",
    "spanname": "name",
    "kind": "kind",
    "spankind": "kind",
    "starttimeunixnano": "startTimeUnixNano",
    "starttime": "startTimeUnixNano",
    "endtimeunixnano": "endTimeUnixNano",
    "endtime": "endTimeUnixNano",
    "timeunixnano": "timeUnixNano",
    "observedtimeunixnano": "observedTimeUnixNano",
    "observedtimestamp": "observedTimeUnixNano",
    "eventname": "eventName",
    "body": "body",
    "attributes": "attributes",
    "spanattributes": "attributes",
    "logattributes": "attributes",
    "events": "events",
    "links": "links",
    "status": "status",
    "tracestate": "traceState",
    "droppedattributescount": "droppedAttributesCount",
    "resource": "resource",
    "resourceattributes": "resource.attributes",
    "instrumentationscope": "scope",
    "scope": "scope",
    "scopename": "scope.name",
    "scopeversion": "scope.version",
    "statuscode": "status.code",
    "statusmessage": "status.message",
    "servicename": "service.name",
    "duration": "duration",
    "timestamp": "timestamp",
}
_IDS = ("traceId", "spanId", "parentSpanId")
_TIMES = ("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano", "observedTimeUnixNano")


def is_table(head: bytes) -> bool:
    """Whether a file that begins so is Parquet."""
    return head.startswith(MAGIC)


def has_spans(path: Path) -> bool:
    """Whether a Parquet file has the columns of spans or log records."""
    try:
        names = {_plain(name) for name in pq.read_schema(path).names}
    except (OSError, pa.ArrowException):
        return False
    return {"traceid", "spanid"} <= names and bool(names & {"spanattributes", "logattributes", "attributes"})


def table_blocks(path: Path) -> Iterator[tuple[int, Block]]:
    """The rows of a table, each as a block of one plain record, with its number.

    Raises:
        BadInputError: The file cannot be read, or a row is neither a span nor a log record.
    """
    number = 0
    try:
        file = pq.ParquetFile(path)
        names = {name: _NAMES.get(_plain(name), name) for name in file.schema_arrow.names}
        is_logs = "body" in names.values() and "name" not in names.values()
        for batch in file.iter_batches(_ROWS):
            for row in _whole_times(batch).to_pylist(maps_as_pydicts="lossy"):
                number += 1
                yield number, _block({names[name]: value for name, value in row.items()}, is_logs)
    except NotOtlpError as error:
        raise BadInputError(f"{path.name}, row {number}: {error}") from error
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(f"cannot read {path.name}, row {number + 1}: {error}") from error


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _whole_times(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times as nanoseconds, which Python's own have no room for."""
    columns = [
        column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
        if pa.types.is_timestamp(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _block(row: dict[str, Any], is_logs: bool) -> Block:
    said = {name: value for name, value in row.items() if value is not None}
    around = {"resource": _resource(said), "scope": _scope(said)}
    value = {**said, "attributes": _attributes(said.get("attributes"))}
    for name in _IDS:
        if name in value or name != "parentSpanId":
            value[name] = identifier(value.get(name), name)
    time = value.pop("timestamp", None)
    if is_logs:
        value["timeUnixNano"] = value.get("timeUnixNano", time)
        value["body"] = json_of(value.get("body"), "body")
    else:
        _complete_span(value, time)
    for name in _TIMES:
        if name in value or (name.startswith(("time", "observed")) if is_logs else name.startswith(("start", "end"))):
            value[name] = nanoseconds(value.get(name), name)
    return Block(is_logs, [value], around, "")


def _complete_span(value: dict[str, Any], time: Any) -> None:
    if not value["traceId"] or not value["spanId"]:
        raise NotOtlpError("a span without trace_id or span_id cannot be told from others")
    if "startTimeUnixNano" not in value and time is not None:
        value["startTimeUnixNano"] = time
    if "duration" in value and "endTimeUnixNano" not in value:
        value["endTimeUnixNano"] = int(value["startTimeUnixNano"]) + int(value.pop("duration"))
    value["kind"] = _enum("SPAN_KIND", value.get("kind"))
    status = {"code": value.pop("status.code", None), "message": value.pop("status.message", None)}
    status |= value.get("status") or {}
    value["status"] = {"code": _enum("STATUS_CODE", status.pop("code")), **{k: v for k, v in status.items() if v}}
    events = value.pop("events", None) or _columns(value, "Events.")
    value["events"] = [_event(each) for each in events]
    _columns(value, "Links.")


def _columns(value: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    """A list of objects that is kept as lists of their fields, taken out of the row."""
    lists = {name.removeprefix(prefix): value.pop(name) for name in [*value] if name.startswith(prefix)}
    made = [dict(zip(lists, each, strict=True)) for each in zip(*lists.values(), strict=False)]
    if made and prefix == "Links.":
        value["links"] = made
    return made


def _event(given: dict[str, Any]) -> dict[str, Any]:
    named = {
        {"timestamp": "timeUnixNano", "time": "timeUnixNano"}.get(_plain(k), _NAMES.get(_plain(k), k)): v
        for k, v in given.items()
    }
    time = named.get("timeUnixNano")
    if time is not None and not isinstance(time, (int, str)):
        named["timeUnixNano"] = int(time.timestamp() * 1_000_000) * 1000
    return {**{k: v for k, v in named.items() if v is not None}, "attributes": _attributes(named.get("attributes"))}


def _resource(said: dict[str, Any]) -> dict[str, Any]:
    given = dict(said.pop("resource", None) or {})
    attributes = _attributes(given.pop("attributes", None)) | _attributes(said.pop("resource.attributes", None))
    service = said.pop("service.name", None)
    if service and "service.name" not in attributes:
        attributes["service.name"] = service
    return {**given, "attributes": attributes}


def _scope(said: dict[str, Any]) -> dict[str, Any]:
    given = (
        {k: v for k, v in (said.pop("scope", None) or {}).items() if v} if isinstance(said.get("scope"), dict) else {}
    )
    for name in ("name", "version"):
        if value := said.pop(f"scope.{name}", None):
            given[name] = value
    return given


def _attributes(given: Any) -> dict[str, Any]:
    """Attributes of a map, a struct, or JSON; a struct says null of what is not there."""
    if isinstance(given, str):
        given = json_of(given, "attributes")
    if isinstance(given, list):
        given = dict(given)
    return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else {}


def _enum(prefix: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return ENUMS.get(value) if value in ENUMS else ENUMS.get(f"{prefix}_{value.upper()}", value)
