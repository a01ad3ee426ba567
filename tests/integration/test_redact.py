"""Redacting as people meet it: a value goes from every place that it was derived to, and the proof finds it wherever it is planted."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.diff.dataset import build_diff
from pipelines.experiment.versions import keep_version
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.lake import Lake
from pipelines.redaction.places import find_value
from pipelines.replay.asking.responses import Charge, ResponseStore, Stored
from pipelines.replay.run import run_replay
from pipelines.review.headline import find_version
from pipelines.review.report_html import keep_report
from pipelines.store import NewEvent, Store, stream_id
from pipelines.store.access import Accessed, record_access
from tests.support.shop import add, call, conversation, plan_of, refresh
from tests.support.spoken import FEBRUARY, say

JOE, ANA = "joe-17", "ana-18"
NAME = "Hippolyta Müller"
WHY = ("--reason", "ticket 4711")
ECHO = """
experiment: echoed
candidate: {python: "desk:decide"}
"""
AGENT = """
from pipelines.experiment.decision import Reply, ToolCall

def decide(decision):
    said = " ".join(str(message.get("content")) for message in decision.messages)
    return Reply(f"You said: {said[-400:]}", tool_calls=[ToolCall("note", {"words": said[-200:]})])
"""


@pytest.fixture
def spoken(store: Store) -> dict[str, UUID]:
    """Joe's conversation over two months and Ana's, which both name somebody; nothing is exported."""
    joe = say(store, JOE, f"I am {NAME}.", "and that is all")
    say(store, JOE, f"once more: {NAME.upper()}, card 4111 1111 1111 1111", at=FEBRUARY, stream=joe)
    return {"joe": joe, "ana": say(store, ANA, f"is {NAME} there?")}


@pytest.fixture
def talks(store: Store, store_settings: Any, spoken: dict[str, UUID]) -> dict[str, UUID]:
    """The same, exported and folded."""
    refresh(store, Lake.from_settings(store_settings))
    return spoken


def derived(settings: Any, value: str = NAME) -> list[str]:
    """Files outside of the log that hold a value."""
    log = settings.lake / "events"
    return [str(place.path) for place in find_value(settings.home, value) if not place.path.is_relative_to(log)]


def proof(refold: Any, value: str = NAME) -> tuple[int, dict[str, Any]]:
    code, out, _ = refold("redact", "--prove", value, "--json")
    return code, json.loads(out)


def test_a_value_goes_from_a_persons_streams(
    refold: Any, store_settings: Any, store: Store, talks: dict[str, UUID]
) -> None:
    """By one verb, in every spelling and month; other people's streams keep it until everywhere is asked for; again it does nothing."""
    assert derived(store_settings)
    code, out, _ = refold("redact", "--value", NAME, "--customer", JOE, *WHY, "--dry-run", "--json")
    dry = json.loads(out)
    assert (code, dry["chosen"]["hits"], len(dry["hits"])) == (0, 2, 2)
    assert [(each["before"], each["found"]) for each in dry["hits"]] == [("I am ", NAME), ("once more: ", NAME.upper())]
    assert not [entry for entry in store.home_log() if entry.kind == "redacted"]
    code, out, _ = refold("redact", "--value", NAME, "--customer", JOE, *WHY, "--json")
    told = json.loads(out)
    assert (code, told["redactions"], told["folded"][:2]) == (0, 2, ["2026-01", "2026-02"])
    with Lake.from_settings(store_settings).connect() as connection:
        texts = connection.sql(
            "SELECT text FROM utterances WHERE text IS NOT NULL ORDER BY aggregate_id, stream_version"
        )
        shown = {row[0] for row in texts.fetchall()}
    assert {"I am [redacted].", f"is {NAME} there?"} <= shown
    code, found = proof(refold)
    assert (code, found["shown_events"], found["hidden_events"]) == (3, 1, 2)
    assert found["shown"] == [f"{talks['ana']}@1"]
    code, out, _ = refold("redact", "--value", NAME, "--everywhere", *WHY, "--json")
    assert (code, json.loads(out)["redactions"]) == (0, 1)
    assert derived(store_settings) == []
    code, found = proof(refold)
    assert (code, found["derived"], found["shown_events"], found["hidden_events"]) == (0, [], 0, 3)
    assert refold("redact", "--value", NAME, "--everywhere", *WHY)[1].startswith("nothing to redact")
    assert refold("redact")[1] == "no redaction waits to be finished\n"
    audit = json.loads(refold("verify", "--deep", "--json")[1])
    assert (audit["integrity"], audit["completeness"]) == ("holds", "holds")


