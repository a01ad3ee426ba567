"""Snapshots within a month: what stands after every so many events is what a fold up to there says."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.fold.shapes import STATE_LISTS
from pipelines.folds.shipped import projection_query
from pipelines.folds.steps import prepare_month
from tests.oracles import left_fold
from tests.oracles.left_fold_streams import StreamFold
from tests.support.equality import comparable, connect, create_events, rows_of
from tests.support.kernel import snapshots_of
from tests.support.log_strategies import exchanges, logs

Log = list[dict[str, Any]]
COUNTS = (
    "event_count",
    "skipped_events",
    "user_messages",
    "turns",
    "agent_messages",
    "agent_text_messages",
    "tool_call_count",
    "tool_result_count",
    "unanswered_tool_calls",
    "failed_tool_calls",
    "redaction_count",
    "input_tokens",
    "output_tokens",
    "final_text",
    "outcome",
    "source",
    "subject_id",
    "agent",
    "vertical",
    "started_at",
    "ended_at",
)
slow = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def states_at(log: Log) -> dict[tuple[str, int], dict[str, Any]]:
    """The plain left fold's state of every stream after each of its events; redactions as of the whole log."""
    states, fold = {}, StreamFold()
    for event, seen in left_fold.show(sorted(log, key=lambda e: (e["aggregate_id"], e["stream_version"]))):
        if event["aggregate_id"] != fold.aggregate_id:
            fold = StreamFold()
        fold.apply(event, seen)
        states[event["aggregate_id"], event["stream_version"]] = comparable(fold.state())
    return states


def assert_snapshots(log: Log, every: int) -> None:
    """Every snapshot of every month stands where the left fold stands; its lists, put together, are the left fold's."""
    states = states_at(log)
    found = snapshots_of(log, every)
    assert {(row["aggregate_id"], row["stream_version"]) for row in found} <= set(states)
    assert len({(row["aggregate_id"], row["stream_version"]) for row in found}) == len(found)
    lists: dict[str, dict[str, dict[int, Any]]] = {}
    for row in found:
        state = states[row["aggregate_id"], row["stream_version"]]
        assert {name: comparable(row[name], name) for name in COUNTS} == {name: state[name] for name in COUNTS}
        assert row["created_at"] == state["last_at"]
        assert (float(row["cost_usd"]) if row["cost_usd"] is not None else None) == state["cost_usd"]
        put = lists.setdefault(row["aggregate_id"], {name: {} for name in STATE_LISTS})
        has_states = row["aggregate_type"] in ("conversation", "call")
        assert (row["lists_since"] is not None) == (row["stream_version"] >= every or not has_states)
        if row["lists_since"] is not None:
            for name in STATE_LISTS:
                put[name] |= {each["stream_version"]: comparable(each) for each in row[name]}
                assert [put[name][version] for version in sorted(put[name])] == state[name], name


def stops(log: Log, every: int) -> dict[str, list[int]]:
    """The versions of each stream's snapshots, folded month by month."""
    made: dict[str, list[int]] = {}
    for row in snapshots_of(log, every):
        made.setdefault(row["aggregate_id"], []).append(row["stream_version"])
    return made


@settings(slow, max_examples=6)
@given(log=logs(max_streams=3, max_events=24), every=st.integers(min_value=1, max_value=7))
def test_a_months_fold_makes_the_snapshots_of_the_kernel(log: Log, every: int) -> None:
    """Row for row, with what was folded to each: the chain's link, the redactions in force, the code."""
    found: list[dict[str, Any]] = []
    with connect() as connection:
        create_events(connection, log)
        for month in sorted({event["month"] for event in log}):
            prepare_month(connection, month, ["snapshots"], snapshot_events=every)
            found += rows_of(connection, projection_query("snapshots"))
    expected = snapshots_of(log, every)
    assert comparable(found) == comparable(expected)


@slow
@given(log=logs(max_events=24), every=st.integers(min_value=1, max_value=7))
def test_snapshots_within_a_month_stand_where_the_left_fold_stands(log: Log, every: int) -> None:
    """Whatever happens between them: redactions, unknown events, messages that go on, months that end."""
    assert_snapshots(log, every)


@slow
@given(log=exchanges(), every=st.integers(min_value=1, max_value=4))
def test_calls_that_wait_at_a_snapshot_are_answered_after_it(log: Log, every: int) -> None:
    """Calls and results on both sides of a snapshot find each other; a call that is stated again has its result."""
    assert_snapshots(log, every)
