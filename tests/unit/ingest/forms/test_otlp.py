"""OpenTelemetry's files: what the samples hold, by counts and hashes that were made apart, and in whatever way they are written."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_lines import form_lines, line_bytes
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otlp import FORM
from tests.support.formats import counts, samples, stream_sha256

NAMES = ("system", "user", "agent_text", "tool_calls", "tool_results", "threads", "model_calls")
DIALECTS = ("semconv", "semconv-events", "openllmetry", "openllmetry-0.30", "openinference")
FOLDERS = count()


def lines_of(files: Sequence[Path], folder: Path, tally: Tally | None = None, **options: Any) -> list[dict[str, Any]]:
    scratch = folder / f"scratch{next(FOLDERS)}"
    scratch.mkdir()
    return list(form_lines(FORM, files, Options(folder=scratch, **options), tally or Tally()))


def test_samples(shared_data: Path, tmp_path: Path) -> None:
    """Every sample gives the counts and the hash that were made of it apart."""
    for sample in samples(shared_data, "01-otlp"):
        tally = Tally()
        lines = lines_of([sample.path], tmp_path, tally)
        found = counts(lines)
        expected = {name: sample.counts[name] for name in NAMES}
        assert {name: getattr(found, name) for name in NAMES} == expected, sample.name
        assert stream_sha256(lines) == sample.counts["stream_sha256"], sample.name
        assert found.tokens == sample.counts["tokens"], sample.name
        assert sorted(found.models) == sample.counts["models"], sample.name
        assert tally.conversations == sample.counts["conversations"], sample.name
        assert tally.wrapper_calls == sample.counts["wrapper_calls"], sample.name


# ---------------------------------------------------------------- however the files are written


Entry = tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]
"""Kind, resource block without scopes, scope block without records, record."""
HOLDERS = {"spans": ("resourceSpans", "scopeSpans"), "logRecords": ("resourceLogs", "scopeLogs")}


def entries(path: Path) -> list[Entry]:
    """The spans and log records of a file, each with what stands around it."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found: list[Entry] = []
    try:
        documents = json.loads(text)
    except ValueError:
        documents = [json.loads(line) for line in text.splitlines()]
    for document in documents if isinstance(documents, list) else [documents]:
        for kind, (outer, inner) in HOLDERS.items():
            for block in document.get(outer, []):
                for scope in block[inner]:
                    around = {key: value for key, value in block.items() if key != inner}
                    own = {key: value for key, value in scope.items() if key != kind}
                    found += [(kind, around, own, record) for record in scope[kind]]
    return found


def document(part: Sequence[Entry]) -> dict[str, Any]:
    """An export request of records, each in a block of its own."""
    made: dict[str, Any] = {}
    for kind, around, own, record in part:
        outer, inner = HOLDERS[kind]
        made.setdefault(outer, []).append({**around, inner: [{**own, kind: [record]}]})
    return made


KINDS = ("SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT")
CODES = ("STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR")


