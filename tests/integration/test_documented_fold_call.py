"""The SELECT of `docs/sql.md` beside the meaning of the article's `fold_call`, on real conversations and the simulated desk."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipelines.demo.desk import generate
from pipelines.folds.redacted import compute_redacted
from pipelines.ingest.convert import Place, convert
from pipelines.lake.datasets import REDACTED_EVENTS
from pipelines.log.readable import readable_query
from pipelines.log.upcasters import load_upcasters
from tests.support.equality import connect, create_events, make_log

Log = list[dict[str, Any]]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "sql.md"


@pytest.fixture(scope="module")
def select() -> str:
    """The SELECT as the page has it."""
    found = re.findall(r"```sql\n(SELECT\n    aggregate_id,\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def read(events: Log) -> dict[str, list[Any]]:
    """`fold_call`, read again from its text: what it puts where, event by event."""
    transcript = [
        {"role": event["event_type"].split(".")[0], "text": event["payload"]["text"]}
        for event in events
        if event["event_type"] in ("user.utterance.v1", "agent.utterance.v1")
    ]
    calls = [event["payload"] for event in events if event["event_type"] == "tool.call.v1"]
    redactions = [event["payload"] for event in events if event["event_type"] == "redaction.applied.v1"]
    return {"transcript": transcript, "tool_calls": calls, "redactions": redactions}


def selected(connection: duckdb.DuckDBPyConnection, log: Log, select: str) -> dict[str, dict[str, list[Any]]]:
    create_events(connection, log)
    connection.execute(f"CREATE TABLE redacted_events AS {REDACTED_EVENTS.typed_empty()}")
    for month in sorted({event["month"] for event in log}):
        rows = compute_redacted(connection, month).rows
        connection.register("given", rows)
        connection.execute("INSERT INTO redacted_events BY NAME SELECT $month AS month, * FROM given", {"month": month})
    connection.execute(f"CREATE VIEW readable_events AS {readable_query(load_upcasters())}")
    found = {}
    table: pa.Table = connection.sql(select).to_arrow_table()
    for row in table.to_pylist():
        payloads = {name: [json.loads(text) for text in row[name]] for name in ("tool_calls", "redactions")}
        found[row["aggregate_id"]] = {"transcript": row["transcript"], **payloads}
    return found


def by_stream(log: Log) -> dict[str, Log]:
    streams: dict[str, Log] = {}
    for event in sorted(log, key=lambda each: each["stream_version"]):
        if event["aggregate_type"] in ("call", "conversation"):
            streams.setdefault(event["aggregate_id"], []).append(event)
    return streams


def test_every_real_conversation_has_the_shape_of_the_article(select: str, shared_data: Path) -> None:
    """For each of them transcript, tool calls and redactions are those of `fold_call`, messages without text too."""
    with gzip.open(shared_data / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        at = datetime(2026, 1, 15, tzinfo=UTC)
        all_of_them = [convert(json.loads(line), place=Place("c", n), at=at) for n, line in enumerate(lines, start=1)]
    log = make_log((str(c.stream_id), c.aggregate_type, c.events) for c in all_of_them)
    with connect() as connection:
        found = selected(connection, log, select)
    assert found == {stream: read(events) for stream, events in by_stream(log).items()}


def test_the_desk_has_it_without_what_is_redacted(select: str) -> None:
    """The same for the simulated desk, but for what redactions hide: there it differs, and hides."""
    log = make_log((str(b.aggregate_id), b.aggregate_type, b.events) for b in generate(3_000))
    with connect() as connection:
        found = selected(connection, log, select)
    streams = by_stream(log)
    assert found.keys() == streams.keys()
    hidden = 0
    for stream, events in streams.items():
        expected = read(events)
        named = {
            event["payload"]["target"]["stream_version"]
            for event in events
            if event["event_type"] == "redaction.applied.v1"
        }
        assert found[stream]["redactions"] == expected["redactions"]
        for name, types in (
            ("transcript", ("user.utterance.v1", "agent.utterance.v1")),
            ("tool_calls", ("tool.call.v1",)),
        ):
            versions = [event["stream_version"] for event in events if event["event_type"] in types]
            for version, shown, recorded in zip(versions, found[stream][name], expected[name], strict=True):
                if version in named:
                    assert shown != recorded
                    assert "[redacted]" in str(shown)
                    hidden += 1
                else:
                    assert shown == recorded
    assert hidden
