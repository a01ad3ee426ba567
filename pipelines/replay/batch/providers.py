"""Which provider takes the batches of which wire, and what that means for who is asked in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipelines.experiment.models import Model
from pipelines.experiment.sides import Api
from pipelines.replay.batch.anthropic import Anthropic
from pipelines.replay.batch.openai import OpenAI
from pipelines.replay.batch.provider import Provider

PROVIDERS: Mapping[Api, Provider] = {"chat": OpenAI(), "responses": OpenAI(), "messages": Anthropic()}


def describe_batches(models: Iterable[Model]) -> tuple[str, ...]:
    """What there is to say before models are asked in batches: how long they take, what they cost, how long texts are kept."""
    told = {"in batches, which take up to 24 hours": None}
    for model in models:
        if model.price is not None:
            known = (
                "at the price of batches"
                if model.price.is_in_batch
                else "no price of batches is known: as if asked alone"
            )
            told[f"{model.name}: {known}"] = None
        told[f"{PROVIDERS[model.api].name}: {PROVIDERS[model.api].keeps}"] = None
    return tuple(told)
