"""Streams that are larger than a batch: folded in parts, they give the rows that they give at once.

What a part must hand on: the message that may go on, calls that wait (results come several parts later, or never), ids that
are asked again, what was said since the newest snapshot, sums, where the stream comes from, if only a later part tells it,
hashes of contexts. A part ends where it may, so one message is one part, however long it is; months end, unknown and old
types pass, and redactions hide what an earlier part has.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.fold.batch import Batch
from pipelines.fold.fold import Folded
from pipelines.folds import steps
from pipelines.folds.plan import ALL, EVENT_BYTES, LAST_VERSION, Plan, RangeSize
from pipelines.folds.resume import plan_resume
from pipelines.folds.shipped import PROJECTIONS, projection_query
from pipelines.folds.steps import prepare_month
from pipelines.store.events import NewEvent
from tests.support.equality import connect, create_events, make_log, rows_of
from tests.support.log_strategies import exchanges, logs

Log = list[dict[str, Any]]
Rows = dict[tuple[str, str], list[dict[str, Any]]]
NAMES = tuple(name for name in (*PROJECTIONS, "snapshots") if name != "customer_months")
CARRIED = ("conversation_months", "call_months", "snapshots")
slow = settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
every_of = st.integers(min_value=1, max_value=7)
sizes = st.builds(lambda events, each: RangeSize(events, events * each), every_of, st.sampled_from([0, 300, 700]))


def fold(log: Log, every: int, size: RangeSize, *, goes_on: bool) -> Rows:
    """The rows of every month, folded in batches of `size`; from the months before, or each from the first event."""
    rows: Rows = {}
    months = sorted({event["month"] for event in log})
    with connect() as connection:
        create_events(connection, log)
        for number, month in enumerate(months):
            known = months[:number] if goes_on else []
            prepare_month(connection, month, NAMES, size=size, resumable=known, snapshot_events=every)
            for name in NAMES:
                rows[month, name] = rows_of(connection, projection_query(name))
            for name in CARRIED if goes_on else ():
                made = f"SELECT '{month}' AS month, * FROM ({projection_query(name)})"
                into = f"INSERT INTO {name}" if number else f"CREATE TABLE {name} AS"
                connection.execute(f"{into} {made}")
    return rows


def assert_equal(log: Log, every: int, size: RangeSize, *, goes_on: bool) -> None:
    """All rows of all months, in their order."""
    whole = fold(log, every, ALL, goes_on=goes_on)
    in_parts = fold(log, every, size, goes_on=goes_on)
    for key, rows in whole.items():
        assert in_parts[key] == rows, key


@slow
@given(log=logs(max_streams=3, max_events=20), every=every_of, size=sizes, goes_on=st.booleans())
def test_parts_are_the_whole(log: Log, every: int, size: RangeSize, goes_on: bool) -> None:
    """Wherever streams and months are cut: every projection, snapshots included, row for row."""
    assert_equal(log, every, size, goes_on=goes_on)


@settings(slow, max_examples=3)
@given(log=exchanges(min_streams=3, max_streams=5), every=every_of, size=sizes)
def test_results_find_tool_calls_of_earlier_parts(log: Log, every: int, size: RangeSize) -> None:
    """Calls and results with next to no ids find each other across parts, and rows come in the order of the calls."""
    assert_equal(log, every, size, goes_on=False)


TALK: list[tuple[str, dict[str, Any], str | None]] = [
    ("user.utterance.v1", {"text": "one"}, "u1"),
    ("tool.call.v1", {"call_id": "a", "name": "find", "arguments": {"n": 1}}, "m1"),
    ("tool.call.v1", {"call_id": "b", "name": "find", "arguments": {"n": 2}}, "m1"),
    ("user.utterance.v1", {"text": "still there?"}, "u2"),
    ("agent.utterance.v1", {"text": "wait"}, "m2"),
    ("user.utterance.v1", {"text": "I do"}, "u3"),
    ("tool.result.v1", {"call_id": "b", "output": 2, "error": None}, None),
    ("tool.result.v1", {"call_id": "a", "output": 1, "error": None}, None),
    *[("agent.utterance.v1", {"text": f"part {number}"}, "m3") for number in range(6)],
    ("redaction.applied.v1", {"target": {"stream_version": 1}, "path": "/text", "method": "mask", "reason": "r"}, None),
    ("tool.call.v1", {"call_id": "a", "name": "find", "arguments": {"n": 3}}, "m4"),
]


def talk() -> Log:
    """A stream that says only in its last event where it comes from; results come parts after their calls, out of order."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    events = [NewEvent(kind, payload, {"message_id": message}, at) for kind, payload, message in TALK]
    events.append(NewEvent("user.utterance.v1", {"text": "bye"}, {"message_id": "u4", "source": "desk"}, at))
    return make_log([("00000000-0000-0000-0000-000000000001", "conversation", events)])


