"""Means, differences and rates: published vectors, oracles, definitions and metamorphic rules."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from pipelines.errors import BadInputError
from pipelines.stats.cluster import estimate, estimate_paired, estimate_paired_segments, estimate_segments
from pipelines.stats.sums import ClusterSums, PairedSums

THYROIDS = [
    *[(-2, 3), (-1, 3), (0, 3), (0, 1), (-1, 3), (0, 4), (0, 3), (0, 2), (1, 2), (0, 1), (0, 3), (0, 2), (0, 3)],
    *[(0, 2), (-2, 2), (0, 3), (0, 3), (-1, 3), (0, 2), (0, 1), (0, 2)],
]

unit_values = st.lists(
    st.tuples(st.integers(0, 7), st.integers(-40, 40).map(lambda value: value / 8)), min_size=2, max_size=60
)


def sums_of_units(cluster, values):
    """One GROUP BY, written with a dict."""
    table: dict[object, list[float]] = {}
    for key, value in zip(cluster, values, strict=True):
        table.setdefault(key, []).append(float(value))
    return ClusterSums(
        s=[math.fsum(group) for group in table.values()],
        n=[len(group) for group in table.values()],
        squares=[math.fsum(value * value for value in group) for group in table.values()],
    )


def close(left, right, tolerance=1e-9):
    """Equal up to rounding, field by field; None equals None only."""
    for field in dataclasses.fields(left):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if isinstance(a, float) and isinstance(b, float):
            assert a == pytest.approx(b, rel=tolerance, abs=tolerance), field.name
        else:
            assert a == b, field.name


def test_published_vector_of_inspect():
    """Values 0..19 in clusters i % 4 have a clustered error of .645497, the published .645, by both routes."""
    values = np.arange(20.0)
    sums = sums_of_units(np.arange(20) % 4, values)
    result = estimate(sums, "mean")
    assert result.se_cr1 == pytest.approx(0.645497, abs=1e-6)
    assert result.se == pytest.approx(0.645497, abs=1e-6)  # equal sizes: the jackknife is CR1
    assert result.g_star == 4
    assert result.se_naive == pytest.approx(values.std(ddof=1) / math.sqrt(20))
    # without the correction .559017; Miller's formula taken literally, n - 1 on the diagonal alone, .632456
    without = result.se_cr1 * math.sqrt(3 / 4)
    assert without == pytest.approx(0.559017, abs=1e-6)
    between = without**2 - values.var() / 20
    assert math.sqrt(result.se_naive**2 + between) == pytest.approx(0.632456, abs=1e-6)


def test_miller_formula_differs_by_the_diagonal():
    """The clustered error equals Miller's double sum over pairs within clusters, with the CR1 factor g/(g-1)."""
    cluster = np.concatenate([np.zeros(180, dtype=int), np.arange(1, 21)])
    values = np.sin(np.arange(200)) + (cluster == 0)
    centred = values - values.mean()
    pairs = sum(centred[i] * centred[j] for i in range(200) for j in range(200) if cluster[i] == cluster[j])
    expected = math.sqrt(21 / 20 * pairs) / 200
    assert estimate(sums_of_units(cluster, values), "mean").se_cr1 == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("df", "quantile"),
    [
        (1, 12.706204736432095),
        (2, 4.302652729911275),
        (4, 2.7764451051977987),
        (9, 2.2621571627409915),
        (10, 2.2281388519649385),
        (30, 2.0422724563012373),
        (1000, 1.9623390808264078),
    ],
)
def test_intervals_use_published_t_quantiles(df, quantile):
    """With df + 1 equal clusters the half-width is the published t quantile times the error, where nothing is skewed."""
    s = np.linspace(-1.0, 2.0, df + 1)
    result = estimate(ClusterSums(s=s, n=np.ones(df + 1)), "mean")
    assert (result.high - result.theta) / result.se == pytest.approx(quantile, rel=1e-9)
    assert result.df == pytest.approx(df)