def test_access_is_recorded_before(refold: Any, store: Store, spoken: dict[str, UUID]) -> None:
    """Who redacts says why, and of which streams; a dry run changes nothing and is none."""
    refold("redact", "--value", NAME, "--customer", JOE, "--dry-run")
    query = "SELECT payload FROM refold.events WHERE event_type = 'access.recorded.v1'"
    assert store.conn.execute(query).fetchall() == []
    refold("redact", "--value", NAME, "--customer", JOE, *WHY)
    ((payload,),) = store.conn.execute(query).fetchall()
    assert (payload["verb"], payload["reason"], payload["targets"]) == (
        "redact",
        "ticket 4711",
        [{"stream": str(spoken["joe"]), "first": 1, "last": 3}],
    )


def test_a_place_and_a_detector(refold: Any, store_settings: Any, store: Store, talks: dict[str, UUID]) -> None:
    """A span is hidden with its place checked; what a detector finds is hidden in the scope; again there is nothing."""
    place = ("redact", "--event", f"{talks['joe']}@1", "--path", "/text", "--span", "5:14")
    code, out, _ = refold(*place, *WHY, "--json")
    assert (code, json.loads(out)["redactions"]) == (0, 1)
    assert refold(*place, *WHY)[1].startswith("nothing to redact")
    assert derived(store_settings, "I am Hippolyta") == []
    code, out, _ = refold("redact", "--detector", "card", "--everywhere", *WHY, "--json")
    assert (code, json.loads(out)["chosen"]["kinds"]) == (0, {"card": 1})
    assert derived(store_settings, "4111 1111 1111 1111") == []
    assert refold("redact", "--detector", "card", "--everywhere", *WHY)[1].startswith("nothing to redact")


def test_what_a_recorder_redacted_is_finished(
    refold: Any, store_settings: Any, store: Store, talks: dict[str, UUID]
) -> None:
    """A redaction that was appended by others is exported, folded and followed to what was derived, without anything named."""
    event = {
        "target": {"stream_version": 1},
        "span": {"path": "/text", "start": 5, "end": 21},
        "method": "m",
        "reason": "r",
    }
    for stream in talks.values():
        span = event if stream == talks["joe"] else event | {"span": {"path": "/text", "start": 3, "end": 19}}
        store.append(stream, "conversation", [NewEvent("redaction.applied.v1", span)], "exists")
    late = event | {"target": {"stream_version": 3}, "span": {"path": "/text", "start": 11, "end": 27}}
    store.append(talks["joe"], "conversation", [NewEvent("redaction.applied.v1", late)], "exists")
    assert derived(store_settings)
    assert refold("redact")[0] == 0
    assert derived(store_settings) == []
    assert proof(refold)[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--value", NAME), "say where"),
        (("--value", "a", "--everywhere"), "fewer than two"),
        (("--value", "redacted", "--everywhere"), "stands for what is hidden"),
        (("--value", NAME, "--everywhere", "--customer", JOE), "there are --customer and --everywhere"),
        (("--value", NAME, "--customer", "nobody"), "no event about"),
        (("--value", NAME, "--stream", "shop/none"), "there is no stream"),
        (("--value", NAME, "--detector", "email", "--everywhere"), "give one of them"),
        (("--detector", "none", "--everywhere"), "there is none"),
        (("--everywhere",), "nothing says what"),
        (("--path", "/text"), "give --event"),
        (("--event", "x"), "--path is missing"),
        (("--event", "x", "--path", "/text"), "STREAM@VERSION"),
        (("--event", "JOE@9", "--path", "/text"), "there is no event"),
        (("--event", "JOE@1", "--path", "/txt"), "leads nowhere"),
        (("--event", "JOE@1", "--path", "/text", "--span", "400:500"), "names nothing"),
        (("--event", "JOE@1", "--path", "/text", "--span", "5:2"), "names nothing"),
        (("--event", "JOE@1", "--path", "/text", "--span", "a"), "START:END"),
        (("--prove", NAME, "--dry-run"), "give it alone"),
    ],
)
def test_bad_input_is_refused(
    refold: Any, store: Store, spoken: dict[str, UUID], words: tuple[str, ...], says: str
) -> None:
    """With one error that says what was wrong, and nothing in the store."""
    given = [word.replace("JOE", str(spoken["joe"])) for word in words]
    why = () if words[0] == "--prove" or words[0] == "--path" else WHY
    code, _, err = refold("redact", *given, *why)
    assert (code, says in err) == (2, True), err
    assert not [entry for entry in store.home_log() if entry.kind == "redacted"]


