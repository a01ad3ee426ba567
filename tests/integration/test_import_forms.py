"""Importing foreign forms into a real store: once, whole, or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BadInputError, RefoldError
from pipelines.ingest import form_files, form_process, processes
from pipelines.ingest.form_files import FormImport, import_form
from pipelines.ingest.forms.form import Options, form_named
from pipelines.ingest.forms.noted import notes_of
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.store.events import stream_id
from tests.support.erasing import erase_streams

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


class Counted:
    """How often the form `litellm` was asked for the conversations of files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        form = type(form_named("litellm", Path()))
        groups = form.groups

        def counted(*given: Any) -> Any:
            self.times += 1
            return groups(*given)

        monkeypatch.setattr(form, "groups", counted)


def test_the_same_again_is_not_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files whose conversations stand, grown or not, are hashed alone and told with the same counts; changed ones are read."""
    calls = [exchange(1, "hi", answer="ho"), exchange(2, "hi", "ho", "and?", answer="done")]
    read = Counted(monkeypatch)
    first = imported(store, tmp_path / "a.jsonl", calls[0])
    again = imported(store, tmp_path / "a.jsonl", calls[0], keep_raw=True)
    assert read.times == 1
    assert again.result is not None
    assert (again.result.conversations, again.result.already_present, again.result.events) == (0, 1, 0)
    assert again.read.tally == first.read.tally
    assert len(again.raw) == 1
    imported(store, tmp_path / "b.jsonl", *calls)  # what is imported already goes on
    before = count(store)
    for path, said, times in (("a.jsonl", calls[:1], 2), ("b.jsonl", calls, 2), ("a.jsonl", calls, 3)):
        done = imported(store, tmp_path / path, *said)
        assert done.result is not None
        assert (done.result.already_present, read.times, count(store)) == (1, times, before)
    imported(store, tmp_path / "a.jsonl", *calls, to_lines=tmp_path / "lines.jsonl")
    assert (tmp_path / "lines.jsonl").read_bytes().count(b"\n") == 1


def _missing(note: dict[str, Any]) -> None:
    note["streams"].append([str(stream_id("litellm", "s2")), "0" * 64])


def _other_digest(note: dict[str, Any]) -> None:
    note["streams"][0][1] = "0" * 64


def _other_code(note: dict[str, Any]) -> None:
    note["code"] = "0" * 64


def _more_days(note: dict[str, Any]) -> None:
    note["first"] = "1990-01-01"


def _damaged(note: dict[str, Any]) -> None:
    del note["tally"]


@pytest.mark.parametrize("change", [_missing, _other_digest, _other_code, _more_days, _damaged])
def test_a_note_that_does_not_hold_is_no_note(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None]
) -> None:
    """Files are read where the store has not what the note says, and where another code or less belief stand behind it."""
    read = Counted(monkeypatch)
    imported(store, tmp_path / "a.jsonl", exchange(1, "hi"))
    (path,) = (tmp_path / "imports").iterdir()
    note = json.loads(path.read_bytes())
    change(note)
    path.write_text(json.dumps(note))
    done = imported(store, tmp_path / "a.jsonl", exchange(1, "hi"))
    assert done.result is not None
    assert (done.result.already_present, read.times) == (1, 2)
    imported(store, tmp_path / "a.jsonl", exchange(1, "hi"))
    assert read.times == 2  # it is noted anew


def test_what_was_erased_is_no_standing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a conversation that was erased are read again, and say so as they always do; nothing comes back."""
    read = Counted(monkeypatch)
    imported(store, tmp_path / "a.jsonl", exchange(1, "hi"))
    erase_streams(store, [stream_id("litellm", "s1")])
    for times in (2, 3):
        done = imported(store, tmp_path / "a.jsonl", exchange(1, "hi"))
        assert done.result is not None
        assert (done.result.erased, done.result.events, read.times) == (1, 0, times)


