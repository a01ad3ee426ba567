"""Agreement beyond chance: as published, as statsmodels has it, and where there is nothing to say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

from pipelines.verdicts.agreement import gwet_ac1, kappa

N = None
FOUR_RATERS = [
    (1, 1, N, 1),
    (2, 2, 3, 2),
    (3, 3, 3, 3),
    (3, 3, 3, 3),
    (2, 2, 2, 2),
    (1, 2, 3, 4),
    (4, 4, 4, 4),
    (1, 1, 2, 1),
    (2, 2, 2, 2),
    (N, 5, 5, 5),
    (N, N, 1, 1),
    (N, N, 3, N),
]
"""Gwet's example (Handbook of Inter-Rater Reliability, of Krippendorff's data): twelve subjects, four raters, five categories."""


def named(rows: object) -> list[dict[str, int]]:
    """Choices by reviewer, from 0."""
    return [{f"r{n}": said for n, said in enumerate(row) if said is not None} for row in rows]


def test_coefficients_and_bounds_are_those_that_gwet_published():
    """AC1 .77544 [.46081, 1] and Fleiss's kappa .76117 [.42438, 1], with ratings missing."""
    ratings = [{name: said - 1 for name, said in each.items()} for each in named(FOUR_RATERS)]
    for found, expected in (
        (gwet_ac1(ratings, 5), (0.77544, 0.46081, 1.0)),
        (kappa(ratings, 5), (0.76117, 0.42438, 1.0)),
    ):
        assert (found.estimate, found.low, found.high) == pytest.approx(expected, abs=1e-5)
        assert (found.n, found.reason) == (11, None)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 2), min_size=5, max_size=60))
def test_cohens_kappa_is_that_of_statsmodels(couples: list[tuple[int, int]]):
    """Estimate and standard error of two reviewers, whatever they said."""
    table = np.zeros((4, 4))
    np.add.at(table, tuple(zip(*couples, strict=True)), 1)
    found = kappa(named(couples), 4)
    if found.reason == "one_choice":
        assert len(set(couples)) == 1
        return
    with np.errstate(invalid="ignore"):
        theirs = cohens_kappa(table)
    assert found.estimate == pytest.approx(theirs.kappa, abs=1e-9)
    if found.estimate < 1 - 1e-9:
        half = student.ppf(0.975, len(couples) - 1) * np.sqrt(max(theirs.var_kappa, 0))
        assert (found.low, found.high) == pytest.approx(
            (max(-1, theirs.kappa - half), min(1, theirs.kappa + half)), abs=1e-7
        )


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=2, max_size=40))
def test_fleiss_kappa_is_that_of_statsmodels(triples: list[tuple[int, int, int]]):
    """Of three reviewers of every pair."""
    counts = np.zeros((len(triples), 4))
    for row, triple in enumerate(triples):
        np.add.at(counts[row], list(triple), 1)
    found = kappa(named(triples), 4)
    if found.reason != "one_choice":
        assert found.estimate == pytest.approx(fleiss_kappa(counts), abs=1e-9)


@given(st.lists(st.lists(st.integers(0, 3) | st.none(), min_size=1, max_size=4), max_size=30), st.randoms())
def test_bounds_hold_the_estimate_and_names_and_order_are_nothing(rows: list[list[int | None]], random: object):
    """Whoever said what, in whatever order: the same numbers, inside of -1 and 1."""
    ratings = [each for each in named(rows) if each]
    shuffled = [{f"x{name}": said for name, said in each.items()} for each in ratings]
    random.shuffle(shuffled)
    for measure in (gwet_ac1, kappa):
        found, other = measure(ratings, 4), measure(shuffled, 4)
        assert (found.n, found.reason) == (other.n, other.reason)
        if found.reason is None:
            assert found.estimate == pytest.approx(other.estimate)
            assert -1 <= found.low <= found.estimate + 1e-12 <= found.high + 2e-12 <= 1 + 3e-12


def test_what_is_too_little_to_tell_is_said():
    """Nothing judged twice, too few, no disagreement at all, and all alike."""
    one, two = [{"a": 0}] * 9, [{"a": 0, "b": 1}] * 4
    assert gwet_ac1([], 4).reason == kappa(one, 4).reason == "no_pair_twice"
    assert gwet_ac1(two, 4).reason == kappa(two, 4).reason == "few_pairs_twice"
    alike = [{"a": 2, "b": 2}] * 8
    assert kappa(alike, 4).reason == "one_choice"
    found = gwet_ac1(alike, 4)
    assert (found.estimate, found.high) == (1.0, 1.0)
    assert 0.6 < found.low < 0.8  # eight pairs do not show that they always agree
    assert kappa([*alike, {"a": 1, "b": 1}], 4).low < 1
