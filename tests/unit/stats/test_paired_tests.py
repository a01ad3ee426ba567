"""Paired yes/no tests, Wilson's interval, false discoveries and power against published numbers and other programs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2, false_discovery_control

from pipelines.errors import BadInputError
from pipelines.stats.binary import (
    compare_paired_binary,
    mcnemar_clustered,
    mcnemar_exact,
)
from pipelines.stats.cluster import estimate
from pipelines.stats.estimate import Estimate
from pipelines.stats.multiplicity import adjust_family, benjamini_hochberg
from pipelines.stats.power import (
    clusters_needed,
    minimum_detectable,
)
from pipelines.stats.sign_flip import cluster_sign_flip
from pipelines.stats.sums import ClusterSums, PairedSums
from pipelines.stats.wilson import wilson_interval

PSYCHIATRY = [
    *[(0, 4, 7), (1, 2, 6), (1, 3, 7), (1, 2, 6), (0, 1, 4), (3, 3, 6), (3, 0, 5), (3, 2, 8), (1, 2, 4), (0, 4, 7)],
    *[(0, 2, 3), (1, 4, 6), (0, 3, 7), (0, 2, 6), (0, 1, 5), (0, 3, 4), (0, 1, 6), (0, 2, 5), (3, 0, 4), (1, 0, 3)],
    *[(1, 0, 5), (2, 2, 4), (0, 1, 4), (0, 2, 2), (0, 2, 3), (0, 0, 2), (0, 0, 2), (0, 1, 3), (0, 1, 1)],
]
THYROIDS = np.array([-2, -1, 0, 0, -1, 0, 0, 0, 1, 0, 0, 0, 0, 0, -2, 0, 0, -1, 0, 0, 0], dtype=float)

counts = st.integers(0, 60)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p", "tolerance"),
    [
        (121, 59, 0.000004, 5e-7),
        (70, 59, 0.378688, 5e-7),
        (80, 59, 0.089452, 5e-7),
        (30, 60, 0.00206, 5e-6),
        (10, 30, 0.002221, 5e-7),
        (10, 10, 1.0, 0),
        (2, 9, 0.06543, 5e-6),
    ],
)
def test_exact_mcnemar_published(only_a, only_b, p, tolerance):
    """The exact p-values of the VassarStats tables and of R's exact2x2 vignette."""
    assert mcnemar_exact(only_a, only_b) == pytest.approx(p, abs=tolerance)
    assert mcnemar_exact(only_b, only_a) == mcnemar_exact(only_a, only_b)


@given(counts, counts)
def test_exact_by_definition(only_a, only_b):
    """Twice the smaller tail, summed table by table."""
    n = only_a + only_b
    tables = [math.comb(n, k) / 2**n for k in range(n + 1)]
    smaller = min(only_a, only_b)
    tail = math.fsum(tables[: smaller + 1])
    assert mcnemar_exact(only_a, only_b) == pytest.approx(min(1, 2 * tail))
    if n:
        assert mcnemar_exact(only_a, only_b) == pytest.approx(binomtest(only_a, n, 0.5).pvalue)


def test_statsmodels_agrees_on_mcnemar():
    """statsmodels' mcnemar gives the same exact p-value."""
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    for only_a, only_b in itertools.product((0, 3, 17), (1, 8, 40)):
        table = [[101, only_a], [only_b, 33]]
        assert mcnemar_exact(only_a, only_b) == pytest.approx(tables.mcnemar(table, exact=True).pvalue)


def test_clustered_mcnemar_published():
    """Obuchowski's test gives the published 2.86 (thyroids) and 7.19 (psychiatry)."""
    assert mcnemar_clustered(THYROIDS).statistic == pytest.approx(2.86, abs=0.005)
    b, c, n = (np.array(column, dtype=float) for column in zip(*PSYCHIATRY, strict=True))
    assert (n.size, n.sum()) == (29, 135)
    clustered = mcnemar_clustered(b - c)
    assert clustered.statistic == pytest.approx(7.19, abs=0.005)
    assert clustered.p == pytest.approx(chi2.sf(clustered.statistic, 1))
    effect = estimate(ClusterSums(s=b - c, n=n))
    assert effect.theta == pytest.approx(-0.2148, abs=5e-5)
    assert effect.se_cr1 == pytest.approx(0.0673, abs=5e-5)
    assert (effect.theta / effect.se_cr1) ** 2 == pytest.approx(10.191, abs=5e-4)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=40))
