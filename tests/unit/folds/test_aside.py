"""A stream that does not fit into memory is set aside by name; the month's others are folded as if it were not there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plans
from pipelines.fold.batch import Batch
from pipelines.folds import aside, steps
from pipelines.folds.run import fold_month
from pipelines.folds.state import state
from pipelines.lake.lake import Lake
from tests.support.log_strategies import one_stream
from tests.support.replayed_lake import texts, write_log

MONTH = "2026-01"
Tables = dict[str, list[tuple[Any, ...]]]


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


def rows(lake: Lake) -> Tables:
    """What is folded of the month."""
    names = ("utterances", "tool_calls", "decisions", "conversation_months", "snapshots")
    with lake.connect(f"FROM {', '.join(names)}") as connection:
        return {name: connection.sql(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in names}


@pytest.fixture(scope="module")
def with_and_without(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, Tables]:
    """What is folded of three talks, and of the same when the large one has no events."""
    root = tmp_path_factory.mktemp("aside")
    return rows(lake_of(root / "whole", 3, 40, 2)), rows(lake_of(root / "without", 3, 0, 2))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("too much"),
        duckdb.OutOfMemoryException("too much"),
        OSError("Out of Memory Error: failed to allocate data of size 128.0 MiB"),  # DuckDB's, read through Arrow
    ],
)
def test_the_others_are_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_and_without: tuple[Tables, Tables], error: Exception
):
    """The month holds what it would without the stream, says which that is, and is folded whole when there is more memory."""
    expected, without = with_and_without
    large = talk(2, 1)[0]["aggregate_id"]
    build = steps.fold

    def fails(batch: Batch) -> Any:
        if large in batch.ids().to_pylist():
            raise error
        return build(batch)

    monkeypatch.setattr(aside, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(steps, "fold", fails)
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
    monkeypatch.setattr(steps, "fold", build)
    assert not fold_month(lake, MONTH)[0].is_written
    more = Lake(tmp_path / "lake", memory_bytes=2 * lake.memory_bytes)
    assert [result.set_aside for result in fold_month(more, MONTH)] == [{}] * len(results)
    assert rows(more) == expected


def test_what_is_too_small_to_be_it_is_not_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a stream that takes a share of the memory there is nobody to blame: the fold ends as before."""

    def fails(_batch: Batch) -> Any:
        raise MemoryError

    monkeypatch.setattr(steps, "fold", fails)
    with pytest.raises(MemoryError):
        lake_of(tmp_path, 1, 2)


def test_a_state_larger_than_memory_names_the_bound_that_folds_it(tmp_path: Path):
    """Below the bound that is named the stream is set aside, with it all is folded as with any memory, and `ab` says what it leaves out."""
    log = [event for number, count in ((1, 4), (2, 400), (3, 4)) for event in texts(number, count, 40_000)]
    whole = write_log(tmp_path / "whole", [{**event, "position": place} for place, event in enumerate(log, start=1)])
    large = log[4]["aggregate_id"]
    shutil.copytree(tmp_path / "whole", tmp_path / "lake")
    for name in ("utterances", "tool_calls", "decisions", "conversation_months", "call_months", "snapshots", "commits"):
        shutil.rmtree(tmp_path / "lake" / name)
    small = Lake(tmp_path / "lake", memory_bytes=256 * 10**6)
    aside = fold_month(small, MONTH)[0].set_aside
    assert list(aside) == [large]
    assert 256 * 10**6 < aside[large] < 10**9
    assert rows(small).keys() == rows(whole).keys()
    assert {row[1] for row in rows(small)["conversation_months"]} == {log[0]["aggregate_id"], log[-1]["aggregate_id"]}

    told: list[str] = []
    experiment = parse_experiment("experiment: echo\ncandidate: {echo: true}\n", "echo.yaml")
    (plan,) = make_plans(small, experiment, tmp_path, told.append)
    assert large not in plan.streams["aggregate_id"].to_pylist()
    assert plan.streams.num_rows == 2
    assert large in told[0]
    assert f"REFOLD_MEMORY={aside[large] // 10**6}MB would do" in told[0]
    assert state(small, large)["event_count"] == 400

    enough = Lake(tmp_path / "lake", memory_bytes=aside[large])
    assert fold_month(enough, MONTH)[0].set_aside == {}
    assert rows(enough) == rows(whole)
    assert len(enough.files("conversation_months")) > 1  # the large state has a file of its own
    told.clear()
    assert make_plans(enough, experiment, tmp_path, told.append)[0].streams.num_rows == 3
    assert told == []


def test_a_stream_that_was_folded_and_is_then_set_aside_is_left_out_of_a_comparison(tmp_path: Path):
    """Its last state is older than the log; `ab` names it and compares the others, instead of asking for a fold for ever."""
    before = texts(1, 4, 10) + texts(2, 301, 40_000) + texts(3, 4, 10)
    later = [event["aggregate_id"] == before[4]["aggregate_id"] and event["stream_version"] > 1 for event in before]
    log = [{**event, "position": place} for place, event in enumerate(before, start=1)]
    for event, is_later in zip(log, later, strict=True):
        event["created_at"] = event["created_at"].replace(month=2 if is_later else 1, day=1)
        event["month"] = "2026-02" if is_later else MONTH
    write_log(tmp_path, log)
    for name in ("utterances", "tool_calls", "decisions", "conversation_months", "call_months", "snapshots"):
        shutil.rmtree(tmp_path / name)
    small = Lake(tmp_path, memory_bytes=256 * 10**6)
    large = before[4]["aggregate_id"]
    assert [list(fold_month(small, month)[0].set_aside) for month in (MONTH, "2026-02")] == [[], [large]]
    told: list[str] = []
    (plan,) = make_plans(
        small, parse_experiment("experiment: echo\ncandidate: {echo: true}\n", "echo.yaml"), tmp_path, told.append
    )
    assert plan.streams["aggregate_id"].to_pylist() == [log[0]["aggregate_id"], log[-1]["aggregate_id"]]
    assert large in told[0]