def as_protobuf_prints(value: Any) -> Any:
    """A record as protobuf's own printer writes it: ids in base64, enums by name."""
    if isinstance(value, list):
        return [as_protobuf_prints(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, inner in value.items():
        if key in ("traceId", "spanId", "parentSpanId"):
            made[key] = base64.b64encode(bytes.fromhex(inner)).decode()
        elif key == "kind" and isinstance(inner, int):
            made[key] = KINDS[inner]
        elif key == "status" and "code" in inner:
            made[key] = {**inner, "code": CODES[inner["code"]]}
        else:
            made[key] = as_protobuf_prints(inner)
    return made


def write(folder: Path, parts: Sequence[Sequence[Entry]], style: str, is_encoded: bool) -> list[Path]:
    """Files of records, a file a part: JSON lines, one body, an array of bodies, printed with indentation, or compressed."""
    folder.mkdir()
    paths = []
    for number, part in enumerate(parts):
        path = folder / f"{number}.json"
        told = [
            (kind, around, own, as_protobuf_prints(record) if is_encoded else record)
            for kind, around, own, record in part
        ]
        if style in ("lines", "gzip"):
            text = "".join(json.dumps(document([each])) + "\n" for each in told)
        elif style == "array":
            text = json.dumps([document(told[::2]), document(told[1::2])])
        else:
            text = json.dumps(document(told), indent=1 if style == "printed" else None)
        data = text.encode()
        path.write_bytes(gzip.compress(data) if style == "gzip" else data)
        paths.append(path)
    return paths


def comparable(lines: Sequence[dict[str, Any]]) -> list[bytes]:
    return [line_bytes(line) for line in lines]


@pytest.fixture(scope="module")
def written(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[Entry], list[bytes]]]:
    """Records of a few samples, and the lines that they come to as they are."""
    folder = tmp_path_factory.mktemp("written")
    made = {}
    for name in ("openhands-semconv", "openhands-semconv-events", "tau2-openinference", "calendar-openllmetry-0.30"):
        path = shared_data / "formats" / "dev" / "01-otlp" / f"emitted.{name}.otlp.jsonl.gz"
        made[name] = entries(path), comparable(lines_of([path], folder))
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_way_of_writing(
    written: dict[str, tuple[list[Entry], list[bytes]]], tmp_path: Path, data: st.DataObject
) -> None:
    """Shuffled, split over files, repeated, with other ids and enums, in any arrangement: the lines are the same, byte for byte."""
    known, expected = written[data.draw(st.sampled_from(sorted(written)))]
    style = data.draw(st.sampled_from(["lines", "gzip", "array", "body", "printed"]))
    copies = data.draw(st.lists(st.sampled_from(range(len(known))), max_size=5))
    order = data.draw(st.permutations([*range(len(known)), *copies]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=3)))
    parts = [[known[n] for n in order[a:b]] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    files = write(tmp_path / f"files{next(FOLDERS)}", [part for part in parts if part], style, data.draw(st.booleans()))
    tally = Tally()
    assert comparable(lines_of(files, tmp_path, tally)) == expected
    assert tally.duplicates == len(copies)


@pytest.mark.parametrize("talk", ["openhands", "tau2", "calendar"])
def test_one_conversation_in_every_dialect(shared_data: Path, tmp_path: Path, talk: str) -> None:
    """The same conversation through five instrumentations says the same, in the same order, with the same calls and usage."""
    told = {}
    for dialect in DIALECTS:
        path = shared_data / "formats" / "dev" / "01-otlp" / f"emitted.{talk}-{dialect}.otlp.jsonl.gz"
        lines = sorted(lines_of([path], tmp_path), key=lambda line: str(line["conversation_id"]))
        told[dialect] = [(line["conversation_id"], [_told(message) for message in line["messages"]]) for line in lines]
    for dialect in DIALECTS[1:]:
        assert told[dialect] == told[DIALECTS[0]], dialect


def _told(message: dict[str, Any]) -> dict[str, Any]:
    """What every dialect says of a message: arguments as values, usage, and how the history agreed.

    Events leave out what an agent said beside its calls when it comes back, so that the history is then rendered anew.
    """
    calls = [
        (call["function"]["name"], _value(call["function"]["arguments"])) for call in message.get("tool_calls") or ()
    ]
    decision = message.get("decision")
    known = decision and {name: decision.get(name) for name in ("usage", "error", "finish_reason")}
    history = decision and {"rendered": "exact"}.get(decision["history"], decision["history"])
    return {
        "role": message["role"],
        "content": message.get("content") or "",
        "calls": calls,
        "is_error": bool(message.get("error")),
        "decision": known,
        "history": history,
        "time_source": message.get("time_source"),
    }


def _value(arguments: Any) -> Any:
    return json.loads(arguments) if isinstance(arguments, str) and arguments else arguments or {}


# ---------------------------------------------------------------- every leaf of a file is somewhere


def test_every_scalar_is_found_again(shared_data: Path, tmp_path: Path) -> None:
    """Every distinct scalar of a sample stands on its run lines: as it is, inside of a text, or as the time that it was turned into."""
    for sample in samples(shared_data, "01-otlp"):
        lines = lines_of([sample.path], tmp_path)
        known = {_spelt(each) for line in lines for each in _scalars(line)}
        known |= {str(time) for line in lines for message in line["messages"] for time in _times(message)}
        text = "".join(json.dumps(line, ensure_ascii=False) for line in lines)
        lost = {
            each
            for each in map(_spelt, filter(None, _recorded(sample.path)))
            if each not in known and _escaped(each) not in text
        }
        lost = {each for each in lost - TYPES if RENDERED not in each}
        assert not lost, (sample.name, sorted(lost)[:20])


TYPES = {
    "application/json",
    "text/plain",
    "chat",
    "execute_tool",
    "tool",
    "TOOL",
    "LLM",
    "tool_call",
    "tool_call_response",
    "text",
}
"""What says of which kind something is: the kind of a line's parts says it again."""


RENDERED = "Calling tools:"
"""In what one agent was sent of its own calls: another rendering of what it said, of which the line has the hash."""


def _recorded(path: Path) -> Iterator[Any]:
    """Scalars of a file's records, JSON texts by what is in them; what only says where or of what type something is left out."""
    for _, around, own, record in entries(path):
        yield from _of_any(around.get("resource", {}).get("attributes"))
        yield own.get("scope", {}).get("name")
        for name in ("name", "traceState", "flags", "spanId", "traceId", "parentSpanId"):
            value = record.get(name)
            yield hex_of(value) if name.endswith("Id") and value else value
        for name in ("startTimeUnixNano", "endTimeUnixNano"):
            if record.get(name):
                yield int(record[name])
        for holder in (record, *record.get("events", ())):
            yield from _of_any(holder.get("attributes"))
        yield from _of_any([{"key": "", "value": record["body"]}] if "body" in record else None)


def hex_of(given: str) -> str:
    return given if len(given) in (16, 32) else base64.b64decode(given).hex()


TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


def _times(message: dict[str, Any]) -> Iterator[int]:
    """When something ended, and began: as long before as it took."""
    if "timestamp" in message:
        ended = int(nanoseconds(message["timestamp"]))
        yield ended
        for each in (message, message.get("decision") or {}):
            yield ended - round((each.get("latency_ms") or 0) * 1_000_000)


def nanoseconds(text: str) -> str:
    """A run line's time as OTLP has it."""
    found = TIME.fullmatch(text)
    assert found
    seconds = int(datetime.fromisoformat(f"{found[1]}+00:00").timestamp())
    return f"{seconds}{(found[2] or ''):0<9}"


def _of_any(attributes: Any) -> Iterator[Any]:
    for attribute in attributes or ():
        yield from _scalars(_any(attribute.get("value")))


def _any(value: Any) -> Any:
    """An `AnyValue` as JSON, read anew here."""
    for kind, inner in (value or {}).items():
        if kind == "arrayValue":
            return [_any(each) for each in inner.get("values", [])]
        if kind == "kvlistValue":
            return {each["key"]: _any(each.get("value")) for each in inner.get("values", [])}
        return int(inner) if kind == "intValue" else inner
    return None


def _scalars(value: Any) -> Iterator[Any]:
    """Scalars of a JSON value, and of the JSON texts in it."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _scalars(inner)
    elif isinstance(value, str) and value[:1] in ("{", "["):
        try:
            yield from _scalars(json.loads(value))
        except ValueError:
            yield value
    elif value is not None and value != "":
        yield value


def _spelt(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value)


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
