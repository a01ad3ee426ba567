"""A stream that does not fit into memory is set aside by name; the month's others are folded as if it were not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.folds import aside, steps
from pipelines.folds.batch import Batch
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from tests.strategies import one_stream
from tests.unit.diff.replayed_lake import write_log

MONTH = "2026-01"


def talk(number: int, count: int) -> list[dict[str, Any]]:
    """A conversation of texts and calls without results."""
    said: list[dict[str, Any]] = []
    for place in range(count):
        payload = {"call_id": f"c{place}", "name": "find", "arguments": {"n": place}}
        said.append({"event_type": "user.utterance.v1", "payload": {"text": "so"}, "metadata": {}, "seconds": 0})
        said.append({"event_type": "tool.call.v1", "payload": payload, "metadata": {"actor": "agent"}, "seconds": 0})
    return [{**event, "aggregate_id": f"0000000{number}-0000-0000-0000-000000000000"} for event in one_stream(said)]


def lake_of(root: Path, *counts: int) -> Lake:
    """A lake of talks of so many exchanges, not folded where anything went wrong."""
    log = [event for number, count in enumerate(counts, start=1) for event in talk(number, count)]
    return write_log(root, [{**event, "position": place} for place, event in enumerate(log, start=1)])


def rows(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """What is folded of the month."""
    names = ("utterances", "tool_calls", "decisions", "conversation_months", "snapshots")
    with lake.connect() as connection:
        return {name: connection.sql(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in names}


@pytest.mark.parametrize("error", [MemoryError("too much"), duckdb.OutOfMemoryException("too much")])
def test_the_others_are_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception):
    """The month holds what it would without the stream, says which that is, and is folded whole when there is more memory."""
    whole = lake_of(tmp_path / "whole", 3, 40, 2)
    expected = rows(whole)
    without = rows(lake_of(tmp_path / "without", 3, 0, 2))
    large = talk(2, 1)[0]["aggregate_id"]
    build = steps.build

    def fails(batch: Batch) -> Any:
        if large in batch.ids().to_pylist():
            raise error
        return build(batch)

    monkeypatch.setattr(aside, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(steps, "build", fails)
    lake = lake_of(tmp_path / "lake", 3, 40, 2)
    results = {result.dataset: result for result in fold_month(lake, MONTH)}
    assert results["utterances"].set_aside == results["snapshots"].set_aside == {large: 1_500_000_000}
    assert not any(result.is_written for result in results.values())

    def known(table: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return [tuple(value for value in row if not isinstance(value, bytes)) for row in table if large not in row]

    folded = rows(lake)
    for name, table in folded.items():
        assert len(table) == len(without[name])
        assert known(table) == known(expected[name])
    monkeypatch.setattr(steps, "build", build)
    assert not fold_month(lake, MONTH)[0].is_written
    more = Lake(tmp_path / "lake", memory_bytes=2 * lake.memory_bytes)
    assert [result.set_aside for result in fold_month(more, MONTH)] == [{}] * len(results)
    assert rows(more) == expected


def test_what_is_too_small_to_be_it_is_not_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a stream that takes a share of the memory there is nobody to blame: the fold ends as before."""

    def fails(_batch: Batch) -> Any:
        raise MemoryError

    monkeypatch.setattr(steps, "build", fails)
    with pytest.raises(MemoryError):
        lake_of(tmp_path, 1, 2)
