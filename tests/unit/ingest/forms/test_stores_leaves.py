"""Where every scalar of a file of a trace store goes: nothing is lost, and nothing is said to be mapped that is not.

Judged by a second route: all scalars of the samples, counted by the tests' own reader of the files, are found again in the run lines.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Record
from pipelines.ingest.forms.form import Options, form_named
from pipelines.ingest.forms.stores.copies import Said
from tests.support.foreign import NO_HOME, lines_of
from tests.support.formats import leaf_values, samples

FORMS = {"02-langfuse": "langfuse", "03-langsmith": "langsmith", "04-inspect": "inspect"}
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")
# What places a record in its tree, and is told by where its messages stand.
IDS = re.compile(
    r"id|uuid|trace_?[iI]d|parent.*|.*_run_id|dotted_order|span_id|eval_id|session_id|sessionId|event|message_id|role|lc|observationId|"
    r"run_type|type|order_key|agent_span_id"
)
# What is said by a count, a sum or another unit.
SUMS = re.compile(
    r"start_time|end_time|latency|time|timeToFirstToken|latency_sec|input_refs|source|dataType|data_type|level|finish_reason|stop_reason|cost.*|total.*"
)


def values_of(value: Any, skipped: re.Pattern[str]) -> Iterator[Any]:
    """Scalars of a JSON value, and of the JSON texts in it, without those under the names that are skipped."""
    value = unpacked(value)
    if isinstance(value, dict) and value.get("lc") == 1 and "kwargs" in value:
        value = value["kwargs"]  # the name of the class is the role
    if isinstance(value, dict):
        for key, inner in value.items():
            if not skipped.fullmatch(key) or (isinstance(inner, dict | list) and key != "input_refs"):
                yield from values_of(inner, skipped)
    elif isinstance(value, list):
        for inner in value:
            yield from values_of(inner, skipped)
    elif value not in (None, ""):
        yield value


def ids_of(value: Any) -> Iterator[str]:
    """Every id, at any depth."""
    value = unpacked(value)
    if isinstance(value, dict):
        yield from [value["id"]] if isinstance(value.get("id"), str) else []
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from ids_of(inner)


def unpacked(value: Any) -> Any:
    """What a text of JSON says, also where it is a text of such a text, or a literal of Python, as SDKs write what they cannot serialise."""
    if not isinstance(value, str) or value[:1] not in ("{", "[", '"'):
        return value
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError):
            inner = read(value)
            return unpacked(inner) if inner != value else value
    return value


def read_any(path: Path) -> Any:
    """The records of a sample, by a reader of the tests' own."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist(maps_as_pydicts="strict")
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    if path.suffix == ".eval":
        with zipfile.ZipFile(path) as log:
            return [
                json.loads(member(log, each, data)) for each in log.infolist() if each.filename.startswith("samples/")
            ]
    try:
        return json.loads(data)
    except ValueError:
        return [json.loads(line) for line in data.splitlines() if line.strip()]


def member(log: zipfile.ZipFile, each: zipfile.ZipInfo, data: bytes) -> bytes:
    if each.compress_type != 93:
        return log.read(each)
    at = each.header_offset
    start = (
        at + 30 + int.from_bytes(data[at + 26 : at + 28], "little") + int.from_bytes(data[at + 28 : at + 30], "little")
    )
    return bytes(pa.decompress(data[start : start + each.compress_size], each.file_size, codec="zstd", asbytes=True))


def test_every_scalar_of_a_sample_is_found_again(shared_data: Path) -> None:
    """As it is, or as the time or the place in the tree that it was turned into; texts whole, also those that stand in attachments."""
    for folder, form in FORMS.items():
        for sample in samples(shared_data, folder):
            lines, tally = lines_of(form, [sample.path])
            assert tally.mapped >= 0
            assert tally.mapped + tally.kept + tally.repeated == tally.leaves
            found = {_plain(each) for each in leaf_values(lines)} | {
                _plain(each) for each in values_of(lines, re.compile("$^"))
            }
            told = json.dumps(lines, ensure_ascii=False)
            given = read_any(sample.path)
            found |= set(ids_of(given))  # a message's id also stands where a change of it is told
            lost = [
                each
                for each in values_of(given, re.compile(f"{IDS.pattern}|{SUMS.pattern}"))
                if _plain(each) not in found and not _is_turned(each, told)
            ]
            assert not lost, (sample.name, len(lost), lost[:5])


