"""OpenTelemetry's files as nobody should write them: a clear error with file and place, or an accounted note; never half of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_lines import form_lines
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otlp import FORM
from tests.support.long_traces import LONG_TRACE_BYTES, read_long_trace
from tests.support.otlp import START, call, message, request, span


def write(folder: Path, *lines: str) -> Path:
    path = folder / "spans.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def read(path: Path, tally: Tally | None = None) -> list[dict[str, Any]]:
    scratch = path.parent / "scratch"
    scratch.mkdir()
    return list(form_lines(FORM, [path], Options(folder=scratch), Tally() if tally is None else tally))


BAD = {
    "cut": ('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "0af', r"spans.jsonl:2: .*"),
    "not JSON": ("hello", r"spans.jsonl:2: .*not JSON|spans.jsonl:2: \$: .*"),
    "NaN": (
        request(span(1)).replace('"name": "span"', '"name": NaN'),
        r"spans.jsonl:2: \$\.resourceSpans\[0\].*NaN is not JSON",
    ),
    "NUL": (request(span(1, attributes={"a": "x"})).replace('"x"', '"\\u0000"'), r"spans.jsonl:2: .*u0000"),
    "half a surrogate pair": (request(span(1)).replace('"span"', '"\\ud800"'), r"spans.jsonl:2: .*lone surrogate"),
    "no request": ('{"spans": []}', r"spans.jsonl:2: \$: has spans; an export request has resourceSpans"),
    "a number": ("3", r"spans.jsonl:2: \$: is 3; an export request is an object"),
    "an odd id": (
        request({**span(1), "spanId": "xyz"}),
        r"spans.jsonl:2: \$\.resourceSpans\[0\]\.scopeSpans\[0\]\.spans\[0\]: spanId is 'xyz'",
    ),
    "no id": (request({**span(1), "spanId": ""}), r"spans.jsonl:2: .*spans\[0\]: a span without traceId or spanId"),
    "an odd time": (request({**span(1), "startTimeUnixNano": "noon"}), r"spans.jsonl:2: .*startTimeUnixNano is 'noon'"),
    "a time before all": (request({**span(1), "endTimeUnixNano": -5}), r"spans.jsonl:2: .*endTimeUnixNano is -5"),
    "odd attributes": (request({**span(1), "attributes": [3]}), r"spans.jsonl:2: .*spans\[0\]: not as OTLP has it"),
    "an odd value": (
        request({**span(1), "attributes": [{"key": "a", "value": "b"}]}),
        r"spans.jsonl:2: .*a value is 'b'",
    ),
    "spans that are none": (
        '{"resourceSpans": [{"scopeSpans": [{"spans": 3}]}]}',
        r"spans.jsonl:2: .*not as OTLP has it",
    ),
    "too deep": ("[" * 5000 + "]" * 5000, r"spans.jsonl:2: .*"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(tmp_path: Path, name: str) -> None:
    """What is no OTLP is refused with file, line and path, whatever stands before it."""
    line, expected = BAD[name]
    with pytest.raises(BadInputError, match=expected) as raised:
        read(write(tmp_path, request(call(1, ["hello"])), line))
    assert len(str(raised.value)) < 400


def test_nul_inside_of_a_message(tmp_path: Path) -> None:
    """What the store cannot keep is found inside of a JSON text, too, and named with its attribute."""
    path = write(tmp_path, request(call(1, json.dumps([message("user", "a\0b")]))))
    with pytest.raises(BadInputError, match=r"spans.jsonl:1#1, gen_ai.input.messages: \$\[0\]\.parts\[0\]\.content"):
        read(path)


def test_cut_messages(tmp_path: Path) -> None:
    """A list of messages that an attribute limit cut is kept as it is, and nothing is guessed of it."""
    cut = json.dumps([message("user", "hello there")])[:40]
    (line,) = read(write(tmp_path, request(call(1, cut, "hi"))))
    assert cut in json.dumps(line, ensure_ascii=False).replace('\\"', '"')
    said = [each for each in line["messages"] if each["role"] in ("user", "assistant")]
    assert [each["content"] for each in said] == ["hi"]
    assert said[0]["decision"]["history"] in ("delta", "opened")


def test_a_span_twice_with_other_content(tmp_path: Path) -> None:
    """Of copies that differ the one that ended last counts, and the other is kept; equal ones are counted."""
    first, second = call(1, ["hello"], "early"), call(1, ["hello"], "late", end=START + 5000)
    tally = Tally()
    (line,) = read(write(tmp_path, request(second), request(first, second)), tally)
    assert [each["content"] for each in line["messages"]] == ["hello", "late"]
    assert "early" in json.dumps(line["records"])
    assert (tally.duplicates, tally.model_calls) == (1, 1)


def test_parents_in_a_circle(tmp_path: Path) -> None:
    """Spans that are their own ancestors, and one whose parent is not there, stand where their times say."""
    spans = [
        span(1, parent=2),
        span(2, parent=1, start=START + 1),
        call(3, ["three"], "3", parentSpanId=f"{1:016x}", start=START + 2),
        span(4, parent=4, start=START + 3),
        call(5, ["five"], "5", parentSpanId=f"{4:016x}", start=START + 10_000),
        call(6, ["six"], "6", parentSpanId=f"{99:016x}", start=START + 20_000),
    ]
    tally = Tally()
    lines = read(write(tmp_path, request(*spans)), tally)
    said = [each["content"] for line in lines for each in line["messages"]]
    assert sorted(said) == ["3", "5", "6", "five", "six", "three"]
    assert (tally.model_calls, tally.wrapper_calls) == (3, 0)


def test_odd_times(tmp_path: Path) -> None:
    """A span that never began and one that ended before it began are read, and no duration is made up."""
    spans = [call(1, ["one"], "1", start=0, end=0), call(2, ["one", "two"], "2", start=START, end=START - 5)]
    lines = read(write(tmp_path, request(*spans)))
    decisions = [each["decision"] for line in lines for each in line["messages"] if "decision" in each]
    assert len(decisions) == 2
    assert all((each.get("latency_ms") or 0) >= 0 for each in decisions)


def test_large_attribute(tmp_path: Path) -> None:
    """An attribute of 50 MB is read; what nobody asks for is kept as it is."""
    text = "x" * 50_000_000
    (line,) = read(write(tmp_path, request(call(1, ["hello"], attributes={"blob": text}))))
    (record,) = line["records"].values()
    assert record["attributes"]["blob"] == text


@pytest.mark.parametrize(
    "name", ["gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions", "gen_ai.system_instructions"]
)
@pytest.mark.parametrize(
    "text",
    ["", "null", "3", "{}", "[]", '"x"', "[1]", '[{"role": 3}]', "[[[]]]", "{", '{"role": null, "parts": 4}', "\\"],
)
def test_odd_texts(tmp_path: Path, name: str, text: str) -> None:
    """Whatever stands where messages should, the file is read and every leaf of it is accounted for."""
    tally = Tally()
    read(write(tmp_path, request(call(1, ["hello"], attributes={name: text}))), tally)
    assert tally.model_calls == 1
    assert min(tally.mapped, tally.kept, tally.repeated) >= 0


def test_one_long_trace(tmp_path: Path) -> None:
    """A trace of thousands of spans, newest first, takes the memory of what is said once, not of the copies."""
    assert read_long_trace(tmp_path, spans=6_000, memory_bytes=LONG_TRACE_BYTES) == 2_000
