"""A stream as a run line: reading it back gives the stream's events as they may be read, whoever wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest.canonical import same_json
from pipelines.ingest.convert import Place
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.line_files import line_text
from pipelines.ingest.reading.lines import LineReader
from pipelines.ingest.reading.strict_json import parse
from pipelines.ingest.recorded import NOTES, conversation_of
from pipelines.ingest.run_line import run_line
from pipelines.log.redaction import HIDDEN, Redaction, redact, target_version
from pipelines.store.events import NewEvent
from tests.oracles import left_fold
from tests.support import chat_strategies
from tests.support.log_strategies import whole_logs

AT = datetime(2026, 3, 1, tzinfo=UTC)
PLACE = Place("f.jsonl", 1)
STREAM = UUID(int=7)
Stream = dict[int, NewEvent]


def streams_of(log: list[dict[str, Any]]) -> dict[tuple[UUID, str], Stream]:
    """A drawn log as a store holds it."""
    found: dict[tuple[UUID, str], Stream] = {}
    for event in log:
        stream = found.setdefault((UUID(event["aggregate_id"]), event["aggregate_type"]), {})
        stream[event["stream_version"]] = NewEvent(
            event["event_type"], kept(event["payload"]), kept(event["metadata"]), event["created_at"]
        )
    return found


def text_of(stream: UUID, kind: str, events: Stream) -> bytes | None:
    """The stream's line."""
    made = run_line(stream, kind, events)
    return None if made is None else line_text(made, has_literals=True)


def read(text: bytes) -> Any:
    """The events of a line of text, as an import makes them."""
    parsed = parse(text.decode())
    return conversation_of(parsed.value, place=PLACE, at=AT, inexact=parsed.inexact)


def kept(value: Any) -> Any:
    """A value as jsonb keeps it: a new one, keys in its order, numbers as it writes them."""
    if isinstance(value, Mapping):
        items = sorted(value.items(), key=lambda item: (len(item[0].encode()), item[0].encode()))
        return {key: kept(inner) for key, inner in items}
    if isinstance(value, float) and "." not in (text := f"{Decimal(repr(value)):f}"):
        return int(text)
    return [kept(inner) for inner in value] if isinstance(value, list) else value


def stored(events: list[NewEvent]) -> Stream:
    """As a store gives them back, by version."""
    pairs = enumerate(events, start=1)
    return {n: NewEvent(e.event_type, kept(e.payload), kept(e.metadata), e.created_at) for n, e in pairs}


