"""The folds on whole histories: all real conversations, and the simulated support desk."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.desk import generate
from pipelines.folds.as_of import Point
from pipelines.folds.shipped import PROJECTIONS
from pipelines.ingest.convert import Place, convert
from tests.oracles import left_fold
from tests.support.equality import comparable, connect, create_events, fold_with_sql, make_log
from tests.support.time_travel import assert_equal, everything_before, folded

Log = list[dict[str, Any]]
AT = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> Log:
    """The events of all real conversations."""
    with gzip.open(shared_data / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        conversations = [
            convert(json.loads(line), place=Place("conversations.jsonl.gz", number), at=AT)
            for number, line in enumerate(lines, start=1)
        ]
    return make_log((str(c.stream_id), c.aggregate_type, c.events) for c in conversations)


Months = dict[str, dict[str, list[dict[str, Any]]]]


def fold_all(log: Log) -> Months:
    """The rows of every projection in SQL, by month; no event is of a type that nobody knows."""
    folded_months = {}
    with connect() as connection:
        create_events(connection, log)
        for month in sorted({event["month"] for event in log}):
            prepared, folded_months[month] = fold_with_sql(connection, month)
            assert prepared.skipped_events == 0
    return folded_months


@pytest.fixture(scope="module")
def rows_recorded(recorded: Log) -> Months:
    """All real conversations folded in SQL, once."""
    return fold_all(recorded)


def assert_equal_folds(log: Log, months: Months) -> None:
    """The rows of every month are those of the plain left fold."""
    for month, rows in months.items():
        expected = left_fold.fold_month(log, month)
        for name in PROJECTIONS:
            assert comparable(rows[name]) == comparable(expected[name]), (month, name)


def test_real_conversations_fold_as_the_left_fold_does(recorded: Log, rows_recorded: Months) -> None:
    """For every month of the real data every row in SQL is that of the plain left fold."""
    assert_equal_folds(recorded, rows_recorded)


def test_the_simulated_desk_folds_as_the_left_fold_does() -> None:
    """The same for the simulated desk: calls, customers, refunds, redactions, a schema change, verified contexts."""
    batches = generate(3_000)
    log = make_log((str(b.aggregate_id), b.aggregate_type, b.events) for b in batches)
    months = fold_all(log)
    assert_equal_folds(log, months)
    decisions = months[max(months)]["decisions"]
    checked = [row["context_verified"] for row in decisions if row["context_verified"] is not None]
    assert checked
    assert all(checked)


def test_real_conversations_at_any_time_are_the_left_fold_up_to_it(recorded: Log) -> None:
    """Every fourth real conversation, call and customer at three times: time travel is the left fold of the events up to there."""
    streams = set(sorted({event["aggregate_id"] for event in recorded})[::4])
    log = [event for event in recorded if event["aggregate_id"] in streams]
    times = sorted(event["created_at"] for event in log)
    with folded(log) as connection:
        for share in (0.1, 0.5, 0.9):
            assert_equal(connection, log, Point(times[int(share * len(times))]), everything_before(log))


def test_counts_are_those_of_an_independent_reader(shared_data: Path, rows_recorded: Months) -> None:
    """User turns, agent texts, calls, results, tool names and final text of all conversations equal the published counts."""
    expected = {}
    with gzip.open(shared_data / "expected.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            counted = json.loads(line)
            expected[counted["conversation_id"]] = counted
    found = {row["source_id"]: row for rows in rows_recorded.values() for row in rows["conversation_months"]}
    assert found.keys() == expected.keys()
    for name, row in found.items():
        counted = expected[name]
        assert {
            "user_turns": row["user_messages"],
            "assistant_text_turns": row["agent_text_messages"],
            "tool_calls": row["tool_call_count"],
            "tool_results": row["tool_result_count"],
            "tool_names_sha1": _sha1(json.dumps([call["name"] for call in row["tool_calls"]])),
            "final_assistant_sha1": _sha1(row["final_text"] or ""),
        }.items() <= counted.items(), name


def test_the_call_fold_of_the_article_agrees_on_real_data(recorded: Log, rows_recorded: Months) -> None:
    """Transcript and tool calls of `fold_call` are those of the state, for every real conversation."""
    streams: dict[str, Log] = {}
    for event in recorded:
        streams.setdefault(event["aggregate_id"], []).append(event)
    for rows in rows_recorded.values():
        for row in rows["conversation_months"]:
            article = left_fold.fold_call(streams[row["aggregate_id"]])
            spoken = [said for said in article["transcript"] if said["text"] is not None]
            assert [{"role": said["role"], "text": said["text"]} for said in row["transcript"]] == spoken
            calls = [
                {"call_id": call["call_id"], "name": call["name"], "arguments": json.loads(call["arguments"])}
                for call in row["tool_calls"]
            ]
            assert calls == [{**call, "arguments": _value(call["arguments"])} for call in article["tool_calls"]]


def _value(arguments: Any) -> Any:
    """What recorded arguments say, also where they are JSON inside a text."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]
