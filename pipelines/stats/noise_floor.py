"""How much of a change is only the model's own noise.

Repeating an unchanged prompt already changes answers, so a raw share of changed decisions says little. Subtracting the
share that changes between two control runs is wrong whenever the candidate is more or less random than the control
(it gave -0.10 where the policies' true distance was 0.20); the energy distance used here is right in both cases.
Drawing the responses does not belong here; draws of one decision must not be shared between the two sides, for a shared
response looks like agreement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import BadInputError
from pipelines.stats.cluster import Codes, estimate
from pipelines.stats.estimate import Estimand, Estimate, NoiseFloor, Reason
from pipelines.stats.reproducible import grouped_sum
from pipelines.stats.sums import ClusterSums, FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Distances:
    """Mean distances between the draws of each point, in [0, 1]; arrays of shape (points,), None if undefined.

    Attributes:
        recorded_candidate: Recording against candidate.
        recorded_control: Recording against control.
        control_candidate: Control against candidate.
        control_control: Between different draws of the control; needs two.
        candidate_candidate: Between different draws of the candidate; needs two.
    """

    recorded_candidate: FloatArray | None
    recorded_control: FloatArray | None
    control_candidate: FloatArray | None
    control_control: FloatArray | None
    candidate_candidate: FloatArray | None


def draw_distances(
    recorded: NDArray[np.generic] | None, control: NDArray[np.generic] | None, candidate: NDArray[np.generic]
) -> Distances:
    """Compare draws by equality (distance 1 if they differ), averaging over all pairs of draws.

    Args:
        recorded: Code or hash of the recorded action, shape (points,), or None.
        control: The control's, shape (points, draws), or None without a control.
        candidate: The candidate's, shape (points, draws).

    Raises:
        BadInputError: The shapes do not fit.
    """
    points = candidate.shape[0]
    for name, draws, dimensions in (("recorded", recorded, 1), ("control", control, 2), ("candidate", candidate, 2)):
        if draws is not None and (draws.ndim != dimensions or draws.shape[0] != points):
            raise BadInputError(f"{name} has shape {draws.shape}; {points} points in {dimensions} dimension(s) are due")
    single = None if recorded is None else recorded[:, np.newaxis]
    return Distances(
        recorded_candidate=_between(single, candidate),
        recorded_control=_between(single, control),
        control_candidate=_between(control, candidate),
        control_control=_within(control),
        candidate_candidate=_within(candidate),
    )


def estimate_noise_floor(distances: Distances, cluster: Codes) -> NoiseFloor:
    """Estimate raw change, noise, excess and drift with standard errors clustered by conversation.

    With D the mean distance at a point: `excess = 2 D(control, candidate) - D(control, control') - D(candidate,
    candidate')` (energy distance, Szekely & Rizzo 2013) and `drift = D(recorded, control) - D(control, control')`.

    Args:
        distances: Distances per point; any distance of negative type in [0, 1] will do, equality is one.
        cluster: Cluster of each point, 0, 1, 2, ..., shape (points,).

    Returns:
        Estimates; what has no control has reason `no_control`, what has too few draws `few_draws`.
    """
    d = distances
    has_control = d.control_candidate is not None or d.recorded_control is not None or d.control_control is not None
    missing: Reason = "few_draws" if has_control else "no_control"
    excess = drift = None
    if d.control_candidate is not None and d.control_control is not None and d.candidate_candidate is not None:
        excess = 2 * d.control_candidate - d.control_control - d.candidate_candidate
    if d.recorded_control is not None and d.control_control is not None:
        drift = d.recorded_control - d.control_control
    return NoiseFloor(
        raw=_estimate(d.recorded_candidate, cluster, "rate", "few_draws"),
        between=_estimate(d.control_candidate, cluster, "rate", missing),
        control=_estimate(d.control_control, cluster, "rate", missing),
        candidate=_estimate(d.candidate_candidate, cluster, "rate", "few_draws"),
        excess=_estimate(excess, cluster, "excess_divergence", missing),
        drift=_estimate(drift, cluster, "drift", missing),
    )


def _estimate(values: FloatArray | None, cluster: Codes, estimand: Estimand, missing: Reason) -> Estimate:
    if values is None:
        return Estimate(estimand, "unit", n=0, g=0, g_changed=0, reason=missing)
    if values.shape != cluster.shape:
        raise BadInputError(f"{values.size} points and {cluster.size} cluster codes; give one code per point")
    values = np.round(values, 12)  # means of thirds leave 1e-17 where the truth is 0, which would count as a change
    clusters = int(cluster.max(initial=-1)) + 1
    s, n, squares = (grouped_sum(column, cluster, clusters) for column in (values, np.ones(values.size), values**2))
    return estimate(ClusterSums(s=s, n=n, squares=squares), estimand)


def _between(first: NDArray[np.generic] | None, second: NDArray[np.generic] | None) -> FloatArray | None:
    if first is None or second is None or not first.shape[1] or not second.shape[1]:
        return None
    differs = first[:, :, np.newaxis] != second[:, np.newaxis, :]
    return np.asarray(differs.mean(axis=(1, 2)), dtype=np.float64)


def _within(draws: NDArray[np.generic] | None) -> FloatArray | None:
    if draws is None or draws.shape[1] < 2:
        return None
    first, second = np.triu_indices(draws.shape[1], k=1)
    return np.asarray((draws[:, first] != draws[:, second]).mean(axis=1), dtype=np.float64)
