"""Ship, do not ship, not enough data: the rule, case by case, and what holds of every case."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.stats.answer import Answer, Evidence, combine, decide
from pipelines.stats.cluster import estimate, estimate_paired, estimate_segments
from pipelines.stats.estimate import Estimate
from pipelines.stats.gate import Summary, evaluate, parse_gate
from pipelines.stats.sums import ClusterSums, PairedSums
from pipelines.stats.verdict import judge


def metric(
    mean: float, *, g: int = 60, sd: float = 1.0, goal: str | None = "lower", margin: float | None = 0.5
) -> Estimate:
    """A judged difference of g conversations of one unit, with this mean and standard deviation exactly."""
    noise = np.tile([-1.0, 1.0], g)[:g]
    noise = (noise - noise.mean()) / noise.std(ddof=1) * sd
    found = estimate_paired(PairedSums.from_units(range(g), np.zeros(g), noise + mean))
    return judge(found, goal=goal, margin=margin)  # type: ignore[arg-type]


def rule(held: int, of: int = 60) -> Estimate:
    held_each = np.array([1.0] * held + [0.0] * (of - held))
    return estimate(ClusterSums(s=held_each, n=np.ones(of), squares=held_each), "rate")


def gate(text: str, **metrics: Estimate) -> Evidence:
    summary = Summary(metrics=metrics, checks={"kept": True, "broken": False, "unknown": None})
    return Evidence(gate=evaluate(parse_gate(text), summary), g=60)


BETTER, WORSE, SAME, OPEN = metric(-2), metric(2), metric(0, sd=0.2), metric(0.3, sd=1.5)
ONE = Evidence(metrics={"usd": BETTER}, declared=frozenset({"usd"}), primary="usd", g=60, missing=0.0)


@pytest.mark.parametrize(
    ("evidence", "word", "codes"),
    [
        (ONE, "ship", ["improved"]),
        (replace(ONE, metrics={"usd": WORSE}), "do_not_ship", ["regressed"]),
        (replace(ONE, metrics={"usd": SAME}), "ship", ["equivalent"]),
        (replace(ONE, metrics={"usd": metric(0.1)}), "ship", ["equivalent"]),
        (replace(ONE, metrics={"usd": OPEN}), "not_enough_data", ["not_shown"]),
        (replace(ONE, metrics={"usd": metric(-2, g=10)}, g=10), "not_enough_data", ["not_shown", "few_clusters"]),
        (replace(ONE, missing=0.06), "not_enough_data", ["missing_units", "improved"]),
        (replace(ONE, missing=0.05), "ship", ["improved"]),
        (replace(ONE, drift=replace(metric(0.3, goal=None), low=0.1)), "not_enough_data", ["drift", "improved"]),
        (replace(ONE, drift=replace(metric(0.0, goal=None), low=-0.1)), "ship", ["improved"]),
        # secondary metrics only stand against it, and only after correction
        (replace(ONE, metrics={"usd": BETTER, "ms": replace(WORSE, q=0.04)}), "do_not_ship", ["regressed", "improved"]),
        (replace(ONE, metrics={"usd": BETTER, "ms": replace(WORSE, q=0.06)}), "ship", ["improved"]),
        (replace(ONE, metrics={"usd": BETTER, "ms": replace(OPEN, q=0.5)}), "ship", ["improved"]),
        # without a primary all that were declared are due; what is measured without asking only stands against
        (replace(ONE, primary=None), "ship", ["improved"]),
        (replace(ONE, primary=None, metrics={"usd": BETTER, "ms": OPEN}), "ship", ["improved"]),
        (
            replace(ONE, primary=None, metrics={"usd": BETTER, "ms": OPEN}, declared=frozenset({"usd", "ms"})),
            "not_enough_data",
            ["not_shown", "improved"],
        ),
        (Evidence(metrics={"outcome_good": BETTER}, g=60), "not_enough_data", ["nothing_declared"]),
        # rules
        (replace(ONE, rules={"r": rule(60)}), "ship", ["rule_holds", "improved"]),
        (replace(ONE, rules={"r": rule(59)}), "do_not_ship", ["rule_broken", "improved"]),
        (replace(ONE, rules={"r": rule(0, of=0)}), "not_enough_data", ["rule_never_applied", "improved"]),
        # the gate
        (gate("usd improved; kept", usd=BETTER), "ship", ["gate_passed", "gate_passed"]),
        (gate("usd improved; broken", usd=BETTER), "do_not_ship", ["gate_refuted", "gate_passed"]),
        (gate("usd improved; unknown", usd=BETTER), "not_enough_data", ["gate_open", "gate_passed"]),
        (gate("usd non_inferior", usd=OPEN), "not_enough_data", ["gate_open"]),
        (gate("usd non_inferior", usd=WORSE), "do_not_ship", ["gate_refuted"]),
        (gate("usd improved", usd=SAME), "do_not_ship", ["gate_refuted"]),
        (gate("same >= 0.9", same=rule(50)), "not_enough_data", ["gate_open"]),
        (gate("same >= 0.9", same=rule(30)), "do_not_ship", ["gate_refuted"]),
        (gate("same.low >= 0.9", same=rule(58)), "not_enough_data", ["gate_open"]),
        # what the gate speaks of is judged by the gate alone
        (replace(gate("usd <= 3", usd=WORSE), metrics={"usd": WORSE}, primary="usd"), "ship", ["gate_passed"]),
        (
            replace(gate("r >= 0.9", r=rule(59)), rules={"r": rule(59), "s": rule(60)}),
            "ship",
            ["gate_passed", "rule_holds"],
        ),
        (
            replace(gate("kept"), metrics={"usd": OPEN}, primary="usd"),
            "not_enough_data",
            ["not_shown", "gate_passed"],
        ),
        (replace(gate("kept"), metrics={"usd": OPEN}, declared=frozenset({"usd"})), "ship", ["gate_passed"]),
    ],
)
def test_the_rule(evidence: Evidence, word: str, codes: list[str]):
    """The answer and everything that it rests on, what decides first."""
    answer = decide(evidence)
    assert (answer.word, [finding.code for finding in answer.findings]) == (word, codes)


def test_what_would_be_needed():
    """About as many more as let a difference of the margin be found; with few clusters, up to the least number; with a difference
    in few of them, until there would be enough; and no number where more of the same settles nothing."""
    wide = metric(0.0, sd=3.0)
    answer = decide(replace(ONE, metrics={"usd": wide}))
    assert wide.g_needed == pytest.approx((2.80159 * 3.0 / 0.5) ** 2, abs=1)
    assert answer.g_more == wide.g_needed - 60
    assert decide(replace(ONE, metrics={"usd": metric(-2, g=8)}, g=8)).g_more >= 12
    few = replace(SAME, reason="few_changes", g_changed=2, verdict=None, is_non_inferior=None, low=None, high=None)
    assert decide(replace(ONE, metrics={"usd": few})).g_more == 60 * 5 // 2 - 60
    assert decide(replace(ONE, metrics={"usd": replace(few, g_changed=0)})).g_more is None
    assert decide(replace(ONE, metrics={"usd": wide}, missing=0.5)).g_more is None
    clause = decide(gate("same >= 0.9", same=rule(50)))
    found = rule(50)
    assert found.theta is not None
    assert found.se is not None
    assert clause.g_more == pytest.approx(60 * (2.80159 * found.se / (0.9 - found.theta)) ** 2 - 60, abs=1)


@given(
    mean=st.floats(-3, 3),
    sd=st.floats(0.1, 5),
    g=st.integers(20, 200),
    margin=st.one_of(st.none(), st.floats(0.05, 2)),
    goal=st.sampled_from(["higher", "lower"]),
)
def test_what_holds_of_every_primary(mean: float, sd: float, g: int, margin: float | None, goal: str):
    """Ship never with a bad bound past the margin (past 0 without one); do not ship only with the interval on the bad side of 0; an
    open answer names how many more."""
    found = metric(mean, g=g, sd=sd, goal=goal, margin=margin)
    answer = decide(replace(ONE, metrics={"usd": found}, g=g))
    assert found.low is not None
    assert found.high is not None
    good, bad = (found.low, found.high) if goal == "lower" else (-found.high, -found.low)
    if answer.word == "ship":
        assert bad < (margin or 0.0) or found.is_equivalent
    elif answer.word == "do_not_ship":
        assert good > 0
    else:
        assert good <= 0
        assert bad >= (margin or 0.0)
        assert answer.g_more is None or answer.g_more > 0


@pytest.mark.parametrize("g", [40, 200])
@pytest.mark.parametrize(
    ("truth", "wrong", "at_most"),
    [(0.0, "do_not_ship", 0.025), (0.5, "ship", 0.05), (1.0, "ship", 0.025), (-1.0, "do_not_ship", 0.001)],
)
def test_how_often_the_answer_is_wrong(g: int, truth: float, wrong: str, at_most: float):
    """A candidate that changes nothing is refused in at most 2.5 % of the runs; one that is worse by the margin ships in at most 5 %
    (two one-sided tests at 5 %), one that is worse by twice the margin hardly ever. Conversations of unequal length."""
    runs = int(os.environ.get("REFOLD_SIMULATED_RUNS", "400"))
    random = np.random.default_rng(11)
    n = random.geometric(1 / 8, size=(runs, g)).astype(float)
    shared = random.normal(0, 1, size=(runs, g))
    s = n * (truth + shared) + np.sqrt(n) * random.normal(0, 1.5, size=(runs, g))
    squares = (s**2) / n  # only the error that nobody uses here needs them
    sums = ClusterSums(s=s.ravel(), n=n.ravel(), squares=squares.ravel())
    estimates = estimate_segments(sums, np.repeat(np.arange(runs), g), runs, sign_flip=False)
    words = [
        decide(replace(ONE, metrics={"usd": judge(each, goal="lower", margin=0.5)}, g=g)).word for each in estimates
    ]
    share = words.count(wrong) / runs  # type: ignore[arg-type]
    assert share <= at_most + 3 * (at_most * (1 - at_most) / runs) ** 0.5 + 1 / runs


def test_windows_together():
    """Against in one is against; else the widest decides."""
    words = {word: Answer(word, (), None) for word in ("ship", "do_not_ship", "not_enough_data")}  # type: ignore[arg-type]
    for first, last, together in (
        ("ship", "ship", "ship"),
        ("not_enough_data", "ship", "ship"),
        ("ship", "not_enough_data", "not_enough_data"),
        ("do_not_ship", "ship", "do_not_ship"),
    ):
        assert combine({"day": words[first], "week": words[last]}, "week") == together
