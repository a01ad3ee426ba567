"""The summary of a version: every line equals the estimate of its own units alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from pipelines.diff.names import ALL
from pipelines.diff.summary import Conversations, ConversationSums, Units, summarise
from pipelines.experiment.metrics import Metric
from pipelines.stats.binary import mcnemar_clustered, mcnemar_exact
from pipelines.stats.cluster import estimate, estimate_paired
from pipelines.stats.sums import ClusterSums, PairedSums

VERTICALS = ["v0", "v1", "v2"]


class Made:
    """Units with their conversation, cluster and segment; a cluster holds conversations of several segments."""

    def __init__(self, seed: int, n: int = 400, conversations: int = 90) -> None:
        rng = np.random.default_rng(seed)
        self.conversation = np.sort(rng.integers(0, conversations, n))
        self.cluster = rng.integers(0, 60, conversations)
        self.segment = rng.integers(-1, 3, conversations)
        self.share = np.where(rng.random(n) < 0.1, np.nan, (rng.random(n) < 0.7).astype(float))
        self.a = np.where(rng.random(n) < 0.1, np.nan, rng.normal(5, 1, n))
        self.b = np.where(rng.random(n) < 0.1, np.nan, rng.normal(5.4, 1, n))

    def lines(self, cuts: tuple[int, ...] = (), metrics: dict[str, Metric] | None = None) -> list:
        sums = ConversationSums()
        for start, stop in pairwise((0, *cuts, 10**9)):
            kept = (self.conversation >= start) & (self.conversation < stop)
            sides = {"usd": (self.a[kept], self.b[kept])}
            sums.add(Units(self.conversation[kept], {"same_calls": self.share[kept]}, sides))
        known = Conversations(self.cluster, {"vertical": (VERTICALS, self.segment)})
        return summarise(known, sums, metrics or {}, "usd")


@pytest.mark.parametrize("seed", range(5))
def test_every_line_is_the_estimate_of_its_units(seed):
    """Segments computed together equal one estimate each, over the units of that segment that have a value."""
    made = Made(seed)
    metric = Metric(sql="1", goal="lower", margin=1.0)
    lines = {(line.metric, line.segment, line.segment_value): line for line in made.lines(metrics={"usd": metric})}
    assert set(lines) == {
        (m, *place) for m in ("same_calls", "usd") for place in [(ALL, ALL), *(("vertical", v) for v in VERTICALS)]
    }
    cluster, segment = made.cluster[made.conversation], made.segment[made.conversation]
    share, a, b = made.share, made.a, made.b
    for (name, column, value), line in lines.items():
        chosen = np.ones(len(cluster), dtype=bool) if column == ALL else segment == VERTICALS.index(value)
        known = chosen & ~np.isnan(share) if name == "same_calls" else chosen & ~np.isnan(a) & ~np.isnan(b)
        assert line.excluded == chosen.sum() - known.sum()
        if name == "same_calls":
            paired = PairedSums.from_units(cluster[known].tolist(), share[known], share[known])
            alone = estimate(ClusterSums(s=paired.a, n=paired.n, squares=paired.aa), "rate")
        else:
            alone = estimate_paired(PairedSums.from_units(cluster[known].tolist(), a[known], b[known]))
            assert line.total_a == pytest.approx(a[known].sum())
            assert line.total_b == pytest.approx(b[known].sum())
            assert line.estimate.theta_b == pytest.approx(b[known].mean())
        for number in ("n", "g", "g_changed", "theta", "se", "se_cr1", "low", "high", "p", "icc", "design_effect"):
            expected = getattr(alone, number)
            close = expected if expected is None else pytest.approx(expected, rel=1e-9)
            assert getattr(line.estimate, number) == close, (name, value, number)


def test_outcomes_and_rules_have_paired_tests_and_margins_have_theirs():
    """Outcomes and rules carry McNemar's tests, a margin its test of equivalence; each is what the plain function says."""
    rng = np.random.default_rng(3)
    number = np.arange(300)
    a, b = (rng.random(300) < share for share in (0.4, 0.6))
    usd = rng.normal(0, 1, (2, 300))
    sums = ConversationSums()
    sides = {name: (a.astype(float), b.astype(float)) for name in ("outcome_good", "polite")}
    sums.add(Units(number, {}, {**sides, "usd": (usd[0], usd[1])}))
    known = Conversations(None, {"vertical": (VERTICALS, number % 3)})
    metrics = {"usd": Metric(sql="1", goal="lower", margin=0.5)}
    rows = [line.row() for line in summarise(known, sums, metrics, None, rules={"polite"})]
    for row in rows:
        chosen = (
            np.ones(300, dtype=bool) if row["segment"] == ALL else number % 3 == VERTICALS.index(row["segment_value"])
        )
        if row["metric"] == "usd":
            assert row["only_a"] is row["p_mcnemar"] is row["p_mcnemar_clustered"] is None
            difference = (usd[1] - usd[0])[chosen]
            p = ttost_ind_p(difference, 0.5)
            assert row["p_equivalence"] == pytest.approx(p, rel=0.1)  # theirs knows no skewness, which is small here
            assert row["is_equivalent"] == (p < 0.05)
            assert row["mde"] == pytest.approx(2.8016 * difference.std(ddof=1) / np.sqrt(difference.size), rel=1e-4)
        else:
            only_a, only_b = int((a & ~b & chosen).sum()), int((~a & b & chosen).sum())
            assert (row["only_a"], row["only_b"]) == (only_a, only_b)
            assert row["p_mcnemar"] == mcnemar_exact(only_a, only_b)
            gained = b[chosen].astype(float) - a[chosen]
            assert row["p_mcnemar_clustered"] == mcnemar_clustered(gained).p
            assert row["p_equivalence"] is None


def ttost_ind_p(difference: np.ndarray, margin: float) -> float:
    """Two one-sided t tests of a mean against -margin and margin, as statsmodels has them."""
    return DescrStatsW(difference).ttost_mean(-margin, margin)[0]


def test_where_units_are_divided_changes_no_digit():
    """Units added in one piece or in many give the same lines, bit for bit; in another order they are refused."""
    made = Made(7)
    assert made.lines() == made.lines(cuts=(1, 2, 30, 31, 77))
    sums = ConversationSums()
    sums.add(Units(np.array([3, 4]), {}, {}))
    for numbers in ([4, 5], [6, 5]):
        with pytest.raises(ValueError, match="add them in order"):
            sums.add(Units(np.array(numbers), {}, {}))


def test_units_without_any_value_are_undefined_not_zero():
    """No unit, or no unit with a value, gives lines without numbers and with a reason."""
    nothing = np.array([np.nan, np.nan])
    sums = ConversationSums()
    sums.add(Units(np.array([0, 1]), {"same_calls": nothing}, {"usd": (nothing, nothing)}))
    known = Conversations(None, {"vertical": ([], np.array([-1, -1]))})
    lines = summarise(known, sums, {"usd": Metric(sql="1")}, None)
    assert len(lines) == 2
    for line in lines:
        assert (line.estimate.theta, line.estimate.reason, line.excluded) == (None, "no_units", 2)
        assert line.total_a is None
    assert len(summarise(known, sums, {}, None)) == 1  # a metric that nobody recorded has no line
    assert summarise(known, ConversationSums(), {}, None) == []
