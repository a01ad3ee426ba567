"""What an estimate of a review is, and why one can be missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal["no_verdicts", "few_verdicts", "no_pair_twice", "few_pairs_twice", "one_choice"]
"""Why a number is missing: nobody judged; too few pairs for bounds; no pair was judged by two; too few were; all said the same of all, so
that agreement by chance alone would be whole."""
MIN_PAIRS = 5
"""Pairs below which there are no bounds."""
Z = 1.959963984540054
"""Of 95 %, two-sided."""


@dataclass(frozen=True, slots=True)
class Share:
    """An estimate of a review: a share, a difference of shares, or a coefficient of agreement.

    Attributes:
        estimate: What it is; None without a verdict.
        low: Lower 95 % bound; None with a reason.
        high: Upper 95 % bound; None likewise.
        n: Pairs that it is made of.
        reason: Code: why a number is missing; None for nothing.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    reason: Reason | None = None
