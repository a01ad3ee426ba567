"""What the lines of a noise floor say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.review.words import NOISE
from pipelines.stats.estimate import WITHOUT_BOUNDS


def noise_in_order(lines: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The lines of a noise floor by name, in the order in which they are read."""
    return [(name, lines[name]) for name in NOISE if name in lines]


def tell_noise(lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What follows from excess and drift; their 95 % bounds decide. Nothing follows from too few conversations.

    Args:
        lines: `low`, `high` and `reason` by metric.
    """
    told = []
    excess, drift = lines["noise_excess"], lines["noise_drift"]
    if _is_sound(excess):
        told.append(
            "B acts differently beyond the model's own noise."
            if excess["low"] > 0
            else "What differs is not more than the model's own noise explains."
        )
    if _is_sound(drift) and drift["low"] > 0:
        told.append("The model changed since the recording: differences from A are not B's doing alone.")
    return told


def _is_sound(line: Mapping[str, Any]) -> bool:
    """Whether a lower bound can carry a statement: one of too few clusters, or of too few that differ, cannot."""
    return line["low"] is not None and line["reason"] not in WITHOUT_BOUNDS
