"""A story held to the plain left fold, over logs as odd as real ones and odder."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence.parts import Story
from pipelines.evidence.parts_of_events import as_text
from pipelines.evidence.story import read_story
from pipelines.evidence.story_page import render_stories
from pipelines.evidence.story_text import render_story
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.log.context import Context
from tests.oracles import left_fold
from tests.oracles.left_fold_streams import StreamFold
from tests.oracles.left_fold_values import is_erased, jsonb_text
from tests.support.log_strategies import logs

Log = list[dict[str, Any]]
REASONS = {True: ("same",), False: ("other",), None: ("no_hash", "no_model", "erased")}


class LogFiles(Lake):
    """A lake that holds a log's events, in files alone."""

    paths: list[str]

    def files(self, name: str, partition: Mapping[str, str] | None = None) -> list[str]:
        return self.paths if name == EVENTS.name and partition is None else []


@contextmanager
def lake_of(log: Log) -> Iterator[Lake]:
    """A lake with a log, sorted as an export sorts it, two rows to a row group."""
    with tempfile.TemporaryDirectory() as folder:
        lake = LogFiles(Path(folder), memory_bytes=10**9)
        lake.paths = []
        schema = pa.schema([field for field in EVENTS.arrow_schema() if field.name != "month"])
        for month in sorted({event["month"] for event in log}):
            rows = [
                {**event, "payload": jsonb_text(event["payload"]), "metadata": jsonb_text(event["metadata"])}
                for event in sorted(log, key=lambda event: (event["aggregate_id"], event["stream_version"]))
                if event["month"] == month
            ]
            path = Path(folder) / f"month={month}" / "part.parquet"
            path.parent.mkdir()
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=2)
            lake.paths.append(str(path))
        yield lake


def streams_of(log: Log) -> dict[str, Log]:
    """The events of each stream, in order."""
    ordered = sorted(log, key=lambda event: event["stream_version"])
    return {
        stream: [each for each in ordered if each["aggregate_id"] == stream]
        for stream in {each["aggregate_id"] for each in log}
    }


def oracle(events: Log, version: int) -> tuple[list[dict[str, Any]], StreamFold, list[tuple[Any, Any]]]:
    """Decisions, calls and what may be shown of a stream up to a version, by the plain left fold; redactions of all of it."""
    shown = [(event, seen) for event, seen in left_fold.show(events) if event["stream_version"] <= version]
    fold = StreamFold()
    for event, seen in shown:
        fold.apply(event, seen)
    return left_fold.decision_rows(fold, shown), fold, shown


@settings(deadline=None, max_examples=30)
@given(log=logs(min_streams=1, max_streams=2), data=st.data())
def test_a_story_tells_what_the_left_fold_says(log: Log, data: st.DataObject):
    """Every event is told once, in order; decisions, contexts, calls and answers are those of the fold, at any version."""
    with lake_of(log) as lake:
        for stream, events in streams_of(log).items():
            version = data.draw(st.integers(1, len(events)))
            story = read_story(lake, f"{stream}@{version}")
            decisions, fold, shown = oracle(events, version)
            assert [(part.version, part.event_type, part.position) for part in story.parts] == [
                (event["stream_version"], event["event_type"], event["position"]) for event, _ in shown
            ]
            assert story.skipped == Counter(event["event_type"] for event, seen in shown if seen is None)
            assert (story.last_version, story.known_version) == (version, len(events))
            _decisions_agree(story, decisions)
            _calls_agree(story, fold)
            _texts_agree(story, shown)
            assert render_story(story)
            assert render_stories([story])


def _decisions_agree(story: Story, rows: list[dict[str, Any]]) -> None:
    names = ("decision", "turn", "first_version", "last_version", "context_messages", "context_verified", "is_erased")
    assert [[getattr(each, name) for name in names] for each in story.decisions] == [
        [row[name] for name in names] for row in rows
    ]
    for each, row in zip(story.decisions, rows, strict=True):
        assert each.verification in REASONS[row["context_verified"]]
        assert (each.verification == "erased") >= row["is_context_erased"]
        before = {number for part in story.parts if part.version < each.first_version for number in part.messages}
        if row["context_messages"] is not None:
            assert before == set(range(1, row["context_messages"] + 1))
        own = {number for part in story.parts if part.decision == each.decision for number in part.messages}
        assert len(own) <= 1


def _calls_agree(story: Story, fold: StreamFold) -> None:
    rows = {row["stream_version"]: row for row in map(fold.call_row, fold.calls)}
    calls = {part.version: part for part in story.parts if part.kind == "call"}
    assert {version: part.answered_by for version, part in calls.items()} == {
        version: row["result_version"] for version, row in rows.items()
    }
    answers = {part.version: part.answers for part in story.parts if part.answers is not None}
    assert answers == {part.answered_by: version for version, part in calls.items() if part.answered_by is not None}


def _texts_agree(story: Story, shown: list[tuple[Any, Any]]) -> None:
    """What is told of an event is of its payload as it may be shown, and nothing of an erased one."""
    for part, (event, seen) in zip(story.parts, shown, strict=True):
        assert (part.erased is not None) == is_erased(event)
        if part.erased is not None:
            assert (part.text, part.fields, part.name) == (None, (), None)
        elif part.kind in ("row", "record", "end"):
            payload = seen["payload"]
            told = {each.name: each.value for each in part.fields}
            assert told == {
                name: told_of(value) for name, value in payload.items() if value is not None and name != "table"
            }
        elif part.kind in ("user", "agent"):
            payload = seen["payload"]
            if "content" not in payload:
                assert part.text == payload["text"]


def told_of(value: Any) -> str:
    return as_text(value)


@settings(deadline=None, max_examples=20)
@given(log=logs(min_streams=1, max_streams=1))
def test_the_context_of_a_decision_is_what_a_replay_sends(log: Log):
    """The messages of each decision are those of `Context` fed with the readable events before it."""
    with lake_of(log) as lake:
        for stream, events in streams_of(log).items():
            rows, _, shown = oracle(events, len(events))
            for row in rows:
                told = read_story(lake, stream, decision=row["decision"])
                assert [each.decision for each in told.decisions] == [row["decision"]]
                if row["is_context_erased"]:
                    continue
                context = Context()
                for event, seen in shown:
                    if event["stream_version"] < row["first_version"] and seen is not None:
                        context.apply(seen["name"], seen["payload"], event["metadata"])
                found = told.decisions[0].context
                assert found is not None
                assert [each.role for each in found] == [message["role"] for message in context.messages]
                calls = [
                    [call["function"]["arguments"] for call in message.get("tool_calls", ())]
                    for message in context.messages
                ]
                assert [[call.arguments for call in each.calls] for each in found] == calls
                texts = [message["content"] for message in context.messages]
                for each, text in zip(found, texts, strict=True):
                    assert text == each.text if text is None or isinstance(text, str) else each.text is not None
