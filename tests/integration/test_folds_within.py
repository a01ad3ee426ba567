"""Long streams in a lake: folded again from a snapshot within the month, and shown from one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.folds import run
from pipelines.folds import state as states
from pipelines.folds.run import fold_month
from pipelines.folds.shipped import FOLDS
from pipelines.folds.state import state
from pipelines.lake.lake import Lake
from pipelines.store.events import NewEvent
from tests.support.equality import comparable
from tests.support.history import query, write_log
from tests.support.long_streams import EVERY, LOG, MONTH, START, STREAMS

REDACTION = NewEvent(
    "redaction.applied.v1",
    {"target": {"stream_version": 3}, "path": "/text", "method": "mask", "reason": "asked"},
    {},
    START + timedelta(days=20),
)


def until(version: int) -> list[tuple[str, str, Sequence[NewEvent]]]:
    """The log, its last stream up to a version."""
    return [(stream, kind, events[:version] if stream == STREAMS[-1] else events) for stream, kind, events in LOG]


def lake_of(root: Path, log: Sequence[tuple[str, str, Sequence[NewEvent]]]) -> Lake:
    """A lake that holds a log, with snapshots every few events."""
    write_log(root, log)
    return Lake(root, snapshot_events=EVERY)


def rows(lake: Lake, name: str) -> list[tuple[Any, ...]]:
    """All rows of a table, as they lie in it."""
    return query(lake, f"SELECT * FROM {lake.table(name).dataset.relation}")


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The whole log, folded at once."""
    lake = lake_of(tmp_path_factory.mktemp("rebuilt") / "lake", LOG)
    fold_month(lake, MONTH)
    return lake


@pytest.mark.parametrize("version", [9, 40, 59])
def test_a_long_stream_is_folded_again_from_its_newest_snapshot(
    version: int, rebuilt: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the stream that went on only what is after the snapshot is read; all tables are those of a fold of everything."""
    fold_month(lake_of(tmp_path / "lake", until(version)), MONTH)
    lake = lake_of(tmp_path / "lake", LOG)
    merged: list[dict[str, Any]] = []
    merge = run.merge

    def spy(writer: Any, files: Any, streams: Any, folded: Any) -> None:
        merged.extend(streams.to_pylist())
        merge(writer, files, streams, folded)

    monkeypatch.setattr(run, "merge", spy)
    fold_month(lake, MONTH)
    assert {each["aggregate_id"] for each in merged} == {STREAMS[-1]}
    (after,) = {each["after"] for each in merged}
    assert version - 2 * EVERY < after < version
    for name in FOLDS:
        assert rows(lake, name) == rows(rebuilt, name), name


def test_a_snapshot_of_before_a_redaction_is_not_gone_on_from(tmp_path: Path) -> None:
    """A redaction of the first events folds the stream from its start, and hides them in snapshots and states."""
    fold_month(lake_of(tmp_path / "lake", LOG), MONTH)
    changed = [*LOG, (STREAMS[-1], "conversation", [REDACTION])]
    lake = lake_of(tmp_path / "lake", changed)
    assert comparable(state(lake, STREAMS[-1])) == comparable(
        state(Lake(lake.root, snapshot_events=10**6), STREAMS[-1])
    )
    fold_month(lake, MONTH)
    other = lake_of(tmp_path / "other", changed)
    fold_month(other, MONTH)
    for name in FOLDS:
        assert rows(lake, name) == rows(other, name), name


def test_a_state_begins_at_the_newest_snapshot(rebuilt: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any version, position or time the state is that of the whole history, and few events are folded for it."""
    applied: list[int] = []
    fold_stream = states.fold_stream

    def count(events: pa.Table, carry: Any = None) -> Any:
        applied.append(events.num_rows)
        return fold_stream(events, carry)

    plain = Lake(rebuilt.root, snapshot_events=10**6)
    for version in (1, 7, 8, 9, 30, 59, 60):
        event = START + timedelta(minutes=version - 1)
        expected = state(plain, STREAMS[1], version=version)
        with monkeypatch.context() as patched:
            patched.setattr(states, "fold_stream", count)
            applied.clear()
            found = state(rebuilt, STREAMS[1], version=version)
        assert comparable(found) == comparable(expected), version
        assert comparable(state(rebuilt, STREAMS[1], at=event)) == comparable(expected)
        assert comparable(state(rebuilt, STREAMS[1], position=expected["last_position"])) == comparable(expected)
        assert sum(applied) < 2 * EVERY, version
    with monkeypatch.context() as patched:
        patched.setattr(states, "fold_stream", count)
        patched.setattr(states, "code_hash", lambda _every: "of other code")
        applied.clear()
        assert comparable(state(rebuilt, STREAMS[1])) == comparable(state(plain, STREAMS[1]))
        assert applied == [60, 60]
