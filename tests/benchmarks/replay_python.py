"""`replay-python`: recorded decisions before a callable, from `lake/decisions` to committed `lake/replays`.

The limit is a bare loop that calls the same function on contexts that are ready: what no replay can beat.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.collecting import collecting_seldom
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import Plan, make_plan
from pipelines.experiment.units import create_plan_relations
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from pipelines.replay.run import run_replay
from pipelines.replay.sides import list_units
from pipelines.replay.streams import list_chunks
from pipelines.replay.work import Unit
from tests.benchmarks.candidates import decide
from tests.benchmarks.copies import copied_lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, write_lake
from tests.benchmarks.rounds import Bench, Measure

RATE = Target("at least", 15_000, of="figure")
RENDERING = Target("at least", 50_000, of="figure")
EXPERIMENT = """
experiment: benchmark
candidate: {python: "candidates:decide"}
workers: %d
"""
HERE = Path(__file__).parent


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `replay-python`."""
    root = bench.folder / "lake"
    bench.tell("making and folding the log")
    lake = write_lake(root, bench.events // 2)
    fold_month(lake, MONTH, ["conversation_months", "decisions"])
    given = {"root": str(root)}
    rounds = bench.interleave(
        {
            "replay": (replay, given),
            "workers": (replay_with_workers, given),
            "loop": (bare_loop, given),
            "plan": (plan_only, given),
            "render": (plan_and_render, given),
        }
    )
    loop = {"peer": ("loop", "rate"), "peer_name": "bare loop"}
    yield rounds.figure("replay-python: decisions", "decisions/s", ("replay", "rate"), target=RATE, **loop)
    yield rounds.figure(
        "replay-python: decisions, two worker processes", "decisions/s", ("workers", "rate"), target=RATE, **loop
    )
    yield rounds.figure("replay-python: planning and rendering", "decisions/s", ("render", "rate"), target=RENDERING)
    yield rounds.figure("replay-python: selecting and naming the version", "decisions/s", ("plan", "rate"))
    yield rounds.figure("replay-python: peak memory", "MB", ("replay", "peak_bytes"), scale=1e-6)


def replay(root: str, workers: int = 0) -> Measure:
    """Replay all decisions and commit them; the plan is made before."""
    with copied_lake(root) as lake:
        plan = plan_of(lake, workers)
        started = time.perf_counter()
        done = run_replay(lake, plan)
        return {"rate": done.units / (time.perf_counter() - started)}


def replay_with_workers(root: str) -> Measure:
    """The same in two worker processes, their start included."""
    return replay(root, workers=2)


def plan_only(root: str) -> Measure:
    """Make the plan."""
    lake = Lake(Path(root))
    started = time.perf_counter()
    plan_of(lake)
    seconds = time.perf_counter() - started
    commit = lake.last_commit("decisions", {"month": MONTH})
    assert commit is not None
    return {"rate": commit.row_count / seconds}


def plan_and_render(root: str) -> Measure:
    """Make the plan, and from it every request, hashed and ready to be sent."""
    lake = Lake(Path(root))
    started = time.perf_counter()
    count = sum(unit.request is not None for unit in work_of(lake, plan_of(lake)))
    return {"rate": count / (time.perf_counter() - started)}


def bare_loop(root: str) -> Measure:
    """Call the candidate on every decision, all of them ready in memory."""
    lake = Lake(Path(root))
    prepared = [unit.request.decision for unit in work_of(lake, plan_of(lake)) if unit.request is not None]
    started = time.perf_counter()
    for decision in prepared:
        decide(decision)
    return {"rate": len(prepared) / (time.perf_counter() - started)}


def work_of(lake: Lake, plan: Plan) -> Iterator[Unit]:
    """Every unit of the plan, as a replay draws them."""
    with lake.connect() as connection, collecting_seldom():
        create_plan_relations(connection, plan)
        yield from list_units(connection, plan, "candidate", list_chunks(connection, lake))


def plan_of(lake: Lake, workers: int = 0) -> Plan:
    """The plan of the benchmarks' experiment."""
    return make_plan(lake, parse_experiment(EXPERIMENT % workers, "benchmark"), HERE)
