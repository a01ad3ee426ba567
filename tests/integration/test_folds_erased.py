"""Erased events in a lake that was folded before: what is folded again, that it is what a fold of the log as it is now gives, and that
nothing of it is shown any more, now or as of then."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import NothingSelectedError, make_plan
from pipelines.folds.as_of import Point, connect_at
from pipelines.folds.redacted import find_faults, fold_redacted
from pipelines.folds.run import fold_month
from pipelines.folds.shipped import FOLDS
from pipelines.folds.state import state
from pipelines.lake.lake import Lake
from pipelines.projections.fold import fold_projection
from pipelines.projections.projection import read_projection
from tests.support.equality import comparable, make_log
from tests.support.history import HISTORY, MONTHS, ONE, REDACTION, ROWS, START, TWO, copy_lake, query
from tests.support.log_strategies import erased
from tests.support.long_streams import EVERY, LOG, MONTH, STREAMS
from tests.support.own_projections import write
from tests.support.replayed_lake import write_events

Log = list[dict[str, Any]]
Which = Callable[[dict[str, Any]], bool]
REDACTED = [*HISTORY, (ONE, "conversation", [REDACTION])]


def erase(log: Log, which: Which) -> Log:
    """The log after an erasure."""
    return [erased(event) if which(event) else event for event in log]


def fold(lake: Lake, months: Sequence[str] = MONTHS) -> set[tuple[str, str]]:
    """Fold the months; which tables of which were written."""
    written = set()
    for month in months:
        results = [fold_redacted(lake, month), *fold_month(lake, month)]
        written |= {(each.dataset, each.month) for each in results if each.is_written}
    return written


def lake_of(root: Path, log: Log, snapshot_events: int = 500) -> Lake:
    lake = Lake(root, memory_bytes=10**9, snapshot_events=snapshot_events)
    write_events(lake, log)
    return lake


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of `REDACTED`, folded, for `copy_lake`."""
    lake = lake_of(tmp_path_factory.mktemp("redacted") / "lake", make_log(REDACTED))
    fold(lake)
    return lake.root


@pytest.fixture(scope="module")
def folded_long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of long streams, folded."""
    lake = lake_of(tmp_path_factory.mktemp("long") / "lake", make_log(LOG), EVERY)
    fold(lake, [MONTH])
    return lake.root


def tables(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of every table of the folds."""
    relations = {name: lake.table(name).dataset.relation for name in (*FOLDS, "redacted_events")}
    with lake.connect(f"FROM {', '.join(relations.values())}") as connection:
        read = {name: connection.sql(f"SELECT * FROM {relation}").fetchall() for name, relation in relations.items()}
    return {name: sorted(rows, key=repr) for name, rows in read.items()}


def assert_folded_as_it_is(lake: Lake, left: Log, root: Path) -> None:
    """Every table of every month is that of a fold of this log, in a lake that was never folded before."""
    fresh = lake_of(root, left)
    fold(fresh)
    assert tables(lake) == tables(fresh)


@pytest.mark.parametrize(
    "which",
    [
        lambda event: (
            event["aggregate_id"] == ONE
            and (event["stream_version"] == 2 or event["event_type"] == "weather.changed.v1")
        ),
        lambda event: (
            event["aggregate_id"] == TWO or (event["aggregate_id"] == ONE and event["stream_version"] in (3, 4))
        ),
        lambda _event: True,
    ],
    ids=["redacted and unknown", "call and result, and a call", "everything"],
)
def test_a_fold_after_an_erasure_is_a_fold_of_the_log_as_it_is(which: Which, folded: Path, tmp_path: Path) -> None:
    """Of one event, of a stream, of all: every table of every month, from a lake that was folded before."""
    log = make_log(REDACTED)
    lake = copy_lake(folded, tmp_path / "lake")
    left = erase(log, which)
    write_events(lake, left)
    written = fold(lake)
    first = min(event["month"] for event in log if which(event))
    assert {month for _, month in written} >= {month for month in MONTHS if month >= first}
    assert fold(lake) == set()
    assert_folded_as_it_is(lake, left, tmp_path / "fresh")
    assert find_faults(lake) == []


def test_months_keep_their_rows(folded: Path, tmp_path: Path) -> None:
    """A person is erased: every stream keeps its row in every month with what types tell, and the person has none; the rest as it is."""
    log = make_log(REDACTED)
    lake = copy_lake(folded, tmp_path / "lake")
    counts = "SELECT month, aggregate_id, event_count, turns, user_messages, agent_messages, tool_call_count, tool_result_count, "
    counts += "unanswered_tool_calls, redaction_count FROM conversation_months ORDER BY ALL"
    before = query(lake, counts)
    left = erase(log, lambda event: event["aggregate_id"] in (ONE, ROWS))
    write_events(lake, left)
    fold(lake)
    assert query(lake, counts) == before
    assert_folded_as_it_is(lake, left, tmp_path / "fresh")
    assert find_faults(lake) == []
    assert query(lake, "SELECT month, erased_events, skipped_events FROM conversation_months ORDER BY ALL") == [
        ("2026-01", 3, 0),
        ("2026-02", 5, 0),
        ("2026-03", 8, 0),
    ]
    assert query(lake, "SELECT DISTINCT subject_id FROM customer_months") == [("bob",)]
    assert query(lake, "SELECT count(*) FROM readable_events WHERE is_erased AND payload = '{}'") == [(10,)]
    names = ("conversations", "snapshots", "tool_calls", "utterances", "decisions")
    shown = [query(lake, f"SELECT * FROM {name} WHERE aggregate_id = '{ONE}'") for name in names]
    assert not [text for text in ("Anna", "refund", "Thanks", "'ann'", "desk") if text in str(shown)]


