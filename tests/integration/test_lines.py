"""What a store holds as a file of run lines: another store made of it says the same, and writes the same lines."""

from __future__ import annotations

import gzip
import json
import stat
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.demo import load
from pipelines.demo.load import load_demo
from pipelines.errors import BadInputError
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.folds.run import fold_month
from pipelines.ingest.chat import import_chat
from pipelines.ingest.clock import Days
from pipelines.ingest.line_files import LinesWritten, write_lines
from pipelines.ingest.reading.room import Room
from pipelines.ingest.recorded import NOTES
from pipelines.lake.lake import Lake
from pipelines.lake.memory import resident_bytes
from pipelines.recorder import Recorder
from pipelines.store import EmbeddedServer, Store, connect
from pipelines.store.events import STREAM_NAMESPACE, NewEvent, StreamBatch, stream_id
from tests.support import chat_strategies
from tests.support.log_strategies import KINDS, whole_logs

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL_DAYS = Days(date(1, 1, 1), date(9999, 12, 31))
STREAM = UUID(int=7)
PAUSES = (0, 0.000001, 1, 86_400)
"""Seconds between events that are drawn: over the end of a month, and no more, since each month is exported and folded twice."""
_numbers = count(1)
MakeStore = Callable[[], Store]


@pytest.fixture
def make_store(server: EmbeddedServer, template: str) -> Iterator[MakeStore]:
    """Makes stores, each empty and in a database of its own."""
    opened: list[tuple[str, psycopg.Connection]] = []

    def make() -> Store:
        name = f"refold_lines_{next(_numbers)}"
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        dsn = server.dsn_of(name)
        opened.append((name, connect(dsn)))
        return Store(opened[-1][1], dsn)

    yield make
    for name, connection in opened:
        connection.close()
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def written(store: Store, path: Path, **given: Any) -> tuple[LinesWritten, bytes]:
    """What writing a store's lines came to, and the file."""
    result = write_lines(store, path, is_replacing=True, **given)
    return result, gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def imported(store: Store, path: Path) -> None:
    import_chat(store, [path], at=AT, days=ALL_DAYS)


def said(store: Store) -> list[tuple[Any, ...]]:
    """Every event but redactions, as text, without the place in the log and what an import notes on a stream's first."""
    rows = store.conn.execute(
        "SELECT aggregate_id, aggregate_type, event_type, payload::text, metadata - %s::text[], created_at FROM refold.events "
        "WHERE event_type NOT LIKE 'redaction.applied.v%%' ORDER BY aggregate_id, stream_version",
        [list(NOTES)],
    ).fetchall()
    return list(rows)


