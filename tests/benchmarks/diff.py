"""`diff`: decision pairs from `lake/replays` to committed datasets, against a plain Python loop.

The loop is what one writes on an afternoon: `difflib` for texts and arguments, calls matched greedily by name. It keeps
nothing, makes no statistics and sees only the first pairs, for it is slow. Where `REFOLD_AGENTEVALS` names a Python that has
agentevals (`python -m venv x; x/bin/pip install agentevals; REFOLD_AGENTEVALS=x/bin/python`), its matcher of tool calls,
which does not look at texts, is measured on the same pairs.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import SequenceMatcher
from pathlib import Path
from statistics import median
from typing import Any

from pipelines.diff.dataset import build_diff
from pipelines.lake.lake import Lake
from tests.benchmarks.copies import copied_lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.pairs import plan_of, write_pairs
from tests.benchmarks.rounds import Bench, Measure

RATE = Target("at least", 25_000, of="figure")
"""1 M pairs in 40 s."""
MEMORY = Target("at most", 1.0)

_MEMORY_BYTES = 2 * 10**9
_AGENTEVALS = "REFOLD_AGENTEVALS"
_LOOP_SHARE = 10
_PEER_BYTES = 16 * 10**9
"""Peers hold all they read."""
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
    peak = median(each["diff"]["peak_bytes"] + each["diff"]["helper_bytes"] for each in rounds.rounds)
    yield Figure(
        "diff: peak memory, helpers too", "MB", peak / 1e6, "2 GB", _MEMORY_BYTES / 1e6, peak / _MEMORY_BYTES, MEMORY
    )
    yield rounds.figure("diff: processor time of all processes", "s", ("diff", "cpu_seconds"))
    if _AGENTEVALS in os.environ:
        rates = bench.interleave(
            {"agentevals": (agentevals, {"root": str(root), "pairs": max(pairs // _LOOP_SHARE, 10)})}
        )
        rate, peer = rounds.median(("diff", "rate")), rates.median(("agentevals", "rate"))
        yield Figure("diff: against agentevals", "pairs/s", rate, "agentevals, tool calls alone", peer, rate / peer)


def diff(root: str) -> Measure:
    """Diff the version and commit units, tool calls and summary."""
    with copied_lake(root) as lake:
        plan = plan_of(lake)
        with _helpers_watched() as helpers:
            started, used = time.perf_counter(), _cpu_seconds()
            done = build_diff(lake, plan)
            seconds, used = time.perf_counter() - started, _cpu_seconds() - used
        return {"rate": done.pairs / seconds, "cpu_seconds": used, "helper_bytes": sum(helpers.values())}


def _cpu_seconds() -> float:
    """Processor time of this process and of those that it waited for."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in spent)


@contextmanager
def _helpers_watched() -> Iterator[dict[int, int]]:
    """Largest resident memory of every process that this one starts meanwhile, by its id, in bytes."""
    peaks: dict[int, int] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            for task in Path("/proc/self/task").iterdir():
                with suppress(OSError):
                    for pid in (task / "children").read_text(encoding="ascii").split():
                        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
                        if mark := re.search(r"VmHWM:\s+(\d+) kB", status):
                            peaks[int(pid)] = int(mark[1]) * 1024

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()


def agentevals(root: str, pairs: int) -> Measure:
    """Compare the tool calls of the first `pairs` with agentevals, in its own Python."""
    with Lake(Path(root), memory_bytes=_PEER_BYTES).connect() as connection:
        rows = connection.sql(_LOOP, params={"limit": pairs}).to_arrow_table().to_pylist()
    lines = "".join(json.dumps([row["calls_a"], row["calls_b"]]) + "\n" for row in rows)
    command = [os.environ[_AGENTEVALS], str(Path(__file__).with_name("agentevals_peer.py"))]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    measure: Measure = json.loads(done.stdout.splitlines()[-1])
    return measure


def plain_loop(root: str, pairs: int) -> Measure:
    """Compare the first `pairs` one by one."""
    with Lake(Path(root), memory_bytes=_PEER_BYTES).connect() as connection:
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
