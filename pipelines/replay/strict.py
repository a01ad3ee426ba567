"""What every part of an experiment file has in common: unknown keys are refused, and nothing is coerced."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Immutable, strict, and closed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