def test_clustered_mcnemar_reduces_to_mcnemar(signs):
    """With one pair per cluster it is McNemar's statistic, (b - c)^2 / (b + c), times (K-1)/K."""
    d = np.array(signs)
    lost, gained = int((d < 0).sum()), int((d > 0).sum())
    clustered = mcnemar_clustered(d)
    if lost + gained == 0:
        assert clustered.statistic is None
    else:
        assert clustered.statistic == pytest.approx((lost - gained) ** 2 / (lost + gained) * (d.size - 1) / d.size)


def test_tests_of_a_yes_no_outcome_from_its_sums():
    """From the sums of psychiatry's 135 pairs: 20 and 49 discordant ones, Obuchowski's p and no exact one, for they come in
    clusters; from singletons the exact p of VassarStats. Sums of anything but 0 and 1 are refused."""
    rng = np.random.default_rng(1)
    cluster, a, b = [], [], []
    for number, (gained, lost, n) in enumerate(PSYCHIATRY):
        both = rng.integers(0, 2, n - gained - lost)
        cluster += [number] * n
        a += [*[0] * gained, *[1] * lost, *both]
        b += [*[1] * gained, *[0] * lost, *both]
    found = compare_paired_binary(PairedSums.from_units(cluster, a, b))
    gained, lost = (sum(row[place] for row in PSYCHIATRY) for place in (0, 1))
    assert (found.only_a, found.only_b, found.p_exact) == (lost, gained, None)
    assert found.p_clustered == pytest.approx(chi2.sf(7.19, 1), rel=0.01)
    single = compare_paired_binary(
        PairedSums.from_units(range(60), [1] * 30 + [0] * 10 + [1] * 20, [0] * 30 + [1] * 30)
    )
    assert (single.only_a, single.only_b, single.p_exact) == (30, 10, pytest.approx(0.002221, abs=5e-7))
    nothing = compare_paired_binary(PairedSums.from_units([], [], []))
    assert (nothing.only_a, nothing.p_exact, nothing.p_clustered) == (0, None, None)
    with pytest.raises(BadInputError, match="0 or 1"):
        compare_paired_binary(PairedSums.from_units([1, 2], [0, 2], [1, 1]))


def test_no_discordant_pairs():
    """Without a discordant pair the exact p-value is 1 and the statistic undefined; counts cannot be < 0."""
    assert mcnemar_exact(0, 0) == 1
    assert mcnemar_clustered(np.zeros(5)).p is None
    with pytest.raises(BadInputError, match="-1"):
        mcnemar_exact(-1, 3)


@given(st.lists(st.integers(-6, 6), min_size=0, max_size=9))
def test_sign_flip_is_exact_for_few_clusters(sums):
    """Up to 13 clusters that differ, p is the share of all sign patterns that give as large a sum."""
    observed = abs(sum(sums))
    patterns = list(itertools.product((1, -1), repeat=len(sums)))
    hits = sum(abs(sum(s * x for s, x in zip(signs, sums, strict=True))) >= observed for signs in patterns)
    assert cluster_sign_flip(np.array(sums, dtype=float)) == pytest.approx(hits / len(patterns))


def test_sign_flip_equals_exact_mcnemar_on_singletons():
    """With one discordant pair per cluster, flipping signs is the exact McNemar test."""
    s = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 30)
    assert cluster_sign_flip(s) == pytest.approx(mcnemar_exact(2, 9))


def test_sign_flip_samples_many_clusters():
    """Above 13 clusters p is sampled: near the exact one, the same for a seed and any order, never 0, never exceeding 1."""
    random = np.random.default_rng(1)
    s = np.array([1.0] * 22 + [-1.0] * 10)
    p = cluster_sign_flip(s)
    assert p == pytest.approx(mcnemar_exact(10, 22), abs=0.008)
    assert cluster_sign_flip(random.permutation(s)) == p
    assert cluster_sign_flip(s, seed=1) != p
    assert cluster_sign_flip(np.ones(500)) == 1 / 10_000
    assert cluster_sign_flip(np.array([1.0, -1.0] * 20)) == 1
    assert cluster_sign_flip(random.permutation(np.full(39, 0.1))) == 1 / 10_000  # rounding of .1 loses no hit


def test_sign_flip_is_given_below_forty_clusters():
    """Estimates of differences show the sign-flip p below 40 clusters and not from there on."""
    s = np.tile([1.0, 2.0, -1.0], 20)
    assert estimate(ClusterSums(s=s[:39], n=np.ones(39))).p_sign_flip == cluster_sign_flip(s[:39])
    assert estimate(ClusterSums(s=s[:40], n=np.ones(40))).p_sign_flip is None
    assert estimate(ClusterSums(s=s[:39], n=np.ones(39)), "mean").p_sign_flip is None


