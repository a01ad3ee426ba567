"""The exact assignment against an independent solver and brute force."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from pipelines.diff.pair.assignment import best_assignment

small = st.integers(1, 4).flatmap(
    lambda columns: st.lists(
        st.lists(st.integers(-3, 3), min_size=columns, max_size=columns), min_size=1, max_size=columns
    )
)


@given(small)
def test_the_sum_is_the_greatest_there_is(weights: list[list[int]]) -> None:
    """No other assignment of rows to different columns weighs more."""
    found = best_assignment(weights)
    assert len(set(found)) == len(weights)
    best = max(
        sum(weights[row][column] for row, column in enumerate(chosen))
        for chosen in permutations(range(len(weights[0])), len(weights))
    )
    assert sum(weights[row][column] for row, column in enumerate(found)) == best


@settings(max_examples=20)
@given(st.integers(1, 25), st.integers(0, 10), st.integers(0, 2**32))
def test_larger_problems_agree_with_scipy(rows: int, more: int, seed: int) -> None:
    """Up to 25 x 35 the sum equals that of scipy's Jonker-Volgenant solver."""
    weights = np.random.default_rng(seed).integers(-20, 20, (rows, rows + more))
    found = best_assignment(weights.tolist())
    assert len(set(found)) == rows
    assert weights[np.arange(rows), found].sum() == weights[linear_sum_assignment(weights, maximize=True)].sum()


def test_weights_may_be_larger_than_any_float() -> None:
    """One part in 10^60 decides, where a float would see a tie."""
    huge = 10**60
    assert best_assignment([[huge, huge + 1], [huge, huge]]) == [1, 0]
    assert best_assignment([[huge + 1, huge], [huge, huge]]) == [0, 1]


def test_shapes() -> None:
    """No rows need no columns; more rows than columns cannot be assigned."""
    assert best_assignment([]) == []
    with pytest.raises(ValueError, match="2 rows"):
        best_assignment([[1], [1]])
