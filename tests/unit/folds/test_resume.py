"""Snapshot and tail: a fold that goes on from where streams stood gives what a fold of their whole history gives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.folds.plan import ALL, RangeSize
from pipelines.folds.shipped import PROJECTIONS, projection_query
from pipelines.folds.steps import prepare_month
from tests.oracles import left_fold
from tests.support.equality import comparable, connect, create_events, rows_of
from tests.support.log_strategies import exchanges, logs

Log = list[dict[str, Any]]

BEFORE, AFTER = "2026-01", "2026-02"
CARRIED = ("conversation_months", "call_months", "snapshots")
slow = settings(deadline=None, max_examples=4, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
cuts = st.lists(st.integers(min_value=0, max_value=14), min_size=24, max_size=24)


def cut_log(log: Log, at: list[int]) -> Log:
    """The same log, each stream cut at a version of its own: what is before the cut is one month, the rest the next."""
    streams = sorted({event["aggregate_id"] for event in log})
    cut = dict(zip(streams, at, strict=False))
    return [
        {**event, "month": BEFORE if event["stream_version"] <= cut[event["aggregate_id"]] else AFTER} for event in log
    ]


def fold_on(log: Log) -> dict[str, list[dict[str, Any]]]:
    """Fold the first month, keep its snapshots and states, and go on from them: the rows of the second month."""
    with connect() as connection:
        create_events(connection, log)
        prepare_month(connection, BEFORE, CARRIED)
        for name in CARRIED:
            connection.execute(
                f"CREATE OR REPLACE TABLE {name} AS SELECT '{BEFORE}' AS month, * FROM ({projection_query(name)})"
            )
        prepare_month(connection, AFTER, PROJECTIONS, resumable=[BEFORE])
        return {name: rows_of(connection, projection_query(name)) for name in PROJECTIONS}


def assert_goes_on(log: Log) -> None:
    """Both ways give the same rows of every projection."""
    rows = fold_on(log)
    expected = left_fold.fold_month(log, AFTER)
    for name in PROJECTIONS:
        assert comparable(rows[name]) == comparable(expected[name]), name


@slow
@given(log=logs(min_streams=6, max_streams=16), at=cuts)
def test_a_snapshot_and_the_tail_are_the_whole(log: Log, at: list[int]) -> None:
    """fold(events ≤ v) = fold(snapshot at s, events s+1 … v), wherever each stream is cut, in the middle of messages too."""
    assert_goes_on(cut_log(log, at))


@slow
@given(log=exchanges(), at=cuts)
def test_waiting_calls_are_answered_after_the_cut(log: Log, at: list[int]) -> None:
    """Calls and results on both sides of the cut find each other as if there were none."""
    assert_goes_on(cut_log(log, at))


@pytest.mark.parametrize("size", [RangeSize(1), RangeSize(3), RangeSize(3, 900), ALL])
def test_batches_change_nothing(size: RangeSize) -> None:
    """A stream at a time, a few, or all at once: the rows are the same."""
    log = [
        {
            "month": AFTER,
            "aggregate_id": f"00000000-0000-0000-0000-{number:012d}",
            "aggregate_type": "conversation",
            "stream_version": version,
            "event_type": kind,
            "event_version": 1,
            "payload": payload,
            "metadata": {"message_id": f"m{version}"},
            "created_at": datetime(2026, 2, 1, 0, 0, version, tzinfo=UTC),
            "epoch": 1,
            "xid": 1,
            "position": 10 * number + version,
            "hash": b"",
        }
        for number in range(1, 8)
        for version, (kind, payload) in enumerate(
            [
                ("user.utterance.v1", {"text": f"hello {number}"}),
                ("tool.call.v1", {"call_id": "c", "name": "find", "arguments": {"n": number % 3}}),
                ("tool.result.v1", {"call_id": "c", "output": number, "error": None}),
                ("agent.utterance.v1", {"text": "done"}),
            ][: 1 + number % 4],
            start=1,
        )
    ]
    with connect() as connection:
        create_events(connection, log)
        prepare_month(connection, AFTER, PROJECTIONS, size=size)
        rows = {name: rows_of(connection, projection_query(name)) for name in PROJECTIONS}
    expected = left_fold.fold_month(log, AFTER)
    for name in PROJECTIONS:
        assert comparable(rows[name]) == comparable(expected[name]), name
