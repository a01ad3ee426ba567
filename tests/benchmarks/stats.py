"""`stats`: every estimate of 20 segments, from units in memory and from their sums per conversation.

The first figure adds units up per conversation and estimates, as a diff does at its end; the second estimates from sums
that are there. The limit is one GROUP BY of the same units in DuckDB, by segment and over everything (GROUPING SETS):
what any engine must do, without an estimate.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from pipelines.diff.arrays import to_numpy
from pipelines.diff.summary import Conversations, ConversationSums, Units, summarise
from pipelines.duck import quote_literal
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import DECISIONS_PER_STREAM
from tests.benchmarks.rounds import Bench, Measure

RATE = Target("at least", 4_000_000, of="figure")
"""8 M decisions of 1 M conversations in 2 s."""
SEGMENTS = 20
_METRICS = 4
_SHARD = 400_000

_UNITS = f"""
SELECT
    stream::INTEGER AS stream, (stream % {SEGMENTS})::INTEGER AS vertical,
    {", ".join(f"(hash(stream, decision, {m}) % 100)::DOUBLE AS a{m}" for m in range(_METRICS))},
    {", ".join(f"(hash(stream, decision, {m}) % 100 + hash(stream, {m}) % 3)::DOUBLE AS b{m}" for m in range(_METRICS))}
FROM range($streams) AS s (stream), range({DECISIONS_PER_STREAM}) AS d (decision)
ORDER BY stream, decision
"""
_PER_STREAM = ", ".join(
    f"sum(a{m}) AS a{m}, sum(b{m}) AS b{m}, sum(a{m} * a{m}) AS aa{m}, sum(b{m} * b{m}) AS bb{m}, sum(a{m} * b{m}) AS ab{m}"
    for m in range(_METRICS)
)
_GROUP_BY = f"""
WITH conversations AS (
    SELECT stream, any_value(vertical) AS vertical, count(*) AS n, {_PER_STREAM}
    FROM units
    GROUP BY stream
)
SELECT
    vertical, sum(n) AS n, sum(n * n) AS nn,
    {", ".join(f"sum(a{m}) AS a{m}, sum(b{m}) AS b{m}, sum((b{m} - a{m})**2) AS dd{m}, sum((b{m} - a{m}) * n) AS dn{m}" for m in range(_METRICS))}
FROM conversations
GROUP BY GROUPING SETS ((vertical), ())
"""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `stats`."""
    path = bench.folder / "units.parquet"
    streams = max(2 * bench.events // DECISIONS_PER_STREAM, 100)
    with duckdb.connect() as connection:
        query = f"COPY ({_UNITS}) TO {quote_literal(str(path))} (FORMAT parquet)"
        connection.execute(query, {"streams": streams})
    given = {"path": str(path)}
    rounds = bench.interleave({"summary": (summary, given), "group by": (group_by, given)})
    size = f"{streams * DECISIONS_PER_STREAM:,} decisions, {SEGMENTS} segments"
    for key, what in (("rate", "summary of units"), ("estimates", "estimates from sums")):
        yield rounds.figure(
            f"stats: {what}, {size}",
            "decisions/s",
            ("summary", key),
            peer=("group by", "rate"),
            peer_name="GROUP BY alone",
            target=RATE,
        )


def summary(path: str) -> Measure:
    """`summarise` over four shares and four metrics, by segment and over all; units come in shards, as they do."""
    with duckdb.connect() as connection:
        columns = connection.sql("SELECT * FROM read_parquet($path)", params={"path": path}).to_arrow_table()
    stream = to_numpy(columns.column("stream"), np.int32).astype(np.intp)
    sides: dict[str, Any] = {
        f"metric {m}": tuple(to_numpy(columns.column(f"{side}{m}"), np.float64) for side in "ab")
        for m in range(_METRICS)
    }
    shares = {f"share {m}": (a == b).astype(np.float64) for m, (a, b) in enumerate(sides.values())}
    vertical = to_numpy(columns.column("vertical"), np.int32)[::DECISIONS_PER_STREAM].astype(np.intp)
    known = Conversations(None, {"vertical": ([f"vertical {v:02}" for v in range(SEGMENTS)], vertical)})
    del columns
    started = time.perf_counter()
    sums = ConversationSums()
    for start in range(0, stream.size, _SHARD):
        stop = start + _SHARD
        sums.add(
            Units(
                stream[start:stop],
                {name: share[start:stop] for name, share in shares.items()},
                {name: (a[start:stop], b[start:stop]) for name, (a, b) in sides.items()},
            )
        )
    summed = time.perf_counter()
    lines = summarise(known, sums, {}, None)
    done = time.perf_counter()
    assert len(lines) == (SEGMENTS + 1) * 2 * _METRICS
    return {"rate": stream.size / (done - started), "estimates": stream.size / (done - summed)}


def group_by(path: str) -> Measure:
    """One GROUP BY over units in memory: sums per conversation, then per segment and over all."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE units AS SELECT * FROM read_parquet({quote_literal(str(Path(path)))})")
        started = time.perf_counter()
        rows = connection.sql(_GROUP_BY).fetchall()
        seconds = time.perf_counter() - started
    total = max(row[1] for row in rows)
    return {"rate": total / seconds}
