"""Streams that are larger than a batch: folded in parts, they give the rows that they give at once.

What a part must hand on: the message that may go on, calls that wait (results come several parts later, or never), ids that
are asked again, what was said since the newest snapshot, sums, where the stream comes from, if only a later part tells it,
hashes of contexts. A part ends where it may, so one message is one part, however long it is; months end, unknown and old
types pass, and redactions hide what an earlier part has.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.folds.steps import PROJECTIONS, prepare_month, projection_query
from tests.strategies import exchanges, logs
from tests.unit.folds.equality import connect, create_events, rows_of

Log = list[dict[str, Any]]
Rows = dict[tuple[str, str], list[dict[str, Any]]]
NAMES = tuple(name for name in (*PROJECTIONS, "snapshots") if name != "customer_months")
CARRIED = ("conversation_months", "call_months", "snapshots")
slow = settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
sizes = st.integers(min_value=1, max_value=7)


def fold(log: Log, every: int, size: int, *, goes_on: bool) -> Rows:
    """The rows of every month, folded in batches of `size` events; from the months before, or each from the first event."""
    rows: Rows = {}
    months = sorted({event["month"] for event in log})
    with connect() as connection:
        create_events(connection, log)
        for number, month in enumerate(months):
            known = months[:number] if goes_on else []
            prepare_month(connection, month, NAMES, batch_events=size, resumable=known, snapshot_events=every)
            for name in NAMES:
                rows[month, name] = rows_of(connection, projection_query(name))
            for name in CARRIED if goes_on else ():
                made = f"SELECT '{month}' AS month, * FROM ({projection_query(name)})"
                into = f"INSERT INTO {name}" if number else f"CREATE TABLE {name} AS"
                connection.execute(f"{into} {made}")
    return rows


def assert_equal(log: Log, every: int, size: int) -> None:
    """All rows of all months, in their order."""
    whole = fold(log, every, 0, goes_on=False)
    in_parts = fold(log, every, size, goes_on=False)
    for key, rows in whole.items():
        assert in_parts[key] == rows, key
    whole_on, on = fold(log, every, 0, goes_on=True), fold(log, every, size, goes_on=True)
    for key, rows in whole_on.items():
        assert on[key] == rows, key
        if key[1] != "snapshots":  # which say since where they list what was said
            assert rows == whole[key], key


@slow
@given(log=logs(max_streams=4, max_events=24), every=sizes, size=sizes)
def test_parts_are_the_whole(log: Log, every: int, size: int) -> None:
    """Wherever streams and months are cut: every projection, snapshots included, row for row."""
    assert_equal(log, every, size)


@slow
@given(log=exchanges(), every=sizes, size=sizes)
def test_results_find_calls_of_earlier_parts(log: Log, every: int, size: int) -> None:
    """Calls and results with next to no ids find each other across parts, and rows come in the order of the calls."""
    assert_equal(log, every, size)
