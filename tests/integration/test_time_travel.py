"""Time travel and readable events on a lake and in `lake.duckdb`, beside `refold state --at`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from pipelines.errors import BadInputError
from pipelines.folds.redacted import fold_redacted
from pipelines.folds.run import fold_month, state
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.lake import Lake
from tests.integration.test_folds_lake import HISTORY, MONTHS, ONE, REDACTION, START, query, write_log

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


def test_the_catalog_answers_as_state_does(lake: Lake, tmp_path: Path):
    """At any time, one row of the macro is what `refold state --at` shows, in a plain client too."""
    publish_catalog(lake, tmp_path / "lake.duckdb")
    with duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as reader:
        reader.execute("SET TimeZone = 'America/Los_Angeles'")
        for at in AT:
            table = f"conversations_as_of(TIMESTAMPTZ '{at.isoformat()}')"
            rows = reader.sql(f"SELECT event_count, last_version, turns, transcript, month FROM {table}").fetchall()
            found = state(lake, ONE, at=at)
            said = [[each["stream_version"], each["text"]] for each in found["transcript"]]
            assert [row[:3] for row in rows] == [(found["event_count"], found["last_version"], found["turns"])], at
            assert [[each["stream_version"], each["text"]] for each in rows[0][3]] == said
            assert rows[0][4] == f"{found['last_at']:%Y-%m}"
            assert "Anna" not in str(rows)
    with lake.connect(with_macros=True) as connection:
        before = f"conversations_as_of(TIMESTAMPTZ '{START - timedelta(seconds=1)}')"
        assert connection.sql(f"SELECT * FROM {before}").fetchall() == []


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
        query(lake, "SELECT 1")
    (folder / "weather.changed.v2.sql").rename(folder / "tool.call.v1.sql")
    with pytest.raises(BadInputError, match=r"tool\.call is a shipped type"):
        query(lake, "SELECT 1")
