"""The noise floor of a version, held to loops over pairs of draws."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import pytest

from pipelines.canonical.arguments import fields_of
from pipelines.canonical.calls import Canonicaliser
from pipelines.diff.dataset import build_diff
from pipelines.experiment.plan import Plan
from pipelines.lake.datasets import REPLAYS
from pipelines.lake.lake import Lake
from tests.support.replayed_lake import replayed_lake, stream_id, write

EXPERIMENT = """
experiment: noisy
candidate: {python: "stub:decide", draws: 3}
control: {python: "stub:decide"}
noise_floor: {conversations: %d}
"""
STREAMS, DECISIONS = 12, 3
Action = list[tuple[str, str]]


def actions(random: Random) -> Action:
    return [("look", f'{{"id": {random.randrange(2)}}}')] if random.random() < 0.8 else []


def noisy_lake(folder: Path, size: int, extra: str = "", **broken: Any) -> tuple[Lake, Plan, dict[str, Any]]:
    """A lake of random actions: the recording, three draws of the candidate, two of the control; and these actions."""
    (folder / "stub.py").write_text("def decide(decision): ...\n", encoding="utf-8")
    random, reader = Random(5), Canonicaliser()
    units = [
        {"stream": stream, "text_a": None, "text_b": None, "calls_a": actions(random), "calls_b": []}
        for stream in range(STREAMS)
        for _ in range(DECISIONS)
    ]
    lake, plan = replayed_lake(folder, units, EXPERIMENT % size + extra)
    done: dict[str, Any] = {"plan": plan}
    rows = []
    for place, unit in enumerate(units):
        unit_id = f"{stream_id(unit['stream'])}/{place % DECISIONS + 1}"
        done[unit_id, "recorded"] = [unit["calls_a"]]
        for side, draws in (("candidate", (0, 1, 2)), ("control", (1000, 1001))):
            done[unit_id, side] = []
            for draw in draws:
                calls = actions(random)
                done[unit_id, side].append(calls)
                rows.append(
                    {
                        "unit_id": unit_id,
                        "unit": "decision",
                        "aggregate_id": stream_id(unit["stream"]),
                        "side": side,
                        "draw": draw,
                        "status": "ok",
                        "is_tainted": False,
                        "is_off_policy": False,
                        "tool_calls": [{"block": 0, "name": name, **fields_of(text)} for name, text in calls],
                        "call_count": len(calls),
                        "l2_hash": reader.hash_list([(0, *call) for call in calls]).l2,
                    }
                    | (broken if (place, draw) == (0, 1001) else {})
                )
    write(lake, REPLAYS, plan.partition, rows, plan.version_id)
    return lake, plan, done


def summary(lake: Lake) -> dict[str, dict[str, Any]]:
    query = "SELECT * FROM ab_summary WHERE kind = 'noise'"
    with lake.connect(query) as connection:
        found = connection.sql(query)
        return {row[2]: dict(zip(found.columns, row, strict=True)) for row in found.fetchall()}


def looped(done: dict[str, Any], points: list[str]) -> dict[str, float]:
    """The six distances, by loops."""

    def between(first: str, second: str) -> float:
        return fmean(fmean(x != y for x in done[at, first] for y in done[at, second]) for at in points)

    def within(side: str) -> float:
        return fmean(fmean(x != y for x, y in combinations(done[at, side], 2)) for at in points)

    control, candidate = within("control"), within("candidate")
    return {
        "noise_raw": between("recorded", "candidate"),
        "noise_between": between("control", "candidate"),
        "noise_control": control,
        "noise_candidate": candidate,
        "noise_excess": 2 * between("control", "candidate") - control - candidate,
        "noise_drift": between("recorded", "control") - control,
    }


def test_the_lines_are_means_over_pairs_of_draws(tmp_path: Path):
    """Every line is the mean over the sample's points of the mean over pairs of draws; what is not in the sample has no part."""
    lake, plan, done = noisy_lake(tmp_path, 7)
    sampled = set(plan.noise_sample)
    assert len(sampled) == 7
    build_diff(lake, plan)
    points = [at for at, side in [key for key in done if key != "plan"] if side == "control" and at[:-2] in sampled]
    lines = summary(lake)
    expected = looped(done, points)
    assert {name: line["estimate"] for name, line in lines.items()} == pytest.approx(expected)
    assert {(line["n"], line["g"], line["excluded"]) for line in lines.values()} == {(7 * DECISIONS, 7, 0)}
    assert {name: line["estimand"] for name, line in lines.items()} == {
        **dict.fromkeys(expected, "rate"),
        "noise_excess": "excess_divergence",
        "noise_drift": "drift",
    }


@pytest.mark.parametrize(
    ("broken", "left_out"),
    [
        ({"status": "failed", "reason": "timeout", "l2_hash": None}, 1),
        ({"is_tainted": True}, 1),
        ({"unverified_calls": 1}, 1),
        ({"status": "failed", "reason": "diverged", "is_tainted": True}, 0),
    ],
)
def test_a_point_lacks_no_draw(tmp_path: Path, broken: dict[str, Any], left_out: int):
    """A point with a draw that has no answer, or was fed otherwise than recorded, is left out and counted; one that stopped at a
    call without a recorded result did something, and counts."""
    lake, plan, done = noisy_lake(tmp_path, 50, **broken)
    build_diff(lake, plan)
    points = [f"{stream_id(n)}/{d + 1}" for n in range(STREAMS) for d in range(DECISIONS)]
    line = summary(lake)["noise_excess"]
    assert (line["n"], line["excluded"]) == (len(points) - left_out, left_out)
    assert line["estimate"] == pytest.approx(looped(done, points[left_out:])["noise_excess"])


def test_the_rules_of_the_tools_say_what_is_the_same(tmp_path: Path):
    """An argument that the manifest ignores makes no difference between draws."""
    (tmp_path / "tools.yaml").write_text("tools: {look: {effect: read, ignore_args: [id]}}\n", encoding="utf-8")
    lake, plan, done = noisy_lake(tmp_path, 50, "tools: {manifest: tools.yaml}\n")
    build_diff(lake, plan)
    named = {key: [[name for name, _ in calls] for calls in value] for key, value in done.items() if key != "plan"}
    points = sorted({at for at, _ in named})
    assert {name: line["estimate"] for name, line in summary(lake).items()} == pytest.approx(looped(named, points))
