"""From rows to the one answer: what a version was, what its gate asks, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.diff.dataset import build_diff
from pipelines.diff.gating import decide_version
from pipelines.diff.names import require_known_gate, require_known_primary
from pipelines.diff.result import DiffResult
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.lake.lake import Lake
from pipelines.review.answer import render_decision
from tests.support.replayed_lake import EXPERIMENT, replayed_lake

METRICS = """
metrics: {made: {sql: call_count, goal: lower, margin: 0.02}}
primary: made
expect: [{name: at_most_two, sql: "call_count <= 2"}]
"""


def units(planted: int = 0, failed: int = 0, calls: int = 1) -> list[dict[str, Any]]:
    """200 units of 100 conversations; a planted unit calls one tool more, a failed one has no answer."""
    made = [("look", "{}")]
    return [
        {
            "stream": number // 2,
            "text_a": "a",
            "text_b": "a",
            "calls_a": made,
            "calls_b": made * calls + made * (number % 10 < planted),
            "replayed": {"status": "failed", "reason": "timeout"} if number % 10 >= 10 - failed else {},
        }
        for number in range(200)
    ]


MADE = {
    "planted": units(planted=1),
    "none": units(calls=0),
    "unanswered": units(calls=0, failed=1),
    "three": units(calls=3),
    "same": units(),
}


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Lake, DiffResult]]:
    """A version of each, made once: the gate is no part of it."""
    made = {}
    for name, rows in MADE.items():
        lake, plan = replayed_lake(tmp_path_factory.mktemp(name), rows, EXPERIMENT + METRICS)
        made[name] = lake, build_diff(lake, plan)
    return made


@pytest.mark.parametrize(
    ("made", "gate", "word", "told"),
    [
        ("planted", None, "do_not_ship", "made is worse: +0.1 ["),
        ("planted", "made <= 0.2", "ship", "the gate's clause `made <= 0.2` holds"),
        ("none", None, "ship", "made is better: −1 [−1 to −1], margin 0.02"),
        ("unanswered", None, "not_enough_data", "10.0% of the pairs have no answer of B"),
        (
            "three",
            "made > 0",
            "do_not_ship",
            "B breaks the rule at_most_two: it holds in 0.0% of 200 pairs (A: 100.0%)",
        ),
        ("same", None, "not_enough_data", "answer: not enough data (about 91 more conversations)\n  made is not shown"),
        ("none", "same_calls >= 0.5", "do_not_ship", "and the interval leaves no doubt"),
        (
            "none",
            "latency_ms <= 5",
            "not_enough_data",
            "the gate's clause `latency_ms <= 5` is not shown to hold",
        ),
    ],
)
def test_the_answer_of_a_version(
    versions: dict[str, tuple[Lake, DiffResult]], made: str, gate: str | None, word: str, told: str
):
    """A planted change of 10 % is found; the gate, a broken rule, missing answers and equality decide as they say."""
    lake, result = versions[made]
    decision = decide_version(lake, result.experiment, result.version_id, gate)
    assert decision.answer.word == word
    assert told in render_decision(decision)


def test_the_primary_is_a_metric():
    """A primary that is no metric of the experiment is refused before anything is replayed."""
    with pytest.raises(BadInputError, match="primary 'mode' is no metric of this experiment; there are calls"):
        require_known_primary(parse_experiment(EXPERIMENT + "primary: mode\n", "test"))
    with pytest.raises(BadInputError, match="unknown segment 'vertical'"):
        require_known_gate(parse_experiment(f"{EXPERIMENT}{METRICS}gate: made@vertical=x improved\n", "test"))
