"""How far reviewers agree beyond chance, over pairs that several of them judged: Gwet's AC1, and kappa.

Both compare the share of agreeing couples of verdicts, averaged over pairs, with what chance would give. AC1's chance is small where one
choice is common, and so it does not fall where nearly all pairs are the same, as kappa does. Reviewers may differ from pair to pair. Of two
reviewers alone kappa is Cohen's, else Fleiss's. Standard errors are linearised over pairs (Gwet 2008; of Cohen's kappa Fleiss, Cohen &
Everitt 1969), bounds by t(pairs - 1). Where all agree on everything these errors are 0; the lower bound is then Wilson's for the share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pipelines.stats.wilson import wilson_interval
from pipelines.verdicts.estimate import MIN_PAIRS, Share

Ratings = Sequence[Mapping[str, int]]
"""Of each pair that somebody judged, the place of the choice by reviewer."""


def gwet_ac1(ratings: Ratings, choices: int) -> Share:
    """Gwet's AC1 over all reviewers.

    Args:
        ratings: Verdicts by pair; those of one reviewer alone say how common choices are.
        choices: How many choices there are.
    """
    counts = _counts(ratings, choices)
    common = _common(counts)
    parts = (1 - common) / (choices - 1)
    return _coefficient(counts, float(parts @ common), parts)


def kappa(ratings: Ratings, choices: int) -> Share:
    """Cohen's kappa where two reviewers judged, over pairs that both did; else Fleiss's over all. Arguments as of `gwet_ac1`."""
    reviewers = sorted({name for each in ratings for name in each})
    if len(reviewers) == 2:
        return _cohen([(each[reviewers[0]], each[reviewers[1]]) for each in ratings if len(each) > 1], choices)
    counts = _counts(ratings, choices)
    common = _common(counts)
    return _coefficient(counts, float(common @ common), common)


def _counts(ratings: Ratings, choices: int) -> NDArray[np.float64]:
    """Verdicts by pair and choice, shape (pairs, choices)."""
    counts = np.zeros((len(ratings), choices))
    for row, each in enumerate(ratings):
        for choice in each.values():
            counts[row, choice] += 1
    return counts


def _common(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """How common each choice is, shape (choices,)."""
    if not len(counts):
        return np.zeros(counts.shape[1])
    shares: NDArray[np.float64] = (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def _coefficient(counts: NDArray[np.float64], by_chance: float, parts: NDArray[np.float64]) -> Share:
    """The coefficient whose chance agreement is linear in the choices of each pair, with its bounds."""
    totals = counts.sum(axis=1)
    twice = totals > 1
    n, judged_twice = len(counts), int(twice.sum())
    missing = _missing(judged_twice, by_chance)
    if missing is not None:
        return missing
    agreeing = np.zeros(n)
    agreeing[twice] = (counts * (counts - 1)).sum(axis=1)[twice] / (totals * (totals - 1))[twice]
    agreed = float(agreeing.sum()) / judged_twice
    estimate = (agreed - by_chance) / (1 - by_chance)
    own = np.where(twice, n / judged_twice * (agreeing - by_chance) / (1 - by_chance), 0.0)
    chance = counts @ parts / totals
    linear = own - 2 * (1 - estimate) * (chance - by_chance) / (1 - by_chance)
    error = math.sqrt(float(((linear - estimate) ** 2).sum()) / (n * (n - 1))) if n > 1 else 0.0
    return _bounded(estimate, error, agreed, by_chance, judged_twice, n - 1)


def _cohen(couples: Sequence[tuple[int, int]], choices: int) -> Share:
    table = np.zeros((choices, choices))
    for first, second in couples:
        table[first, second] += 1
    n = len(couples)
    table /= max(n, 1)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    agreed, by_chance = float(np.trace(table)), float(rows @ columns)
    missing = _missing(n, by_chance)
    if missing is not None:
        return missing
    estimate = (agreed - by_chance) / (1 - by_chance)
    beside = 1 - (rows + columns) * (1 - estimate)
    apart = (columns[:, None] + rows[None, :]) * (1 - estimate)
    np.fill_diagonal(apart, 0)
    off = table.copy()
    np.fill_diagonal(off, 0)
    variance = float(np.diag(table) @ beside**2 + (off * apart**2).sum() - (estimate - by_chance * (1 - estimate)) ** 2)
    error = math.sqrt(max(0.0, variance) / n) / (1 - by_chance)
    return _bounded(estimate, error, agreed, by_chance, n, n - 1)


def _missing(judged_twice: int, by_chance: float) -> Share | None:
    if not judged_twice:
        return Share(None, None, None, 0, "no_pair_twice")
    if by_chance >= 1:
        return Share(None, None, None, judged_twice, "one_choice")
    return None


def _bounded(estimate: float, error: float, agreed: float, by_chance: float, n: int, freedom: int) -> Share:
    if n < MIN_PAIRS:
        return Share(estimate, None, None, n, "few_pairs_twice")
    if agreed >= 1:
        low = (wilson_interval(1.0, n)[0] - by_chance) / (1 - by_chance)
        return Share(estimate, max(-1.0, low), 1.0, n)
    half = float(stdtrit(freedom, 0.975)) * error
    return Share(estimate, max(-1.0, estimate - half), min(1.0, estimate + half), n)
