"""Correction for asking many questions: segments x secondary metrics.

One metric declared as primary before the run needs none and stays outside the family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.stats.estimate import Estimate


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values that control the false discovery rate (Benjamini & Hochberg 1995).

    The k-th smallest of m is `min over j >= k of p_j m / j`, at most 1.

    Args:
        p_values: The family; None marks a question that was not asked and does not count.

    Returns:
        Same length and order; None stays None.
    """
    asked = np.array([p for p in p_values if p is not None], np.float64)
    order = np.argsort(asked, kind="stable")
    scaled = asked[order] * (len(asked) / np.arange(1, len(asked) + 1))
    adjusted = np.empty(len(asked))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    values = iter(adjusted.tolist())
    return [None if p is None else next(values) for p in p_values]


def adjust_family(family: Sequence[Estimate]) -> list[Estimate]:
    """Fill `q` of estimates that form one family.

    Estimates from too few clusters or changes are shown as counts and are no member: their p-values are not to be
    relied on, and would only make the others' corrections stronger.
    """
    trusted = [item.p if item.has_bounds else None for item in family]
    return [replace(item, q=q) for item, q in zip(family, benjamini_hochberg(trusted), strict=True)]
