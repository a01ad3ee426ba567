"""The SQL folds against the plain left fold, on logs that Hypothesis makes up."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.folds import reference
from pipelines.folds.steps import PROJECTIONS
from tests.strategies import MONTHS, UNKNOWN, logs
from tests.unit.folds.equality import comparable, connect, create_events, fold_with_sql

LOG = list[dict[str, Any]]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(log=logs(), month=st.sampled_from(MONTHS))
def test_every_projection_equals_the_left_fold(log: LOG, month: str) -> None:
    """For any month the rows in SQL are those of the plain left fold, in the order of the key."""
    with connect() as connection:
        create_events(connection, log)
        prepared, rows = fold_with_sql(connection, month)
    expected = reference.fold_month(log, month)
    for name in PROJECTIONS:
        assert comparable(rows[name]) == comparable(expected[name]), name
    of_month = [event for event in log if event["month"] == month]
    assert prepared.events == len(of_month)
    assert prepared.skipped_events == sum(event["event_type"] in UNKNOWN for event in of_month)
