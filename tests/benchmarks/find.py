"""`audit`: finding a rare value in a folded lake, with the decisions that caused what is found, beside a bare scan of the columns searched."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.evidence.find import Question, find
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, stream_count, write_lake
from tests.benchmarks.rounds import Bench, Measure

_TIME = Target("at most", 1.5)
_MEMORY_BYTES = 10**9
_SCAN = "SELECT count(*) FROM events WHERE contains(payload, $text) OR contains(metadata, $text)"
_CALLS = 4
"""Calls of a conversation of the log, which all name its order."""


def run(bench: Bench) -> Iterator[Figure]:
    """The figure of `refold find TEXT`."""
    root = bench.folder / "found-lake"
    bench.tell(f"a lake of {bench.events:,} events, folded")
    lake = write_lake(root, bench.events)
    fold_month(lake, MONTH)
    given = {"root": str(root), "text": f"A-{stream_count(bench.events) - 1}"}
    rounds = bench.interleave({"find": (search, given), "scan": (scan, given)})
    yield rounds.figure(
        f"audit: finding a rare text in {bench.events:,} events",
        "s",
        ("find", "seconds"),
        peer=("scan", "seconds"),
        peer_name="a bare scan of payload and metadata",
        target=_TIME,
    )


def search(root: str, text: str) -> Measure:
    """Find it, from opening the lake to the last row."""
    started = time.perf_counter()
    found = find(Lake(Path(root), memory_bytes=_MEMORY_BYTES), Question(text=text))
    seconds = time.perf_counter() - started
    assert len([hit for hit in found.hits if hit.decision is not None]) == found.places == _CALLS
    return {"seconds": seconds}


def scan(root: str, text: str) -> Measure:
    """Count the events whose JSON text holds it, in one process that opened the lake."""
    started = time.perf_counter()
    with Lake(Path(root), memory_bytes=_MEMORY_BYTES).connect("FROM events") as connection:
        rows = connection.sql(_SCAN, params={"text": text}).fetchall()[0][0]
    seconds = time.perf_counter() - started
    assert rows == _CALLS
    return {"seconds": seconds}
