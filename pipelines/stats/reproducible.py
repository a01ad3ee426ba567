"""Grouped sums whose last digit does not depend on the order of the rows.

Floating-point addition is not associative, so the order of rows, files, threads or shards would show in the last digits
of a plain sum, and with them in hashes of results. Nothing but that summation belongs here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_BLOCK = 65_536
"""Rows cut into slices at a time: what fits the processor's cache. Partial sums are exact, so it changes nothing."""


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
    largest = max(values.max(initial=0.0), -values.min(initial=0.0))
    if largest == 0:
        return np.zeros(groups)
    count_bits = int(values.size).bit_length()
    # At least 2 * rows * largest: adding it rounds a value to the grid on which all partial sums are exact. What is left
    # of a value is at most half a unit of that grid, and is cut next.
    grids = [math.ldexp(1.0, math.frexp(largest)[1] + count_bits + 1)]
    sums = [np.zeros(groups)]
    for start in range(0, values.size, _BLOCK):
        rest, of_group = values[start : start + _BLOCK], group[start : start + _BLOCK]
        level = 0
        while True:
            if level == len(grids):
                grids.append(math.ldexp(grids[-1], count_bits + 1 - np.finfo(np.float64).nmant))
                sums.append(np.zeros(groups))
            part = rest + grids[level]
            part -= grids[level]
            if groups == 1:
                sums[level] += part.sum()
            else:
                sums[level] += np.bincount(of_group, weights=part, minlength=groups)
            rest = rest - part
            if not rest.any():
                break
            level += 1
    # Slices of one group may cancel and leave only what smaller ones hold, so what each addition rounds away is kept.
    total, lost = sums[0], np.zeros(groups)
    for sliced in sums[1:]:
        added = total + sliced
        of_sliced = added - total
        lost += (total - (added - of_sliced)) + (sliced - of_sliced)
        total = added
    return total + lost