@hypothesis_settings(
    max_examples=1,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(
    lines=st.lists(chat_strategies.lines, min_size=8, max_size=16),
    # the simplest is drawn first, and is of next to nothing
    drawn=st.lists(
        whole_logs(kinds=[kind for kind in KINDS if kind != "unknown"], pauses=PAUSES), min_size=3, max_size=5
    ).filter(lambda logs: sum(map(len, logs)) >= 12),
)
def test_lines_of_a_store_made_of_lines_are_its_lines(
    make_store: MakeStore, tmp_path: Path, lines: list[Any], drawn: list[list[dict[str, Any]]]
) -> None:
    """Imported, recorded and redacted streams together: byte for byte, and again into the same store nothing is new."""
    first, second = make_store(), make_store()
    path, again = tmp_path / "lines.jsonl.gz", tmp_path / "again.jsonl"
    given_lines = tmp_path / "given.jsonl"
    known = {json.dumps(line): {**line, "conversation_id": f"c{n}"} for n, line in enumerate(lines)}
    given_lines.write_text("".join(json.dumps(line) + "\n" for line in known.values()), encoding="utf-8")
    bad = tmp_path / "bad.jsonl"
    import_chat(first, [given_lines], at=AT, days=ALL_DAYS, source="d", skip_bad=bad)
    for number, log in enumerate(drawn):
        streams: dict[tuple[str, str], list[NewEvent]] = {}
        for event in log:
            new = NewEvent(event["event_type"], event["payload"], event["metadata"], event["created_at"])
            streams.setdefault((event["aggregate_id"], event["aggregate_type"]), []).append(new)
        for (name, kind), events in streams.items():
            first.ensure_months(event.created_at for event in events if event.created_at)
            first.append_many([StreamBatch(uuid5(STREAM_NAMESPACE, f"{number}{name}"), kind, events)])
    result, told = written(first, path)
    imported(second, path)
    assert written(second, again)[1] == told
    assert result.lines == told.count(b"\n")
    (events,) = second.conn.execute("SELECT count(*) FROM refold.events").fetchone() or ()
    assert events == result.events
    done = import_chat(second, [path], at=AT, days=ALL_DAYS)
    assert (done.events, done.already_present) == (0, result.lines)
    ours, theirs = (folded(store, Lake(tmp_path / uuid4().hex), set()) for store in (first, second))
    for name, columns in SAID.items():
        assert [[r[c] for c in columns] for r in theirs[name]] == [[r[c] for c in columns] for r in ours[name]]


SAID = {
    "utterances": ("aggregate_id", "text"),
    "tool_calls": ("aggregate_id", "name", "arguments"),
    "decisions": ("aggregate_id", "model"),
}
"""What was said and called, redacted or not."""
OF_REDACTIONS = {"last_at", "duration_seconds", "event_count", "redaction_count", "context_verified"} | {
    "transcript",
    "tool_calls",
}
"""What is otherwise where redactions were events of the stream; a request of which a part is gone proves nothing any more."""
OF_THE_LOG = {"last_hash", "redactions", "position", "first_position", "last_position"}


def folded(store: Store, lake: Lake, redacted: set[str]) -> dict[str, list[dict[str, Any]]]:
    """What the lake says of a store: states and rows, without places in the log and what counts redactions."""
    months = months_to_export(store, lake)
    for month in months:
        export_month(store.dsn, lake, month)
    for month in months:
        fold_month(lake, month)
    found = {}
    with lake.connect() as connection:
        for name in ("conversations", "calls", "tool_calls", "decisions", "utterances"):
            rows = connection.sql(f"SELECT * FROM {name} ORDER BY ALL").to_arrow_table().to_pylist()
            found[name] = [
                {
                    key: value
                    for key, value in row.items()
                    if key not in OF_THE_LOG
                    and "version" not in key
                    and not (row["aggregate_id"] in redacted and key in OF_REDACTIONS)
                }
                for row in rows
            ]
    return found


def test_the_demo_comes_back(make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts, tools, customers' rows, conversations and calls: every event but redactions, and every state and row folded of them."""
    first, second = make_store(), make_store()
    monkeypatch.setattr(load, "generate", partial(load.generate, months=1))  # a month is exported and folded twice
    load_demo(first, 1_000)
    path = tmp_path / "demo.jsonl.gz"
    result, told = written(first, path)
    (redactions,) = (
        first.conn.execute("SELECT count(*) FROM refold.events WHERE event_type ~ '^redaction'").fetchone() or ()
    )
    (total,) = first.conn.execute("SELECT count(*) FROM refold.events").fetchone() or ()
    assert (result.redactions, result.events) == (redactions, total - redactions)
    imported(second, path)
    assert len(said(second)) == result.events
    redacted = {
        UUID(row["records"]["refold"]["stream"]["id"])
        for row in map(json.loads, told.splitlines())
        if "redactions" in row["records"]["refold"]
    }
    assert [row for row in said(second) if row[0] not in redacted] == [
        row for row in said(first) if row[0] not in redacted
    ]
    names = {str(each) for each in redacted}
    ours, theirs = (folded(store, Lake(tmp_path / name), names) for store, name in ((first, "a"), (second, "b")))
    for name, rows in ours.items():
        assert rows
        assert theirs[name] == rows
    assert written(second, tmp_path / "again.jsonl")[1] == told


def test_a_recorded_conversation_reads_as_one(make_store: MakeStore, tmp_path: Path) -> None:
    """Messages, decisions, times and outcome are where a run line has them; rows changed and one's own context are whole."""
    store = make_store()
    load_demo(store, 1_000)
    lines = list(map(json.loads, written(store, tmp_path / "l.jsonl")[1].splitlines()))
    line = next(each for each in lines if each["conversation_id"] == "conversation-000003")
    assert {"source", "agent", "task_id", "subject_id", "started_at", "outcome"} <= line.keys()
    spoken = [message for message in line["messages"] if message["role"] == "assistant"]
    assert spoken
    assert all({"model", "usage", "latency_ms"} <= message["decision"].keys() for message in spoken)
    assert all("timestamp" in message for message in line["messages"][1:])
    whole = {event["event_type"] for event in line["records"]["refold"].get("events", [])}
    assert whole <= {"context.supplied.v1", "redaction.applied.v1"}
    assert [bool(each["messages"]) for each in lines[:3]] == [False] * 3  # prompts and tools come first
    assert len({each["source"] for each in lines}) == 1


def recorded(store: Store, *events: NewEvent, stream: UUID = STREAM) -> None:
    store.ensure_months([AT])
    store.append(stream, "conversation", [NewEvent(e.event_type, e.payload, e.metadata, AT) for e in events], "any")


def test_what_was_redacted_is_on_no_line(make_store: MakeStore, tmp_path: Path) -> None:
    """Neither in the message, nor in fields kept beside it; what was hidden, how and why is told, and comes back as it is."""
    store, second = make_store(), make_store()
    path = tmp_path / "l.jsonl"
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "SECRET"}],
        "reasoning_content": "SECRET",
        "tool_calls": [],
    }
    call = {
        "id": "a",
        "type": "function",
        "function": {"name": "find", "arguments": '{"q": "SECRET"}'},
        "index": "SECRET",
    }
    line = {
        "source": "s",
        "conversation_id": "c",
        "messages": [
            {"role": "user", "content": "hi"},
            message,
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ],
    }
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    imported(store, path)
    decided = {"model": "m", "usage": {"input_tokens": 1}}
    stream = stream_id("s", "c")
    hidden = [(3, "/text"), (4, "/text"), (5, "/arguments"), (6, "/usage")]  # what it thought is an event of its own
    redactions = [
        NewEvent(
            "redaction.applied.v1", {"target": {"stream_version": v}, "path": p, "method": "mask", "reason": "asked"}
        )
        for v, p in hidden
    ]
    recorded(store, NewEvent("model.decision.v2", decided), *redactions, stream=stream)
    result, told = written(store, path)
    assert b"SECRET" not in told
    told_redactions = json.loads(told)["records"]["refold"]["redactions"]
    assert [(each["target"]["stream_version"], each["path"], each["method"]) for each in told_redactions] == [
        (v, p, "mask") for v, p in hidden
    ]
    imported(second, path)
    texts = [event.payload.get("text") for event in second.read_stream(stream)]
    assert texts.count("[redacted]") == 2
    assert written(second, tmp_path / "again.jsonl")[1] == told
    assert result.redactions == 4


