"""Tables of spans give what the files do that they were made of, whoever's columns they have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_files import import_form
from pipelines.ingest.form_lines import form_lines
from pipelines.ingest.forms.form import Options, head_of
from pipelines.ingest.forms.otlp import FORM
from tests.support.formats import read_lines, stream_sha256

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT")
TEXTS = pa.map_(pa.string(), pa.string())


def spans_of(path: Path) -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Resource attributes, scope and span of every span of a file."""
    return [
        (_attributes(block["resource"]), scope.get("scope", {}), span)
        for document in read_lines(path)
        for block in document.get("resourceSpans", [])
        for scope in block["scopeSpans"]
        for span in scope["spans"]
    ]


def _attributes(holder: dict[str, Any]) -> dict[str, str]:
    """Attributes as a map of texts has them: whatever is no text as JSON."""
    found = {}
    for each in holder.get("attributes", []):
        ((kind, value),) = each["value"].items()
        if kind == "arrayValue":
            value = [next(iter(inner.values())) for inner in value["values"]]
        found[each["key"]] = value if isinstance(value, str) else json.dumps(value)
    return found


def as_databricks(path: Path) -> pa.Table:
    """The columns of a table of OpenTelemetry spans as Databricks makes it."""
    rows = [
        {
            "trace_id": span["traceId"],
            "span_id": span["spanId"],
            "parent_span_id": span.get("parentSpanId", ""),
            "name": span["name"],
            "kind": f"SPAN_KIND_{KINDS[span['kind']]}",
            "start_time_unix_nano": int(span["startTimeUnixNano"]),
            "end_time_unix_nano": int(span["endTimeUnixNano"]),
            "attributes": list(_attributes(span).items()),
            "events": [],
            "status": {
                "message": span["status"].get("message", ""),
                "code": f"STATUS_CODE_{('UNSET', 'OK', 'ERROR')[span['status'].get('code', 0)]}",
            },
            "resource": {"attributes": list(resource.items())},
            "instrumentation_scope": {"name": scope.get("name"), "version": scope.get("version")},
        }
        for resource, scope, span in spans_of(path)
    ]
    text, whole = pa.string(), pa.int64()
    event = pa.struct({"time_unix_nano": whole, "name": text, "attributes": TEXTS})
    schema = pa.schema(
        {
            "trace_id": text, "span_id": text, "parent_span_id": text, "name": text, "kind": text,
            "start_time_unix_nano": whole, "end_time_unix_nano": whole, "attributes": TEXTS, "events": pa.list_(event),
            "status": pa.struct({"message": text, "code": text}), "resource": pa.struct({"attributes": TEXTS}),
            "instrumentation_scope": pa.struct({"name": text, "version": text}),
        }
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)


def as_clickhouse(path: Path) -> pa.Table:
    """The columns of the collector's ClickHouse exporter."""
    rows = [
        {
            "Timestamp": int(span["startTimeUnixNano"]),
            "TraceId": span["traceId"],
            "SpanId": span["spanId"],
            "ParentSpanId": span.get("parentSpanId", ""),
            "TraceState": "",
            "SpanName": span["name"],
            "SpanKind": KINDS[span["kind"]].capitalize(),
            "ServiceName": resource.get("service.name", ""),
            "ResourceAttributes": list(resource.items()),
            "ScopeName": scope.get("name", ""),
            "ScopeVersion": scope.get("version", ""),
            "SpanAttributes": list(_attributes(span).items()),
            "Duration": int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]),
            "StatusCode": ("Unset", "Ok", "Error")[span["status"].get("code", 0)],
            "StatusMessage": span["status"].get("message", ""),
            "Events.Timestamp": [],
            "Events.Name": [],
            "Events.Attributes": [],
        }
        for resource, scope, span in spans_of(path)
    ]
    text, time = pa.string(), pa.timestamp("ns", "UTC")
    names = ("TraceId", "SpanId", "ParentSpanId", "TraceState", "SpanName", "SpanKind", "ServiceName")
    schema = pa.schema(
        {
            "Timestamp": time, **dict.fromkeys(names, text), "ResourceAttributes": TEXTS, "ScopeName": text, "ScopeVersion": text,
            "SpanAttributes": TEXTS, "Duration": pa.int64(), "StatusCode": text, "StatusMessage": text,
            "Events.Timestamp": pa.list_(time), "Events.Name": pa.list_(text), "Events.Attributes": pa.list_(TEXTS),
        }
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)


def lines_of(path: Path, folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    return list(form_lines(FORM, [path], Options(folder=folder), Tally()))


def told(lines: list[dict[str, Any]]) -> list[Any]:
    """What lines say but for what is kept verbatim."""
    return [{key: value for key, value in line.items() if key != "records"} for line in lines]


@pytest.mark.parametrize("dialect", ["semconv", "openllmetry", "openllmetry-0.30", "openinference"])
@pytest.mark.parametrize("as_table", [as_databricks, as_clickhouse])
def test_tables(shared_data: Path, tmp_path: Path, dialect: str, as_table: Callable[[Path], pa.Table]) -> None:
    """A table of spans whose values are all texts says what the file says."""
    sample = shared_data / "formats" / "dev" / "01-otlp" / f"emitted.openhands-{dialect}.otlp.jsonl.gz"
    pq.write_table(as_table(sample), tmp_path / "spans.parquet", row_group_size=5)
    assert FORM.recognises(head_of(tmp_path / "spans.parquet"))
    made, expected = lines_of(tmp_path / "spans.parquet", tmp_path / "a"), lines_of(sample, tmp_path / "b")
    assert stream_sha256(made) == stream_sha256(expected)
    assert told(made) == told(expected)


def test_a_delta_table(shared_data: Path, tmp_path: Path) -> None:
    """The files that a Delta table has now are read, and none that it had."""
    folder = shared_data / "formats" / "dev" / "01-otlp"
    write_deltalake(tmp_path / "table", as_databricks(folder / "emitted.tau2-semconv.otlp.jsonl.gz"))
    sample = folder / "emitted.openhands-semconv.otlp.jsonl.gz"
    write_deltalake(tmp_path / "table", as_databricks(sample), mode="overwrite")
    made = import_form(None, FORM, [tmp_path / "table"], Options(), home=tmp_path / "home", to_lines=tmp_path / "lines")
    assert made.read.tally.conversations == 1
    assert stream_sha256(read_lines(tmp_path / "lines")) == stream_sha256(lines_of(sample, tmp_path / "b"))


def test_bad_rows(tmp_path: Path) -> None:
    """A row without ids is refused with its number; a table of something else is not recognised."""
    path = tmp_path / "spans.parquet"
    pq.write_table(
        pa.table(
            {
                "trace_id": ["0" * 31 + "1", None],
                "span_id": ["0" * 15 + "1", "2"],
                "name": ["a", "b"],
                "attributes": ["{}", "{}"],
            }
        ),
        path,
    )
    with pytest.raises(BadInputError, match=r"spans\.parquet, row 2: .*id"):
        lines_of(path, tmp_path / "scratch")
    pq.write_table(pa.table({"a": [1]}), path)
    assert not FORM.recognises(head_of(path))
