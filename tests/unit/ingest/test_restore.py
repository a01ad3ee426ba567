"""Restoring is the inverse of converting: no field of a recorded conversation is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from pipelines.errors import BadInputError
from pipelines.ingest.canonical import digest, first_difference, same_json
from pipelines.ingest.convert import Place, convert
from pipelines.ingest.reading.lines import LineReader
from pipelines.ingest.reading.strict_json import parse
from pipelines.ingest.restore import restore
from pipelines.store.events import NewEvent
from tests.support import chat_strategies

AT = datetime(2026, 3, 1, tzinfo=UTC)
PLACE = Place("f.jsonl", 1)


@given(line=chat_strategies.lines)
def test_round_trip_of_anything_that_is_accepted(line: dict[str, Any]) -> None:
    """Null or absent, known or unknown, integer or text: the restored line is the recorded one."""
    conversation = convert(line, place=PLACE, at=AT, default_source="d")
    restored = restore(conversation.events)
    assert first_difference(restored, line) is None
    assert same_json(restored, line)
    assert digest({**restored, "source": restored.get("source") or "d"}) == conversation.digest


@given(line=chat_strategies.lines)
def test_payloads_hold_the_content_not_the_notes(line: dict[str, Any]) -> None:
    """What has a place in a payload is only there: no note repeats a content, an argument or a result."""
    for event in convert(line, place=PLACE, at=AT, default_source="d").events:
        noted = event.metadata.get("source_fields", {})
        assert not noted.keys() - {"message", "tool_call", "function", "part", "score", "event"}
        assert "content" not in noted.get("message", {})
        assert not noted.get("function", {}).keys() & {"name", "arguments"}
        assert not event.metadata.get("source_record", {}).keys() & {"messages"}


def test_round_trip_of_every_real_line(shared_data: Path) -> None:
    """All 1,697 real conversations are restored exactly, with nothing of their messages in the notes."""
    count = 0
    for raw in LineReader(shared_data / "conversations.jsonl.gz"):
        parsed = parse(raw.data.decode())
        conversation = convert(parsed.value, place=PLACE, at=AT, inexact=parsed.inexact)
        assert same_json(restore(conversation.events), parsed.value)
        assert not any({"source_fields", "source_absent"} & event.metadata.keys() for event in conversation.events)
        count += 1
    assert count == 1697


def test_events_of_others_are_passed_over() -> None:
    """A redaction or a decision appended to an imported stream later does not change what is restored."""
    line = {"source": "s", "conversation_id": "c", "messages": [{"role": "user", "content": "hi"}]}
    events = [*convert(line, place=PLACE, at=AT).events, NewEvent("model.decision.v2", {"model": "m"})]
    assert restore(events) == line


def test_a_stream_that_was_not_imported_cannot_be_restored() -> None:
    """Restoring says so when there is no recorded line, instead of inventing one."""
    for events in ([], [NewEvent("user.utterance.v1", {"text": "hi"}, {"source_ordinal": 0})]):
        with pytest.raises(BadInputError, match="imported"):
            restore(events)


def test_first_difference_names_the_first_place() -> None:
    """The path of a difference leads to the value, the missing field or the missing item."""
    left = {"a": [1, {"b": 2.0}], "c": None}
    assert first_difference(left, {"c": None, "a": [1.0, {"b": 2}]}) is None
    assert first_difference(left, {"a": [1, {"b": 3}], "c": None}) == "$.a[1].b"
    assert first_difference(left, {"a": [1], "c": None}) == "$.a[1]"
    assert first_difference(left, {"a": [1, {"b": 2}]}) == "$.c"
    assert first_difference({"a": True}, {"a": 1}) == "$.a"
