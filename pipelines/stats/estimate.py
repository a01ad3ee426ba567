"""What the estimators give: one frozen row in which every number has a name.

Only the result type, its codes and the two thresholds that the codes speak of belong here; how a number is computed is
told where it is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Estimand = Literal["difference", "mean", "rate", "excess_divergence", "drift"]
"""`difference`: mean of B - A over pairs. `mean`, `rate`: one side's. The other two: see `noise_floor`."""

Weighting = Literal["unit", "cluster"]
"""`unit`: every unit weighs the same. `cluster`: every cluster does, as the mean of its units."""

Reason = Literal[
    "no_units",  # nothing was observed: all numbers are None
    "one_cluster",  # one cluster holds all units, or about 95 % of them: theta only
    "small_sample",  # fewer than MIN_CLUSTERS clusters, or MIN_EFFECTIVE by their sizes: the verdict is inconclusive
    "few_changes",  # fewer than MIN_CHANGED clusters differ: the interval may be far too narrow, there is no verdict
    "no_change",  # no cluster differs: the bounds are what the share that could differ comes to; the verdict stands
    "skewed",  # a few clusters make up the spread: a bound on their side is None, and so is a verdict that needs it
    "no_variation",  # all clusters agree exactly: the interval is a point; the verdict stands
    "no_goal",  # nothing says which direction is good: the numbers are given, there is no verdict
    "no_control",  # no control was replayed, so there is no noise floor
    "few_draws",  # a side has fewer than two draws, so its own spread is unknown
    "recorded_is_control",  # the recording is itself one of the control's draws: it cannot have drifted from them
]

Goal = Literal["higher", "lower"]
Verdict = Literal["equivalent", "improved", "regressed", "inconclusive"]

MIN_CLUSTERS = 20
"""Below this many clusters no verdict but inconclusive is given."""
MIN_EFFECTIVE = 7
"""Nor below this many in effect (`g_star`), however many small ones stand beside a few that hold nearly all units."""
MIN_CHANGED = 5
"""With fewer clusters whose sum is not 0, 95 % intervals covered 88-98 % in simulation (2 % changed, 20 clusters)."""
WITHOUT_BOUNDS: frozenset[Reason | None] = frozenset({"small_sample", "few_changes"})
"""Reasons with which bounds are shown but decide nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One estimate and everything that says how far to trust it; grain: metric, or metric and segment.

    None means undefined; `reason` says why. Intervals are two-sided. Units are those of the metric unless stated.

    Attributes:
        estimand: What `theta` estimates.
        weighting: What `theta` averages over.
        n: Units (pairs, for a difference) used.
        g: Clusters that hold at least one unit.
        g_changed: Clusters whose sum is not 0.
        g_star: Effective number of clusters, `n^2 / sum n_c^2`; equals `g` when all have the same size.
        theta: The estimate.
        se: Headline standard error: cluster jackknife.
        df: Degrees of freedom of `low`, `high` and `p`: `g_star - 1`.
        skewness: Skewness of the mean, by which bounds reach further; see `skew`.
        spread: Effective number of clusters that make up the variance.
        lean: Which way: -1 when all of the variance comes from below the mean, 1 when all comes from above.
        tail_low: Effective number of clusters that make up the variance from below the mean.
        tail_high: And of those above.
        low: Lower 95 % bound (t, further on the side of a long tail; Wilson for a rate); None where it cannot be given.
        high: Upper 95 % bound.
        p: Two-sided p-value of `theta = 0`; None for `mean` and `rate`, where 0 is nothing special.
        p_sign_flip: Two-sided cluster sign-flip p-value, given below 40 clusters; shown, never decisive.
        q: Benjamini-Hochberg adjusted `p` within the family it was adjusted in; None until adjusted.
        se_cr1: Cluster-robust CR1 standard error, as other tools report.
        se_naive: Standard error if all units were independent: how wrong one would be.
        design_effect: `se_cr1^2 / se_naive^2`: how many times more units than independent ones would be needed.
        icc: Intraclass correlation (analysis of variance estimator), at most 1; may be negative.
        n_eff: Independent units with the same information, used in a rate's Wilson interval.
        theta_a: Mean of side A, for a difference.
        theta_b: Mean of side B, for a difference.
        total_a: Sum of side A, for a difference.
        total_b: Sum of side B, for a difference.
        correlation: Correlation of the two sides over units, for a difference.
        reason: Why numbers or the verdict are missing or limited; None if nothing is.
        goal: Direction that is good; None for a metric of change.
        margin: Largest difference that does not matter, > 0; None if none was declared.
        low90: Lower 90 % bound (two one-sided tests at 5 %).
        high90: Upper 90 % bound.
        is_equivalent: 90 % interval inside (-margin, margin).
        is_different: 95 % interval without 0.
        is_non_inferior: 95 % bound on the bad side within the margin.
        verdict: One word; see `verdict.judge`.
        mde: Difference found with 80 % power at two-sided 5 % with as many clusters again.
        g_needed: Clusters with which `mde` would be the margin, and both bounds would be given.
        span: By how much a cluster could differ, where none does.
    """

    estimand: Estimand
    weighting: Weighting
    n: int
    g: int
    g_changed: int
    g_star: float | None = None
    theta: float | None = None
    se: float | None = None
    df: float | None = None
    skewness: float | None = None
    spread: float | None = None
    lean: float | None = None
    tail_low: float | None = None
    tail_high: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_sign_flip: float | None = None
    q: float | None = None
    se_cr1: float | None = None
    se_naive: float | None = None
    design_effect: float | None = None
    icc: float | None = None
    n_eff: float | None = None
    theta_a: float | None = None
    theta_b: float | None = None
    total_a: float | None = None
    total_b: float | None = None
    correlation: float | None = None
    reason: Reason | None = None
    goal: Goal | None = None
    margin: float | None = None
    low90: float | None = None
    high90: float | None = None
    is_equivalent: bool | None = None
    is_different: bool | None = None
    is_non_inferior: bool | None = None
    verdict: Verdict | None = None
    mde: float | None = None
    g_needed: int | None = None
    span: float | None = None

    @property
    def has_bounds(self) -> bool:
        """Whether its bounds can carry a decision; with too few clusters, or too few that differ, they are only shown."""
        return self.reason not in WITHOUT_BOUNDS


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """Raw change, the noise in it, and what is left.

    Attributes:
        raw: Distance of recording and candidate: the share that changed, noise included. Estimand `rate`.
        between: Distance of control and candidate: the same, seen from today's control. Estimand `rate`.
        control: Distance of two control draws: the share that changes when nothing is changed. Estimand `rate`.
        candidate: Distance of two candidate draws: its own noise. Estimand `rate`.
        excess: Energy distance of the two policies: 0 if and only if they are the same. For the distance "differs or
            not" it is the sum over actions of the squared difference of their probabilities.
        drift: Distance of recording and control beyond the control's own noise: not 0 if the model or its surroundings
            changed since the recording, and then `raw` is not the candidate's doing alone.
    """

    raw: Estimate
    between: Estimate
    control: Estimate
    candidate: Estimate
    excess: Estimate
    drift: Estimate