def bare(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """An envelope without what an import notes."""
    return {key: value for key, value in metadata.items() if key not in NOTES}


@settings(max_examples=200)
@given(log=whole_logs(max_streams=3))
def test_what_was_recorded_comes_back_as_it_may_be_read(log: list[dict[str, Any]]) -> None:
    """Types, payloads, envelopes and times are those of the log, redactions applied by the one rule and told; again gives the same line."""
    for (stream, kind), events in streams_of(log).items():
        of_target: dict[int | None, list[Redaction]] = {}
        left = {v: e for v, e in events.items() if not e.event_type.startswith("redaction.")}
        for event in events.values():
            if event.event_type.startswith("redaction."):
                of_target.setdefault(target_version(event.payload), []).append(Redaction.from_payload(event.payload))
        text = text_of(stream, kind, events)
        assert (text is None) == (not left)
        if text is None:
            continue
        back = read(text)
        assert (back.stream_id, back.aggregate_type) == (stream, kind)
        assert [e.event_type for e in back.events] == [e.event_type for e in left.values()]
        assert [e.created_at for e in back.events] == [e.created_at for e in left.values()]
        assert [bare(e.metadata) for e in back.events] == [e.metadata for e in left.values()]
        wanted = [redact(e.payload, of_target.get(v, ())).payload for v, e in left.items()]
        assert json.dumps([e.payload for e in back.events], sort_keys=True) == json.dumps(wanted, sort_keys=True)
        assert back.hidden == (HIDDEN if len(left) < len(events) else None)
        assert text_of(stream, kind, stored(back.events)) == text


ROWS = ("utterances", "tool_calls", "decisions", "conversation_months", "call_months")
SAID = ("aggregate_id", "text", "name", "arguments", "result", "error", "model", "finish_reason")
"""What of them was said: redactions are events themselves, which other columns count, and a request that was redacted is no proof any more."""


def folded(log: list[dict[str, Any]], *, is_redacted: bool) -> dict[str, Any]:
    """What the left fold says of a log, month by month; where it was redacted, what was said and called."""
    rows: dict[str, Any] = {}
    for month in sorted({event["month"] for event in log}):
        for name, found in left_fold.fold_month(log, month).items():
            if is_redacted and name in ROWS[:3]:
                rows.setdefault(name, []).extend({k: row[k] for k in SAID if k in row} for row in found)
            elif not is_redacted and name in ROWS:
                rows.setdefault(name, []).extend(found)
    return rows


@settings(max_examples=200)
@given(log=whole_logs(max_streams=2), is_redacted=st.booleans())
def test_what_is_folded_of_a_log_is_folded_of_its_lines(log: list[dict[str, Any]], is_redacted: bool) -> None:
    """States, utterances, tool calls and decisions, by the left fold, which applies redactions itself."""
    if not is_redacted:
        log = [event for event in log if not event["event_type"].startswith("redaction.")]
        seen: dict[str, int] = {}
        for event in log:
            event["stream_version"] = seen[event["aggregate_id"]] = seen.get(event["aggregate_id"], 0) + 1
    log = [{**event, "payload": kept(event["payload"])} for event in log]
    again = []
    for (stream, kind), events in streams_of(log).items():
        text = text_of(stream, kind, events)
        if text is None:
            continue
        left = [e for e in log if e["aggregate_id"] == str(stream) and not e["event_type"].startswith("redaction.")]
        for version, (made, event) in enumerate(zip(read(text).events, left, strict=True), start=1):
            metadata = bare(made.metadata)
            payload = kept(made.payload)
            again.append({**event, "stream_version": version, "payload": payload, "metadata": metadata})
    wanted = folded(log, is_redacted=is_redacted) if again else {}
    assert {k: v for k, v in folded(again, is_redacted=is_redacted).items() if v} == {
        k: v for k, v in wanted.items() if v
    }


appended = st.lists(
    st.tuples(
        st.sampled_from(["row.changed.v1", "weather.changed.v1", "user.utterance.v1", "redaction.applied.v1"]),
        st.integers(1, 5),
        st.sampled_from(["/text", "/content", "/messages", "", "/arguments", "/model"]),
    ),
    max_size=3,
)


@settings(max_examples=200)
@given(line=chat_strategies.lines, more=appended)
def test_an_imported_line_comes_back_with_what_was_appended(line: dict[str, Any], more: list[Any]) -> None:
    """Without anything of others it is the line itself, its source filled in; with it, importing gives the same events."""
    first = conversation_of(line, place=PLACE, at=AT, default_source="d")
    others = []
    for kind, version, path in more:
        payload: dict[str, Any] = {"text": "x", "path": path}
        if kind == "redaction.applied.v1":
            payload = {"target": {"stream_version": version}, "path": path, "method": "mask", "reason": "asked"}
        others.append(NewEvent(kind, payload, {"actor": "service"}, AT))
    text = text_of(first.stream_id, "conversation", stored([*first.events, *others]))
    assert text is not None
    if not others:
        assert same_json(json.loads(text), {**line, "source": first.source})
    back = read(text)
    assert back.stream_id == first.stream_id
    left = [e for e in (*first.events, *others) if not e.event_type.startswith("redaction.")]
    assert [e.event_type for e in back.events] == [e.event_type for e in left]
    if len(left) == len(first.events) + len(others):
        assert same_json([e.payload for e in back.events], [e.payload for e in left])
    assert text_of(back.stream_id, back.aggregate_type, stored(back.events)) == text


records = st.fixed_dictionaries(
    {},
    optional={
        "stream": chat_strategies.json_values
        | st.fixed_dictionaries(
            {"id": st.just(str(STREAM)) | chat_strategies.text}, optional={"type": chat_strategies.text}
        ),
        "message_ids": chat_strategies.json_values,
        "events": st.lists(
            chat_strategies.json_values
            | st.fixed_dictionaries(
                {"version": st.integers(-1, 3)},
                optional={
                    "event_type": chat_strategies.text,
                    "payload": chat_strategies.json_values,
                    "created_at": chat_strategies.times,
                },
            ),
            max_size=2,
        ),
        "made": st.lists(
            st.fixed_dictionaries(
                {"version": st.integers(0, 3)}, optional={"payload_without": chat_strategies.json_values}
            ),
            max_size=2,
        )
        | chat_strategies.json_values,
        "redactions": chat_strategies.json_values,
    },
)


@given(line=chat_strategies.lines, own=records, times=chat_strategies.times)
def test_records_of_any_shape_are_read_or_refused_with_their_place(line: dict[str, Any], own: Any, times: Any) -> None:
    """Nobody has to have written a line with `refold lines`: what it says wrong is told, and never taken for something else."""
    told = [{**message, "timestamp": times} for message in line["messages"]]
    told_line = {**line, "messages": told, "records": {"refold": own}}
    events: list[NewEvent] | None = None
    place = ""
    try:
        events = conversation_of(told_line, place=PLACE, at=AT, default_source="d").events
    except BadLineError as error:
        place = error.json_path
    assert place.startswith("$") if events is None else events
    assert all(event.created_at is not None and isinstance(event.payload, dict) for event in events or ())


def test_every_real_line_comes_back(shared_data: Path) -> None:
    """All 1,697 real conversations: the line written is the line that was imported."""
    count = 0
    for raw in LineReader(shared_data / "conversations.jsonl.gz"):
        parsed = parse(raw.data.decode())
        made = conversation_of(parsed.value, place=PLACE, at=AT, inexact=parsed.inexact)
        text = text_of(made.stream_id, made.aggregate_type, stored(made.events))
        assert text is not None
        assert same_json(json.loads(text), parsed.value)
        assert "refold" not in json.loads(text).get("records", {})
        count += 1
    assert count == 1697