def test_thyroids_effect():
    """Obuchowski's thyroid data: 51 glands in 21 patients, theta -.1176 with CR1 error .0632, Wald 3.4645."""
    d, n = (np.array(column, dtype=float) for column in zip(*THYROIDS, strict=True))
    result = estimate(ClusterSums(s=d, n=n))
    assert (result.n, result.g, result.g_changed) == (51, 21, 6)
    assert result.theta == pytest.approx(-0.1176, abs=5e-5)
    assert result.se_cr1 == pytest.approx(0.0632, abs=5e-5)
    assert (result.theta / result.se_cr1) ** 2 == pytest.approx(3.4645, abs=5e-5)


def test_statsmodels_gives_the_same_cr1():
    """CR1, its t interval and p-value equal a regression on a constant with clustered errors in statsmodels."""
    sm = pytest.importorskip("statsmodels.api")
    random = np.random.default_rng(3)
    cluster = random.integers(0, 30, 300)
    values = random.normal(size=300) + random.normal(size=30)[cluster]
    fit = sm.OLS(values, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    result = estimate(sums_of_units(cluster, values))
    assert result.theta == pytest.approx(fit.params[0], rel=1e-12)
    # statsmodels multiplies by (N-1)/(N-k) too, which is 1 with one constant
    assert result.se_cr1 == pytest.approx(fit.bse[0], rel=1e-10)


@given(unit_values)
def test_jackknife_is_leaving_one_cluster_out(units):
    """The headline error is the spread of the means recomputed without each cluster in turn."""
    cluster, values = zip(*units, strict=True)
    result = estimate(sums_of_units(cluster, values), "mean")
    clusters = sorted(set(cluster))
    if len(clusters) == 1:
        assert (result.se, result.reason) == (None, "one_cluster")
        return
    mean = sum(values) / len(values)
    left = []
    for out in clusters:
        rest = [value for key, value in units if key != out]
        left.append(sum(rest) / len(rest))
    g = len(clusters)
    expected = math.sqrt((g - 1) / g * sum((value - mean) ** 2 for value in left))
    assert result.theta == pytest.approx(mean, rel=1e-12, abs=1e-12)
    if result.se is not None:  # None where one cluster holds about 95 % of the units
        assert result.se == pytest.approx(expected, rel=1e-9, abs=1e-12)
        sizes = [cluster.count(key) for key in clusters]
        assert result.g_star == pytest.approx(len(units) ** 2 / sum(size**2 for size in sizes))


@given(unit_values)
def test_six_aggregates_give_the_same_cr1(units):
    """The formula over six sums, in fractions, equals the route over clusters."""
    cluster, values = zip(*units, strict=True)
    sums = sums_of_units(cluster, values)
    result = estimate(sums, "mean")
    s, n = ([Fraction(float(value)) for value in column] for column in (sums.s, sums.n))
    units_in_all, squares = sum(n), sum(size * size for size in n)
    theta = sum(s) / units_in_all
    assert float(theta) == pytest.approx(result.theta, rel=1e-12, abs=1e-12)
    assert float(units_in_all**2 / squares) == pytest.approx(result.g_star)
    if result.se_cr1 is not None:
        products = sum(total * size for total, size in zip(s, n, strict=True))
        bracket = sum(total * total for total in s) - 2 * theta * products + theta**2 * squares
        se = math.sqrt(Fraction(len(n), len(n) - 1) * bracket) / float(units_in_all)
        assert se == pytest.approx(result.se_cr1, rel=1e-6, abs=1e-9)


@given(unit_values, st.randoms(use_true_random=False))
def test_order_of_rows_changes_no_bit(units, random):
    """Any order of the clusters gives the identical estimate, not merely a close one."""
    cluster, values = zip(*units, strict=True)
    sums = sums_of_units(cluster, [value / 3 for value in values])
    order = list(range(sums.n.size))
    random.shuffle(order)
    shuffled = ClusterSums(s=sums.s[order], n=sums.n[order], squares=sums.squares[order])
    assert estimate(shuffled) == estimate(sums)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_duplicated_conversations_shrink_cr1_by_the_known_factor(k):
    """Every conversation k times under new ids multiplies CR1 by sqrt((G-1)/(kG-1)) exactly."""
    random = np.random.default_rng(5)
    n = random.integers(1, 15, 25).astype(float)
    s = random.normal(size=25) * n
    one = estimate(ClusterSums(s=s, n=n))
    many = estimate(ClusterSums(s=np.tile(s, k), n=np.tile(n, k)))
    assert many.theta == pytest.approx(one.theta, rel=1e-12)
    assert many.se_cr1 == pytest.approx(one.se_cr1 * math.sqrt((25 - 1) / (k * 25 - 1)), rel=1e-12)
    assert many.g_star == pytest.approx(k * one.g_star)


@pytest.mark.parametrize("k", [2, 5])
def test_duplicated_turns_bring_no_information(k):
    """Every turn k times inside its conversation leaves the clustered errors as they were; the naive one shrinks."""
    random = np.random.default_rng(6)
    cluster = random.integers(0, 25, 200)
    values = random.normal(size=200)
    one = estimate(sums_of_units(cluster, values))
    many = estimate(sums_of_units(np.tile(cluster, k), np.tile(values, k)))
    for name in ("theta", "se", "se_cr1", "low", "high", "g_star"):
        assert getattr(many, name) == pytest.approx(getattr(one, name), rel=1e-9)
    assert many.se_naive < one.se_naive / math.sqrt(k) * 1.01


def test_one_cluster_is_refused():
    """Merged into one cluster there is an estimate but no error, interval or p-value, and the reason is told."""
    result = estimate(ClusterSums(s=[3.0], n=[10], squares=[5.0]))
    assert (result.theta, result.reason) == (0.3, "one_cluster")
    assert (result.se, result.se_cr1, result.low, result.high, result.p, result.icc) == (None,) * 6


def test_singleton_clusters_are_the_classical_error():
    """With one unit per cluster both clustered errors are the textbook standard error and the design effect is 1."""
    values = np.random.default_rng(7).normal(size=50)
    result = estimate(ClusterSums(s=values, n=np.ones(50), squares=values**2), "mean")
    classical = values.std(ddof=1) / math.sqrt(50)
    assert result.se == pytest.approx(classical)
    assert result.se_cr1 == pytest.approx(classical)
    assert result.design_effect == pytest.approx(1)
    assert result.icc is None  # one unit per cluster says nothing of resemblance within


def test_intraclass_correlation_at_its_extremes():
    """Identical units within clusters give 1; clusters of opposite pairs give the lowest value, -1/(m-1)."""
    same = sums_of_units(np.repeat(np.arange(30), 4), np.repeat(np.arange(30.0), 4))
    assert estimate(same, "mean").icc == pytest.approx(1)
    assert estimate(same, "mean").design_effect == pytest.approx(4, rel=0.1)
    opposite = sums_of_units(np.repeat(np.arange(30), 2), np.tile([-1.0, 1.0], 30))
    assert estimate(opposite, "mean").icc == pytest.approx(-1)


def test_intraclass_correlation_is_recovered():
    """Unequal clusters made with a correlation of .3 are estimated near .3."""
    random = np.random.default_rng(8)
    sizes = random.geometric(1 / 8, 3000)
    cluster = np.repeat(np.arange(3000), sizes)
    values = math.sqrt(0.3) * random.normal(size=3000)[cluster] + math.sqrt(0.7) * random.normal(size=cluster.size)
    assert estimate(sums_of_units(cluster, values), "mean").icc == pytest.approx(0.3, abs=0.03)


def test_nothing_and_too_little_have_reasons():
    """No units, few clusters, few changes and no variation are told apart, and nothing is reported as 0."""
    empty = estimate(ClusterSums(s=[0.0, 0.0], n=[0, 0]))
    assert (empty.reason, empty.theta, empty.n, empty.g) == ("no_units", None, 0, 0)
    assert estimate(ClusterSums(s=np.arange(19.0), n=np.ones(19))).reason == "small_sample"
    four = np.zeros(100)
    four[:4] = 1
    assert estimate(ClusterSums(s=four, n=np.ones(100))).reason == "few_changes"
    four[4] = 1
    assert estimate(ClusterSums(s=four, n=np.ones(100))).reason == "skewed"
    constant = estimate(ClusterSums(s=np.full(50, 0.1), n=np.ones(50)))
    assert constant.reason == "no_variation"
    assert constant.p == pytest.approx(0)
    assert constant.low == pytest.approx(0.1)
    echo = estimate(ClusterSums(s=np.zeros(50), n=np.ones(50)))
    assert (echo.theta, echo.se, echo.reason) == (0, 0, "few_changes")
    assert (echo.low, echo.high, echo.p) == (None, None, None)


def test_one_conversation_that_holds_nearly_everything():
    """Where one cluster holds 95 % of the units its t quantile means nothing: no interval, and the reason is told."""
    n = np.array([1000.0, *[1.0] * 30])
    result = estimate(ClusterSums(s=np.arange(31.0), n=n), "mean")
    assert (result.low, result.reason) == (None, "one_cluster")


def test_segments_equal_separate_estimates():
    """Estimating many segments at once equals estimating each alone; empty ones say so."""
    random = np.random.default_rng(9)
    segment = random.integers(0, 6, 400)
    segment[segment == 4] = 5
    n = random.integers(0, 10, 400).astype(float)
    s = np.where(n > 0, random.normal(size=400) * 1e3, 0.0)
    sums = ClusterSums(s=s, n=n, squares=s**2 + 1)
    together = estimate_segments(sums, segment, 6)
    for code in range(6):
        mine = segment == code
        close(together[code], estimate(ClusterSums(s=s[mine], n=n[mine], squares=(s**2 + 1)[mine])))
    assert together[4].reason == "no_units"


def test_paired_arms_and_their_correlation():
    """From both sides' sums come both means, their difference and numpy's correlation."""
    random = np.random.default_rng(10)
    cluster = list(random.integers(0, 40, 500))
    a = random.normal(10, 2, 500)
    b = 0.5 * a + random.normal(0, 1, 500)
    result = estimate_paired(PairedSums.from_units(cluster, a, b))
    assert result.theta_a == pytest.approx(a.mean())
    assert result.theta_b == pytest.approx(b.mean())
    assert result.theta == pytest.approx((b - a).mean())
    assert result.correlation == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert result.se_naive == pytest.approx((b - a).std(ddof=1) / math.sqrt(500))
    flat = estimate_paired(PairedSums.from_units(cluster, a, np.ones(500)))
    assert flat.correlation is None


def test_paired_error_is_millers_identity():
    """With singletons the squared error is SE_A^2 + SE_B^2 - 2 SE_A SE_B corr (Miller 2024)."""
    random = np.random.default_rng(11)
    a = random.normal(size=60)
    b = 0.7 * a + random.normal(size=60)
    result = estimate_paired(PairedSums.from_units(range(60), a, b))
    se_a, se_b = (side.std(ddof=1) / math.sqrt(60) for side in (a, b))
    assert result.se**2 == pytest.approx(se_a**2 + se_b**2 - 2 * se_a * se_b * result.correlation)


def test_paired_segments_without_pairs():
    """A segment without pairs has neither side's mean."""
    sums = PairedSums.from_units([1, 2, 3], [1, 2, 3], [3, 2, 2])
    first, second = estimate_paired_segments(sums, np.zeros(3, dtype=np.intp), 2)
    assert first.theta == pytest.approx(1 / 3)
    assert (second.theta_a, second.theta_b, second.correlation, second.reason) == (None, None, None, "no_units")


def test_every_conversation_weighs_the_same_on_request():
    """Conversation-weighted: the plain mean of the conversations' means, with its textbook error, and labelled so."""
    s, n = np.array([10.0, 1.0, 0.0, 3.0]), np.array([10.0, 2.0, 5.0, 3.0])
    result = estimate(ClusterSums(s=s, n=n).per_cluster(), "mean")
    means = s / n
    assert result.weighting == "cluster"
    assert result.theta == pytest.approx(means.mean())
    assert result.se == pytest.approx(means.std(ddof=1) / 2)


def test_rate_uses_effective_units():
    """A rate's interval is Wilson's on p(1-p)/SE^2 units, at most N, times (1.96/t)^2; at 0 and 1 on the clusters."""
    s, n = np.tile([4.0, 0.0, 2.0, 4.0], 10), np.full(40, 4.0)
    result = estimate(ClusterSums(s=s, n=n), "rate")
    factor = (1.959963984540054 / t.ppf(0.975, 39)) ** 2
    expected = 0.625 * 0.375 / result.se**2 * factor
    assert result.n_eff == pytest.approx(expected)
    # Wilson's bounds are the roots of |p - x| = z sqrt(x (1 - x) / n): checked by putting them in.
    for bound in (result.low, result.high):
        assert abs(result.theta - bound) == pytest.approx(1.959963984540054 * math.sqrt(bound * (1 - bound) / expected))
    assert result.p is None
    never = estimate(ClusterSums(s=np.zeros(40), n=n), "rate")
    assert never.low == 0
    assert never.high > binomtest(0, 40).proportion_ci(method="wilson").high
    assert never.n_eff == pytest.approx(40 * factor)
    even = estimate(ClusterSums(s=np.full(40, 2.0), n=n), "rate")  # no spread between clusters at all
    assert even.n_eff == pytest.approx(160 * factor)
    nearly = np.full(40, 2.0)
    nearly[:2] = 1.0, 3.0  # clusters more alike than chance are no more than all their units
    assert estimate(ClusterSums(s=nearly, n=n), "rate").n_eff == pytest.approx(160 * factor)


@pytest.mark.parametrize(
    ("s", "n", "word"),
    [
        ([1.0, math.nan], [1, 1], "s\\[1\\] is nan"),
        ([1.0, math.inf], [1, 1], "s\\[1\\] is inf"),
        ([1.0], [1, 2], "s has 1 rows and n has 2"),
        ([1.0], [-1], "n\\[0\\] is -1"),
        ([1.0], [1.5], "n\\[0\\] is 1.5"),
        ([1.0], [0], "no units but a sum of 1"),
        ([[1.0]], [1], "shape"),
    ],
)
def test_broken_sums_are_refused(s, n, word):
    """What no GROUP BY can give is refused with the place and the value."""
    with pytest.raises(BadInputError, match=word):
        ClusterSums(s=s, n=n)


def test_broken_segments_and_rates_are_refused():
    """Codes outside the range, codes of another length and sums beyond their units are refused."""
    sums = ClusterSums(s=[1.0, 3.0], n=[1, 2])
    with pytest.raises(BadInputError, match="codes are 0 to 2"):
        estimate_segments(sums, np.array([0, 2]), 2)
    with pytest.raises(BadInputError, match="segment has 1 rows"):
        estimate_segments(sums, np.array([0]), 2)
    with pytest.raises(BadInputError, match="use estimand 'mean'"):
        estimate(sums, "rate")


def test_intervals_cover_with_unequal_clusters():
    """3,000 samples of 20 geometric conversations: 93-99 % of the intervals hold the truth, as far as they are given; CR1's fewer."""
    random = np.random.default_rng(12)
    runs, g = 3_000, 20
    n = random.geometric(1 / 8, runs * g).astype(float)
    s = random.normal(size=runs * g) * n * math.sqrt(0.5) + random.normal(size=runs * g) * np.sqrt(0.5 * n)
    estimates = estimate_segments(ClusterSums(s=s, n=n), np.repeat(np.arange(runs), g), runs, sign_flip=False)
    covered = np.mean([(item.low or 0) <= 0 <= (item.high or 0) for item in estimates])
    cr1 = np.mean([abs(item.theta) <= 2.093024 * item.se_cr1 for item in estimates])  # t(.975, 19)
    assert 0.93 <= covered <= 0.99
    assert cr1 < covered - 0.01
    assert np.mean([item.p is not None and item.p < 0.05 for item in estimates]) <= 0.065
