"""Conversations that go on, in the store: the rest is appended once, in months that are open, and nothing else is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.ingest import batches
from pipelines.ingest.canonical import same_json
from pipelines.ingest.chat import ImportResult, import_chat
from pipelines.ingest.clock import Days
from pipelines.ingest.form_files import import_form
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otlp import FORM as OTLP
from pipelines.ingest.restore import restore
from pipelines.store.connect import Store
from pipelines.store.events import NewEvent, stream_id
from tests.support import chat_strategies

Write = Callable[..., Path]
AT = datetime(2026, 3, 1, tzinfo=UTC)
NOTES = ("source_sha256", "source_place", "source_record", "source_ordinal", "source_grown", "record_sha256")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines to a file of a name."""

    def written(*lines: dict[str, Any], name: str = "f.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return path

    return written


def said(*texts: str, day: int = 1, **facts: Any) -> dict[str, Any]:
    """A line of messages of turns, an hour apart."""
    roles = ("user", "assistant")
    messages = [
        {"role": roles[n % 2], "content": text, "timestamp": f"2026-01-{day:02}T{n:02}:00:00Z"}
        for n, text in enumerate(texts)
    ]
    return {"source": "s", "conversation_id": "c", "messages": messages, **facts}


def stored(store: Store, name: str = "c") -> list[Any]:
    """Events of a conversation."""
    return list(store.read_stream(stream_id("s", name)))


def bare(store: Store, name: str = "c") -> list[tuple[Any, ...]]:
    """What they are, without what an import notes of where it read them."""
    return [
        (e.event_type, e.payload, e.created_at, {k: v for k, v in e.metadata.items() if k not in NOTES})
        for e in stored(store, name)
    ]


def counts(result: ImportResult) -> tuple[int, int, int, int]:
    """Conversations, those that have gone on, those that were there, and events."""
    return result.conversations, result.grown, result.already_present, result.events


def test_the_rest_is_appended_once(store: Store, write: Write) -> None:
    """Day 1, then both days, is both days; each line again, and in any order, appends nothing."""
    day1, both = said("a", "b"), said("a", "b", "c", "d", outcome={"solved": True}, scores=[{"name": "s", "value": 1}])
    one, two = write(day1, name="1.jsonl"), write(both, name="2.jsonl")
    assert counts(import_chat(store, [one], at=AT)) == (1, 0, 0, 3)
    assert counts(import_chat(store, [two], at=AT)) == (0, 1, 0, 4)
    assert counts(import_chat(store, [one, two, one], at=AT)) == (0, 0, 3, 0)
    assert same_json(restore(stored(store)), both)
    direct = write({**both, "conversation_id": "direct"}, name="3.jsonl")
    import_chat(store, [direct], at=AT)
    grown, whole = bare(store), bare(store, "direct")
    assert [each[:3] for each in grown] == [each[:3] for each in whole]
    assert [{**each[3], "source_id": "c"} for each in whole] == [each[3] for each in grown]


def test_one_file_may_hold_both(store: Store, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one batch and in two, the second line goes on with the first."""
    for size in (1, 100):
        monkeypatch.setattr(batches, "BATCH_CONVERSATIONS", size)
        lines = [{**said(*texts), "conversation_id": f"{size}"} for texts in (("a",), ("a", "b"), ("a", "b", "c"))]
        assert counts(import_chat(store, [write(*lines)], at=AT)) == (1, 2, 0, 4)
        assert same_json(restore(stored(store, f"{size}")), lines[-1])


SPAN_TIMES = {"startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": "1767225601000000000"}


def _span(number: int, name: str, parent: int | None, later: int = 0, **attributes: str) -> dict[str, Any]:
    """A span of the trace of these tests; `later`: seconds."""
    given = [{"key": key.replace("__", "."), "value": {"stringValue": value}} for key, value in attributes.items()]
    times = {key: str(int(value) + later * 10**9) for key, value in SPAN_TIMES.items()}
    made = {"traceId": "a" * 32, "spanId": f"{number:016x}", "name": name, "attributes": given, **times}
    return made if parent is None else {**made, "parentSpanId": f"{parent:016x}"}


def _call(number: int, said: list[str], answer: str, parent: int = 1) -> dict[str, Any]:
    sent = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]
    given = {"gen_ai__input__messages": json.dumps(sent), "gen_ai__operation__name": "chat"}
    answered = json.dumps([{"role": "assistant", "content": answer}])
    return _span(number, "chat", parent, number, gen_ai__output__messages=answered, **given)


def test_spans_around_calls_may_come_late(store: Store, tmp_path: Path) -> None:
    """What they say of calls that are there is kept, the rest is appended once; another answer is refused as ever."""
    outer = _span(1, "agent", None, gen_ai__operation__name="invoke_agent", gen_ai__agent__name="desk")
    first, second, third = (
        _call(2, ["a"], "b"),
        _call(3, ["a", "b", "c"], "d"),
        _call(4, ["a", "b", "c", "d", "e"], "f"),
    )

    def imported(*spans: dict[str, Any]) -> tuple[int, int, int, int]:
        path = tmp_path / "spans.jsonl"
        path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
        done = import_form(store, OTLP, [path], Options(), home=tmp_path, at=AT)
        assert done.result is not None
        return counts(done.result)

    def line() -> dict[str, Any]:
        return restore(list(store.read_stream(stream_id("otlp", "a" * 32))))

    assert imported(first)[:3] == (1, 0, 0)
    assert imported(first, outer) == (0, 1, 0, 1)  # the start once more, with what is new
    assert line()["records"]["decision m1"] == {"agent": "desk"}
    assert imported(first, outer) == (0, 0, 1, 0)
    assert imported(first, outer, second) == (0, 1, 0, 3)
    assert imported(first, outer, second, third) == (0, 1, 0, 3)
    assert imported(first, outer, second, third) == (0, 0, 1, 0)
    assert [message["content"] for message in line()["messages"]] == ["a", "b", "c", "d", "e", "f"]
    assert [message.get("decision", {}).get("agent") for message in line()["messages"]][1::2] == [None, "desk", "desk"]
    with pytest.raises(BadInputError, match=r"first in \$\.messages\[1\]"):
        imported(_call(2, ["a"], "no"), outer, second)


@pytest.mark.parametrize(
    ("later", "place"),
    [
        (said("a", "other", "c"), r"\$\.messages\[1\]\.content"),
        (said("a"), r"\$\.messages\[1\]"),
        (said("a", "b", "c", agent="other"), r"\$\.agent"),
        (said("a", "b", "c", outcome="bad", agent="desk"), r"\$\.outcome"),
        (said("a", "b", agent="desk", outcome="good", day=2), r"\$\.messages\[0\]\.timestamp"),
    ],
)
def test_what_does_not_go_on_is_refused_by_name(store: Store, write: Write, later: dict[str, Any], place: str) -> None:
    """Both places, and the first difference; nothing is appended."""
    import_chat(store, [write(said("a", "b", agent="desk", outcome="good"), name="one.jsonl")], at=AT)
    before = bare(store)
    with pytest.raises(BadInputError, match=rf"two.jsonl:1: conversation 'c' .*differs from one.jsonl:1 .*{place}"):
        import_chat(store, [write(later, name="two.jsonl")], at=AT)
    assert bare(store) == before


def test_facts_may_come_later(store: Store, write: Write) -> None:
    """What was not known at first is told by a second start, which says nothing to the agent."""
    import_chat(store, [write(said("a", "b", metadata={"x": 1}))], at=AT)
    full = said("a", "b", metadata={"x": 1, "y": 2}, agent="desk", subject_id="joe", tags=["t"], odd=[1])
    assert counts(import_chat(store, [write(full)], at=AT)) == (0, 1, 0, 1)
    last = stored(store)[-1]
    assert (last.event_type, last.payload["messages"], last.payload["agent"]) == ("conversation.started.v2", [], "desk")
    assert same_json(restore(stored(store)), full)
    assert counts(import_chat(store, [write(full)], at=AT)) == (0, 0, 1, 0)


def test_what_would_belong_to_a_closed_month_goes_in_now(store: Store, write: Write) -> None:
    """With the time at which it happened; the line is the same, and so is the month that was sealed."""
    import_chat(store, [write(said("a", "b"))], at=AT)
    store.close_month("2026-01")
    full = said("a", "b", "c")
    now = datetime.now(UTC)
    result = import_chat(store, [write(full)])
    assert counts(result) == (0, 1, 0, 1)
    assert result.months == (f"{now:%Y-%m}",)
    last = stored(store)[-1]
    assert last.created_at >= now
    assert last.metadata["occurred_at"] == "2026-01-01T02:00:00.000000Z"
    assert same_json(restore(stored(store)), full)


def test_a_redacted_conversation_takes_only_the_rest(store: Store, write: Write) -> None:
    """What others appended stays where it is, and what was hidden stays hidden."""
    import_chat(store, [write(said("a", "b"))], at=AT)
    hide = {"target": {"stream_version": 2}, "path": "/text", "method": "mask", "reason": "asked"}
    store.append(stream_id("s", "c"), "conversation", [NewEvent("redaction.applied.v1", hide)], "exists")
    assert counts(import_chat(store, [write(said("a", "b", "c"))], at=AT)) == (0, 1, 0, 1)
    assert [e.event_type.rpartition(".")[0] for e in stored(store)][-2:] == ["redaction.applied", "user.utterance"]


@given(line=chat_strategies.lines, cut=st.integers(0, 5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_that_goes_on_comes_back_whole(store: Store, write: Write, line: dict[str, Any], cut: int) -> None:
    """From jsonb, too: the line is the one that was given, and importing it once more appends nothing."""
    name = str(UUID(int=hash((cut, json.dumps(line, sort_keys=True))) % 2**128))
    line = {k: v for k, v in line.items() if v is not None and k not in ("usage", "id")} | {
        "source": "s",
        "conversation_id": name,
    }
    early = {k: v for k, v in line.items() if k not in ("outcome", "ended_at", "ended_reason", "scores")}
    if cut >= len(line["messages"]) and line.get("kind") != "call":
        line.pop("outcome", None)  # of a conversation that has not gone on it would be another recording
    import_chat(store, [write({**early, "messages": line["messages"][:cut]})], at=AT, days=Days(date.min, date.max))
    import_chat(store, [write(line)], at=AT, days=Days(date.min, date.max))
    assert same_json(restore(stored(store, name)), line)
    assert counts(import_chat(store, [write(line)], at=AT, days=Days(date.min, date.max))) == (0, 0, 1, 0)
