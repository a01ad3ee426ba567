"""What the Delta logs tell of values: bounds of numbers that count or place something, and of nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from pipelines.lake import lake as lakes
from pipelines.lake.datasets import DATASETS, EXPERIMENTS
from pipelines.lake.lake import Lake
from pipelines.lake.own import own_column, own_dataset
from pipelines.redaction.places import find_value

PHONE = 4_915_112_345_678
MONTH = {"month": "2026-01"}


def bounds_told(table: Path) -> set[str]:
    """Columns of which a log, its entries and checkpoints, tells the lowest or highest value."""
    told: set[str] = set()
    texts = [
        json.loads(line)["add"]["stats"]
        for entry in (table / "_delta_log").glob("*.json")
        for line in entry.read_text(encoding="utf-8").splitlines()
        if '"add"' in line
    ]
    for checkpoint in (table / "_delta_log").glob("*.parquet"):
        added = pq.read_table(checkpoint, columns=["add"]).column("add").to_pylist()
        texts += [each["stats"] for each in added if each is not None]
    for text in filter(None, texts):
        stats = json.loads(text)
        told |= stats.get("minValues", {}).keys() | stats.get("maxValues", {}).keys()
    return told


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_bounds_are_of_numbers_that_count_or_place_something(dataset):
    """No text, no time, nothing personal."""
    types = {column.name: column.type for column in dataset.columns if not column.is_personal}
    assert {types[name] for name in dataset.bounded} <= {"INTEGER", "BIGINT"}


def test_of_a_projection_of_ones_own_nothing_is_told(tmp_path):
    """A whole number may be somebody's: neither an entry nor a checkpoint of the log has it."""
    columns = (own_column("phone", "BIGINT", "Where to call."), own_column("name", "VARCHAR", "Who."))
    dataset = own_dataset("phones", "one number", ("phone",), columns)
    lake = Lake(tmp_path)
    lake.begin(dataset)
    with lake.connect() as connection:
        query = "SELECT $phone::BIGINT AS phone, 'Grace' AS name"
        lake.write_partition(dataset, MONTH, connection, query, {"phone": PHONE}, input_hash="h")
    DeltaTable(str(tmp_path / "phones")).create_checkpoint()
    assert bounds_told(tmp_path / "phones") == set()
    places = {place.path for place in find_value(tmp_path, str(PHONE))}
    assert {path.suffix for path in places} == {".parquet"}
    assert not any("_delta_log" in path.parts for path in places)


def test_merging_the_files_of_a_registry_tells_no_texts(tmp_path, monkeypatch):
    """Delta's own writer would put the first and the last text of every column into the log."""
    monkeypatch.setattr(lakes, "_COMMIT_FILES", 2)
    lake = Lake(tmp_path)
    for number in range(4):
        row = {"experiment": "e", "spec": f"Grace {number}", "registered_at": datetime(2026, 1, 1, tzinfo=UTC)}
        lake.append(EXPERIMENTS, [row])
    DeltaTable(str(tmp_path / "experiments")).create_checkpoint()
    entries = [path.read_text(encoding="utf-8") for path in (tmp_path / "experiments" / "_delta_log").glob("*.json")]
    assert any('"OPTIMIZE"' in entry for entry in entries)
    assert bounds_told(tmp_path / "experiments") <= EXPERIMENTS.bounded
    assert not any("_delta_log" in place.path.parts for place in find_value(tmp_path, "Grace"))
    with lake.connect() as connection:
        assert len(connection.sql("FROM experiments_history").fetchall()) == 4