@pytest.mark.parametrize(
    ("reason", "says"),
    [((), "--reason is missing"), (("--reason", " "), "empty"), (("--reason", f"asked by {NAME}"), "hidden")],
)
def test_a_reason_is_needed_and_tells_nothing(
    refold: Any, store: Store, spoken: dict[str, UUID], reason: tuple[str, ...], says: str
) -> None:
    """It stays for good: without one, and with the hidden value in it, nothing is redacted."""
    code, _, err = refold("redact", "--value", NAME, "--everywhere", *reason)
    assert (code, says in err) == (2, True), err
    place = ("--event", f"{spoken['joe']}@1", "--path", "/text", "--span", "5:21")
    assert refold("redact", *place, *reason)[0] == 2
    assert not [entry for entry in store.home_log() if entry.kind == "redacted"]


def test_a_value_comes_by_standard_input(refold: Any, monkeypatch: pytest.MonkeyPatch, spoken: dict[str, UUID]) -> None:
    """So that no shell's history has it; and no output repeats it."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(f"{NAME}\n".encode())))
    code, out, err = refold("redact", "--value", "-", "--customer", JOE, *WHY)
    assert (code, NAME in out + err) == (0, False)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(f"{NAME}\n".encode())))
    code, out, err = refold("redact", "--prove", "-")
    assert (code, NAME in out + err) == (3, False)


def lines(names: dict[int, str]) -> list[dict]:
    """Conversations of which some name somebody: as text, in a call's arguments, in a tool's answer, and as their task."""
    made = [conversation(task, "v1", 10.0 * (task + 1), f"2026-01-{task + 1:02d} 12:00:00") for task in range(6)]
    for task, name in names.items():
        messages = made[task]["messages"]
        messages[1]["content"] = f"I am {name}, refund order {task}"
        messages[2]["tool_calls"] = [call("lookup_order", json.dumps({"id": task, "by": name}))]
        messages[3]["content"] = json.dumps({"order": task, "owner": json.dumps([name])})
        messages[6]["content"] = f"Done, {name.upper()}"
        made[task]["task_id"] = f"task/{name}"
    return made


@pytest.fixture
def compared(store: Store, store_settings: Any, tmp_path: Path) -> Lake:
    """A comparison of conversations that name somebody, with its report, and a model's answer that was paid for."""
    lake = Lake.from_settings(store_settings)
    add(store, lake, tmp_path, lines({1: NAME, 3: NAME}))
    (tmp_path / "desk.py").write_text(AGENT, encoding="utf-8")
    plan = plan_of(lake, ECHO, tmp_path)
    keep_version(lake, plan, tmp_path)
    run_replay(lake, plan)
    build_diff(lake, plan)
    keep_report(lake, store_settings.home, find_version(lake, "echoed"))
    with ResponseStore(store_settings.responses) as kept:
        stored = Stored(f"Dear {NAME}".encode(), 1.0, 0.1)
        key = (kept.endpoint("http://model"), "00" * 32, str(stream_id("shop", "v1-3")))
        asyncio.run(kept.put(*key, stored, Charge("e", "v", 0.1)))
    publish_catalog(lake, store_settings.catalog)
    return lake