def test_notes_go_with_what_is_erased(refold, store_settings: Settings, tmp_path: Path) -> None:
    """A digest of what was said is no better than what was said: the note that names the stream goes, another one stays."""
    names = {}
    for number in (1, 2):
        call = exchange(number, "hi") | {"session_id": f"s{number}"}
        (tmp_path / f"{number}.jsonl").write_text(json.dumps(call))
        assert refold("import", "litellm", str(tmp_path / f"{number}.jsonl"))[0] == 0
        stream = str(stream_id("litellm", f"s{number}"))
        names[stream] = [path.name for path in notes_of(store_settings.home, [stream])]
    gone, kept = names
    assert refold("export")[0] == refold("fold")[0] == 0
    assert refold("erase", "--stream", gone, "--reason", "asked")[0] == 0
    assert [path.name for path in (store_settings.home / "imports").iterdir()] == names[kept]
    assert len(names[gone]) == len(names[kept]) == 1


def read_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files of any size read by a process of their own."""
    monkeypatch.setattr(form_process, "LEAST_BYTES", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def _talks(path: Path, *more: str) -> Path:
    """Calls of so many conversations that their lines come in several parts."""
    talks = [exchange(n, f"hi {n}", answer="é\u2028" * n) | {"session_id": f"s{n}"} for n in range(100)]
    path.write_text("\n".join([*map(json.dumps, talks), *more]))
    return path


def _import(store: Store, path: Path, **given: Any) -> FormImport:
    return import_form(store, form_named("litellm", path.parent), [path], Options(), home=path.parent, **given)


def test_lines_that_another_process_makes(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same lines, told of the same places, and are imported once; nothing of the process or the home's folder stays."""
    path, seen = _talks(tmp_path / "a.jsonl"), list[int]()
    with monkeypatch.context() as patched:
        read_beside(patched)
        first = _import(store, path, progress=seen.append)
    assert first.result is not None
    assert (first.result.conversations, seen[-1]) == (100, 100)
    assert len(seen) > 1
    here = _import(store, _talks(tmp_path / "b.jsonl"))
    assert here.result is not None
    assert (here.result.events, here.result.already_present) == (0, 100)
    assert first.read.tally == here.read.tally
    assert first.read.conversations == here.read.conversations
    assert [each.replace("a.jsonl", "b.jsonl") for each in first.read.places] == here.read.places
    assert not list(tmp_path.glob("import-*"))


def test_what_is_wrong_with_files_is_told_first(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads them: a record that is none, before what the import would say; else that, with the record's place."""
    read_beside(monkeypatch)
    with pytest.raises(BadInputError, match=r"^a\.jsonl:101: "):
        _import(store, _talks(tmp_path / "a.jsonl", "{"))
    late = exchange(7, "hi") | {"timestamp": 253_000_000_000, "session_id": "late"}
    with pytest.raises(BadInputError, match=r"^a\.jsonl:101 ") as error:
        _import(store, _talks(tmp_path / "a.jsonl", json.dumps(late)))
    assert "lines.jsonl" not in str(error.value)

    def refused(*_: Any, **__: Any) -> None:
        raise BadInputError("the store says no")

    monkeypatch.setattr(form_files, "_import_lines", refused)
    with pytest.raises(BadInputError, match="the store says no"):
        _import(store, _talks(tmp_path / "a.jsonl"))
    with pytest.raises(BadInputError, match=r"^a\.jsonl:101: "):
        _import(store, _talks(tmp_path / "a.jsonl", "{"))
    assert count(store) == 0


def test_a_process_that_ends_early(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that were made until then are not imported."""
    read_beside(monkeypatch)
    started = form_process.Arriving._hear
    heard = list[int]()

    def killed(self: form_process.Arriving) -> None:
        heard.append(1)
        if len(heard) > 1:
            self._process.kill()
            self._process.wait()
        started(self)

    monkeypatch.setattr(form_process.Arriving, "_hear", killed)
    monkeypatch.setattr(processes, "receive", _one_then_end(processes.receive))
    with pytest.raises(RefoldError, match="ended with code -9"):
        _import(store, _talks(tmp_path / "a.jsonl"))
    assert count(store) == 0
    assert not list(tmp_path.glob("import-*"))


def _one_then_end(receive: Callable[..., Any]) -> Callable[..., Any]:
    """What a pipe gives that breaks after the first message."""
    got = list[Any]()

    def limited(stream: Any) -> Any:
        if got:
            raise EOFError
        got.append(receive(stream))
        return got[0]

    return limited
