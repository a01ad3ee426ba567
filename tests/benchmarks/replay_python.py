"""`replay-python`: recorded decisions before a callable, from `lake/decisions` to committed `lake/replays`.

The limit is a bare loop that calls the same function on contexts that are ready: what no replay can beat.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from pipelines.replay.answer import answer_decisions
from pipelines.replay.candidate import PythonCandidate
from pipelines.replay.decision import Decision, Reply
from pipelines.replay.experiment import parse_experiment
from pipelines.replay.plan import Plan, make_plan
from pipelines.replay.run import run_replay
from pipelines.replay.units import create_plan_relations, create_units
from tests.benchmarks.candidates import decide
from tests.benchmarks.copies import copied_lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, write_lake
from tests.benchmarks.rounds import Bench, Measure

RATE = Target("at least", 15_000, of="figure")
EXPERIMENT = """
experiment: benchmark
candidate: {python: "candidates:decide"}
"""
HERE = Path(__file__).parent


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `replay-python`."""
    root = bench.folder / "lake"
    bench.tell("making and folding the log")
    lake = write_lake(root, bench.events // 2)
    fold_month(lake, MONTH, ["conversation_months", "decisions"])
    given = {"root": str(root)}
    rounds = bench.interleave({"replay": (replay, given), "loop": (bare_loop, given), "plan": (plan_only, given)})
    yield rounds.figure(
        "replay-python: decisions",
        "decisions/s",
        ("replay", "rate"),
        peer=("loop", "rate"),
        peer_name="bare loop",
        target=RATE,
    )
    yield rounds.figure("replay-python: selecting and naming the version", "decisions/s", ("plan", "rate"))
    yield rounds.figure("replay-python: peak memory", "MB", ("replay", "peak_bytes"), scale=1e-6)


def replay(root: str) -> Measure:
    """Replay all decisions and commit them; the plan is made before."""
    with copied_lake(root) as lake:
        plan = plan_of(lake)
        started = time.perf_counter()
        done = run_replay(lake, plan)
        return {"rate": done.units / (time.perf_counter() - started)}


def plan_only(root: str) -> Measure:
    """Make the plan."""
    lake = Lake(Path(root))
    started = time.perf_counter()
    plan_of(lake)
    seconds = time.perf_counter() - started
    commit = lake.last_commit("decisions", {"month": MONTH})
    assert commit is not None
    return {"rate": commit.row_count / seconds}


def bare_loop(root: str) -> Measure:
    """Call the candidate on every decision, all of them ready in memory."""
    prepared: list[Decision] = []

    def keep(decision: Decision) -> Reply:
        prepared.append(decision)
        return decide(decision)

    lake = Lake(Path(root))
    plan = plan_of(lake)
    with lake.connect() as connection:
        create_plan_relations(connection, plan)
        create_units(connection, plan, "units_a")
        for _ in answer_decisions(connection, PythonCandidate("loop:keep", "", keep), lambda _unit, _error: None):
            pass
    started = time.perf_counter()
    for decision in prepared:
        decide(decision)
    return {"rate": len(prepared) / (time.perf_counter() - started)}


def plan_of(lake: Lake) -> Plan:
    """The plan of the benchmarks' experiment."""
    return make_plan(lake, parse_experiment(EXPERIMENT, "benchmark"), HERE)
