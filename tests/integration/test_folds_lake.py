"""Folding a lake: what is written when, what is left alone, and what any stream's state was."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipelines.errors import BadInputError
from pipelines.folds.as_of import connect_at, read_point
from pipelines.folds.aside import StreamTooLargeError
from pipelines.folds.redacted import fold_redacted
from pipelines.folds.result import FoldResult
from pipelines.folds.run import HEADS, fold_month, state
from pipelines.folds.shipped import FOLDS, projection_query
from pipelines.folds.steps import fold_batches, start_month
from pipelines.lake.lake import Lake
from pipelines.store.events import stream_id
from tests.support.history import (
    HISTORY,
    LONG,
    MONTHS,
    ONE,
    REDACTION,
    START,
    TWO,
    copy_lake,
    event,
    query,
    write_log,
)

LARGE = "99999999-0000-0000-0000-000000000000"


def fold_all(lake: Lake) -> dict[tuple[str, str], FoldResult]:
    """Fold every month; (month, projection) → result."""
    return {(month, result.dataset): result for month in MONTHS for result in fold_month(lake, month)}


def written(results: dict[tuple[str, str], FoldResult]) -> set[tuple[str, str]]:
    """The month and projection of everything that was written."""
    return {key for key, result in results.items() if result.is_written}


@pytest.fixture
def lake(tmp_path: Path, history_lake: Path) -> Lake:
    """A lake with three months of history, not yet folded."""
    return copy_lake(history_lake, tmp_path / "lake")


@pytest.fixture(scope="module")
def whole_history(history_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with every month of every projection folded, for `copy_lake`: made once, and only read."""
    lake = copy_lake(history_lake, tmp_path_factory.mktemp("whole") / "lake")
    fold_all(lake)
    return lake.root


@pytest.fixture
def folded(tmp_path: Path, whole_history: Path) -> Lake:
    """A lake with three months of history, all folded."""
    return copy_lake(whole_history, tmp_path / "folded")


def test_a_conversation_across_months_is_one_row_with_its_newest_state(folded: Lake) -> None:
    """Three monthly states, one conversation; the call and its late result are one tool call, restated when answered."""
    assert query(
        folded, "SELECT month, event_count, turns, skipped_events FROM conversation_months ORDER BY month"
    ) == [
        ("2026-01", 3, 1, 0),
        ("2026-02", 5, 1, 0),
        ("2026-03", 7, 2, 1),
    ]
    assert query(folded, "SELECT aggregate_id, event_count, final_text FROM conversations") == [(ONE, 7, "Done.")]
    assert query(folded, "SELECT aggregate_id, user_messages FROM calls") == [(TWO, 1)]
    assert query(folded, "SELECT month, result_version FROM tool_calls_history ORDER BY month") == [
        ("2026-01", None),
        ("2026-02", 4),
    ]
    assert query(folded, "SELECT result_version, output FROM tool_calls") == [(4, '"ok"')]
    assert query(folded, "SELECT decision, context_messages, turn FROM decisions ORDER BY decision") == [
        (1, 1, 1),
        (2, 3, 1),
    ]
    assert query(
        folded,
        "SELECT month, refunds_asked, refunds_paid, refunds_paid_usd FROM customer_months WHERE subject_id = 'ann' ORDER BY 1",
    ) == [
        ("2026-01", 0, 0, 0.0),
        ("2026-02", 1, 0, 0.0),
        ("2026-03", 1, 1, 5.0),
    ]


def test_results_say_what_was_written_and_skipped(lake: Lake) -> None:
    """A first fold writes every projection of the month, counts its rows and the events that it does not know."""
    told: list[str] = []
    results = fold_month(lake, "2026-03", on_progress=told.append)
    assert [result.dataset for result in results] == list(FOLDS) == told
    assert {result.dataset: (result.is_written, result.rows) for result in results} == {
        "utterances": (True, 1),
        "tool_calls": (True, 0),
        "decisions": (True, 0),
        "conversation_months": (True, 1),
        "call_months": (True, 0),
        "customer_months": (True, 1),
        "snapshots": (True, 2),
        "customer_snapshots": (True, 1),
    }
    assert {result.skipped_events for result in results} == {1}


