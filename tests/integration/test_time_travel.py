"""Time travel and readable events on a lake and in `lake.duckdb`, beside `refold state --at`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from pipelines.errors import BadInputError
from pipelines.folds.as_of import Point, connect_at, read_point
from pipelines.folds.redacted import fold_redacted
from pipelines.folds.run import fold_month, state
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.lake import Lake
from tests.support.history import HISTORY, MONTHS, ONE, REDACTION, START, query, write_log

AT = [START + timedelta(days=days) for days in (0, 0.005, 15, 20, 20.05, 30, 45, 400)]


def fold(lake: Lake) -> Lake:
    for month in MONTHS:
        fold_redacted(lake, month)
        fold_month(lake, month, ["conversation_months"])
    return lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three months with a late redaction of the first, folded."""
    return fold(write_log(tmp_path / "lake", [*HISTORY, (ONE, "conversation", [REDACTION])]))


def test_a_row_as_of_a_time_is_what_state_shows(lake: Lake):
    """At any time, and at any position, the one row of the view is what `refold state` shows of it."""
    points = [(Point(at), {"at": at}) for at in AT]
    points += [(Point(position=place), {"position": place}) for (place,) in query(lake, "SELECT position FROM events")]
    compared = 0
    for point, given in points:
        with connect_at(lake, point) as connection:
            rows = connection.sql(
                f"SELECT event_count, last_version, turns, transcript, month FROM conversations WHERE aggregate_id = '{ONE}'"
            ).fetchall()
        if not rows:
            with pytest.raises(BadInputError, match="no event yet"):
                state(lake, ONE, **given)
            continue
        found = state(lake, ONE, **given)
        said = [[each["stream_version"], each["text"]] for each in found["transcript"]]
        assert [row[:3] for row in rows] == [(found["event_count"], found["last_version"], found["turns"])], point
        assert [[each["stream_version"], each["text"]] for each in rows[0][3]] == said
        assert rows[0][4] == f"{found['last_at']:%Y-%m}"
        assert "Anna" not in str(rows)
        compared += 1
    assert compared > len(AT)
    with connect_at(lake, Point(START - timedelta(seconds=1))) as connection:
        assert connection.sql("SELECT * FROM conversations").fetchall() == []
    assert list(lake.spill.iterdir()) == []


def test_a_redaction_that_is_not_folded_yet_is_in_force_in_the_past(tmp_path: Path):
    """What the log hides now is hidden in a state of before, although no table knows of it yet."""
    lake = fold(write_log(tmp_path / "lake", HISTORY))
    point = Point(AT[1])

    def said() -> str:
        with connect_at(lake, point) as connection:
            return str(connection.sql("SELECT transcript FROM conversations").fetchall())

    assert "Anna" in said()
    lake = write_log(lake.root, [*HISTORY, (ONE, "conversation", [REDACTION])])
    assert "[redacted] here" in said()
    assert "Anna" not in said()


def test_whoever_looks_for_a_macro_is_told_where_time_travel_is(lake: Lake, tmp_path: Path):
    """The catalog, which cannot fold, says in one sentence what does."""
    publish_catalog(lake, tmp_path / "lake.duckdb")
    with (
        duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as reader,
        pytest.raises(duckdb.Error, match=r"refold sql --at TIME 'SELECT … FROM calls'"),
    ):
        reader.sql("SELECT * FROM calls_as_of('2026-05-01')").fetchall()


def test_one_point_is_given():
    """A time or a position; a time without a zone is UTC."""
    for given in ((None, None), (START, 1)):
        with pytest.raises(BadInputError, match="--position"):
            read_point(*given)
    assert read_point(START.replace(tzinfo=None), None) == Point(START)


def test_readable_events_hide_what_is_redacted_from_the_first_moment(tmp_path: Path):
    """A redaction that is in the log and not folded yet withholds what it names; the fold shows what is left of it."""
    lake = fold(write_log(tmp_path / "lake", HISTORY))
    assert "Anna" in str(query(lake, "SELECT payload FROM readable_events"))
    lake = write_log(lake.root, [*HISTORY, (ONE, "conversation", [REDACTION])])
    named = f"SELECT payload FROM readable_events WHERE aggregate_id = '{ONE}' AND stream_version = 2"
    assert query(lake, named) == [(None,)]
    results = [fold_redacted(lake, month) for month in MONTHS]
    assert [(result.rows, result.redactions) for result in results] == [(1, 1), (0, 0), (0, 0)]
    assert query(lake, named) == [('{"text":"[redacted] here, refund please"}',)]
    assert not any(fold_redacted(lake, month).is_written for month in MONTHS)


def test_types_of_ones_own_are_lifted_where_events_are_read(tmp_path: Path):
    """`upcasters/` of the home lifts types that are not shipped; a gap and a shipped type are refused at once."""
    folder = tmp_path / "upcasters"
    folder.mkdir()
    step = folder / "weather.changed.v1.sql"
    step.write_text("SELECT json_merge_patch(payload, '{\"two\": true}')", encoding="utf-8")
    write_log(tmp_path / "lake", HISTORY)
    lake = Lake(tmp_path / "lake", home=tmp_path)
    query_weather = (
        "SELECT event_name, event_type, event_version, payload FROM readable_events WHERE event_type LIKE 'weather%'"
    )
    assert query(lake, query_weather) == [("weather.changed", "weather.changed.v2", 2, '{"two":true}')]
    step.rename(folder / "weather.changed.v2.sql")
    with pytest.raises(
        BadInputError, match=rf"weather.changed.v1 cannot be lifted to v2: write {folder}/weather.changed.v1.sql"
    ):
        query(lake, query_weather)
    (folder / "weather.changed.v2.sql").rename(folder / "tool.call.v1.sql")
    with pytest.raises(BadInputError, match=r"tool\.call is a shipped type"):
        query(lake, query_weather)
