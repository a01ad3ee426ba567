"""Statistics on real conversations: the same model twice is no change, and a planted change is found."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from pipelines.diff.summary import Conversations, ConversationSums, Units, summarise
from pipelines.experiment.metrics import Metric
from pipelines.stats.cluster import estimate_paired
from pipelines.stats.sums import PairedSums
from pipelines.stats.verdict import judge
from tests.unit.diff.real_calls import agent_calls


@pytest.fixture(scope="module")
def trials(conversations: list[dict]) -> dict[str, list[dict]]:
    """Four runs of one model on 50 tasks, by task."""
    found: dict[str, dict[str, dict]] = {}
    for conversation in conversations:
        if conversation["source"] == "tau-bench":
            found.setdefault(conversation["task_id"], {})[conversation["variant"]] = conversation
    return {task: [runs[f"gpt-4o#trial{n}"] for n in range(4)] for task, runs in sorted(found.items())}


def test_the_same_model_twice_is_not_better_or_worse(trials: dict[str, list[dict]]):
    """Trials 0 and 2 against 1 and 3, one model: by outcome, tool calls and words said, whatever the goal and the margin, no
    verdict says improved or regressed. (The noise floor of the same runs is `stats.test_noise_floor`'s.)"""

    def measures(run: dict) -> tuple[float, float, float]:
        said = sum(len(m["content"] or "") for m in run["messages"] if m["role"] == "assistant" and m["content"])
        return float(run["outcome"]["reward"] >= 1), float(len(agent_calls(run))), float(said)

    tasks = [task for task in trials for _ in range(2)]
    a, b = (np.array([measures(runs[n]) for runs in trials.values() for n in side]) for side in ((0, 2), (1, 3)))
    assert len(tasks) == len(a) == 100
    for column in range(3):
        sums = PairedSums.from_units(tasks, a[:, column], b[:, column])
        for goal in ("higher", "lower"):
            for margin in (0.01, 1.0, None):
                assert judge(estimate_paired(sums), goal=goal, margin=margin).verdict in {"inconclusive", "equivalent"}


def test_a_planted_change_is_found(conversations: list[dict]):
    """One agent message in ten of copied real conversations gets a tool call more: the share that stayed the same is about
    .9 and its interval says so, and calls per message are worse."""
    random = Random(7)
    number, a, b = [], [], []
    for place, conversation in enumerate(conversations):
        for message in conversation["messages"]:
            if message["role"] == "assistant":
                calls = len(message.get("tool_calls") or [])
                number.append(place)
                a.append(calls)
                b.append(calls + (random.random() < 0.1))
    left, right = np.array(a, dtype=float), np.array(b, dtype=float)
    sums = ConversationSums()
    used, code = np.unique(number, return_inverse=True)
    sums.add(Units(code, {"same_calls": (left == right).astype(float)}, {"calls": (left, right)}))
    known = Conversations(None, {})
    metrics = {"calls": Metric(sql="call_count", goal="lower", margin=0.05)}
    same, calls = (line.estimate for line in summarise(known, sums, metrics, "calls"))
    assert same.low is not None
    assert same.high is not None
    assert same.low < 0.9 < same.high < 0.95
    assert (calls.verdict, calls.is_non_inferior, calls.g) == ("regressed", False, used.size)