def test_what_is_up_to_date_is_not_written_again(lake: Lake) -> None:
    """A second fold writes nothing, also of empty months of a table, and tells the same numbers."""
    first, second = fold_all(lake), fold_all(Lake(lake.root))
    assert len(written(first)) == len(MONTHS) * len(FOLDS)
    assert not written(second)
    assert [(r.rows, r.skipped_events, r.input_hash) for r in first.values()] == [
        (r.rows, r.skipped_events, r.input_hash) for r in second.values()
    ]


def test_a_month_is_folded_from_the_end_of_the_month_before(lake: Lake) -> None:
    """The history of streams whose snapshots are current is not read: without its events the month folds alike."""
    fold_month(lake, "2026-01")
    fold_month(lake, "2026-02")
    expected = query(lake, "SELECT * FROM conversation_months WHERE month = '2026-02'")
    with lake.connect() as connection:
        prepared = start_month(connection, "2026-02", FOLDS, heads=HEADS)
        resumed = list(fold_batches(prepared.plan, FOLDS, resumable=["2026-01"]))
        assert (prepared.streams, len(resumed)) == (3, 1)
        assert connection.sql("SELECT aggregate_id FROM fold_resumed").fetchall() == [(ONE,)]
        assert connection.sql("SELECT count(*) FROM fold_behind").fetchall() == [(0,)]
        read = "SELECT min(stream_version) FROM fold_events GROUP BY stream_no ORDER BY 1"
        assert connection.sql(read).fetchall() == [(1,), (1,), (4,)]
        found = connection.sql(projection_query("conversation_months")).fetchall()
    assert [("2026-02", *row) for row in found] == expected


def test_what_cannot_be_gone_on_from_is_folded_from_its_start(folded: Lake) -> None:
    """A snapshot that a late redaction made stale is not used: the next month is right even if it is folded first."""
    later = write_log(folded.root, [*HISTORY, (ONE, "conversation", [REDACTION])])
    fold_month(later, "2026-02")
    assert "Anna" not in str(query(later, "SELECT transcript FROM conversation_months WHERE month = '2026-02'"))
    rebuilt = write_log(folded.root.parent / "rebuilt", [*HISTORY, (ONE, "conversation", [REDACTION])])
    fold_all(later)
    fold_all(rebuilt)
    for name in FOLDS:
        rows = [query(each, f"SELECT * FROM {name}") for each in (later, rebuilt)]
        assert sorted(map(str, rows[0])) == sorted(map(str, rows[1])), name


def test_folding_the_middle_month_again_changes_nothing_else(folded: Lake) -> None:
    """A conversation of three months has three states and one row; its middle month is made again, and only that."""
    expected = {name: query(folded, f"SELECT * FROM {folded.table(name).dataset.relation}") for name in FOLDS}
    others = {(name, month): folded.files(name, {"month": month}) for name in FOLDS for month in ("2026-01", "2026-03")}
    for name in FOLDS:
        folded.table(name).commit([], {"month": "2026-02"}, folded.table(name).number({"month": "2026-02"}) + 1)
    assert query(folded, f"SELECT month FROM conversation_months WHERE aggregate_id = '{ONE}' ORDER BY 1") == [
        ("2026-01",),
        ("2026-03",),
    ]
    assert {month for month, _ in written(fold_all(folded))} == {"2026-02"}
    assert {(name, month): folded.files(name, {"month": month}) for name, month in others} == others
    for name, rows in expected.items():
        assert query(folded, f"SELECT * FROM {folded.table(name).dataset.relation}") == rows, name
    assert query(folded, f"SELECT count(*) FROM conversations WHERE aggregate_id = '{ONE}'") == [(1,)]
    assert query(folded, f"SELECT count(*) FROM conversation_months WHERE aggregate_id = '{ONE}'") == [(3,)]


