"""Rows of a lake without a log behind them: a month, a register, and everything that stands in it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from pipelines.duck import scratch
from pipelines.lake.datasets import EXPERIMENTS, STREAM_MONTHS, find_dataset
from pipelines.lake.lake import Lake

ROWS = "SELECT 's' || i AS aggregate_id, 'call' AS aggregate_type, 1 AS first_version, i AS last_version, 1 AS event_count, 0 AS erased_events, NULL AS prev_hash, NULL AS last_hash FROM range($n) r(i)"


def replace_month(lake: Lake) -> None:
    with scratch() as connection:
        lake.write_partition(STREAM_MONTHS, {"month": "2026-01"}, connection, ROWS, {"n": 7}, input_hash="h")


def register(lake: Lake) -> None:
    for number in range(4):  # merged into one file on the way
        row = {"experiment": f"e{number}", "spec": "{}", "spec_sha256": "0", "folder": "/", "mode": "decision"}
        lake.append(EXPERIMENTS, [row | {"is_active": False, "registered_at": datetime(2026, 1, 1, tzinfo=UTC)}])


def content(lake: Lake, name: str) -> tuple[int, str]:
    """Rows of a table, and a hash of them all."""
    rows_as_text = f"SELECT line::VARCHAR AS row FROM {find_dataset(name).relation} AS line"
    query = f"SELECT md5(string_agg(row, ';' ORDER BY row)), count(*) FROM ({rows_as_text})"
    with lake.connect(query) as connection:
        digest, rows = connection.sql(query).fetchall()[0]
    return rows, digest


def contents(root: Path) -> dict[str, Counter]:
    """Every row of every table, read anew, the moments of commits and names of files aside; files named exist."""
    lake = Lake(root)
    rows = {}
    for dataset in lake.datasets().values():
        files = lake.files(dataset.name)
        assert all(Path(file).exists() for file in files), dataset.name
        columns = "dataset, partition, number, row_count, input_hash" if dataset.name == "commits" else "*"
        if files:
            with scratch() as connection:
                query = f"SELECT {columns} FROM read_parquet($files, union_by_name = true, hive_partitioning = true)"
                rows[dataset.name] = Counter(map(repr, connection.sql(query, params={"files": files}).fetchall()))
    return rows
