"""Grouped sums: exact enough, and the same for every order."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.stats.reproducible import grouped_sum

floats = st.floats(-1e60, 1e60).filter(lambda value: value == 0 or abs(value) > 1e-200)


@example([(0.0, 0), (2.0**53 + 4, 0), (4.017345110647476e59, 1), (-(2.0**53) - 2, 0)], Random(1))
@given(st.lists(st.tuples(floats, st.integers(0, 3)), max_size=50), st.randoms(use_true_random=False))
def test_order_changes_no_bit_and_sums_are_right(rows, random):
    """Any order gives identical bits, and each sum is within rounding of the exact one (math.fsum)."""

    def total(ordered):
        values = np.array([value for value, _ in ordered], dtype=np.float64)
        return grouped_sum(values, np.array([group for _, group in ordered], dtype=np.intp), 4)

    first = total(rows)
    random.shuffle(rows)
    assert total(rows).tobytes() == first.tobytes()
    for group in range(4):
        mine = [value for value, code in rows if code == group]
        scale = max((abs(value) for value in mine), default=0.0)
        assert first[group] == pytest.approx(math.fsum(mine), rel=1e-15, abs=1e-25 * scale)


def test_integers_are_exact():
    """Whole numbers whose sums fit a float are summed without error."""
    values = np.random.default_rng(1).integers(-(2**40), 2**40, 5000)
    group = np.arange(5000) % 7
    sums = grouped_sum(values.astype(float), group, 8)
    assert sums.tolist() == [int(values[group == code].sum()) for code in range(8)]


def test_plain_sums_do_depend_on_order():
    """The reason for this module: numpy's grouped sum of the same rows changes with their order."""
    values = np.random.default_rng(2).normal(size=10_000)
    group = np.zeros(10_000, dtype=np.intp)
    assert np.bincount(group, values)[0] != np.bincount(group, values[::-1])[0]
    assert grouped_sum(values, group, 1)[0] == grouped_sum(values[::-1], group, 1)[0] == math.fsum(values)
