"""Importing foreign forms into a real store: once, whole, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.form_files import FormImport, import_form
from pipelines.ingest.forms.form import Options, form_named
from pipelines.store import Store
from pipelines.store.events import stream_id

START = 1_760_000_000


def exchange(number: int, *texts: str, answer: str = "ok") -> dict[str, Any]:
    """One logged call of LiteLLM."""
    roles = ("user", "assistant")
    sent = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    message = {"role": "assistant", "content": answer}
    response = {"id": f"r{number}", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}
    return {"messages": sent, "response": response, "session_id": "s1", "timestamp": START + number, "latency_sec": 1}


def imported(store: Store, path: Path, *calls: dict[str, Any], **given: Any) -> FormImport:
    path.write_text("\n".join(map(json.dumps, calls)))
    return import_form(store, form_named("litellm", path.parent), [path], Options(), home=path.parent, **given)


def count(store: Store) -> int:
    row = store.conn.execute("SELECT count(*) FROM refold.events").fetchone()
    assert row is not None
    return int(row[0])


def test_once(store: Store, tmp_path: Path) -> None:
    """Two calls become one conversation; again, nothing is appended; its file is kept where that was asked."""
    calls = [exchange(1, "hi", answer="ho"), exchange(2, "hi", "ho", "and?", answer="done")]
    first = imported(store, tmp_path / "a.jsonl", *calls, keep_raw=True)
    assert first.result is not None
    assert first.result.conversations == 1
    events = list(store.read_stream(stream_id("litellm", "s1")))
    assert events[0].metadata["source_place"] == "a.jsonl:1"
    said = [event.payload["text"] for event in events if ".utterance." in event.event_type]
    assert said == ["hi", "ho", "and?", "done"]
    assert [path.read_bytes() for path in first.raw] == [(tmp_path / "a.jsonl").read_bytes()]
    before = count(store)
    again = imported(store, tmp_path / "b.jsonl", *reversed(calls))
    assert again.result is not None
    assert (again.result.conversations, again.result.already_present, count(store)) == (0, 1, before)
    assert not list(tmp_path.glob("import-*"))


def test_a_conversation_goes_on(store: Store, tmp_path: Path) -> None:
    """The first day, then both: what is new is appended; and all of both at once says the same."""
    calls = [exchange(1, "hi", answer="ho"), exchange(2, "hi", "ho", "and?", answer="done")]
    imported(store, tmp_path / "day1.jsonl", calls[0])
    done = imported(store, tmp_path / "both.jsonl", *calls)
    assert done.result is not None
    assert (done.result.conversations, done.result.grown) == (0, 1)
    events = store.read_stream(stream_id("litellm", "s1"))
    said = [event.payload["text"] for event in events if ".utterance." in event.event_type]
    assert said == ["hi", "ho", "and?", "done"]


def test_nothing_of_a_bad_file(store: Store, tmp_path: Path) -> None:
    """A text that the store cannot keep is named by the record it stands in, and nothing is imported."""
    good, bad = exchange(1, "hi"), exchange(2, "x\ud800") | {"session_id": "s2"}
    with pytest.raises(BadInputError) as error:
        imported(store, tmp_path / "a.jsonl", good, bad)
    assert "a.jsonl:2" in str(error.value)
    assert "lines.jsonl" not in str(error.value)
    assert count(store) == 0


def test_times_that_are_not_believed(store: Store, tmp_path: Path) -> None:
    """What the import of lines refuses is said of the conversation's records."""
    call = exchange(1, "hi") | {"timestamp": 253_000_000_000}
    with pytest.raises(BadInputError, match=r"a\.jsonl:1 \(conversation 's1'\).*--times-until|a\.jsonl:1") as error:
        imported(store, tmp_path / "a.jsonl", call)
    assert "lines.jsonl" not in str(error.value)
    assert count(store) == 0
