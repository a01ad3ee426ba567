"""`diff`: decision pairs from `lake/replays` to committed datasets, against a plain Python loop.

The loop is what one writes on an afternoon: `difflib` for texts and arguments, calls matched greedily by name. It keeps
nothing, makes no statistics and sees only the first pairs, for it is slow.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from pipelines.diff.dataset import build_diff
from pipelines.lake.lake import Lake
from tests.benchmarks.copies import copied_lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.pairs import write_pairs
from tests.benchmarks.replay_python import plan_of
from tests.benchmarks.rounds import Bench, Measure

RATE = Target("at least", 25_000, of="figure")
"""1 M pairs in 40 s."""
MEMORY = Target("at most", 1.0)

_MEMORY_BYTES = 2 * 10**9
_LOOP_SHARE = 10
_LOOP = """
SELECT a.text AS text_a, b.text AS text_b, a.tool_calls AS calls_a, b.tool_calls AS calls_b
FROM decisions AS a
INNER JOIN replays_history AS b ON b.unit_id = a.aggregate_id || '/' || a.decision
ORDER BY b.unit_id
LIMIT $limit
"""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `diff`."""
    root = bench.folder / "lake"
    pairs = max(bench.events // 10, 80)
    write_pairs(root, pairs)
    rounds = bench.interleave(
        {
            "diff": (diff, {"root": str(root)}),
            "loop": (plain_loop, {"root": str(root), "pairs": max(pairs // _LOOP_SHARE, 10)}),
        }
    )
    yield rounds.figure(
        f"diff: {pairs:,} decision pairs",
        "pairs/s",
        ("diff", "rate"),
        peer=("loop", "rate"),
        peer_name="plain loop",
        target=RATE,
    )
    peak = rounds.median(("diff", "peak_bytes"))
    yield Figure("diff: peak memory", "MB", peak / 1e6, "2 GB", _MEMORY_BYTES / 1e6, peak / _MEMORY_BYTES, MEMORY)


def diff(root: str) -> Measure:
    """Diff the version and commit units, tool calls and summary."""
    with copied_lake(root) as lake:
        plan = plan_of(lake)
        started = time.perf_counter()
        done = build_diff(lake, plan)
        return {"rate": done.pairs / (time.perf_counter() - started)}


def plain_loop(root: str, pairs: int) -> Measure:
    """Compare the first `pairs` one by one."""
    with Lake(Path(root)).connect() as connection:
        started = time.perf_counter()
        rows = connection.sql(_LOOP, params={"limit": pairs}).to_arrow_table().to_pylist()
        same = 0
        for row in rows:
            similarity = SequenceMatcher(None, row["text_a"], row["text_b"]).ratio()
            same += similarity == 1.0 and _match(row["calls_a"], row["calls_b"])
        return {"rate": len(rows) / (time.perf_counter() - started), "same": same}


def _match(left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every call finds its like: each takes the most similar one of the same name that is still free."""
    free = list(right)
    is_same = len(left) == len(right)
    for call in left:
        scored = [
            (_similarity(call, other), place) for place, other in enumerate(free) if other["name"] == call["name"]
        ]
        if not scored:
            is_same = False
            continue
        similarity, place = max(scored)
        is_same &= similarity == 1.0
        del free[place]
    return is_same


def _similarity(call: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    left, right = json.loads(call["arguments"]), json.loads(other["arguments"])
    if left == right:
        return 1.0
    texts = [json.dumps(each, sort_keys=True) for each in (left, right)]
    return SequenceMatcher(None, *texts).ratio()