def _plain(value: Any) -> Any:
    """A scalar by what it says: numbers by value, text without the blanks around it."""
    return value.strip() if isinstance(value, str) else float(value) if isinstance(value, int | float) else str(value)


def _is_turned(value: Any, told: str) -> bool:
    """Whether a scalar is a time, a reference, or a text that another stands in."""
    if not isinstance(value, str):
        return not isinstance(value, int | float) or float(value) == 0
    if TIME.fullmatch(value) or value.startswith("attachment://"):
        return True
    return json.dumps(value, ensure_ascii=False)[1:-1] in told


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"messages": [{"content": "Where is my parcel?", "type": "human"}]}, None),
        ({"messages": [{"content": "Where is my parcel?", "type": "human"}], "step": 3}, {"step": 3}),
        ([{"content": "Where is my parcel?"}, {"content": "And when?"}], [None, {"content": "And when?"}]),
        ({"ok": 1, "kind": "human"}, {"ok": 1, "kind": "human"}),  # too short to be a copy of anything
        ('{"content": "Where is my parcel?"}', None),
        ("Where is my parcel", "Where is my parcel"),
        ({"flag": True, "content": "Where is my parcel?"}, {"flag": True}),
    ],
)
def test_what_another_record_says_is_left_out(value: Any, left: Any) -> None:
    """Only whole copies go, and what is left keeps its place."""
    said = Said()
    said.add([{"content": "Where is my parcel?", "type": "human"}, 1, 3])
    record = Record("a:1", {"inputs": value}, leaves(value))
    said.leave_out(record, "inputs", "outputs")
    assert record.value.get("inputs") == left
    assert record.repeated == leaves(value) - leaves(left)


def kept(form: str, path: Path) -> int:
    """Scalars that no field of a row says, of all rows of a file."""
    reader = form_named(form, NO_HOME)
    with tempfile.TemporaryDirectory() as folder:
        options = Options(folder=Path(folder))
        return sum(leaves(row.rest) for group in reader.groups([path], options) for row in reader.adapt(group, options))


# Recorded: a line of an adapter that is taken out leaves more, one that takes what it does not say leaves less.
KEPT = {
    "autogen-2025-06-06.trace.json.gz": 60,
    "claude-agent-2025-12-22.trace.json.gz": 278,
    "crewai-2025-07-11.trace.json.gz": 215,
    "export.observations.jsonl": 538,
    "export.observations_v2.csv": 468,
    "export.observations_v2.parquet": 561,
    "export.scores.jsonl": 18,
    "export.traces.jsonl": 75,
    "google-adk-2025-08-28.trace.json.gz": 293,
    "koog-2025-08-26.trace.json.gz": 363,
    "langgraph-python-2025-08-22.trace.json.gz": 679,
    "openai-agents-2025-09-30.trace.json.gz": 230,
    "pydantic-ai-2025-06-06.trace.json.gz": 116,
    "pydantic-ai-tools-2025-06-06.trace.json.gz": 116,
    "pydantic-ai-tools-2025-12-04.trace.json.gz": 566,
    "vercel-aisdk-2025-11-17.trace.json.gz": 188,
    "derived.openhands-langgraph.runs.parquet": 2_088,
    "emitted.openhands-langgraph.runs.jsonl.gz": 2_088,
    "emitted.tau2-langgraph.runs.jsonl.gz": 7_006,
    "wrap-openai-default.batch.json": 12,
    "wrap-openai-stream.batch.json": 12,
    "emitted.0.3.285-zstd.eval": 363,
    "emitted.scout-transcripts.parquet": 3_438,
    "message-pool.eval": 363,
    "security-guide.eval": 3_717,
    "tool-call-errors.json": 39,
}


def test_what_adapters_leave(shared_data: Path) -> None:
    """Exactly these scalars of each sample have no field."""
    found = {
        sample.name: kept(form, sample.path)
        for folder, form in FORMS.items()
        for sample in samples(shared_data, folder)
    }
    assert found == KEPT
