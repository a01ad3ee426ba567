"""Time travel in SQL against the plain left fold of the events up to the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.demo.desk import generate
from pipelines.store.events import NewEvent
from tests.strategies import logs
from tests.unit.folds.equality import make_log, rows_of
from tests.unit.folds.time_travel import STATES, Log, as_of, assert_equal, folded


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(log=logs(max_streams=10, max_events=20), data=st.data())
def test_a_state_at_any_time_is_the_left_fold_up_to_it(log: Log, data: st.DataObject) -> None:
    """At, just before and between events, in any month, redactions of later included."""
    with folded(log) as connection:
        times = sorted({event["created_at"] for event in log}) or [datetime(2026, 2, 1, tzinfo=UTC)]
        for at in data.draw(st.lists(st.sampled_from(times), min_size=1, max_size=3, unique=True)):
            assert_equal(connection, log, at)
            assert_equal(connection, log, at - timedelta(microseconds=1))


def test_the_simulated_desk_at_several_times() -> None:
    """Conversations, calls and customers of the desk, in the middle of months, at their bounds, before and after all."""
    log = make_log((str(b.aggregate_id), b.aggregate_type, b.events) for b in generate(3_000))
    times = sorted(event["created_at"] for event in log)
    first = times[len(times) // 2].replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    with folded(log) as connection:
        for at in (
            times[len(times) // 3],
            first,
            first - timedelta(microseconds=1),
            times[-1],
            times[0] - timedelta(days=9),
        ):
            assert_equal(connection, log, at)
        assert as_of(connection, "conversations", times[0] - timedelta(days=9), "aggregate_id") == []


@pytest.mark.parametrize("dataset", STATES, ids=lambda dataset: dataset.name)
def test_the_end_of_a_month_is_its_monthly_state(dataset: Any) -> None:
    """Names, types and values at a month's last moment are those of the monthly states."""
    log = make_log((str(b.aggregate_id), b.aggregate_type, b.events) for b in generate(1_000))
    month = min({event["month"] for event in log})
    name = {"conversation_months": "conversations", "call_months": "calls", "customer_months": "customers"}[
        dataset.name
    ]
    end = max(event["created_at"] for event in log if event["month"] == month)
    with folded(log) as connection:
        key = dataset.sort_by[0]
        states = rows_of(connection, f"SELECT * FROM {dataset.name} WHERE month = '{month}' ORDER BY {key}")
        assert as_of(connection, name, end, key) == states
        described = connection.sql(f"DESCRIBE SELECT * FROM {name}_as_of(now())").fetchall()
        assert described == connection.sql(f"DESCRIBE {dataset.name}").fetchall()


STREAM = "00000000-0000-0000-0000-000000000001"
FEBRUARY = datetime(2026, 2, 10, tzinfo=UTC)


def divided(*later: NewEvent) -> Log:
    """A conversation of January that goes on in February, before and after the time; a call waits across the months."""
    days = [
        (5, "user.utterance.v1", {"text": "hello"}, "u1"),
        (5, "tool.call.v1", {"call_id": "c", "name": "find", "arguments": {"n": 1}}, "m1"),
        (5, "agent.utterance.v1", {"text": "wait"}, "m2"),
        (36, "tool.result.v1", {"call_id": "c", "output": 1, "error": "late"}, None),
        (36, "agent.utterance.v1", {"text": "found"}, "m3"),
        (50, "user.utterance.v1", {"text": "thanks"}, "u2"),
    ]
    events = [
        NewEvent(kind, payload, {"message_id": message}, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day))
        for day, kind, payload, message in days
    ]
    return make_log([(STREAM, "conversation", [*events, *later])])


def turns_at(connection: Any, at: datetime) -> int:
    [row] = as_of(connection, "conversations", at, "aggregate_id")
    turns: int = row["turns"]
    return turns


def test_a_divided_stream_goes_on_from_where_it_stood() -> None:
    """A snapshot of before the month is gone on from while it is of this code and log; another, or none, changes nothing."""
    log = divided()
    with folded(log) as connection:
        assert_equal(connection, log, FEBRUARY)
        connection.execute("UPDATE snapshots SET turns = turns + 100 WHERE month = '2026-01'")
        assert turns_at(connection, FEBRUARY) == 101
        connection.execute("UPDATE stream_months SET last_hash = 'another' WHERE month = '2026-01'")
        assert_equal(connection, log, FEBRUARY)
        connection.execute(
            "UPDATE stream_months SET last_hash = snapshots.last_hash FROM snapshots WHERE snapshots.month = '2026-01'"
        )
        assert turns_at(connection, FEBRUARY) == 101
        connection.execute("UPDATE snapshots SET code_hash = 'of other code'")
        assert_equal(connection, log, FEBRUARY)
        connection.execute("DELETE FROM snapshots")
        assert_equal(connection, log, FEBRUARY)


def test_a_later_redaction_is_in_force_before_snapshots_know_of_it() -> None:
    """What stood before a redaction is not gone on from, nor is the month's state shown, though nothing else divides them."""
    hidden = {"target": {"stream_version": 1}, "path": "/text", "method": "mask", "reason": "asked"}
    log = divided(NewEvent("redaction.applied.v1", hidden, {}, datetime(2026, 3, 20, tzinfo=UTC)))
    with folded(log) as connection:
        connection.execute("UPDATE snapshots SET turns = turns + 100")
        connection.execute("UPDATE conversation_months SET turns = turns + 100")
        for at in (FEBRUARY, datetime(2026, 2, 28, tzinfo=UTC)):
            assert_equal(connection, log, at)


def test_a_stream_that_the_time_does_not_divide_is_its_stored_row() -> None:
    """The month's state is shown as it is, unless the log has gone on since it was folded."""
    log, at = divided(), datetime(2026, 2, 28, tzinfo=UTC)
    with folded(log) as connection:
        assert_equal(connection, log, at)
        connection.execute("UPDATE conversation_months SET turns = turns + 100 WHERE month = '2026-02'")
        assert turns_at(connection, at) == 102
        connection.execute("UPDATE conversation_months SET last_version = last_version - 1 WHERE month = '2026-02'")
        assert_equal(connection, log, at)


def test_what_a_redaction_hides_is_withheld_until_its_fold() -> None:
    """A payload that a redaction names is shown redacted, and not at all while its month was not folded since."""
    [batch] = [b for b in generate(1_000) if any(e.event_type == "redaction.applied.v1" for e in b.events)][:1]
    log = make_log([(str(batch.aggregate_id), batch.aggregate_type, batch.events)])
    named = {e["payload"]["target"]["stream_version"] for e in log if e["event_type"] == "redaction.applied.v1"}
    query = "SELECT stream_version, payload FROM readable_events ORDER BY stream_version"
    with folded(log) as connection:
        shown = dict(connection.sql(query).fetchall())
        assert all("[redacted]" in shown[version] for version in named)
        connection.execute("DELETE FROM redacted_events")
        shown = dict(connection.sql(query).fetchall())
        assert {version for version, payload in shown.items() if payload is None} == named
