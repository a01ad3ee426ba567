"""`fold-incremental`: what a month costs after eleven others, and what it costs again when one stream in a hundred went on.

Twelve months of the same log. One conversation in fifty is the same in all of them and goes on in each; the others are a
month's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.duck import quote_literal
from pipelines.folds.run import fold_month
from pipelines.lake.datasets import EVENTS, STREAM_MONTHS
from pipelines.lake.lake import Lake
from tests.benchmarks.copies import copied_lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import HEADS, STREAM_EVENTS, write_log
from tests.benchmarks.rounds import Bench, Measure

HISTORY = Target("at most", 1.3)
TOUCHED = Target("at most", 1.0)
MONTHS = [f"2026-{number:02d}" for number in range(1, 13)]
FOLDED = ["conversation_months", "call_months", "snapshots"]
"""What a month of conversations needs, and what the next month goes on from."""
_SHARE, _SECONDS = 0.05, 1.0
"""Touching one stream in a hundred may take this share of the whole month's time, and this many seconds."""

_MONTH = f"""
SELECT
    * EXCLUDE (is_long) REPLACE (
        $month AS month,
        CASE WHEN is_long THEN aggregate_id ELSE md5(aggregate_id || $month)::UUID::VARCHAR END AS aggregate_id,
        stream_version + CASE WHEN is_long THEN $number * {STREAM_EVENTS} ELSE 0 END AS stream_version,
        created_at + to_months($number::INTEGER) AS created_at,
        position + $number * 10_000_000_000 AS position
    )
FROM (SELECT *, (xid - 1) % 50 = 0 AS is_long FROM read_parquet({{log}}))
"""
_MORE = """
SELECT * FROM events WHERE month = $month
UNION ALL BY NAME
SELECT
    * REPLACE (
        stream_version + 1 AS stream_version, 'user.utterance.v1' AS event_type, 1 AS event_version,
        '{"text": "one more thing"}' AS payload, position + 1_000_000_000_000 AS position, sha256(hash)::BLOB AS hash
    )
FROM (
    SELECT events.* FROM events
    INNER JOIN stream_months AS heads
        ON events.aggregate_id = heads.aggregate_id AND events.month = heads.month
        AND events.stream_version = heads.last_version
    WHERE events.month = $month
    QUALIFY row_number() OVER (ORDER BY hash(events.aggregate_id)) <= ceil(count(*) OVER () / 100)
) AS newest
"""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `fold-incremental`."""
    root = bench.folder / "lake"
    events = max(bench.events // 4, STREAM_EVENTS)
    write_months(root, events)
    given = {"root": str(root)}
    rounds = bench.interleave(
        {"first": (fold_first, given), "last": (fold_last, given), "touched": (fold_again, given)}
    )
    yield rounds.figure(
        f"fold-incremental: month 12, {events:,} events a month",
        "s",
        ("last", "seconds"),
        peer=("first", "seconds"),
        peer_name="month 1",
        target=HISTORY,
    )
    touched, whole = rounds.median(("touched", "seconds")), rounds.median(("last", "seconds"))
    limit = _SHARE * whole + _SECONDS
    yield Figure(
        "fold-incremental: month 12 again, 1 % of its streams went on",
        "s",
        touched,
        "5 % of the month's fold + 1 s",
        limit,
        touched / limit,
        TOUCHED,
    )


def write_months(root: Path, events: int) -> None:
    """A lake with twelve months, all but the last folded."""
    lake = Lake(root)
    log = root.with_suffix(".log.parquet")
    write_log(log, events)
    for number, month in enumerate(MONTHS):
        params = {"month": month, "number": number}
        query = _MONTH.format(log=quote_literal(str(log)))
        with lake.connect() as connection:
            lake.write_partition(EVENTS, {"month": month}, connection, query, params, input_hash="made")
        _write_heads(lake, month)
    log.unlink()
    for month in MONTHS[:-1]:
        fold_month(lake, month, FOLDED)


def fold_first(root: str) -> Measure:
    """The first month, folded as if for the first time."""
    with copied_lake(root) as lake:
        for name in FOLDED:
            lake.table(name).commit([], {"month": MONTHS[0]}, lake.table(name).number({"month": MONTHS[0]}) + 1)
        return _timed(lake, MONTHS[0])


def fold_last(root: str) -> Measure:
    """The last month, after eleven others."""
    with copied_lake(root) as lake:
        return _timed(lake, MONTHS[-1])


def fold_again(root: str) -> Measure:
    """The last month once more, when one of its streams in a hundred has an event more."""
    with copied_lake(root) as lake:
        fold_month(lake, MONTHS[-1], FOLDED)
        partition = {"month": MONTHS[-1]}
        with lake.connect() as connection:
            lake.write_partition(EVENTS, partition, connection, _MORE, partition, input_hash="more")
        _write_heads(lake, MONTHS[-1])
        return _timed(lake, MONTHS[-1])


def _timed(lake: Lake, month: str) -> Measure:
    lake = Lake(lake.root)
    started = time.perf_counter()
    results = fold_month(lake, month, FOLDED)
    seconds = time.perf_counter() - started
    assert all(result.is_written for result in results)
    return {"seconds": seconds}


def _write_heads(lake: Lake, month: str) -> None:
    with lake.connect() as connection:
        connection.execute(f"CREATE TEMP VIEW made AS SELECT * FROM events WHERE month = {quote_literal(month)}")
        lake.write_partition(STREAM_MONTHS, {"month": month}, connection, HEADS, input_hash="made")
