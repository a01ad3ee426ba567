"""Redacted once: what is kept of it, for any months, is read as if every payload were redacted anew."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.duck import create_table
from pipelines.folds.redacted import compute_redacted
from pipelines.lake.datasets import REDACTED_EVENTS
from pipelines.log.readable import create_readable, redact_events
from pipelines.log.upcasters import load_upcasters
from tests.support.equality import connect, create_events, rows_of
from tests.support.log_strategies import logs, months_of


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(folded=months_of(logs(max_streams=4)), which=st.sets(st.integers(min_value=0, max_value=3)))
def test_what_is_kept_is_what_would_be_redacted(folded: tuple[list[dict[str, Any]], str], which: set[int]) -> None:
    """Whichever months are kept: the same events up to the month, the same payloads, the same counts."""
    log, month = folded
    months = sorted({event["month"] for event in log})
    with connect() as connection:
        create_events(connection, log)
        kept = {}
        connection.execute(f"CREATE TABLE redacted_events AS {REDACTED_EVENTS.typed_empty()}")
        for each in (name for place, name in enumerate(months) if place in which and name <= month):
            found = compute_redacted(connection, each)
            kept[each] = found.inexact
            create_table(connection, "of_month", found.rows)
            connection.execute(f"INSERT INTO redacted_events BY NAME SELECT '{each}' AS month, * FROM of_month")
        made = []
        for given_months in ({}, kept):
            counts = create_readable(connection, month, load_upcasters(), kept=given_months)
            made.append((counts, rows_of(connection, "SELECT * FROM fold_redacted ORDER BY ALL")))
    assert made[0] == made[1]


def test_a_kept_payload_is_not_redacted_again() -> None:
    """What the table says is shown, and nothing is applied to it; an event that it does not have is redacted."""
    said = {"text": "my name is Ada, and 12 is my number"}
    hide = {"target": {"stream_version": 1}, "span": {"path": "/text", "start": 11, "end": 14}, "method": "mask"}
    log = []
    for month, stream in (("2026-01", "a"), ("2026-02", "b")):
        for version, (kind, payload) in enumerate((("user.utterance.v1", said), ("redaction.applied.v1", hide)), 1):
            log.append(_event(stream, version, kind, payload, month))
    with connect() as connection:
        create_events(connection, log)
        connection.execute(
            """CREATE TABLE redacted_events AS SELECT '2026-01' AS month, 'a' AS aggregate_id, 1 AS stream_version,
            '{"text": "as kept"}' AS payload, [2]::INTEGER[] AS redaction_versions"""
        )
        create_readable(connection, "2026-02", load_upcasters(), kept={"2026-01": 0})
        shown = connection.sql("SELECT payload FROM masked_events WHERE stream_version = 1 ORDER BY aggregate_id")
        assert [text for (text,) in shown.fetchall()] == [
            '{"text": "as kept"}',
            '{"text":"my name is [redacted], and 12 is my number"}',
        ]
        assert redact_events(connection, "TRUE").redactions == 2


def _event(stream: str, version: int, kind: str, payload: dict[str, Any], month: str) -> dict[str, Any]:
    return {
        "aggregate_id": stream,
        "aggregate_type": "conversation",
        "stream_version": version,
        "event_type": kind,
        "event_version": 1,
        "payload": payload,
        "metadata": {},
        "created_at": datetime(2026, int(month[-2:]), 3, tzinfo=UTC),
        "position": version,
        "epoch": 1,
        "xid": 1,
        "hash": bytes([version]),
        "month": month,
    }
