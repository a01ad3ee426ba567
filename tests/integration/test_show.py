"""`refold show`: a stream as a person asks for it, what it says where something is missing, and who saw what is redacted."""

from __future__ import annotations

import gzip
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pipelines.errors import BadInputError
from pipelines.evidence.story import read_story
from pipelines.evidence.story_page import render_stories
from pipelines.evidence.stream_events import find_target
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.ingest.chat import import_chat
from pipelines.lake.lake import Lake
from pipelines.log.context import request_sha256
from pipelines.settings import Settings
from pipelines.store import NewEvent, Store
from pipelines.store.events import stream_id
from tests.support.browser import find_chromium, open_browser
from tests.support.verbs import Verbs

AT = datetime(2026, 5, 3, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 6, 3, 9, 30, tzinfo=UTC)
SECRET = "4111 1111 1111 1111"
SYSTEM = "You answer for the shop."
PROMPT = "a1" * 32
TOOLS = "b2" * 32
TOOL = {
    "type": "function",
    "function": {"name": "refund", "description": "Pays back.", "parameters": {"type": "object"}},
}
HOSTILE = "\x1b[2J<script>alert(1)</script>\u202e"
WHY = ("--original", "--reason", "ticket 4711")


def event(kind: str, payload: dict[str, Any], actor: str = "user", at: datetime = AT, **metadata: Any) -> NewEvent:
    """An event of the shop's conversation."""
    return NewEvent(kind, payload, {"source": "shop", "source_id": "c-1", "actor": actor, **metadata}, at)


