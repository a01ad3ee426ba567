"""Importing recorded conversations into a real store: exact, repeatable, all or nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.ingest import batches, chat
from pipelines.ingest.canonical import digest, same_json
from pipelines.ingest.chat import ImportProgress, ImportResult, import_chat
from pipelines.ingest.clock import Days
from pipelines.ingest.restore import restore
from pipelines.settings import Settings
from pipelines.store import Store, encode
from pipelines.store.events import NewEvent, StoredEvent, stream_id
from tests.support import chat_strategies
from tests.support.waiting import PATIENCE

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines (values, or bytes as they are) to a file of the test's folder."""

    def to_file(*lines: Any, name: str = "f.jsonl", pack: bool = False) -> Path:
        data = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if pack else data)
        return path

    return to_file


def said(number: int, text: str = "hi") -> dict[str, Any]:
    """A small conversation with its own id."""
    return {"source": "s", "conversation_id": f"c{number}", "messages": [{"role": "user", "content": text}]}


def stored_count(store: Store) -> int:
    row = store.conn.execute("SELECT count(*) FROM refold.events").fetchone()
    assert row is not None
    return int(row[0])


def counts(result: ImportResult) -> tuple[int, int, int, int]:
    return result.conversations, result.events, result.already_present, result.skipped


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]


def recount(events: list[StoredEvent]) -> dict[str, Any]:
    """The counts that `expected.jsonl.gz` has, from stored events alone.

    Its hashes are the first 12 hex digits of SHA-1: `tool_names_sha1` over Python's `json.dumps` of the list of all tool
    names, the person's calls included; `final_assistant_sha1` over the last agent text that is not blank, unstripped,
    or over the empty string. A text turn is an agent message whose text is not blank.
    """
    messages = {(e.metadata["message_id"], e.metadata["actor"]) for e in events if "message_id" in e.metadata}
    texts = [e.payload["text"] or "" for e in events if e.event_type == "agent.utterance.v1"]
    names = [e.payload["name"] for e in events if e.event_type == "tool.call.v1"]
    spoken = [text for text in texts if text.strip()]
    return {
        "messages": len(events[0].payload["messages"]) + len(messages),
        "user_turns": sum(actor == "user" for _, actor in messages),
        "assistant_text_turns": len(spoken),
        "tool_calls": len(names),
        "tool_results": sum(e.event_type == "tool.result.v1" for e in events),
        "tool_names_sha1": sha1(json.dumps(names)),
        "final_assistant_sha1": sha1(spoken[-1] if spoken else ""),
    }


def test_real_conversations(store: Store, shared_data: Path) -> None:
    """All 1,697 real conversations are stored, recount as published, come back exactly, and import only once."""
    file = shared_data / "conversations.jsonl.gz"
    result = import_chat(store, [file], at=AT)
    assert counts(result) == (1697, 34377, 0, 0)
    assert result.months == ("2025-07", "2025-08", "2025-10", "2025-12", "2026-03")

    with gzip.open(file, "rt", encoding="utf-8") as lines, gzip.open(shared_data / "expected.jsonl.gz", "rt") as facts:
        for text, fact_text in zip(lines, facts, strict=True):
            line, fact = json.loads(text), json.loads(fact_text)
            events = list(store.read_stream(stream_id(line["source"], line["conversation_id"])))
            restored = restore(events)
            assert same_json(restored, line)
            assert digest(restored) == events[0].metadata["source_sha256"]
            assert recount(events) == {key: fact[key] for key in recount(events)}
            assert restored["variant"] == fact["variant"]

    again = import_chat(store, [file])
    assert counts(again) == (0, 0, 1697, 0)
    assert again.months == ()
    assert stored_count(store) == 34377
    strays = store.conn.execute("SELECT count(*) FROM refold.events_default").fetchone()
    assert strays == (0,)


_examples = count()


