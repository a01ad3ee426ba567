"""`stats`: every estimate of 20 segments, from decisions in memory and from sums per conversation.

The program's own summary takes units in memory. The other route is the one that scales: DuckDB sums per conversation in
one GROUP BY, and the estimators take the sums. The limit is that GROUP BY alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from pipelines.diff.summary import UnitColumns, summarise
from pipelines.lake.table import quote_literal
from pipelines.stats.cluster import estimate_paired_segments
from pipelines.stats.sums import PairedSums
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import DECISIONS_PER_STREAM
from tests.benchmarks.rounds import Bench, Measure

RATE = Target("at least", 4_000_000, of="figure")
"""8 M decisions of 1 M conversations in 2 s."""
SEGMENTS = 20
_METRICS = 4

_UNITS = f"""
SELECT
    'stream ' || stream AS cluster, 'vertical ' || stream % {SEGMENTS} AS vertical,
    {", ".join(f"(hash(stream, decision, {m}) % 100)::DOUBLE AS a{m}" for m in range(_METRICS))},
    {", ".join(f"(hash(stream, decision, {m}) % 100 + hash(stream, {m}) % 3)::DOUBLE AS b{m}" for m in range(_METRICS))}
FROM range($streams) AS s (stream), range({DECISIONS_PER_STREAM}) AS d (decision)
"""
_SUMS = f"""
SELECT
    vertical, cluster, count(*) AS n,
    {", ".join(f"sum(a{m}) AS a{m}, sum(b{m}) AS b{m}, sum(a{m} * a{m}) AS aa{m}, sum(b{m} * b{m}) AS bb{m}, sum(a{m} * b{m}) AS ab{m}" for m in range(_METRICS))}
FROM read_parquet($path)
GROUP BY vertical, cluster
"""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `stats`."""
    path = bench.folder / "units.parquet"
    streams = max(2 * bench.events // DECISIONS_PER_STREAM, 100)
    with duckdb.connect() as connection:
        query = f"COPY ({_UNITS}) TO {quote_literal(str(path))} (FORMAT parquet)"
        connection.execute(query, {"streams": streams})
    given = {"path": str(path)}
    rounds = bench.interleave({"summary": (summary, given), "sums": (from_sums, given), "group by": (group_by, given)})
    size = f"{streams * DECISIONS_PER_STREAM:,} decisions, {SEGMENTS} segments"
    for trial, what in (("summary", "summary of units"), ("sums", "estimates from sums")):
        yield rounds.figure(
            f"stats: {what}, {size}",
            "decisions/s",
            (trial, "rate"),
            peer=("group by", "rate"),
            peer_name="GROUP BY alone",
            target=RATE,
        )


def summary(path: str) -> Measure:
    """`summarise` over four shares and four metrics, by segment and over all."""
    with duckdb.connect() as connection:
        columns = connection.sql("SELECT * FROM read_parquet($path)", params={"path": path}).to_arrow_table()
    sides = {
        f"metric {m}": (columns.column(f"a{m}").to_numpy(), columns.column(f"b{m}").to_numpy()) for m in range(_METRICS)
    }
    shares = {name: (a == b).astype(np.float64) for name, (a, b) in sides.items()}
    segments = {"vertical": columns.column("vertical").to_pylist()}
    units = UnitColumns(columns.column("cluster").to_pylist(), segments, shares, sides)
    started = time.perf_counter()
    lines = summarise(units, {}, None)
    seconds = time.perf_counter() - started
    assert len(lines) == (SEGMENTS + 1) * 2 * _METRICS
    return {"rate": columns.num_rows / seconds}


def from_sums(path: str) -> Measure:
    """One GROUP BY, then the paired estimates of the four metrics in every segment."""
    started = time.perf_counter()
    sums = _sums(path)
    codes = np.asarray(sums.column("vertical").dictionary_encode().combine_chunks().indices, dtype=np.intp)
    for m in range(_METRICS):
        columns = {name: sums.column(f"{name}{m}").to_numpy() for name in ("a", "b", "aa", "bb", "ab")}
        estimates = estimate_paired_segments(PairedSums(n=sums.column("n").to_numpy(), **columns), codes, SEGMENTS)
        assert len(estimates) == SEGMENTS
    return {"rate": sum(sums.column("n").to_pylist()) / (time.perf_counter() - started)}


def group_by(path: str) -> Measure:
    """The GROUP BY alone."""
    started = time.perf_counter()
    sums = _sums(path)
    return {"rate": sum(sums.column("n").to_pylist()) / (time.perf_counter() - started)}


def _sums(path: str) -> Any:
    with duckdb.connect() as connection:
        return connection.sql(_SUMS, params={"path": str(Path(path))}).to_arrow_table()
