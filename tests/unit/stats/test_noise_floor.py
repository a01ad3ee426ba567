"""The noise floor: unbiased where subtraction is not, and near nothing on two real runs of one model."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections import defaultdict
from itertools import combinations

import numpy as np
import pytest

from pipelines.errors import BadInputError
from pipelines.stats.noise_floor import Distances, draw_distances, estimate_noise_floor
from pipelines.stats.verdict import judge


def draw(random, probabilities, draws):
    """Sample `draws` actions per point from its row of probabilities."""
    uniform = random.random((probabilities.shape[0], draws, 1))
    return (uniform > np.cumsum(probabilities, axis=1)[:, np.newaxis, :]).sum(axis=2)


def policies(random, points):
    """Probabilities of 4 actions at each point, some points nearly sure and some not."""
    return random.dirichlet([0.6] * 4, size=points)


SCENARIOS = {
    "same policy": lambda p, random: p,
    "temperature down": lambda p, random: np.eye(4)[p.argmax(axis=1)],
    "temperature up": lambda p, random: np.sqrt(p) / np.sqrt(p).sum(axis=1, keepdims=True),
    "5 % of points changed": lambda p, random: np.where(random.random((len(p), 1)) < 0.05, p[:, [1, 2, 3, 0]], p),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_excess_is_the_squared_distance_of_the_policies(name):
    """E is on average the sum of squared differences of probabilities, whichever side is the more random."""
    random = np.random.default_rng(1)
    points = 40_000
    p = policies(random, points)
    q = SCENARIOS[name](p, random)
    truth = float(((p - q) ** 2).sum(axis=1).mean())
    floor = estimate_noise_floor(
        draw_distances(draw(random, p, 1)[:, 0], draw(random, p, 2), draw(random, q, 2)),
        np.repeat(np.arange(points // 8), 8),
    )
    assert floor.excess.theta == pytest.approx(truth, abs=4 * floor.excess.se)
    assert floor.excess.se < 0.005
    assert floor.drift.theta == pytest.approx(0, abs=4 * floor.drift.se)
    if name == "temperature down":  # what subtraction would have said
        assert floor.raw.theta - floor.control.theta < -0.05 < 0.05 < truth


@pytest.mark.parametrize(("conversations", "spread"), [(50, 0.03), (500, 0.01)])
def test_how_well_the_excess_is_known(conversations, spread):
    """Of one policy against itself, 41 % of whose draws differ: the excess spreads by about 0.03 over 50 conversations of 8
    decisions and by about 0.01 over 500, around 0, and its 95 % interval holds 0 as often as it says."""
    runs = int(os.environ.get("REFOLD_SIMULATED_RUNS", "60"))
    random = np.random.default_rng(6)
    floors = []
    for _ in range(runs):
        p = random.dirichlet([0.301] * 4, size=conversations * 8)
        drawn = draw_distances(None, draw(random, p, 2), draw(random, p, 2))
        floors.append(estimate_noise_floor(drawn, np.repeat(np.arange(conversations), 8)))
    found = np.array([floor.excess.theta for floor in floors])
    assert np.mean([floor.control.theta for floor in floors]) == pytest.approx(0.41, abs=0.01)
    assert abs(found.mean()) < 4 * found.std() / runs**0.5
    assert found.std() == pytest.approx(spread, rel=0.3)
    held = np.mean([floor.excess.low <= 0 <= floor.excess.high for floor in floors])
    assert held > 0.95 - 3 * (0.05 * 0.95 / runs) ** 0.5


def test_drift_is_seen():
    """A control that no longer reproduces its recording has drift, although the candidate equals the control."""
    random = np.random.default_rng(2)
    old, now = policies(random, 8000), policies(random, 8000)
    distances = draw_distances(draw(random, old, 1)[:, 0], draw(random, now, 2), draw(random, now, 2))
    floor = estimate_noise_floor(distances, np.arange(8000) // 8)
    assert floor.drift.low > 0.1
    assert floor.excess.low < 0 < floor.excess.high


def test_deterministic_control_against_itself():
    """A deterministic stub against itself has no difference, no drift and E = 0."""
    action = np.arange(200)
    twice = np.stack([action, action], axis=1)
    floor = estimate_noise_floor(draw_distances(action, twice, twice), np.arange(200) // 4)
    assert (floor.raw.theta, floor.control.theta, floor.excess.theta, floor.drift.theta) == (0, 0, 0, 0)
    assert floor.raw.high > 0  # nothing seen is not nothing there


def test_distances_average_over_all_pairs_of_draws():
    """With more than two draws every pair counts once, checked by a loop over pairs."""
    random = np.random.default_rng(3)
    recorded, control, candidate = (random.integers(0, 3, size) for size in (20, (20, 3), (20, 4)))
    distances = draw_distances(recorded, control, candidate)
    for point in range(20):
        b, c = control[point], candidate[point]
        assert distances.control_control[point] == pytest.approx(np.mean([x != y for x, y in combinations(b, 2)]))
        assert distances.candidate_candidate[point] == pytest.approx(np.mean([x != y for x, y in combinations(c, 2)]))
        assert distances.control_candidate[point] == pytest.approx(np.mean([x != y for x in b for y in c]))
        assert distances.recorded_control[point] == pytest.approx(np.mean(recorded[point] != b))


def test_rounding_is_no_change():
    """Means of thirds that cancel count as clusters without a change, not as changes of 1e-17."""
    third = np.full(40, 1 / 3)
    distances = Distances(third, third, third, third, third + 2**-54)
    floor = estimate_noise_floor(distances, np.arange(40) // 2)
    assert (floor.excess.g_changed, floor.excess.theta, floor.excess.reason) == (0, 0, "few_changes")


def test_missing_draws_have_reasons():
    """No control and too few draws are told apart, and what can be computed is."""
    random = np.random.default_rng(4)
    recorded, two = random.integers(0, 3, 80), random.integers(0, 3, (80, 2))
    cluster = np.arange(80)
    alone = estimate_noise_floor(draw_distances(recorded, None, two), cluster)
    assert alone.raw.theta is not None
    assert [item.reason for item in (alone.control, alone.excess, alone.drift)] == ["no_control"] * 3
    single = estimate_noise_floor(draw_distances(recorded, two[:, :1], two), cluster)
    assert [item.reason for item in (single.control, single.excess, single.drift)] == ["few_draws"] * 3
    with pytest.raises(BadInputError, match="control has shape"):
        draw_distances(recorded, two[:5], two)
    with pytest.raises(BadInputError, match="one code per point"):
        estimate_noise_floor(draw_distances(recorded, two, two), cluster[:5])


def test_real_model_against_itself(shared_data):
    """tau-bench trials 0 and 2 against 1 and 3, one model: raw change .92, E near .02 with 0 inside its interval."""
    actions: dict[str, dict[str, str]] = defaultdict(dict)
    with gzip.open(shared_data / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            conversation = json.loads(line)
            if conversation["source"] == "tau-bench":
                actions[conversation["task_id"]][conversation["variant"].rpartition("#")[2]] = calls(conversation)
    assert len(actions) == 50
    table = np.array([[task[f"trial{trial}"] for trial in range(4)] for task in actions.values()])
    control, candidate = table[:, [0, 2]], table[:, [1, 3]]
    floor = estimate_noise_floor(draw_distances(control[:, 0], control, candidate), np.arange(50))
    assert estimate_raw(control, candidate) == pytest.approx(0.92, abs=0.02)
    assert floor.excess.theta == pytest.approx(0.02, abs=0.01)
    assert floor.excess.low == pytest.approx(-0.06, abs=0.02)
    assert floor.excess.high == pytest.approx(0.10, abs=0.02)
    assert judge(floor.excess).verdict not in {"improved", "regressed"}


def estimate_raw(control, candidate):
    """Share of control and candidate runs that differ."""
    return draw_distances(None, control, candidate).control_candidate.mean()


def calls(conversation):
    """The agent's tool calls with their arguments as JSON values, in order, as one text."""
    found = []
    for message in conversation["messages"]:
        if message["role"] != "assistant":
            continue
        for call in message.get("tool_calls") or []:
            arguments = call["function"]["arguments"]
            if isinstance(arguments, str):
                with contextlib.suppress(json.JSONDecodeError):
                    arguments = json.loads(arguments)
            found.append([call["function"]["name"], arguments])
    return json.dumps(found, sort_keys=True)