def numbers(settings: Any) -> list[tuple[Any, ...]]:
    """What a comparison measured, without any word."""
    query = (
        "SELECT unit_id, status, unit_class, calls_a, calls_b, same, added, removed, sim_tok, len_chars_a, len_chars_b "
        "FROM ab_units_history ORDER BY ALL"
    )
    with Lake.from_settings(settings).connect() as connection:
        return connection.sql(query).fetchall()


def summary(settings: Any) -> list[tuple[Any, ...]]:
    query = (
        "SELECT metric, segment, estimand, n, mean_a, mean_b, estimate, low, high FROM ab_summary_history ORDER BY ALL"
    )
    with Lake.from_settings(settings).connect() as connection:
        return connection.sql(query).fetchall()


def test_it_goes_from_comparisons_answers_and_reports(refold: Any, store_settings: Any, compared: Lake) -> None:
    """All rows and numbers stay as they were, and the version stays the result of its replays; its words are cut out."""
    assert {"replays", "ab_units", "ab_tool_calls", "reports", "responses.sqlite"} <= {
        part for path in derived(store_settings) for part in Path(path).parts
    }
    before, lines_before = numbers(store_settings), summary(store_settings)
    result = find_version(compared, "echoed").result_hash
    code, out, _ = refold("redact", "--value", NAME, "--everywhere", *WHY, "--json")
    assert code == 0, out
    assert derived(store_settings) == []
    assert numbers(store_settings) == before
    assert summary(store_settings) == lines_before
    version = find_version(Lake.from_settings(store_settings), "echoed")
    assert version.result_hash == result
    assert (store_settings.home / "reports" / "echoed" / f"{version.version_id}.html").exists()
    with Lake.from_settings(store_settings).connect() as connection:
        texts = connection.sql("SELECT text_b FROM ab_units WHERE text_b LIKE '%[redacted]%'").fetchall()
        assert texts
        assert all(text.startswith("You said: ") for (text,) in texts)
        rows = connection.sql("SELECT arguments_b FROM ab_tool_calls_history WHERE arguments_b IS NOT NULL").fetchall()
        assert all(isinstance(json.loads(arguments), dict) for (arguments,) in rows)
    told = json.loads(refold("redact", "--json")[1])
    assert (told["waited"], told["forgotten"]) == (0, [])


def test_a_whole_utterance_takes_both_sides_words(refold: Any, store_settings: Any, compared: Lake) -> None:
    """Of a sentence that is hidden as a whole parts may be repeated: what both sides said in that conversation is hidden, the rest stays."""
    stream = str(stream_id("shop", "v1-3"))
    with compared.connect() as connection:
        query = "SELECT stream_version FROM utterances WHERE aggregate_id = $s AND text LIKE 'I am%'"
        ((version,),) = connection.sql(query, params={"s": stream}).fetchall()
    before = numbers(store_settings)
    assert refold("redact", "--event", f"{stream}@{version}", "--path", "", *WHY)[0] == 0
    with Lake.from_settings(store_settings).connect() as connection:
        query = "SELECT DISTINCT text_b FROM ab_units_history WHERE aggregate_id = $s AND text_b IS NOT NULL"
        assert numbers(store_settings) == before
        texts = connection.sql(query, params={"s": stream}).fetchall()
        others = connection.sql(query.replace("=", "<>"), params={"s": stream}).fetchall()
    assert all(NAME not in text for (text,) in texts)
    assert all(text != "[redacted]" for (text,) in others)