def test_what_is_erased_is_erased_in_the_past(folded: Path, tmp_path: Path) -> None:
    """At any time of before: by `connect_at`, and by `state`, folded or not yet folded again."""
    log = make_log(REDACTED)
    lake = copy_lake(folded, tmp_path / "lake")
    left = erase(log, lambda event: event["aggregate_id"] == ONE and event["stream_version"] in (2, 5))
    write_events(lake, left)
    for is_folded in (False, True):
        if is_folded:
            fold(lake)
        for days, gone in ((20, 1), (20.2, 2), *([(400, 2)] if is_folded else [(45, 2)])):
            at = START + timedelta(days=days)
            found = state(lake, ONE, at=at)
            assert (found["erased_events"], "nna" in str(found), "Done" in str(found)) == (gone, False, False), days
            with connect_at(lake, Point(at)) as connection:
                rows = connection.sql(
                    f"SELECT erased_events, transcript::VARCHAR FROM conversations WHERE aggregate_id = '{ONE}'"
                ).fetchall()
            assert [row[0] for row in rows] == [gone], (days, is_folded)
            assert "nna" not in str(rows)
            assert "Done" not in str(rows)


@pytest.mark.parametrize("seed", [0, 2])
def test_long_streams_go_on_from_no_snapshot_of_before(seed: int, folded_long: Path, tmp_path: Path) -> None:
    """Events here and there of long streams: states and tables are those of a fold from the first event."""
    log = make_log(LOG)
    lake = copy_lake(folded_long, tmp_path / "lake", EVERY)
    draw = random.Random(seed)
    gone = {(STREAMS[seed], draw.randrange(1, 61)) for _ in range(2 + 4 * seed)}
    left = erase(log, lambda event: (event["aggregate_id"], event["stream_version"]) in gone)
    write_events(lake, left)
    plain = Lake(lake.root, snapshot_events=10**6)
    expected = {version: comparable(state(plain, STREAMS[seed], version=version)) for version in (7, 9, 33, 60)}
    found = {version: comparable(state(lake, STREAMS[seed], version=version)) for version in expected}
    assert found == expected
    fold(lake, [MONTH])
    fresh = lake_of(tmp_path / "fresh", left, EVERY)
    fold(fresh, [MONTH])
    assert tables(lake) == tables(fresh)
    for version in (9, 60):
        assert comparable(state(lake, STREAMS[seed], version=version)) == expected[version], version


def test_a_projection_of_ones_own_follows(folded: Path, tmp_path: Path) -> None:
    """It is folded again, and sees nothing of what is erased."""
    log = make_log(REDACTED)
    lake = copy_lake(folded, tmp_path / "lake")
    said = "SELECT aggregate_id, stream_version, metadata = '{}' AS is_gone, payload FROM events"
    header = "-- purpose: Events.\n-- parameters: none\n-- grain: one event\n-- key: aggregate_id, stream_version\n"
    projection = read_projection(write(tmp_path, header + said))
    assert fold_projection(lake, projection, MONTHS[0]).is_written
    assert not fold_projection(lake, projection, MONTHS[0]).is_written
    write_events(lake, erase(log, lambda event: event["aggregate_id"] == ONE and event["stream_version"] == 2))
    fold(lake, MONTHS[:1])
    assert fold_projection(lake, projection, MONTHS[0]).is_written
    assert query(lake, "SELECT stream_version, payload FROM said WHERE is_gone") == [(2, "{}")]


EXPERIMENT = "experiment: made\ncandidate: {echo: true}\nmode: MODE\nwindow: {from: 2026-01-01}\n"


def test_an_erasure_makes_another_version(folded: Path, tmp_path: Path) -> None:
    """In part, so that the same conversations are selected, or whole; and while folds are behind it, nothing is planned."""
    log = make_log(REDACTED)
    lake = copy_lake(folded, tmp_path / "lake")
    experiment = parse_experiment(EXPERIMENT.replace("MODE", "decision"), "test")
    first = make_plan(lake, experiment, tmp_path)
    part = erase(log, lambda event: event["aggregate_id"] == ONE and event["stream_version"] == 4)
    write_events(lake, part)
    with pytest.raises(BadInputError, match="not folded yet"):
        make_plan(lake, experiment, tmp_path)
    fold(lake)
    second = make_plan(lake, experiment, tmp_path)
    assert second.streams["aggregate_id"].to_pylist() == first.streams["aggregate_id"].to_pylist()
    assert (first.erased, second.erased) == (0, 0)
    write_events(lake, erase(log, lambda event: event["aggregate_id"] == ONE))
    fold(lake)
    third = make_plan(lake, experiment, tmp_path)
    assert (third.streams["aggregate_id"].to_pylist(), third.erased) == ([TWO], 1)
    assert len({each.version_id for each in (first, second, third)}) == 3
    write_events(lake, erase(log, lambda _event: True))
    fold(lake)
    with pytest.raises(NothingSelectedError):
        make_plan(lake, experiment, tmp_path)