def test_new_events_fold_only_what_they_touch(folded: Lake) -> None:
    """An event of one month refolds that month; earlier months stay as they are."""
    more = [event("user.utterance", 50, {"text": "One more thing"}, message_id="m5")]
    results = fold_all(write_log(folded.root, [*HISTORY, (ONE, "conversation", more)]))
    assert {month for month, _ in written(results)} == {"2026-03"}
    assert query(folded, "SELECT event_count FROM conversations") == [(8,)]


def test_only_the_streams_that_changed_are_folded_again(lake: Lake) -> None:
    """New events and late redactions fold their own streams; the others' rows are copied, and all are a full fold's."""
    others = [(str(stream_id("desk/b", str(n))), "conversation", LONG) for n in range(6)]
    log = [*HISTORY, *others]
    changed = [*log, (others[1][0], "conversation", [event("agent.utterance", 46, {"text": "Bye"}, message_id="m9")])]
    changed.append((others[2][0], "conversation", [REDACTION]))
    fold_all(write_log(lake.root, log))
    again = write_log(lake.root, changed)
    fold_all(again)
    folded = {
        month: commit.provenance["folded_streams"]
        for month in MONTHS
        if (commit := again.last_commit("snapshots", {"month": month})) is not None
    }
    assert folded == {"2026-01": 1, "2026-02": 1, "2026-03": 2}
    rebuilt = write_log(lake.root.parent / "rebuilt", changed)
    fold_all(rebuilt)
    for name in FOLDS:
        rows = [query(each, f"SELECT * FROM {each.table(name).dataset.relation}") for each in (again, rebuilt)]
        assert rows[0] == rows[1], name


def test_a_late_redaction_reaches_back(folded: Lake) -> None:
    """A redaction hides what it names in every month that shows it, and only there is anything folded again."""
    assert "Anna" in str(query(folded, "SELECT transcript FROM conversation_months WHERE month = '2026-01'"))
    results = fold_all(write_log(folded.root, [*HISTORY, (ONE, "conversation", [REDACTION])]))
    shown = query(folded, "SELECT text FROM utterances") + query(folded, "SELECT transcript FROM conversation_months")
    assert "Anna" not in str(shown)
    assert "[redacted] here, refund please" in str(shown)
    assert query(folded, "SELECT month, redaction_count FROM conversation_months ORDER BY month") == [
        ("2026-01", 0),
        ("2026-02", 0),
        ("2026-03", 1),
    ]
    assert ("2026-01", "utterances") in written(results)
    assert "Anna" in str(query(folded, "SELECT payload FROM events"))