def request(messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The payload of a model call that was sent these messages."""
    sha256 = request_sha256(messages, model="gpt-x", params={"temperature": 0}, tools_sha256=TOOLS)
    asked = {"model": "gpt-x", "params": {"temperature": 0}, "tools_sha256": TOOLS, "prompt_sha256": PROMPT}
    return asked | {"request_sha256": sha256, "usage": {"input_tokens": 9, "output_tokens": 3}} | more


def tell(store: Store) -> UUID:
    """A refund: the first model call verifies, the second does not; a card number is redacted a month later."""
    stream = stream_id("shop", "c-1")
    sent = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"My card is {SECRET}."}]
    talk = [
        event("conversation.started.v1", {"agent": "desk", "messages": [sent[0]]}, "system"),
        event("user.utterance.v1", {"text": sent[1]["content"]}),
        event("model.decision.v3", request(sent, model="gpt-y", model_requested="gpt-x"), "agent", message_id="m2"),
        event(
            "tool.call.v1", {"call_id": None, "name": "refund", "arguments": {"card": SECRET}}, "agent", message_id="m2"
        ),
        event("tool.result.v1", {"call_id": None, "output": {"paid": True}, "error": None}, "tool"),
        event("model.decision.v2", request(sent), "agent", message_id="m5"),
        event("agent.utterance.v1", {"text": f"Done. {HOSTILE}"}, "agent", message_id="m5"),
        event("tool.call.v1", {"call_id": "u", "name": "look", "arguments": {}}, "user", message_id="m6"),
        event("conversation.ended.v1", {"outcome": {"good": True}}, "system"),
    ]
    hide = {"method": "mask", "reason": "card number"}
    hidden = [
        event(
            "redaction.applied.v1",
            {"target": {"stream_version": 2}, "span": {"path": "/text", "start": 11, "end": 30}, **hide},
            "system",
            LATER,
        ),
        event(
            "redaction.applied.v1",
            {"target": {"stream_version": 4}, "path": "/arguments/card", **hide},
            "system",
            LATER,
        ),
    ]
    store.ensure_months([AT, LATER])
    store.append(stream, "conversation", [*talk, *hidden], "any")
    registered = {"name": "desk", "text": SYSTEM, "sha256": PROMPT}
    other = {**registered, "text": "You sell.", "sha256": "c3" * 32}
    for number, (kind, payload) in enumerate(
        [
            ("prompt.registered.v1", other),
            ("prompt.registered.v1", registered),
            ("tools.registered.v1", {"tools": [TOOL], "sha256": TOOLS}),
        ]
    ):
        given = event(kind, payload, "system", source_id=f"registered-{number}")
        store.append(stream_id("shop", f"registered-{number}"), kind.split(".", 1)[0], [given], "any")
    return stream


@pytest.fixture
def stream(store: Store, refold: Verbs) -> UUID:
    """The refund, exported."""
    told = tell(store)
    assert refold("export")[0] == 0
    return told


def accesses(store: Store) -> list[dict[str, Any]]:
    rows = store.conn.execute("SELECT payload FROM refold.events WHERE event_type = 'access.recorded.v1'").fetchall()
    return [row[0] for row in rows]


def test_the_story_of_a_refund(stream: UUID, refold: Verbs):
    """Who asked, what was sent, whether it is verified and why not, prompt, tools, models, results, redactions and seal."""
    code, out, err = refold("show", "shop/c-1")
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    assert SECRET not in out
    assert "\x1b" not in out
    assert "My card is [redacted]." in words
    for told in (
        "Conversation shop/c-1",
        "messages 1 to 2; the user spoke last in event 2",
        "verified yes:",
        "verified NO:",
        "model asked gpt-x",
        "model that answered gpt-y",
        "prompt desk, version 2 of 2",
        "tools on offer refund",
        "Agent uses a tool: refund [message 3]",
        "Tool answers [message 4] paid: true",
        "card: [redacted]",
        "was redacted on 2026-06-03 (event 10). Reason: card number.",
        "The user did this; the agent was not shown it.",
        "No answer to it is recorded.",
        "2 events have redacted parts",
        "2026-05 (events 1 to 9) not sealed yet",
    ):
        assert told in words, told


def test_one_decision_at_length(stream: UUID, refold: Verbs):
    """`--decision` has the exact messages that were sent, the prompt, the tools with their schemas, and what came of it."""
    code, out, _ = refold("show", str(stream), "--decision", "2", "--json")
    assert code == 0
    story = json.loads(out)
    (decision,) = story["decisions"]
    assert [each["role"] for each in decision["context"]] == ["system", "user", "assistant", "tool"]
    assert decision["context"][2]["calls"] == [
        {"call_id": "call_2_0", "name": "refund", "arguments": '{"card":"[redacted]"}'}
    ]
    assert decision["context"][3]["call_id"] == "call_2_0"
    assert (decision["prompt"]["text"], decision["prompt"]["number"], decision["prompt"]["count"]) == (SYSTEM, 2, 2)
    assert decision["tools"] == [{"name": "refund", "description": "Pays back.", "schema": '{"type": "object"}'}]
    assert decision["verification"] == "other"
    assert [part["version"] for part in story["parts"]] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    code, out, _ = refold("show", str(stream), "--decision", "1")
    assert code == 0
    assert "What the model was sent, message by message" in out
    assert "6  09:30:00" not in out  # the next decision begins there
    code, _, err = refold("show", str(stream), "--decision", "3")
    assert code == 2
    assert "has no decision 3; it has decisions 1 to 2" in err


def test_as_recorded_is_shown_to_who_says_why_and_that_is_recorded_first(
    stream: UUID, refold: Verbs, store: Store, monkeypatch: pytest.MonkeyPatch
):
    """`--original` shows what redactions hide, to the same person with a reason; without the record it shows nothing."""
    for given, fault in (
        (("--original",), "--reason is missing"),
        (("--original", "--reason", " "), "--reason is empty"),
        (("--reason", "x"), "it is for --original"),
    ):
        code, out, err = refold("show", "shop/c-1", *given)
        assert (code, out) == (2, "")
        assert fault in err
    assert refold("show", "shop/c-1", "--decision", "9", *WHY)[0] == 2
    assert accesses(store) == []
    code, out, _ = refold("show", "shop/c-1@4", *WHY)
    assert code == 0
    assert SECRET in out
    assert "redactions are NOT applied" in out
    (access,) = accesses(store)
    assert (access["verb"], access["reason"]) == ("show", "ticket 4711")
    assert access["targets"] == [{"stream": str(stream), "first": 1, "last": 4}]

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise BadInputError("cannot be recorded")

    monkeypatch.setattr("pipelines.store.access.record_access", refuse)
    code, out, err = refold("show", "shop/c-1", *WHY)
    assert (code, out) == (2, "")
    assert SECRET not in err


def test_as_of_a_version(stream: UUID, refold: Verbs):
    """`@VERSION` tells the story up to there, what is redacted today hidden; a version that is not there is named."""
    code, out, _ = refold("show", "shop/c-1@5", "--json")
    story = json.loads(out)
    assert (code, story["last_version"], story["known_version"], len(story["parts"])) == (0, 5, 11, 5)
    assert SECRET not in out
    assert story["status"] == "open"
    for version in ("0", "12"):
        code, _, err = refold("show", f"shop/c-1@{version}")
        assert code == 2
        assert f"has no version {version}: the lake holds its versions 1 to 11" in err


def test_what_the_lake_lacks_is_said(store: Store, refold: Verbs):
    """A stream that only the store has is not found, and both that and what to do is said; so are newer events."""
    tell(store)
    code, out, err = refold("show", "shop/c-1")
    assert (code, out) == (2, "")
    assert "run `refold export`" in err
    assert "no stream 'shop/c-1' in the lake" in err
    refold("export")
    store.append(
        stream_id("shop", "c-1"), "conversation", [event("user.utterance.v1", {"text": "Thanks"}, at=LATER)], "any"
    )
    code, out, err = refold("show", "shop/c-1")
    assert code == 0
    assert "1 events of the store are not in the lake yet" in err
    assert "Thanks" not in out


def test_sealed_and_erased(stream: UUID, store: Store, refold: Verbs):
    """A sealed month is called sealed, with the day; an erased event keeps its place, and says who erased it and why."""
    assert refold("seal", "2026-05")[0] == 0
    assert refold("erase", "--event", f"{stream}@2", "--reason", "ticket 4712")[0] == 0
    code, out, _ = refold("show", "shop/c-1", "--json")
    assert code == 0
    story = json.loads(out)
    assert [month["state"] for month in story["months"]] == ["sealed", "open"]
    gone = story["parts"][1]
    assert (gone["kind"], gone["text"], gone["erased"]["reason"]) == ("user", None, "ticket 4712")
    assert story["decisions"][0]["verification"] == "erased"
    _, out, _ = refold("show", "shop/c-1")
    words = " ".join(out.split())
    assert "cannot be told: a part of what was before is erased" in words
    assert "Reason: ticket 4712." in words
    assert "2026-05 (events 1 to 9) sealed on" in words


def test_streams_that_are_no_conversations(stream: UUID, store: Store, refold: Verbs):
    """Rows that changed, accesses, registrations and types that are not known are told in the same way."""
    rows = [
        NewEvent(
            "row.changed.v1",
            {"table": "refunds", "key": 1, "before": before, "after": after},
            {"source": "shop", "source_id": "rows"},
            AT,
        )
        for before, after in (
            (None, {"usd": 5, "status": "asked"}),
            ({"usd": 5, "status": "asked"}, {"usd": 5, "status": "paid"}),
        )
    ]
    store.append(stream_id("shop", "rows"), "customer", rows, "any")
    assert refold("show", "shop/c-1", *WHY)[0] == 0
    assert refold("export")[0] == 0
    _, out, _ = refold("show", "shop/rows")
    assert "A row was added to refunds" in out
    assert "A row changed in refunds" in out
    assert "status: asked → paid" in out
    assert "usd: – → 5" in out
    ((access,),) = store.conn.execute(
        "SELECT aggregate_id::text FROM refold.events WHERE event_type = 'access.recorded.v1'"
    ).fetchall()
    _, out, _ = refold("show", access)
    assert "access.recorded.v1" in out
    assert "ticket 4711" in out
    _, out, _ = refold("show", "shop/registered-1")
    assert SYSTEM in out


def test_the_page_is_private_whole_and_stands_alone(stream: UUID, refold: Verbs, tmp_path: Path):
    """`--html` writes one file, its owner's alone, that asks for nothing and complains of nothing, wide and narrow; links lead."""
    code, out, err = refold("show", "shop/c-1", "--html", "story.html")
    file = tmp_path / "story.html"
    assert (code, out) == (0, "")
    assert str(file) in err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET not in file.read_text(encoding="utf-8")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium on PATH")
    with open_browser(chromium, tmp_path / "profile") as browser:
        browser.open(f"{file.as_uri()}#v5")
        browser.wait("document.readyState === 'complete' && document.querySelectorAll('article').length === 11")
        for width, is_dark in ((1100, False), (390, True)):
            browser.resize(width, 900, is_dark=is_dark)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate("document.querySelector(':target').id") == "v5"
        assert browser.evaluate("document.querySelectorAll('script, img, link').length") == 0
        assert browser.evaluate("[...document.links].every(a => document.getElementById(a.hash.slice(1)))")
        closed = (
            "document.querySelector('details:not([open]) .rf-quoted').checkVisibility({contentVisibilityAuto: true})"
        )
        assert browser.evaluate(closed) is False
        browser.send("Emulation.setEmulatedMedia", media="print")
        assert browser.wait(closed)  # on paper nothing can be opened
        assert (browser.failures, browser.complaints) == ([], [])


def test_a_name_may_end_like_a_version(store: Store, refold: Verbs, store_settings: Settings):
    """Where a conversation is called `c-1@2`, that is meant; `c-1@2@1` is its first version."""
    for name in ("c-1", "c-1@2"):
        store.ensure_months([AT])
        store.append(stream_id("shop", name), "conversation", [event("user.utterance.v1", {"text": name})] * 3, "any")
    refold("export")
    lake = Lake.from_settings(store_settings)
    assert find_target(lake, "shop/c-1@2").version == 3
    assert find_target(lake, "shop/c-1@3").version == 3
    assert find_target(lake, "shop/c-1@3").stream == str(stream_id("shop", "c-1"))
    assert find_target(lake, "shop/c-1@2@1").version == 1
    with pytest.raises(BadInputError, match="has no version"):
        find_target(lake, f"shop/c-1@{'9' * 10}")
    with pytest.raises(BadInputError, match="no stream"):
        find_target(lake, f"shop/c-1@{'9' * 5_000}")


def test_real_conversations(shared_data: Path, store: Store, store_settings: Settings, tmp_path: Path):
    """Of real conversations as many messages are shown to the agent as the file has, but for those that it never saw."""
    lines = gzip.decompress((shared_data / "conversations.jsonl.gz").read_bytes()).splitlines()[::40]
    sample = tmp_path / "sample.jsonl"
    sample.write_bytes(b"\n".join(lines))
    import_chat(store, [sample])
    lake = Lake.from_settings(store_settings)
    assert store_settings.dsn is not None
    for month in months_to_export(store, lake):
        export_month(store_settings.dsn, lake, month)
    for line in map(json.loads, lines):
        story = read_story(lake, f"{line['source']}/{line['conversation_id']}")
        unseen = [
            message
            for message in line["messages"]
            if (message["role"] == "user" and message.get("tool_calls") and not message.get("content"))
            or (message["role"] == "tool" and message.get("requestor") == "user")
        ]
        shown = {number for part in story.parts for number in part.messages}
        assert shown == set(range(1, len(line["messages"]) - len(unseen) + 1)), line["conversation_id"]
        assert render_stories([story])