@given(lines=st.lists(chat_strategies.lines, max_size=8))
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_accepted_survives_postgresql(store: Store, write: Write, lines: list[dict[str, Any]]) -> None:
    """Whatever the importer accepts comes back from jsonb as the same line with the same digest."""
    source = f"example {next(_examples)}"
    lines = [{**line, "source": source, "conversation_id": f"c{n}"} for n, line in enumerate(lines)]
    assert import_chat(store, [write(*lines)], at=AT, days=Days(date.min, date.max)).conversations == len(lines)
    for line in lines:
        events = list(store.read_stream(stream_id(source, line["conversation_id"])))
        assert same_json(restore(events), line)
        assert digest(restore(events)) == events[0].metadata["source_sha256"]


def bad_lines() -> Iterator[tuple[str, bytes, str, str]]:
    """(name, line, JSON path, part of the reason)."""
    head = b'{"source":"s","conversation_id":"x","messages":[{"role":"user","content":"ok"},'
    call = head + b'{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":%s}}]}]}'
    place = "$.messages[1].tool_calls[0].function.arguments"
    yield "broken JSON", head + b'{"role":}]}', "$.messages[1].role", "Expecting value"
    yield "not an object", b"[]", "$", "must be an object"
    yield "wrong shape", head + b'{"role":"user","content":5}]}', "$.messages[1].content", "a number 5"
    yield "duplicate keys", call % b'{"a":1,"a":2}', place + ".a", "twice"
    yield "NUL", call % b'{"a":"\\u0000"}', place + ".a", "\\u0000"
    yield "lone surrogate", call % b'"\\ud800"', place, "surrogate"
    yield "NaN", call % b'{"a":[0,NaN]}', place + ".a[1]", "NaN"
    yield "Infinity", call % b"-Infinity", place, "-Infinity"
    yield "overflow", call % b'{"a":1e400}', place + ".a", "1e400"
    yield "too many digits", call % (b"9" * 5000), place, "5,000 digits"
    yield "invalid UTF-8", call % b'{"a":"\xff"}', place + ".a", "0xff"
    yield "too deep", call % (b"[" * 500 + b"]" * 500), place + "[0]" * 14 + "…", "deep"
    yield "a BOM inside", b"\xef\xbb\xbf" + json.dumps(said(9)).encode(), "$", "BOM"


BAD = {name: rest for name, *rest in bad_lines()}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_stops_its_file(store: Store, write: Write, name: str) -> None:
    """The error names file, line, JSON path and reason, ends with exit code 2, and nothing of the file is stored."""
    line, path, reason = BAD[name]
    good, bad = write(said(1), name="good.jsonl"), write(said(2), line, said(3), name="bad.jsonl", pack=True)
    with pytest.raises(BadInputError) as caught:
        import_chat(store, [good, bad], at=AT)
    assert f"{bad}:2: {path}: " in str(caught.value)
    assert reason in str(caught.value)
    assert caught.value.exit_code == 2
    assert stored_count(store) == 2  # the file before it stays


