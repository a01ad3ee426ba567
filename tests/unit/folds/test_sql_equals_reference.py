"""The SQL folds against the plain left fold, on logs that Hypothesis makes up."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings

from pipelines.folds.shipped import PROJECTIONS
from tests.oracles import left_fold
from tests.support.equality import comparable, connect, create_events, fold_with_sql
from tests.support.log_strategies import UNKNOWN, exchanges, logs, months_of

Log = list[dict[str, Any]]

# every example plans some thirty statements, which takes DuckDB longer than running them: few examples, of many streams
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def assert_equal_folds(log: Log, month: str, names: tuple[str, ...] = PROJECTIONS) -> None:
    """Fold both ways and compare all rows."""
    with connect() as connection:
        create_events(connection, log)
        prepared, rows = fold_with_sql(connection, month, names)
    expected = left_fold.fold_month(log, month)
    for name in names:
        assert comparable(rows[name]) == comparable(expected[name]), name
    of_month = [event for event in log if event["month"] == month]
    assert prepared.events == len(of_month)
    assert prepared.skipped_events == sum(
        event["event_type"] in UNKNOWN and not event.get("digest") for event in of_month
    )


@settings(slow, max_examples=6)
@given(folded=months_of(logs(min_streams=9, max_streams=18)))
@example(folded=([], "2026-01"))
def test_every_projection_equals_the_left_fold(folded: tuple[Log, str]) -> None:
    """For any month the rows in SQL are those of the plain left fold, in the order of the key."""
    assert_equal_folds(*folded)


@settings(slow, max_examples=6)
@given(log=exchanges(min_streams=20, max_streams=40))
def test_results_find_their_calls(log: Log) -> None:
    """Calls and results with next to no ids, of users and agents: each result answers the call that the left fold gives it."""
    assert_equal_folds(log, "2026-01", ("tool_calls", "conversation_months"))


@settings(slow, max_examples=6)
@given(
    log=logs(
        min_streams=8,
        max_streams=24,
        max_events=20,
        kinds=["agent.utterance.v1", "model.decision.v2", "tool.call.v1", "user.utterance.v1", "tool.result.v1"],
        pauses=[0],
    )
)
def test_messages_and_turns_are_those_of_the_context(log: Log) -> None:
    """Messages, turns and context lengths are those of the context that a replay rebuilds."""
    assert_equal_folds(log, "2026-01", ("decisions", "conversation_months"))


@settings(slow, max_examples=6)
@given(folded=months_of(logs(min_streams=2, max_streams=6, kinds=["row.changed.v1"])))
def test_rows_and_refunds_of_customers(folded: tuple[Log, str]) -> None:
    """The newest row wins across streams, by time and then position; deleted rows are gone, refunds are counted once."""
    assert_equal_folds(*folded, ("customer_months",))
