"""What the lines of a noise floor say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.review.words import NOISE


def noise_in_order(lines: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The lines of a noise floor by name, in the order in which they are read."""
    return [(name, lines[name]) for name in NOISE if name in lines]


def tell_noise(lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What follows from excess and drift; their 95 % bounds decide. Nothing follows from a bound that is not there.

    Args:
        lines: `low`, `high` and `reason` by metric.
    """
    told = []
    excess, drift = lines["noise_excess"], lines["noise_drift"]
    if excess["low"] is not None and excess["high"] is not None:
        told.append(
            "B acts differently beyond the model's own noise."
            if excess["low"] > 0
            else "What differs is not more than the model's own noise explains."
        )
    if drift["low"] is not None and drift["low"] > 0:
        told.append("The model changed since the recording: differences from A are not B's doing alone.")
    return told