def test_lines_that_are_likely_good_are_read_once(store: Store, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where months are there, one pass does; where they are not, or a line is bad after all, what comes of it is the same."""
    monkeypatch.setattr(batches, "BATCH_CONVERSATIONS", 2)
    convert, passes = chat.conversation_of, []
    monkeypatch.setattr(
        chat, "conversation_of", lambda *a, **given: passes.append(given["place"]) or convert(*a, **given)
    )
    seen: list[tuple[Any, str]] = []

    def done(file: Path) -> tuple[int, ...]:
        passes.clear()
        seen.clear()
        result = import_chat(store, [file], at=AT, is_made_here=True, on_line=lambda *line: seen.append(line))
        return *counts(result), len(passes), len(seen)

    assert done(write(said(1), said(2), said(3), name="new")) == (3, 6, 0, 0, 3 * 3, 3)  # the month is to be made
    assert done(write(said(3), said(4), said(5), name="more")) == (2, 4, 1, 0, 3, 3)
    late = {**said(7), "started_at": "2019-03-01T00:00:00Z"}
    before = store.conn.execute("SELECT month, state FROM refold.months ORDER BY 1").fetchall()
    bad = write(said(6), late, said(8), b"[]", name="bad")
    for file in (write(said(6), said(7), said(8), b"[]", name="bad"), bad):
        with pytest.raises(BadInputError, match=r"bad:4: \$: "):
            import_chat(store, [file], at=AT, days=Days(date.min, date.max), is_made_here=True)
    assert store.conn.execute("SELECT month, state FROM refold.months ORDER BY 1").fetchall() == before
    assert stored_count(store) == 10


def test_bad_lines_are_skipped_into_a_file(store: Store, write: Write, tmp_path: Path) -> None:
    """With a file for them, every bad line is there with its place and text, and every good line is in the store."""
    lines = [line for line, _, _ in BAD.values()]
    bad = tmp_path / "bad.jsonl"
    file = write(said(1), *lines, said(2))
    assert counts(import_chat(store, [file], at=AT, skip_bad=bad)) == (2, 4, 0, len(BAD))
    rows = [json.loads(row) for row in bad.read_text(encoding="utf-8").splitlines()]
    assert [(row["line"], row["path"]) for row in rows] == [(n, path) for n, (_, path, _) in enumerate(BAD.values(), 2)]
    assert all(row.keys() == {"file", "line", "path", "reason", "text"} and row["file"] == str(file) for row in rows)
    assert [row["text"] for row in rows] == [line.decode(errors="backslashreplace") for line in lines]
    # The same again: what is in the store stays, and the file of bad lines is the same.
    before = bad.read_bytes()
    assert counts(import_chat(store, [file], skip_bad=bad)) == (0, 0, 2, len(BAD))
    assert bad.read_bytes() == before


def test_truncated_gzip(store: Store, write: Write, tmp_path: Path) -> None:
    """A cut file stops the import; skipping bad lines, its whole lines are kept and the cut one is noted."""
    file = write(*[said(n, f"{n}" * 50) for n in range(200)], pack=True)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(BadInputError, match=r"f\.jsonl:\d+: \$: the gzip stream ends early"):
        import_chat(store, [file], at=AT)
    assert stored_count(store) == 0
    result = import_chat(store, [file], at=AT, skip_bad=tmp_path / "bad.jsonl")
    assert result.skipped == 1
    assert 0 < result.conversations < 200
    (row,) = map(json.loads, (tmp_path / "bad.jsonl").read_text().splitlines())
    assert row["line"] == result.conversations + 1


def test_what_only_the_store_can_refuse_is_a_bad_line_too(
    store: Store, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that is longer than the store takes is found in its batch, and the others of the batch are stored."""
    monkeypatch.setattr(encode, "MAX_EVENT_BYTES", 10_000)
    file = write(said(1), said(2, "x" * 20_000), said(3))
    with pytest.raises(BadInputError, match=r"f\.jsonl:2: .*10,000"):
        import_chat(store, [file], at=AT)
    assert stored_count(store) == 0
    assert counts(import_chat(store, [file], at=AT, skip_bad=tmp_path / "bad.jsonl")) == (2, 4, 0, 1)
    assert stored_count(store) == 4


@pytest.mark.quick
@pytest.mark.parametrize("batch", [1, 100])
def test_the_same_twice_is_one(store: Store, write: Write, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """A conversation repeated in a file, in another file, or with its keys in another order is stored once."""
    monkeypatch.setattr(batches, "BATCH_CONVERSATIONS", batch)
    reordered = dict(reversed(said(1).items()))
    first = write(said(1), said(2), reordered, name="first.jsonl")
    second = write(said(2), said(3), name="second.jsonl", pack=True)
    assert counts(import_chat(store, [first, second, first], at=AT)) == (3, 6, 5, 0)
    assert stored_count(store) == 6


@pytest.mark.parametrize("batch", [1, 100])
def test_the_same_identity_with_other_content_is_an_error(
    store: Store, write: Write, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """In one file or against the store, both places and the first difference are named and the file is not imported."""
    monkeypatch.setattr(batches, "BATCH_CONVERSATIONS", batch)
    one = write(said(1), said(2), said(1, "hello"), name="one.jsonl")
    with pytest.raises(BadInputError, match=r"one\.jsonl:3: .*'c1'.*one\.jsonl:1.*\$\.messages\[0\]\.content"):
        import_chat(store, [one], at=AT)
    assert stored_count(store) == 0
    import_chat(store, [write(said(1), name="two.jsonl")], at=AT)
    three = write(said(5), {**said(1), "outcome": {"reward": 1}}, name="three.jsonl")
    with pytest.raises(BadInputError, match=rf"three\.jsonl:2: .*two\.jsonl:1.*{stream_id('s', 'c1')}.*\$\.outcome"):
        import_chat(store, [three], at=AT, skip_bad=three.with_name("bad"))
    assert stored_count(store) == 2
    assert not three.with_name("bad").exists()


def test_a_stream_of_another_writer_is_not_touched(store: Store, write: Write) -> None:
    """An identity whose stream was written by someone else is an error that names the stream."""
    store.append(stream_id("s", "c1"), "conversation", [NewEvent("user.utterance.v1", {"text": "x"})], "no_stream")
    with pytest.raises(BadInputError, match="was not imported"):
        import_chat(store, [write(said(1))], at=AT)


def test_later_events_do_not_make_an_import_differ(store: Store, write: Write) -> None:
    """After a redaction was appended to it, an imported conversation is still recognised as present."""
    file = write(said(1))
    import_chat(store, [file], at=AT)
    redaction = {"target": {"stream_version": 2}, "path": "/text", "method": "erase", "reason": "asked"}
    store.append(stream_id("s", "c1"), "conversation", [NewEvent("redaction.applied.v1", redaction)], 2)
    assert counts(import_chat(store, [file], at=AT)) == (0, 0, 1, 0)


def test_ugly_but_legal(store: Store, write: Write) -> None:
    """Empty conversations, an agent that speaks first, blank lines, a BOM at the start and big integers are imported."""
    lines = [
        b"\xef\xbb\xbf" + json.dumps({"source": "s", "id": 17, "messages": []}).encode() + b"\r",
        b"",
        b"  \r",
        {"source": "s", "conversation_id": "agent first", "messages": [{"role": "assistant", "content": "Hello"}]},
        {"source": "s", "conversation_id": "empty calls", "messages": [{"role": "assistant", "tool_calls": []}]},
        {**said(1), "outcome": {"score": 2**63 + 1}},
        b'{"source":"s","conversation_id":"digits","messages":[],"outcome":0.12345678901234567890123}',
    ]
    assert import_chat(store, [write(*lines)], at=AT).conversations == 5
    assert restore(store.read_stream(stream_id("s", "17"))) == {"source": "s", "id": 17, "messages": []}
    assert restore(store.read_stream(stream_id("s", "c1")))["outcome"] == {"score": 2**63 + 1}
    first = next(store.read_stream(stream_id("s", "digits")))
    assert first.metadata["source_numbers"] == [["$.outcome", "0.12345678901234567890123"]]
    assert counts(import_chat(store, [write(name="empty"), write(name="packed", pack=True)])) == (0, 0, 0, 0)


def test_any_text_is_an_id_of_its_own(store: Store, write: Write) -> None:
    """Slashes, quotes, blanks, wildcards, both forms of an accent and 3,000 characters: each its own stream, restored as written."""
    names = [
        "a",
        "a/b",
        "b",
        'it\'s "q"; DROP TABLE events;--',
        "caf\u00e9",
        "cafe\u0301",
        " a ",
        "a ",
        "100%_",
        "x" * 3000,
    ]
    lines = [{**said(1), "source": source, "conversation_id": name} for source in ("s", "s/a") for name in names]
    assert import_chat(store, [write(*lines)], at=AT).conversations == len(lines)
    named = [store.read_stream(stream_id(line["source"], line["conversation_id"])) for line in lines]
    assert [restore(events) for events in named] == lines


def test_a_huge_tool_result(store: Store, write: Write) -> None:
    """A tool result of 50 MB is one event and comes back whole."""
    output = "0123456789" * 5_000_000
    line = {**said(1), "messages": [{"role": "tool", "tool_call_id": "1", "content": output, "error": None}]}
    assert import_chat(store, [write(line, said(2))], at=AT).conversations == 2
    assert restore(store.read_stream(stream_id("s", "c1"))) == line


def test_source_and_time_of_the_import(store: Store, write: Write) -> None:
    """A source and a time given at import serve the lines that have none, and no others."""
    nameless = {"conversation_id": "c1", "messages": []}
    dated = {**said(1), "started_at": "2024-01-31T23:30:00-01:00"}
    file = write(nameless, dated)
    with pytest.raises(BadInputError, match=r"f\.jsonl:1: \$\.source: .*--source"):
        import_chat(store, [file])
    result = import_chat(store, [file], source="given", at=datetime(2020, 5, 1))  # noqa: DTZ001 - naive means UTC
    assert result.months == ("2020-05", "2024-02")
    assert restore(store.read_stream(stream_id("given", "c1"))) == nameless
    assert next(store.read_stream(stream_id("given", "c1"))).created_at == datetime(2020, 5, 1, tzinfo=UTC)


def test_progress_reaches_the_end_of_both_passes(store: Store, write: Write) -> None:
    """Progress grows in each pass and ends with the whole file."""
    seen: list[ImportProgress] = []
    file = write(*[said(n) for n in range(600)])
    import_chat(store, [file], at=AT, progress=seen.append)
    for step in ("check", "append"):
        of_step = [p for p in seen if p.step == step]
        assert [p.conversations for p in of_step] == [256, 512, 600]
        assert of_step[-1].bytes_read == of_step[-1].bytes_total == file.stat().st_size


def test_files_are_named_before_anything_is_imported(store: Store, write: Write, tmp_path: Path) -> None:
    """A missing file, or bad lines that would overwrite an input, stop the import before the first file."""
    file = write(said(1))
    with pytest.raises(BadInputError, match="missing"):
        import_chat(store, [file, tmp_path / "missing"])
    with pytest.raises(BadInputError, match="one of the files"):
        import_chat(store, [file], skip_bad=file)
    assert stored_count(store) == 0


ODD_TIMES = [
    ("0026-05-04T09:00:00Z", "0026-05-04"),
    ("0001-01-01", "0001-01-01"),
    ("1999-12-31T23:59:59.999999Z", "1999-12-31"),
    ("2000-01-01T00:30:00+01:00", "1999-12-31"),
    (20260501, "1970-08-23"),
    (26.5, "1970-01-01"),
    (0, "1970-01-01"),
    (-1, "1969-12-31"),
    (-62_135_596_800, "0001-01-01"),
]


@pytest.mark.parametrize("place", ["$.messages[0].timestamp", "$.started_at"])
def test_times_before_there_were_such_logs_are_refused(store: Store, write: Write, tmp_path: Path, place: str) -> None:
    """A year of two digits or a day as a number is no time of a chat, unless somebody says so: each is named, none stored."""
    for number, (time, day) in enumerate(ODD_TIMES):
        line = said(number)
        if place == "$.started_at":
            line["started_at"] = time
        else:
            line["messages"][0]["timestamp"] = time
        file = write(said(100), line)
        told = rf"f\.jsonl:2: {re.escape(place)}: .* is {day}T.*, before 2000-01-01.*--times-from {day}"
        with pytest.raises(BadInputError, match=told):
            import_chat(store, [file], at=AT)
        assert import_chat(store, [file], at=AT, skip_bad=tmp_path / "bad").skipped == 1
        result = import_chat(store, [file], at=AT, days=Days.given(date.fromisoformat(day), None, datetime.now(UTC)))
        assert (result.conversations, result.months[0]) == (1, day[:7])
    with pytest.raises(BadInputError, match=r"--at is 0026-05-01.*--times-from"):
        import_chat(store, [file], at=datetime(26, 5, 1, tzinfo=UTC))


LATE_TIMES = [
    ("9999-12-31T23:59:59.999999Z", "9999-12-31"),
    ("9999-01-01", "9999-01-01"),
    ("2126-05-04T09:00:00Z", "2126-05-04"),
    (20_260_501_120, "2612-01-12"),
    (253_402_300_799, "9999-12-31"),
]


@pytest.mark.parametrize("place", ["$.messages[0].timestamp", "$.started_at"])
def test_times_far_ahead_are_refused(store: Store, write: Write, tmp_path: Path, place: str) -> None:
    """A placeholder such as 9999, or another unit read as seconds, is no time of a chat, unless somebody says so."""
    for number, (time, day) in enumerate(LATE_TIMES):
        line = said(number)
        if place == "$.started_at":
            line["started_at"] = time
        else:
            line["messages"][0]["timestamp"] = time
        file = write(said(100), line)
        told = (
            rf"f\.jsonl:2: {re.escape(place)}: .* is {day}T.*, after {datetime.now(UTC).year + 1}-.*--times-until {day}"
        )
        with pytest.raises(BadInputError, match=told):
            import_chat(store, [file], at=AT)
        assert import_chat(store, [file], at=AT, skip_bad=tmp_path / "bad").skipped == 1
        result = import_chat(store, [file], at=AT, days=Days.given(None, date.fromisoformat(day), datetime.now(UTC)))
        assert (result.conversations, result.months[-1]) == (1, day[:7])
    with pytest.raises(BadInputError, match=r"--at is 9999-01-01.*--times-until 9999-01-01"):
        import_chat(store, [file], at=datetime(9999, 1, 1, tzinfo=UTC))


def test_a_clock_that_is_ahead_is_believed() -> None:
    """A year ahead of the import is taken to its last moment, and the day after is not; so are the days a user names."""
    days = Days.given(None, None, datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert (days.first, days.last) == (date(2000, 1, 1), date(2027, 3, 2))
    assert days.fault(datetime(2027, 3, 2, 23, 59, 59, 999_999, tzinfo=UTC)) is None
    assert "--times-until 2027-03-03" in (days.fault(datetime(2027, 3, 3, tzinfo=UTC)) or "")
    assert days.fault(datetime(2000, 1, 1, tzinfo=UTC)) is None
    assert Days.given(date.min, date.max, datetime.now(UTC)) == Days(date.min, date.max)


@pytest.mark.parametrize(
    "time", ["26-05-01", 1767225600000, 1767225600000000, "20260501120000", "1767225600", 1e300, True]
)
def test_what_is_no_time_is_refused(store: Store, write: Write, time: object) -> None:
    """Milliseconds, microseconds, digits as text, a year of two digits without zeros."""
    line = said(1)
    line["messages"][0]["timestamp"] = time
    with pytest.raises(BadInputError, match=r"f\.jsonl:1: \$\.messages\[0\]\.timestamp: .* is not a time"):
        import_chat(store, [write(line)], at=AT)
    assert stored_count(store) == 0


@pytest.mark.parametrize("later", [timedelta(0), timedelta(seconds=1)], ids=["one time", "own times"])
def test_two_imports_of_one_file_at_once_count_what_each_appended(
    later: timedelta, store: Store, store_settings: Settings, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both look before either has appended: one says all, the other none, and the log has each event once.

    Lines without times get that of their import, so the second would append other events.
    """
    file = write(*[said(n) for n in range(300)])
    looked = threading.Barrier(2)
    look = chat.known_streams

    def look_together(*given):
        found = look(*given)
        with suppress(threading.BrokenBarrierError):
            looked.wait(5)
        looked.abort()
        return found

    monkeypatch.setattr(chat, "known_streams", look_together)
    results = []

    def run(at: datetime) -> None:
        with Store.open(store_settings) as own:
            results.append(import_chat(own, [file], at=at))

    threads = [threading.Thread(target=run, args=[at]) for at in (AT, AT + later)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    found = sorted((r.conversations, r.events, r.already_present, len(r.months)) for r in results)
    assert found == [(0, 0, 300, 0), (300, stored_count(store), 0, 1)]