@pytest.fixture(scope="module")
def talked() -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, list[dict[str, Any]]]]]:
    """The log of `talk`, and the rows of all projections folded together."""
    with connect() as connection:
        create_events(connection, talk())
        prepare_month(connection, "2026-01", NAMES, size=ALL, snapshot_events=3)
        yield connection, {name: rows_of(connection, projection_query(name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_each_projection_alone(
    name: str, talked: tuple[duckdb.DuckDBPyConnection, dict[str, list[dict[str, Any]]]]
) -> None:
    """A projection folded by itself, which reads and makes less, has the rows that it has beside all others."""
    connection, together = talked
    prepare_month(connection, "2026-01", (name,), size=RangeSize(6), snapshot_events=3)
    alone = rows_of(connection, projection_query(name))
    assert alone == together[name]
    assert all(row["source"] == "desk" for row in alone if name in ("utterances", "tool_calls", "decisions"))


def test_ranges_are_measured_in_bytes() -> None:
    """Whole streams up to the size; a stream that alone has more in quarters of it, an event that has more than that alone."""
    at = datetime(2026, 1, 2, tzinfo=UTC)

    def said(*lengths: int) -> list[NewEvent]:
        return [NewEvent("user.utterance.v1", {"text": "x" * length}, {}, at) for length in lengths]

    streams = {
        "1": said(10, 10),
        "2": said(10),
        "3": said(9_000, 10, 10, 10, 9_000, 3_000, 10),
        "4": said(2_000),
        "5": said(3_000),
    }
    ids = {name: f"0000000{name}-0000-0000-0000-000000000000" for name in streams}
    log = make_log([(ids[name], "conversation", events) for name, events in streams.items()])
    with connect() as connection:
        create_events(connection, log)
        plan = Plan(connection, "2026-01")
        plan_resume(plan, [])
        found = plan.spans(RangeSize(1_000, 8_000))
    large = [span for span in found if span.stream == ids["3"]]
    assert [(span.low, span.events) for span in found if not span.stream] == [("", 3), (ids["4"], 2)]
    assert [(span.after, span.until) for span in large] == [
        *pairwise([0, *(span.after for span in large[1:]), LAST_VERSION])
    ]
    assert sum(span.events for span in large) == len(streams["3"])
    sizes = [EVENT_BYTES + len(event.payload["text"]) for event in streams["3"]]
    for span in large:
        assert sum(sizes[span.after : span.after + span.events - 1]) < 8_000 // 4
    assert (0, 1) in [(span.after, span.until) for span in large]


def test_a_message_is_never_cut() -> None:
    """Parts of two events at most, but for the message of six: it is one part, with what is known to follow it."""
    with connect() as connection:
        create_events(connection, talk())
        lengths: list[int] = []
        fold = steps.fold

        def spy(batch: Batch) -> Folded:
            lengths.append(len(batch.owners))
            return fold(batch)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(steps, "fold", spy)
            prepare_month(connection, "2026-01", NAMES, size=RangeSize(2))
    assert len(lengths) > 4
    assert 6 <= max(lengths) <= 8
    assert sum(lengths) == len(TALK) + 1
