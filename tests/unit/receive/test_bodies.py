"""Bodies of OTLP/HTTP, held to what protobuf's own printer and the SDK's encoders say."""

from __future__ import annotations

import gzip
import json

import pytest
from google.protobuf.json_format import MessageToJson, Parse
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link

from pipelines.ingest.forms.otel.values import blocks_of, plain_span
from pipelines.receive.bodies import accepted_partly, line_of, refused, unpacked
from pipelines.web.guard import RefusedError


def spans():
    """Spans of every kind of value, with an event and a link."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("outer") as outer:
        link = Link(outer.get_span_context())
        values = {"text": "ä\u2028\n", "int": -3, "float": 0.1, "bool": False, "list": ["a", "b"], "empty": ""}
        with tracer.start_as_current_span("inner", attributes=values, links=[link]) as inner:
            inner.add_event("said", {"n": 0})
    return encode_spans(kept.get_finished_spans())


def plain(document):
    return [plain_span(record) for block in blocks_of(document) for record in block.records]


def test_protobuf_is_what_its_printer_says_with_ids_in_hex():
    """The form reads both alike; the line is one line, and its ids are hex."""
    message = spans()
    line = line_of("traces", "protobuf", message.SerializeToString())
    assert line.count(b"\n") == 1
    assert plain(json.loads(line)) == plain(json.loads(MessageToJson(message)))
    for block in blocks_of(json.loads(line)):
        for record in block.records:
            assert (len(record["traceId"]), len(record["spanId"])) == (32, 16)
            assert int(record["traceId"], 16)


def test_json_is_kept_as_it_is_on_one_line():
    """What is printed over lines says the same on one."""
    document = json.loads(MessageToJson(spans()))
    assert (
        json.loads(line_of("traces", "json", json.dumps(document, indent=2).replace("\n", "\r\n").encode())) == document
    )
    assert line_of("traces", "json", b'{"resourceSpans": []}') == b'{"resourceSpans": []}\n'


@pytest.mark.parametrize(
    ("kind", "data"), [("json", b""), ("json", b"[]"), ("json", b"PAR1"), ("json", b"\x1f\x8b"), ("protobuf", b"\xff")]
)
def test_what_is_no_request_is_refused(kind, data):
    with pytest.raises(RefusedError) as error:
        line_of("traces", kind, data)
    assert error.value.status == 400


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_gzip_up_to_the_bound_is_unpacked(size):
    """One byte more is too large, whatever it takes packed, and in several members too."""
    data = b"x" * size
    assert unpacked(gzip.compress(data), 1000) == data
    assert unpacked(gzip.compress(data[:10]) + gzip.compress(data[10:]), 1000) == data
    with pytest.raises(RefusedError) as error:
        unpacked(gzip.compress(data) + gzip.compress(b"x" * 1001), 1000)
    assert error.value.status == 413


@pytest.mark.parametrize(
    "data", [b"no gzip", gzip.compress(b"x" * 100)[:-9], gzip.compress(b"x") + b"more"], ids=["none", "cut", "more"]
)
def test_gzip_that_is_damaged_is_refused(data):
    with pytest.raises(RefusedError) as error:
        unpacked(data, 1000)
    assert error.value.status == 400


@pytest.mark.parametrize("text", ["no", "x" * 127, "x" * 128, "ä" * 10_000])
def test_an_answer_is_a_status_of_google_rpc(text):
    """In both encodings; the message is read by the library's own."""
    status = pytest.importorskip("google.rpc.status_pb2")
    assert status.Status.FromString(refused("protobuf", 400, text).body).message == text
    assert json.loads(refused("json", 400, text).body) == {"message": text}


@pytest.mark.parametrize("count", [1, 127, 128, 70_000])
@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_what_was_rejected_is_read_by_the_official_messages(signal, count):
    """Of protobuf and of its JSON: how many records of a request that was kept otherwise, and why."""
    answers = {"traces": ExportTraceServiceResponse, "logs": ExportLogsServiceResponse}
    text = "a span has no traceId: ä" * 20
    packed, printed = answers[signal](), answers[signal]()
    packed.ParseFromString(accepted_partly(signal, "protobuf", count, text).body)
    Parse(accepted_partly(signal, "json", count, text).body, printed)
    assert packed == printed
    told = packed.partial_success
    assert (told.rejected_spans if signal == "traces" else told.rejected_log_records, told.error_message) == (
        count,
        text,
    )