def test_what_a_schema_refuses_is_taken_where_it_was_hidden_alone(make_store: MakeStore, tmp_path: Path) -> None:
    """A hidden usage is a text where an object belongs; any other text there, or one where nothing was redacted, is refused."""
    path = tmp_path / "l.jsonl"
    decision = {
        "version": 1,
        "event_type": "model.decision.v2",
        "payload": {"model": None, "usage": "[redacted]"},
        "created_at": AT.isoformat(),
    }
    own: dict[str, Any] = {
        "stream": {"id": str(STREAM), "type": "conversation"},
        "events": [decision],
        "redactions": [{"path": "/usage"}],
    }
    line = {"source": "s", "conversation_id": "c", "messages": [], "records": {"refold": own}}
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    store = make_store()
    imported(store, path)
    assert len(said(store)) == 1
    own["stream"]["id"] = str(uuid4())
    for more in ({"redactions": []}, {"events": [{**decision, "payload": {"model": None, "usage": "redacted"}}]}):
        path.write_text(json.dumps({**line, "records": {"refold": own | more}}) + "\n", encoding="utf-8")
        with pytest.raises(BadInputError, match="/usage"):
            imported(store, path)
    start = {**decision, "event_type": "conversation.started.v1", "payload": {"messages": "[redacted]"}}
    path.write_text(json.dumps({**line, "records": {"refold": own | {"events": [start]}}}) + "\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="messages"):
        imported(store, path)


def test_odd_values_keep_their_digits_and_lines_stay_lines(make_store: MakeStore, tmp_path: Path) -> None:
    """Separators of every kind, numbers beyond doubles and old times come back; no reader of lines can split one."""
    store, second = make_store(), make_store()
    odd = {"text": "a\u2028b\u2029c\u0085d\x0b\x1f \\ \U0001f642", "n": [10**400, 1e-7, 5e-324, 2**70, 1.0]}
    payload = json.dumps({"text": "x", **odd})[:-1] + ', "long": 0.12345678901234567890123, "longer": [1e-400]}'
    store.ensure_months([AT])
    store.conn.execute(
        "SELECT refold.append_events(%s::uuid, 'conversation', 'any', ARRAY['agent.utterance.v1'], ARRAY[%s::jsonb], ARRAY['{}'::jsonb], "
        "ARRAY[%s::timestamptz])",
        [STREAM, payload, AT],
    )
    path = tmp_path / "l.jsonl"
    _, told = written(store, path)
    assert len(told.decode().splitlines()) == 1
    assert b"0.12345678901234567890123" in told
    imported(second, path)
    assert written(second, tmp_path / "again.jsonl")[1] == told


def test_erased_events_have_no_line(make_store: MakeStore, tmp_path: Path) -> None:
    """They are left out and counted; of a stream of which nothing else is left there is no line."""
    store = make_store()
    other = UUID(int=8)
    recorded(store, NewEvent("user.utterance.v1", {"text": "gone"}), NewEvent("agent.utterance.v1", {"text": "left"}))
    recorded(store, NewEvent("user.utterance.v1", {"text": "gone"}), stream=other)
    store.conn.execute("SET event_triggers = off")
    store.conn.execute("ALTER TABLE refold.events_2026_03 DISABLE TRIGGER ALL")
    store.conn.execute(
        "UPDATE refold.events_2026_03 SET payload = '{}', metadata = '{}', salt = '', digest = '\\x01' WHERE event_type = 'user.utterance.v1'"
    )
    result, told = written(store, tmp_path / "l.jsonl")
    assert (result.lines, result.events, result.erased) == (1, 1, 2)
    assert b"gone" not in told
    second = make_store()
    imported(second, tmp_path / "l.jsonl")
    assert [row[2] for row in said(second)] == ["agent.utterance.v1"]
    assert written(second, tmp_path / "again.jsonl")[1] == told


def test_a_stream_that_does_not_fit_is_named_and_the_others_are_written(make_store: MakeStore, tmp_path: Path) -> None:
    """Of a stream of many events nothing is held once it is too much, and the bound that is named would do."""
    store = make_store()
    recorded(store, NewEvent("user.utterance.v1", {"text": "hi"}), stream=UUID(int=8))
    recorded(store, *[NewEvent("user.utterance.v1", {"text": "b"})] * 20_000)
    taken = resident_bytes()
    result, told = written(store, tmp_path / "l.jsonl", room=Room(taken + 100 * 10**6, taken))
    assert (result.lines, told.count(b"\n")) == (1, 1)
    (left_out,) = result.left_out
    assert left_out.stream == STREAM
    assert "memory to write" in left_out.reason
    enough = int(left_out.reason.rpartition("=")[2].partition("MB")[0]) * 10**6
    assert written(store, tmp_path / "l.jsonl", room=Room(enough, taken))[0].lines == 2


def test_the_file_is_private_whole_and_not_taken_from_anybody(make_store: MakeStore, tmp_path: Path) -> None:
    """One that is there stays without `is_replacing`, whatever its mode it is private then, and none is left half."""
    store = make_store()
    recorded(store, NewEvent("user.utterance.v1", {"text": "hi"}))
    path = tmp_path / "l.jsonl"
    path.write_text("mine", encoding="utf-8")
    path.chmod(0o644)
    with pytest.raises(BadInputError, match="there already"):
        write_lines(store, path)
    assert path.read_text(encoding="utf-8") == "mine"
    written(store, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(RuntimeError):
        write_lines(store, tmp_path / "new.jsonl", progress=_stop, room=_Stopping())
    assert [each.name for each in tmp_path.iterdir()] == ["l.jsonl"]


def _stop(_lines: int) -> None:
    raise RuntimeError


class _Stopping(Room):
    def __init__(self) -> None:
        super().__init__(10**12, 0)

    def long_line(self) -> Any:
        raise RuntimeError


def test_the_verb(refold: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One verb writes what another reads: to a file or to standard output, all of it, of a source, or what SQL picks."""
    lines = [
        {
            "source": s,
            "conversation_id": c,
            "agent": c,
            "messages": [{"role": "user", "content": "hi\x1b[31m\u202e\x7f"}],
        }
        for s, c in (("a", "one"), ("a", "two"), ("b", "three"))
    ]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert refold("import", "chat", "given.jsonl", "--at", "2026-03-01")[0] == 0
    assert len(said(store)) == 6
    code, out, err = refold("lines", "-o", "-")
    assert (code, [json.loads(line) for line in out.splitlines()]) == (0, lines)
    assert "3 lines, 3 conversations and 6 events" in err
    assert "\x1b" not in out
    with monkeypatch.context() as patched:
        patched.setattr(sys.stdout, "isatty", lambda: True)
        code, out, _ = refold("lines", "-o", "-")
    assert (code, [json.loads(line) for line in out.splitlines()], out.isascii()) == (0, lines, True)
    assert "\x7f" not in out
    code, out, _ = refold("lines", "-o", "l.jsonl.gz", "--source", "a", "--json")
    assert (code, json.loads(out)["lines"]) == (0, 2)
    code, _, err = refold("lines", "-o", "l.jsonl.gz")
    assert code == 2
    assert "--force" in err
    for verb in ("export", "fold"):
        assert refold(verb)[0] == 0
    assert refold("lines", "-o", "l.jsonl", "--where", "agent = 'three' OR agent = 'one'")[0] == 0
    names = [
        json.loads(line)["conversation_id"] for line in (tmp_path / "l.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert names == ["one", "three"]
    code, _, err = refold("lines", "-o", "m.jsonl", "--where", "agnt = 'x'")
    assert code == 2
    assert "agnt" in err
    assert not (tmp_path / "m.jsonl").exists()


def test_a_log_of_an_older_format_is_written_out(
    refold: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other verb refuses it and says how it comes over; its lines are those that it had in this one."""
    monkeypatch.chdir(tmp_path)
    recorded(store, NewEvent("user.utterance.v1", {"text": "hello"}, {"source": "s", "source_id": "c"}, AT))
    assert refold("lines", "-o", "new.jsonl")[0] == 0
    store.conn.execute("SET event_triggers = off")
    store.conn.execute("ALTER TABLE refold.events DROP COLUMN salt, DROP COLUMN digest")
    store.conn.execute(
        "UPDATE refold.migrations SET name = 'migrations/0001_event_store.sql' WHERE name LIKE '%/0001_%'"
    )
    code, _, err = refold("export")
    assert (code, "older format" in err, "refold lines -o FILE" in err) == (1, True, True)
    assert refold("lines", "-o", "old.jsonl")[0] == 0
    assert Path("old.jsonl").read_bytes() == Path("new.jsonl").read_bytes()


def test_what_a_recorder_wrote_comes_back_as_messages(make_store: MakeStore, tmp_path: Path) -> None:
    """A call that failed is a message with its decision alone; only what no message is stands whole; the same events come back."""
    store, second = make_store(), make_store()
    request = {
        "model": "m",
        "messages": [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "hello"}],
        "tools": [{"type": "function", "function": {"name": "find", "parameters": {}}}],
    }
    call = {"id": "x", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"}
    with Recorder(store) as recorder:
        talk = recorder.conversation("c", agent="a", system=["You are brief."], subject_id="ann")
        talk.user("hello")
        talk.decision(request=request, response=None, error="Timeout")
        talk.decision(request=request, response={"choices": [{"message": answer, "finish_reason": "tool_calls"}]})
        talk.tool_result("x", "found")
        talk.context("document", {"a": 1})
        talk.end({"ok": True})
    path = tmp_path / "l.jsonl"
    line = json.loads(written(store, path)[1].splitlines()[-1])
    assert [message["role"] for message in line["messages"]] == ["system", "user", "assistant", "assistant", "tool"]
    failed, called = line["messages"][2:4]
    assert failed.keys() == {"role", "timestamp", "decision"}
    assert failed["decision"]["error"] == "Timeout"
    assert called["reasoning_content"] == "hm"
    assert called["tool_calls"] == [{"id": "x", "function": call["function"]}]
    assert (line["subject_id"], line["outcome"]) == ("ann", {"ok": True})
    assert [event["event_type"] for event in line["records"]["refold"]["events"]] == ["context.supplied.v1"]
    imported(second, path)
    assert said(second) == said(store)
    done = import_chat(store, [path], at=AT, days=ALL_DAYS)
    assert (done.events, done.already_present) == (0, 3)  # the prompt and the tools, too
