"""`fold`: the conversations of a month from `lake/events` to a committed table, against the plain left fold and a scan."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from tests.benchmarks.copies import copied_lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, write_lake
from tests.benchmarks.rounds import Bench, Measure
from tests.oracles.left_fold import show
from tests.oracles.left_fold_streams import StreamFold

REFERENCE = Target("at least", 15)
SCAN = Target("at most", 3)
MEMORY = Target("at most", 1.0)

_MEMORY_BYTES = 10**9
# What the fold of conversations reads.
_COLUMNS = (
    "aggregate_id",
    "aggregate_type",
    "stream_version",
    "event_type",
    "payload",
    "metadata",
    "created_at",
    "position",
)
_SCAN = """
SELECT
    count(*), sum(strlen(aggregate_id)), sum(strlen(aggregate_type)), sum(stream_version), sum(strlen(event_type)),
    sum(strlen(payload)), sum(strlen(metadata)), max(created_at), max(position)
FROM events
WHERE month = $month
"""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `fold`."""
    root = bench.folder / "lake"
    write_lake(root, bench.events)
    given = {"root": str(root)}
    rounds = bench.interleave(
        {"fold": (fold, given), "reference": (fold_in_python, given), "scan": (scan_month, given)}
    )
    yield rounds.figure(
        "fold: conversations",
        "events/s",
        ("fold", "rate"),
        peer=("reference", "rate"),
        peer_name="plain left fold",
        target=REFERENCE,
    )
    yield rounds.figure(
        "fold: conversations, time",
        "s",
        ("fold", "seconds"),
        peer=("scan", "seconds"),
        peer_name="bare scan",
        target=SCAN,
    )
    peak = rounds.median(("fold", "peak_bytes"))
    yield Figure(
        "fold: peak memory", "MB", peak / 1e6, "REFOLD_MEMORY", _MEMORY_BYTES / 1e6, peak / _MEMORY_BYTES, MEMORY
    )


def fold(root: str) -> Measure:
    """The program's fold of the month's conversations, committed."""
    with copied_lake(root) as lake:
        started = time.perf_counter()
        fold_month(lake, MONTH, ["conversation_months"])
        return _measure(root, time.perf_counter() - started)


def fold_in_python(root: str) -> Measure:
    """The same states event by event, from the same Parquet file, kept nowhere."""
    lake = Lake(Path(root))
    started = time.perf_counter()
    states = 0
    for _, stream in groupby(_events(lake), key=itemgetter("aggregate_id")):
        folded = StreamFold()
        for event, seen in show(stream):
            folded.apply(event, seen)
        states += bool(folded.state())
    return _measure(root, time.perf_counter() - started)


def scan_month(root: str) -> Measure:
    """Reading every value of the columns that the fold reads, and nothing more."""
    lake = Lake(Path(root))
    with lake.connect() as connection:
        started = time.perf_counter()
        connection.sql(_SCAN, params={"month": MONTH}).fetchall()
        return _measure(root, time.perf_counter() - started)


def _events(lake: Lake) -> Iterator[dict[str, Any]]:
    for path in lake.files("events", {"month": MONTH}):
        for batch in pq.ParquetFile(path).iter_batches(columns=list(_COLUMNS)):
            for event in batch.to_pylist():
                event["month"] = MONTH
                event["payload"] = json.loads(event["payload"])
                event["metadata"] = json.loads(event["metadata"])
                yield event


def _measure(root: str, seconds: float) -> Measure:
    commit = Lake(Path(root)).last_commit("events", {"month": MONTH})
    assert commit is not None
    return {"seconds": seconds, "rate": commit.row_count / seconds}