def plant(settings: Any, kind: str) -> None:
    """A value in one kind of place, in a spelling of its own."""
    home, shouted = settings.home, NAME.upper()
    home.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        pq.write_table(
            pa.table({"text": ["x", json.dumps({"said": json.dumps(NAME)})]}), home / "own.parquet", compression="zstd"
        )
    elif kind == "sqlite":
        with closing(sqlite3.connect(home / "kept.sqlite")) as connection, connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE kept (body BLOB)")
            connection.execute("INSERT INTO kept VALUES (?)", [gzip.compress(shouted.encode())])
    elif kind == "html":
        (home / "page.html").write_text(f"<p>{NAME.replace('ü', '&#252;')}</p>", encoding="utf-8")
    elif kind == "duckdb":
        with duckdb.connect(str(home / "own.duckdb")) as connection:
            connection.execute("CREATE TABLE kept AS SELECT $v AS text", {"v": NAME})
    elif kind == "log":
        (home / "dagster" / "storage" / "run").mkdir(parents=True)
        (home / "dagster" / "storage" / "run" / "1.err").write_text(f"failed: {shouted}\n", encoding="utf-8")
    else:
        (home / "old.log.gz").write_bytes(gzip.compress(f"at {NAME}".encode()))


@pytest.mark.parametrize("kind", ["parquet", "sqlite", "html", "duckdb", "log", "gzip"])
def test_the_proof_finds_it_in_every_kind_of_place(refold: Any, store_settings: Any, store: Store, kind: str) -> None:
    """Planted, it is found, and the finding ends the verb with 3; what is printed does not repeat it."""
    assert proof(refold)[0] == 0
    plant(store_settings, kind)
    code, found = proof(refold)
    assert (code, len(found["derived"]) >= 1, found["is_proven"]) == (3, True, False)
    code, out, err = refold("redact", "--prove", NAME)
    assert (code, NAME in out + err) == (3, False)


def test_hostile_texts_are_inert(refold: Any, store: Store, spoken: dict[str, UUID]) -> None:
    """A text that would move a terminal's cursor is printed as its codes; quotes and patterns of SQL are letters."""
    text = "x' OR 1=1; -- %_\\ \x1b[2J \u202e Zoë"
    say(store, ANA, text)
    code, out, _ = refold("redact", "--value", text[:18], "--everywhere", "--dry-run")
    assert (code, "\x1b" in out, "would redact 1 occurrence" in out) == (0, False, True)
    assert refold("redact", "--value", text, "--everywhere", *WHY)[0] == 0
    assert proof(refold, text)[0] == 0


def test_metadata_is_told(refold: Any, store: Store, spoken: dict[str, UUID]) -> None:
    """No redaction hides what an event's metadata says: it is named, and the proof is not given."""
    say(store, NAME, "hello")
    code, out, _ = refold("redact", "--value", NAME, "--everywhere", *WHY)
    assert (code, "the metadata of 1 event" in out) == (0, True)
    code, found = proof(refold)
    assert (code, found["metadata"]) == (3, 1)


def test_records_of_accesses_take_no_redaction(refold: Any, store: Store, spoken: dict[str, UUID]) -> None:
    """Who looked, why and from where stays: neither a value nor a place of it is hidden, and nothing fails for it."""
    record_access(store, "show", "about Kallisto-9", [Accessed(spoken["joe"])])
    assert refold("redact", "--value", "Kallisto-9", "--everywhere", *WHY)[1].startswith("nothing to redact")
    query = "SELECT aggregate_id FROM refold.events WHERE event_type = 'access.recorded.v1'"
    ((stream,),) = store.conn.execute(query).fetchall()
    code, _, err = refold("redact", "--event", f"{stream}@1", "--path", "/reason", *WHY)
    assert (code, "takes no redaction" in err) == (2, True)
    assert proof(refold, "Kallisto-9")[1]["shown_events"] == 1