@pytest.mark.parametrize(
    ("k", "n", "confidence", "low", "high"),
    [
        (3, 10, 0.95, 0.1077913, 0.6032219),
        (3, 10, 0.99, 0.07956632, 0.6799753),
        (0, 10, 0.95, 0.0, 0.2775328),
        (10, 10, 0.95, 0.7224672, 1.0),
        (18, 20, 0.95, 0.6989663547715128, 0.972133518786232),
        (4, 20, 0.95, 0.0806576625797981, 0.4160174322518935),
        (4, 200, 0.95, 0.00780442641634947, 0.05028708690682643),
        (19, 38, 0.95, 0.348499283643951, 0.651500716356049),
    ],
)
def test_wilson_published(k, n, confidence, low, high):
    """The bounds of R's prop.test and binom.confint as scipy and statsmodels cite them."""
    assert wilson_interval(k / n, n, confidence) == (pytest.approx(low, rel=1e-6), pytest.approx(high, rel=1e-6))


def test_statsmodels_agrees_on_wilson():
    """statsmodels gives the same bounds for every count of 25, without leaving [0, 1]."""
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for k in range(26):
        low, high = wilson_interval(k / 25, 25)
        theirs = proportion.proportion_confint(k, 25, method="wilson")
        assert (low, high) == (pytest.approx(theirs[0], abs=1e-12), pytest.approx(theirs[1], abs=1e-12))
        assert 0 <= low <= high <= 1


def test_benjamini_hochberg_published():
    """The 1995 example rejects 4 of 15 at 5 %; the TileStats example is adjusted to the published values."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590]
    assert sum(q <= 0.05 for q in benjamini_hochberg([*p, 1.0])) == 4
    tile = [0.005, 0.009, 0.019, 0.022, 0.051, 0.101, 0.361, 0.387]
    assert benjamini_hochberg(tile) == pytest.approx([0.036, 0.036, 0.044, 0.044, 0.082, 0.135, 0.387, 0.387], abs=5e-4)


@given(st.lists(st.none() | st.floats(0, 1), max_size=40))
def test_benjamini_hochberg_is_scipys(p_values):
    """The published procedure as SciPy has it, digit for digit; a question that was not asked changes nothing."""
    asked = [p for p in p_values if p is not None]
    expected = iter(false_discovery_control(asked).tolist() if asked else [])
    assert benjamini_hochberg(p_values) == [None if p is None else next(expected) for p in p_values]


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30))
def test_benjamini_hochberg_by_definition(p_values):
    """q of the i-th smallest of m is the least p_(j) m / j over j >= i, at most 1; None is no member."""
    asked = sorted(p for p in p_values if p is not None)
    m = len(asked)
    for p, q in zip(p_values, benjamini_hochberg(p_values), strict=True):
        if p is None:
            assert q is None
        else:
            assert q == pytest.approx(min(1, *(other * m / (j + 1) for j, other in enumerate(asked) if other >= p), 1))


def test_family_leaves_out_what_cannot_be_trusted():
    """Segments with too few clusters or changes get no q and do not dilute the others'."""

    def one(p, reason=None):
        return Estimate("difference", "unit", n=1, g=1, g_changed=1, p=p, reason=reason)

    family = adjust_family([one(0.01), one(0.9, "small_sample"), one(0.04), one(0.001, "few_changes"), one(None)])
    assert [item.q for item in family] == [pytest.approx(0.02), None, pytest.approx(0.04), None, None]


def test_detectable_difference_and_its_inverse():
    """The factor at 5 % and 80 % is 2.80; planning for the detectable difference gives the pilot's clusters back."""
    assert minimum_detectable(1.0) == pytest.approx(2.80, abs=0.002)
    assert minimum_detectable(0.01, g_pilot=100, g_plan=400) == pytest.approx(minimum_detectable(0.01) / 2)
    assert clusters_needed(0.01, 100, minimum_detectable(0.01) * 1.0001) == 100
    assert clusters_needed(0.01, 100, minimum_detectable(0.01) / 2.0001) == 401


def test_detectable_difference_is_detected():
    """A true difference of the detectable size is found in about 80 % of samples."""
    random = np.random.default_rng(2)
    pilot = estimate(ClusterSums(s=random.normal(size=400), n=np.ones(400)))
    effect = minimum_detectable(pilot.se)
    samples = random.normal(effect, 1, size=(2000, 400))
    found = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / 20) > 1.966
    assert found.mean() == pytest.approx(0.8, abs=0.05)


def test_planning_for_nothing_is_refused():
    """No sample finds a difference of 0."""
    with pytest.raises(BadInputError, match="above 0"):
        clusters_needed(1, 5, 0)
