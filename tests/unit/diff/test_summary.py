"""The summary of a version: every line equals the estimate of its own units alone."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.diff.summary import ALL, UnitColumns, summarise
from pipelines.replay.experiment import Metric
from pipelines.stats.cluster import estimate, estimate_paired
from pipelines.stats.sums import ClusterSums, PairedSums


def make_units(seed: int, n: int = 400) -> UnitColumns:
    rng = np.random.default_rng(seed)
    cluster = [f"c{i}" for i in rng.integers(0, 60, n)]
    segment = [None if i == 3 else f"v{i}" for i in rng.integers(0, 4, n)]  # a cluster may be in several segments
    share = np.where(rng.random(n) < 0.1, np.nan, (rng.random(n) < 0.7).astype(float))
    a = np.where(rng.random(n) < 0.1, np.nan, rng.normal(5, 1, n))
    b = np.where(rng.random(n) < 0.1, np.nan, rng.normal(5.4, 1, n))
    return UnitColumns(cluster, {"vertical": segment}, {"same_calls": share}, {"usd": (a, b)})


@pytest.mark.parametrize("seed", range(5))
def test_every_line_is_the_estimate_of_its_units(seed):
    """Segments computed together equal one estimate each, over the units of that segment that have a value."""
    units = make_units(seed)
    metric = Metric(sql="1", goal="lower", margin=1.0)
    lines = {(line.metric, line.segment, line.segment_value): line for line in summarise(units, {"usd": metric}, "usd")}
    assert set(lines) == {
        (m, *place) for m in ("same_calls", "usd") for place in [(ALL, ALL), *(("vertical", f"v{i}") for i in range(3))]
    }
    cluster = np.array(units.cluster, dtype=object)
    share = units.shares["same_calls"]
    a, b = units.sides["usd"]
    for (name, segment, value), line in lines.items():
        column = np.array(units.segments["vertical"], dtype=object)
        chosen = np.ones(len(cluster), dtype=bool) if segment == ALL else column == value
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
        for number in ("n", "g", "g_changed", "theta", "se", "se_cr1", "low", "high", "p"):
            expected = getattr(alone, number)
            close = expected if expected is None else pytest.approx(expected, rel=1e-9)
            assert getattr(line.estimate, number) == close, (name, value, number)


def test_the_order_of_units_changes_no_digit():
    """Shuffled units give the same lines, bit for bit."""
    units = make_units(7)
    order = np.random.default_rng(1).permutation(len(units.cluster))
    shuffled = UnitColumns(
        [units.cluster[i] for i in order],
        {"vertical": [units.segments["vertical"][i] for i in order]},
        {"same_calls": units.shares["same_calls"][order]},
        {"usd": tuple(side[order] for side in units.sides["usd"])},
    )
    assert summarise(units, {}, None) == summarise(shuffled, {}, None)


def test_units_without_any_value_are_undefined_not_zero():
    """No unit, or no unit with a value, gives lines without numbers and with a reason."""
    nothing = np.array([np.nan, np.nan])
    units = UnitColumns(["c", "d"], {"vertical": [None, None]}, {"same_calls": nothing}, {"usd": (nothing, nothing)})
    for line in summarise(units, {}, None):
        assert (line.estimate.theta, line.estimate.reason, line.excluded) == (None, "no_units", 2)
        assert line.total_a is None
