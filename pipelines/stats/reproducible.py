"""Grouped sums whose last digit does not depend on the order of the rows.

Floating-point addition is not associative, so the order of rows, files, threads or shards would show in the last digits
of a plain sum, and with them in hashes of results. Nothing but that summation belongs here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def grouped_sum(values: NDArray[np.float64], group: NDArray[np.intp], groups: int) -> NDArray[np.float64]:
    """Sum `values` per group, bit for bit the same for every order of the rows.

    Each value is cut into slices that are multiples of one power of two, chosen so that no partial sum of slices can
    round (pre-rounding: Demmel & Nguyen 2013, "Fast Reproducible Floating-Point Summation").

    Args:
        values: Finite numbers, shape (rows,).
        group: Group of each row, 0 <= group < groups, shape (rows,).
        groups: Number of groups.

    Returns:
        Shape (groups,); 0 for a group without rows.
    """
    sums = [np.zeros(groups)]
    count_bits = int(values.size).bit_length()
    rest = values
    # With 2^20 rows a slice holds 31 bits: integers below 2^31 need one, floats of one magnitude two or three.
    while largest := max(rest.max(initial=0.0), -rest.min(initial=0.0)):
        # At least 2 * rows * largest: adding it rounds a value to the grid on which all partial sums are exact.
        grid = math.ldexp(1.0, math.frexp(largest)[1] + count_bits + 1)
        part = rest + grid
        part -= grid
        sums.append(np.bincount(group, weights=part, minlength=groups).astype(np.float64, copy=False))
        rest = rest - part
    total = sums[-1]
    for level in reversed(sums[:-1]):  # smallest slices first
        total = level + total
    return total
