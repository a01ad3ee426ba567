"""Time travel against the plain left fold of the events up to a time or a position."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.demo.desk import generate
from pipelines.folds.as_of import STATES, Current, Point
from pipelines.folds.plan import ALL, RangeSize
from pipelines.lake.datasets import find_dataset
from pipelines.store.events import NewEvent
from tests.support.equality import make_log, rows_of
from tests.support.log_strategies import logs
from tests.support.time_travel import KEYS, Log, as_of, assert_equal, everything_before, folded

NOTHING = Current()


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(log=logs(max_streams=10, max_events=20), data=st.data())
def test_a_state_at_any_point_is_the_left_fold_up_to_it(log: Log, data: st.DataObject) -> None:
    """At, just before and between events, in any month, redactions of later included; from stored states and without any."""
    times = sorted({event["created_at"] for event in log}) or [datetime(2026, 2, 1, tzinfo=UTC)]
    at = data.draw(st.sampled_from(times))
    points = [Point(at), Point(at - timedelta(microseconds=1))]
    points.append(Point(position=data.draw(st.sampled_from([event["position"] for event in log] or [1]))))
    ways = st.tuples(
        st.sampled_from([NOTHING, everything_before(log)]), st.sampled_from([ALL, RangeSize(3), RangeSize(3, 2_000)])
    )
    drawn = [(point, *data.draw(ways)) for point in points]
    with folded(log, snapshot_events=6) as connection:
        for point, current, size in drawn:
            assert_equal(connection, log, point, current, size=size, snapshot_events=6)


def test_the_simulated_desk_at_several_points() -> None:
    """Conversations, calls and customers of the desk, in the middle of months, at their bounds, before and after all."""
    log = make_log((str(b.aggregate_id), b.aggregate_type, b.events) for b in generate(1_200))
    assert len({event["month"] for event in log}) > 1
    times = sorted(event["created_at"] for event in log)
    first = times[len(times) // 2].replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    points = [Point(at) for at in (times[len(times) // 3], first, first - timedelta(microseconds=1), times[-1])]
    points += [Point(times[0] - timedelta(days=9)), Point(position=len(log) // 2)]
    with folded(log) as connection:
        for point in points:
            assert_equal(connection, log, point, everything_before(log))
        assert not any(as_of(connection, Point(times[0] - timedelta(days=9)), NOTHING).values())


def test_the_end_of_a_month_is_its_monthly_state() -> None:
    """Names, types and values at a month's last moment are those of the monthly states."""
    log = make_log((str(b.aggregate_id), b.aggregate_type, b.events) for b in generate(1_000))
    month = min({event["month"] for event in log})
    end = max(event["created_at"] for event in log if event["month"] == month)
    with folded(log) as connection:
        found = as_of(connection, Point(end), NOTHING)
        for dataset, key in STATES.items():
            name = f"{dataset.removesuffix('_months')}s"
            states = rows_of(connection, f"SELECT * FROM stored_{dataset} WHERE month = '{month}' ORDER BY {key}")
            assert found[name] == states != [], name
            columns = connection.sql(f"DESCRIBE {name}").fetchall()
            assert columns == connection.sql(f"DESCRIBE ({find_dataset(dataset).typed_empty()})").fetchall()


STREAM = "00000000-0000-0000-0000-000000000001"
FEBRUARY = Point(datetime(2026, 2, 10, tzinfo=UTC))


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
    another = NewEvent("user.utterance.v1", {"text": "hello"}, {}, datetime(2026, 3, 1, tzinfo=UTC))
    return make_log(
        [(STREAM, "conversation", [*events, *later]), (STREAM.replace("1", "2"), "conversation", [another])]
    )


def turns_at(connection: Any, point: Point, current: Current) -> int:
    [row] = as_of(connection, point, current)["conversations"]
    turns: int = row["turns"]
    return turns


def test_a_divided_stream_goes_on_from_where_it_stood() -> None:
    """A snapshot of before the month is gone on from while it is what a fold would write; another, or none, changes nothing."""
    log = divided()
    with folded(log) as connection:
        january = Current(months=["2026-01"])
        for current in (NOTHING, january):
            assert_equal(connection, log, FEBRUARY, current)
        connection.execute("UPDATE stored_snapshots SET turns = turns + 100 WHERE month = '2026-01'")
        assert turns_at(connection, FEBRUARY, january) == 101
        assert_equal(connection, log, FEBRUARY, NOTHING)
        connection.execute("DELETE FROM stored_snapshots")
        assert_equal(connection, log, FEBRUARY, january)


def test_a_later_redaction_is_in_force_before_snapshots_know_of_it() -> None:
    """A stream with a redaction that its month's snapshot does not know is not shown as the month's state has it."""
    hidden = {"target": {"stream_version": 1}, "path": "/text", "method": "mask", "reason": "asked"}
    log = divided(NewEvent("redaction.applied.v1", hidden, {}, datetime(2026, 3, 20, tzinfo=UTC)))
    with folded(log) as connection:
        connection.execute("UPDATE stored_conversation_months SET turns = turns + 100")
        connection.execute("UPDATE stored_snapshots SET turns = turns + 100, redactions_hash = NULL")
        for point in (FEBRUARY, Point(datetime(2026, 2, 28, tzinfo=UTC))):
            assert_equal(connection, log, point, Current(is_month=True))


def test_a_stream_that_the_point_does_not_divide_is_its_stored_row() -> None:
    """The month's state is shown as it is, unless it was folded by other code, or the log has gone on since."""
    late = NewEvent("user.utterance.v1", {"text": "more"}, {}, datetime(2026, 2, 27, tzinfo=UTC))
    log, point = divided(late), Point(datetime(2026, 2, 27, tzinfo=UTC))
    others = make_log([("00000000-0000-0000-0000-000000000003", "conversation", [late, late])])
    others[1]["created_at"] += timedelta(days=1)
    log += [{**event, "position": event["position"] + len(log)} for event in others]
    with folded(log) as connection:
        connection.execute(f"UPDATE stored_conversation_months SET turns = turns + 100 WHERE aggregate_id = '{STREAM}'")
        found = as_of(connection, point, Current(is_month=True))["conversations"]
        assert [row["turns"] for row in found] == [103, 1]
        assert_equal(connection, log, point, NOTHING)
        connection.execute("UPDATE stored_snapshots SET last_hash = 'another'")
        assert_equal(connection, log, point, Current(is_month=True))


def test_a_point_where_a_snapshot_is() -> None:
    """A stream that goes on in the month is folded, also when the point is the event of a snapshot within it."""
    texts = ["a", "b", "c", "d", "e"] * 4
    start = datetime(2026, 2, 3, tzinfo=UTC)
    events = [
        NewEvent("user.utterance.v1", {"text": text}, {"message_id": str(place)}, start + timedelta(minutes=place))
        for place, text in enumerate(texts)
    ]
    log = make_log([(STREAM, "conversation", events)])
    with folded(log, snapshot_events=5) as connection:
        assert connection.sql("SELECT count(*) FROM stored_snapshots").fetchall() == [(4,)]
        for event in (*log[4::5], log[5]):
            for point in (Point(event["created_at"]), Point(position=event["position"])):
                assert_equal(connection, log, point, everything_before(log), snapshot_events=5)


def test_every_view_has_its_rows() -> None:
    """What is shown as of a point are the views of that name."""
    assert set(KEYS) == {f"{name.removesuffix('_months')}s" for name in STATES}
