"""`state`: one stream's state out of a month, against a scan of that month."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from pipelines.folds.state import state
from pipelines.lake.lake import Lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.fold import scan_month
from tests.benchmarks.log import write_lake
from tests.benchmarks.rounds import Bench, Measure

OF_SCAN = Target("at most", 0.02)
STREAMS = 9
LARGER = 4
"""A state costs the same in a month of any size, or should; the month is large enough for that to be seen."""


def run(bench: Bench) -> Iterator[Figure]:
    """The figure of `state`."""
    root = bench.folder / "lake"
    events = bench.events * LARGER
    lake = write_lake(root, events)
    with lake.connect() as connection:
        rows = connection.sql("SELECT aggregate_id FROM stream_months ORDER BY aggregate_id").fetchall()
    streams = [row[0] for row in rows[:: max(len(rows) // STREAMS, 1)]][:STREAMS]
    given = {"root": str(root)}
    asked = {**given, "streams": streams}
    rounds = bench.interleave(
        {"state": (one_state, asked), "scan": (scan_month, given), "command": (one_command, asked)}
    )
    yield rounds.figure(
        f"state: one of {len(rows):,} streams, {events:,} events",
        "ms",
        ("state", "seconds"),
        peer=("scan", "seconds"),
        peer_name="scan of the month",
        target=OF_SCAN,
        scale=1e3,
    )
    yield rounds.figure(
        "state: the command, from the start of Python to its end", "ms", ("command", "seconds"), scale=1e3
    )


def one_state(root: str, streams: list[str]) -> Measure:
    """Median time of the state of one stream, the lake opened anew for each, as by `refold state`."""
    taken = []
    for stream in streams:
        started = time.perf_counter()
        state(Lake(Path(root)), stream)
        taken.append(time.perf_counter() - started)
    return {"seconds": median(taken)}


def one_command(root: str, streams: list[str]) -> Measure:
    """Median time of `refold state` as a person waits for it."""
    taken = []
    for stream in streams[:3]:
        started = time.perf_counter()
        command = [sys.executable, "-c", "from pipelines.cli import run; run()", "state", stream]
        environment = {**os.environ, "REFOLD_LAKE": root, "REFOLD_HOME": str(Path(root).parent)}
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - started)
    return {"seconds": median(taken)}