def test_a_fold_reads_what_was_redacted(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Months of `redacted_events` that are up to date are read, of now and of then; those that are not are not trusted."""
    for month in MONTHS:
        fold_redacted(lake, month)
    lake = write_log(lake.root, [*HISTORY, (ONE, "conversation", [REDACTION])])
    fold_all(lake)
    wanted = query(lake, "SELECT * FROM conversation_months ORDER BY ALL")
    assert "Anna" not in str(wanted)
    for month in MONTHS:
        fold_redacted(lake, month)
    other = write_log(lake.root.parent / "other", [*HISTORY, (ONE, "conversation", [REDACTION])])
    for month in MONTHS:
        fold_redacted(other, month)

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("pipelines.log.readable.redact_text", refuse)
    fold_all(other)
    assert query(other, "SELECT * FROM conversation_months ORDER BY ALL") == wanted
    with connect_at(other, read_point(None, 4)) as connection:
        assert "[redacted]" in str(connection.sql("SELECT transcript FROM conversations").fetchall())


def test_deleting_all_folds_and_folding_again_gives_the_same_rows(folded: Lake, tmp_path: Path) -> None:
    """Folds are nothing but a function of the log."""
    other = write_log(tmp_path / "other", HISTORY)
    for month in reversed(MONTHS):
        for name in reversed(FOLDS):
            fold_month(other, month, [name])
    for name in FOLDS:
        rows = [query(each, f"SELECT * FROM {name}") for each in (folded, other)]
        assert sorted(map(str, rows[0])) == sorted(map(str, rows[1])), name


def test_a_state_that_memory_has_no_room_for_is_refused(lake: Lake, tmp_path: Path) -> None:
    """Before its events are read, with the bound that would do; the states of others are told."""
    said = [event("user.utterance", 0, {"text": f"{n} " + "and more " * 70_000}, message_id=f"m{n}") for n in range(60)]
    write_log(lake.root, [*HISTORY, (LARGE, "conversation", said)])
    small = Lake(lake.root, memory_bytes=300 * 10**6)
    with pytest.raises(
        StreamTooLargeError, match=f"stream {LARGE}: its state, of 3[78] MB .*; REFOLD_MEMORY=500MB would do"
    ) as found:
        state(small, LARGE)
    assert state(small, ONE)["event_count"] == state(lake, ONE)["event_count"]
    assert state(Lake(lake.root, memory_bytes=found.value.enough_bytes), LARGE)["user_messages"] == 60


def test_state_at_any_point_is_the_fold_up_to_it(lake: Lake) -> None:
    """By version, position or time, by id or by source and conversation id; now when nothing is said."""
    now = state(lake, ONE)
    assert (now["event_count"], now["status"], now["aggregate_type"]) == (7, "open", "conversation")
    assert state(lake, "desk/a/one") == now
    assert state(lake, ONE, version=3)["unanswered_tool_calls"] == 1
    assert state(lake, ONE, version=3) == state(lake, ONE, position=3) == state(lake, ONE, at=START + timedelta(days=1))
    assert state(lake, ONE, at=datetime(2026, 2, 10)) == state(lake, ONE, version=3)  # noqa: DTZ001 -- naive is UTC
    assert state(lake, "desk/a/rows")["event_count"] == 2
    fold_month(lake, "2026-02", ["conversation_months"])
    with lake.connect() as connection:
        table = connection.sql("SELECT * EXCLUDE (month) FROM conversation_months").to_arrow_table().to_pylist()[0]
    assert {**table, "aggregate_type": "conversation"} == state(lake, ONE, version=5)


def test_state_of_nothing_is_refused(lake: Lake) -> None:
    """A stream that is not there, and a time before its first event, are the caller's errors."""
    with pytest.raises(BadInputError, match="no stream 'desk/a/nine' in the lake"):
        state(lake, "desk/a/nine")
    with pytest.raises(
        BadInputError, match="had no event yet: its first is version 1 at position 1, 2026-01-31 23:00:00"
    ):
        state(lake, ONE, at=START - timedelta(seconds=1))


def test_a_large_stream_folds_within_its_memory(tmp_path: Path) -> None:
    """A stream of 50,000 events folds like any other, at the smallest memory that settings allow."""
    turns = [
        event("user.utterance", 1, {"text": f"question {number}"}, message_id=f"u{number}")
        if number % 2
        else event("agent.utterance", 1, {"text": f"answer {number}"}, message_id=f"a{number}")
        for number in range(50_000)
    ]
    write_log(tmp_path, [(ONE, "conversation", turns)])
    lake = Lake(tmp_path, memory_bytes=256 * 10**6)
    fold_month(lake, "2026-02")
    assert query(lake, "SELECT turns, agent_messages, len(transcript) FROM conversations") == [(25_000, 25_000, 50_000)]
    assert query(lake, "SELECT max(context_messages), count(*) FROM decisions") == [(49_998, 25_000)]
