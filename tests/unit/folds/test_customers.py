"""Customers go on from the month before: a month's own events and what was left give what the whole history gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pipelines.demo.desk import generate
from pipelines.folds.customers import GOES_ON_FROM
from pipelines.folds.shipped import projection_query
from pipelines.folds.steps import prepare_month
from pipelines.lake.datasets import find_dataset
from tests.oracles import left_fold
from tests.support.equality import comparable, connect, create_events, make_log, rows_of
from tests.support.log_strategies import logs

Log = list[dict[str, Any]]


def assert_goes_on(log: Log) -> None:
    """Fold month after month, each from what the months before it left; hold the rows to the left fold and the full fold."""
    with connect() as connection:
        create_events(connection, log)
        for name in (*GOES_ON_FROM, "conversation_months", "call_months"):
            connection.execute(f"CREATE TABLE {name} AS {find_dataset(name).typed_empty()}")
        for month in sorted({event["month"] for event in log}):
            prepare_month(connection, month, GOES_ON_FROM)
            whole = {name: rows_of(connection, projection_query(name)) for name in GOES_ON_FROM}
            prepare_month(connection, month, GOES_ON_FROM, customers_go_on=True)
            for name in GOES_ON_FROM:
                assert rows_of(connection, projection_query(name)) == whole[name], (name, month)
                connection.execute(
                    f"INSERT INTO {name} BY NAME SELECT '{month}' AS month, * FROM ({projection_query(name)})"
                )
            # the month's history is not read
            read = "SELECT count(*) FROM fold_subject_events WHERE month <> $month"
            assert connection.sql(read, params={"month": month}).fetchall() == [(0,)]
            expected = left_fold.fold_month(log, month)["customer_months"]
            assert comparable(whole["customer_months"]) == comparable(expected), month


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(log=logs(max_streams=8))
def test_a_month_of_customers_is_what_they_bring_and_its_events(log: Log) -> None:
    """Streams and people across months, messages that go on, rows deleted and made again: as if read from the start."""
    assert_goes_on(log)


@pytest.mark.parametrize("events", [2_000])
def test_the_simulated_desk(events: int) -> None:
    """The desk's customers, month after month."""
    assert_goes_on(make_log((str(b.aggregate_id), b.aggregate_type, b.events) for b in generate(events)))
