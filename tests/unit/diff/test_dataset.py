"""From replays to committed datasets: the fast way gives what the plain one gives, however the work is divided."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.diff import dataset, shards, worker
from pipelines.diff.dataset import build_diff
from pipelines.errors import RefoldError
from tests.support.odd_units import (
    rows_of,
    some_units,
    unit_pairs,
)
from tests.support.replayed_lake import replayed_lake
from tests.unit.diff.plain_pairs import diff_plainly


def test_every_row_is_what_the_plain_way_gives(tmp_path: Path):
    """Texts and calls of every kind of oddity, written in many ways: units and tool-call pairs equal the ones that are
    computed one by one in Python, cell by cell."""
    lake, plan = replayed_lake(tmp_path, some_units(1, 1_000))
    done = build_diff(lake, plan)
    units = {row["unit_id"]: row for row in rows_of(lake, "ab_units", "unit_id")}
    pairs = unit_pairs(lake)
    plain = [diff_plainly(row, {}) for row in pairs]
    assert done.pairs == len(plain) == len(units) == 1_000
    for unit, _ in plain:
        found = units[unit["unit_id"]]
        assert {name: found[name] for name in unit} == unit
    expected = sorted((call for _, calls in plain for call in calls), key=lambda call: (call["unit_id"], call["pair"]))
    found = rows_of(lake, "ab_tool_calls", "unit_id, pair")
    assert [{name: row[name] for name in expected[0]} for row in found] == expected
    settled = [row for row in expected if row["class"] == "same" and row["equal_level"] == "L1"]
    assert len(settled) > 50  # written otherwise, and seen to be the same without being read


@pytest.mark.parametrize("shard", [3, 25])
def test_shards_and_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard: int):
    """In shards of a few decisions, with helper processes or without: the same rows, numbers and hash of all."""
    experiment = """
experiment: made
candidate: {echo: true}
segments: [vertical, agent]
metrics: {letters: {sql: "length(text)", goal: lower, margin: 2}}
"""
    units = some_units(2, 75)
    lake, plan = replayed_lake(tmp_path / "whole", units, experiment)
    monkeypatch.setattr(dataset, "_processes", lambda: 0)
    whole = build_diff(lake, plan)
    other, plan = replayed_lake(tmp_path / "pieces", units, experiment)
    monkeypatch.setattr(shards, "_SHARD_DECISIONS", shard)
    monkeypatch.setattr(shards, "_SMALL_ROWS", 0)
    monkeypatch.setattr(dataset, "_processes", lambda: 2)
    told: list[int] = []
    pieces = build_diff(other, plan, told.append)
    assert len(told) >= 75 // shard // 5
    assert replace(pieces, seconds=0) == replace(whole, seconds=0)
    for name, order in (
        ("ab_units", "unit_id"),
        ("ab_tool_calls", "unit_id, pair"),
        ("ab_summary", "metric, segment, segment_value"),
    ):
        assert rows_of(lake, name, order) == rows_of(other, name, order)


@pytest.mark.parametrize(
    ("rows", "size", "is_alone"), [(1_000, 10**6, True), (20, 10**6, False), (1_000, 1_000, False)]
)
def test_processes_are_started_for_large_versions_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, size: int, is_alone: bool
):
    """A version of which little differs, counted over all its shards, is compared by this process: the others start too slowly."""
    lake, plan = replayed_lake(tmp_path, some_units(4, 120), "experiment: made\ncandidate: {echo: true}\n")
    started = []
    monkeypatch.setattr(worker, "_Helper", lambda rules: started.append(rules) or Comparing(rules))
    monkeypatch.setattr(dataset, "_processes", lambda: 2)
    monkeypatch.setattr(shards, "_SMALL_ROWS", rows)
    monkeypatch.setattr(shards, "_SMALL_BYTES", size)
    monkeypatch.setattr(shards, "_SHARD_DECISIONS", 40)
    build_diff(lake, plan)
    assert (started == []) is is_alone


class Comparing:
    """In place of a process: the same work, here."""

    def __init__(self, rules):
        self._comparer = worker.Comparer(rules)

    def ask(self, task, given):
        return self._comparer.run(task, given)

    def stop(self):
        """There is nothing to stop."""


@pytest.mark.quick
def test_a_process_that_ends_is_told():
    """A helper that the system killed, as it does when memory ends, is an error that says what it did, and nothing else."""
    texts = pa.table({"unit_row": [1], "text_a": ["a"], "text_b": ["b"]})
    with (  # noqa: PT012 -- where the process is left is what the test is about
        pytest.raises(RefoldError, match="a process that compared texts ended with code -9"),
        worker.Comparers({}, 1) as comparers,
    ):
        assert comparers.submit("texts", texts, is_small=False).result()[0].num_rows == 1
        comparers._helpers[0]._process.kill()
        comparers._helpers[0]._process.wait()
        comparers.submit("texts", texts, is_small=False).result()


@pytest.mark.quick
def test_a_process_in_the_middle_of_something_is_stopped():
    """Who still works at a batch that nobody waits for is not waited for."""
    with worker.Comparers({}, 1) as comparers:
        texts = pa.table({"unit_row": [1], "text_a": ["a"], "text_b": ["b"]})
        comparers.submit("texts", texts, is_small=False).result()
        process = comparers._helpers[0]._process
        process.send_signal(signal.SIGSTOP)
    assert process.poll() == -signal.SIGKILL


def test_a_diff_that_fails_leaves_no_files(tmp_path: Path):
    """A metric that fails stops the diff; nothing is committed, and no file of it stays."""
    experiment = "experiment: made\ncandidate: {echo: true}\nmetrics: {bad: {sql: \"error('no')\"}}\n"
    lake, plan = replayed_lake(tmp_path, some_units(3, 20), experiment)
    with pytest.raises(Exception, match="metric bad"):
        build_diff(lake, plan)
    assert not list(tmp_path.glob("ab_*/**/*.parquet"))
