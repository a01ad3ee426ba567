"""`refold find` on what PostgreSQL stored: the verb as a person types it, decisions that caused what is found, and real conversations."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipelines.evidence.find import Question, find
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.folds.run import fold_month
from pipelines.ingest.chat import import_chat
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import NewEvent, Store
from tests.support.shop import conversation
from tests.support.two_months import FEBRUARY, SECRET, say

ODD = 'say "no"\\ \t\x01 é 😀 </script> \x7f'
TALKS = 200
"""Of the real conversations; PostgreSQL takes most of the time."""


def refresh(store: Store, settings: Settings) -> Lake:
    lake = Lake.from_settings(settings)
    for month in months_to_export(store, lake):
        export_month(store.dsn, lake, month)
        fold_month(lake, month)
    return lake


def strings(value: Any) -> Iterator[str]:
    """Every string of a value, JSON in strings read."""
    if isinstance(value, str):
        if value.lstrip()[:1] in ("{", "["):
            try:
                yield from strings(json.loads(value))
            except ValueError:
                yield value
            return
        yield value
    elif isinstance(value, dict):
        for child in value.values():
            yield from strings(child)
    elif isinstance(value, list):
        for child in value:
            yield from strings(child)


def test_what_postgresql_escapes_is_found(store: Store, store_settings: Settings) -> None:
    """Quotes, backslashes, control characters and what is not ASCII, as it stands and in arguments given as text, twice over."""
    stream, inner = uuid4(), {"note": ODD}
    arguments = [inner, json.dumps(inner), json.dumps(inner, ensure_ascii=False), json.dumps({"x": json.dumps(inner)})]
    events = [NewEvent("user.utterance.v1", {"text": f"a {ODD} b"}, {}, FEBRUARY)]
    events += [
        NewEvent("tool.call.v1", {"call_id": "c", "name": "t", "arguments": each}, {}, FEBRUARY) for each in arguments
    ]
    store.ensure_months([FEBRUARY])
    store.append(stream, "conversation", events, "any")
    lake = refresh(store, store_settings)
    for text in (ODD, '"no"\\', "\x01", "é 😀", "</script>", "\x7f", "\\"):
        assert [each.version for each in find(lake, Question(text=text)).hits] == [1, 2, 3, 4, 5], text
    paths = [each.path for each in find(lake, Question(member=("note", ODD))).hits]
    assert paths == ["/arguments/note"] * 3 + ["/arguments/x/note"]


def test_the_decision_that_caused_it(store: Store, store_settings: Settings) -> None:
    """A call and its result belong to the decision that called, a text to the one that said it; what a person said to none."""
    stream = uuid4()
    say(store, stream, FEBRUARY, texts=2)
    found = find(refresh(store, store_settings), Question(text=SECRET))
    told = [
        (each.version, each.decision, each.decision_version)
        for each in found.hits
        if each.path and not each.path.startswith("metadata")
    ]
    assert told == [
        (1, None, None),
        (2, 1, 2),
        (3, 1, 2),
        (4, 2, 4),
        (5, None, None),
        (6, 3, 6),
        (7, 3, 6),
        (8, 4, 8),
    ]


def test_the_verb(refold: Any, store: Store, store_settings: Settings, tmp_path: Path) -> None:
    """Text, member, tool with a condition, person; counts, one JSON object, nothing found is no failure, and bad usage is named."""
    path = tmp_path / "shop.jsonl"
    lines = [
        conversation(task, "v1", 40.0 + task, "2026-02-03T10:00:00Z") | {"subject_id": f"p-{task}"} for task in range(6)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    import_chat(store, [path])
    refresh(store, store_settings)
    code, out, err = refold(
        "find", "--tool", "refund", "--where", "(arguments ->> '$.amount_usd')::DOUBLE >= 44", "--json"
    )
    hits = json.loads(out)["hits"]
    assert (code, err, [each["conversation_id"] for each in hits], {each["decision"] for each in hits}) == (
        0,
        "",
        ["v1-4", "v1-5"],
        {2},
    )
    code, out, _ = refold("find", "--field", "amount_usd=43.0")
    assert (code, "shop/v1-3@" in out, "1 place in 1 event of 1 stream" in out) == (0, True, True)
    code, out, _ = refold("find", "Refunded 4", "--limit", "2")
    assert "the first 2 are shown" in out
    code, out, _ = refold("find", "refunded 4", "--customer", "p-2", "--ignore-case", "--json")
    assert [each["conversation_id"] for each in json.loads(out)["hits"]] == ["v1-2"]
    code, out, _ = refold("find", "--customer", "p-2")
    assert (code, "1 place in 1 event of 1 stream" in out) == (0, True)
    assert refold("find", "not there at all") == (0, "nothing found\n", "")
    for words, told in (
        ((), "say what to find"),
        (("--field", "x"), "write NAME=VALUE"),
        (("--tool", "refund", "--where", "no_such_column = 1"), "no_such_column"),
        (("--tool", "refund", "--where", "true; DROP TABLE x"), "where"),
    ):
        code, out, err = refold("find", *words)
        assert (code, out, told in err) == (2, "", True), words


def test_a_text_that_would_act_is_shown_as_text(refold: Any, store: Store, store_settings: Settings) -> None:
    """What a terminal would obey is spelled out; what SQL would take is a text."""
    stream = uuid4()
    store.ensure_months([FEBRUARY])
    hostile = "'; DROP TABLE events; -- \x1b[31mred\x07"
    store.append(stream, "conversation", [NewEvent("user.utterance.v1", {"text": hostile}, {}, FEBRUARY)], "any")
    refresh(store, store_settings)
    code, out, _ = refold("find", "'; DROP TABLE events; --")
    assert (code, f"{stream}@1" in out, "\x1b" in out, "\x07" in out) == (0, True, False, False)


def test_real_conversations(store: Store, store_settings: Settings, shared_data: Path, tmp_path: Path) -> None:
    """Parts of what was really said, found exactly where reading every event finds them, in the payload and in its JSON strings."""
    path = tmp_path / "talks.jsonl"
    with gzip.open(shared_data / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        path.write_text("".join(line for line, _ in zip(lines, range(TALKS), strict=False)), encoding="utf-8")
    import_chat(store, [path])
    lake = refresh(store, store_settings)
    rows = store.conn.execute("SELECT aggregate_id::text, stream_version, payload FROM refold.events").fetchall()
    said = [(stream, version, list(strings(payload))) for stream, version, payload in rows]
    draw = random.Random(5)
    for _ in range(15):
        text = draw.choice([each for each in draw.choice(said)[2] if each.strip()] or ["the"])
        start = draw.randrange(len(text))
        wanted = text[start : start + draw.randrange(1, 30)]
        if not wanted.strip():
            continue
        found = find(lake, Question(text=wanted), limit=10**7)
        in_payload = {
            (each.stream, each.version) for each in found.hits if not (each.path or "").startswith("metadata")
        }
        plain = {(stream, version) for stream, version, texts in said if any(wanted in each for each in texts)}
        assert plain <= in_payload, wanted
        assert all(any(c.isdigit() for c in wanted) for _ in in_payload - plain), wanted  # numbers are found, too
