"""Correction for asking many questions: segments x secondary metrics.

One metric declared as primary before the run needs none and stays outside the family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.stats.estimate import Estimate


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values that control the false discovery rate (Benjamini & Hochberg 1995).

    Args:
        p_values: The family; None marks a question that was not asked and does not count.

    Returns:
        Same length and order; None stays None.
    """
    from scipy.stats import false_discovery_control  # noqa: PLC0415 -- half a second that verbs without a summary need not wait

    asked = [p for p in p_values if p is not None]
    if not asked:
        return [None] * len(p_values)
    adjusted = iter(false_discovery_control(asked, method="bh").tolist())
    return [None if p is None else float(next(adjusted)) for p in p_values]


def adjust_family(family: Sequence[Estimate]) -> list[Estimate]:
    """Fill `q` of estimates that form one family.

    Estimates from too few clusters or changes are shown as counts and are no member: their p-values are not to be
    relied on, and would only make the others' corrections stronger.
    """
    trusted = [item.p if item.has_bounds else None for item in family]
    return [replace(item, q=q) for item, q in zip(family, benjamini_hochberg(trusted), strict=True)]
