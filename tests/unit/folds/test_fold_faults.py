"""A fold that fails half-way through its tables leaves whole tables, each as it was before or as it is after."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.folds.run import fold_month
from pipelines.folds.shipped import PROJECTIONS
from pipelines.lake.errors import DiskFullError
from pipelines.lake.lake import Lake
from tests.benchmarks.log import MONTH, write_lake


def shown(lake: Lake) -> dict[str, list]:
    with lake.connect(f"FROM {', '.join(PROJECTIONS)}") as connection:
        return {name: connection.sql(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in PROJECTIONS}


def test_a_fold_that_fails_after_its_tables(tmp_path, monkeypatch):
    """No provenance can be written after the tables' commits: what is committed stays whole, and the next run does the rest."""
    lake = write_lake(tmp_path / "lake", 300)
    calls = []

    def fail(_self, commits):
        calls.extend(commit.dataset for commit in commits)
        raise DiskFullError(tmp_path)

    monkeypatch.setattr(Lake, "_remember", fail)
    with pytest.raises(DiskFullError):
        fold_month(lake, MONTH)
    monkeypatch.undo()
    assert set(calls) > set(PROJECTIONS)
    lake = Lake(lake.root)
    for name in calls:
        assert all(Path(file).exists() for file in lake.files(name)), name
    fold_month(lake, MONTH)
    whole = write_lake(tmp_path / "whole", 300)
    fold_month(whole, MONTH)
    assert shown(lake) == shown(whole)
