"""The models of an experiment: who is asked for which side, whether that is allowed and can be afforded, and how it is done.

Here meet the experiment, the settings and the environment; the API key is read here and handed on as an object that does
not show it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines.errors import BadInputError
from pipelines.replay.asking import Asker, ModelSide
from pipelines.replay.endpoint import read_key, require_allowed
from pipelines.replay.experiment import Experiment
from pipelines.replay.prices import Price, load_prices, max_output_tokens
from pipelines.replay.request import Side
from pipelines.replay.responses import ResponseStore, asking_alone
from pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is asked for one side.

    Attributes:
        side: Candidate or control.
        name: The model.
        base_url: Its endpoint.
        api_key_env: Variable that holds the key; None for none.
        price: What tokens cost; None when not known.
    """

    side: Side
    name: str
    base_url: str
    api_key_env: str | None
    price: Price | None


def list_models(experiment: Experiment, settings: Settings) -> list[Model]:
    """The models that an experiment asks.

    Raises:
        BadInputError: An endpoint is not allowed, or the budget in US dollars cannot be checked for lack of a price.
    """
    prices = load_prices(settings.prices)
    models = []
    for side, asked in experiment.sides.items():
        if asked.model is None:
            continue
        base_url, api_key_env = experiment.endpoint_of(side)
        require_allowed(base_url, settings.endpoints)
        price = _own_price(experiment, asked.model) or prices.find(asked.model)
        model = Model(side, asked.model, base_url, api_key_env, price)
        if experiment.budget.usd is not None or settings.daily_usd is not None:
            _require_bound(model, asked.params)
        models.append(model)
    return models


@contextmanager
def asking(experiment: Experiment, version_id: str, settings: Settings, tell: Callable[[str], None]) -> Iterator[Asker]:
    """Somebody who answers the requests of an experiment's models, with the home's store of responses.

    One process at a time asks an endpoint, or spends from the budget of the day; others wait.

    Raises:
        BadInputError: A key is missing, an endpoint is not allowed, or a budget cannot be checked.
    """
    models = list_models(experiment, settings)
    sides: dict[Side, ModelSide] = {
        model.side: ModelSide(model.base_url, read_key(model.api_key_env, os.environ), model.price) for model in models
    }
    shared = {model.base_url for model in models}
    shared |= {"the budget of the day"} if settings.daily_usd is not None else set()
    with ExitStack() as stack:
        for what in sorted(shared):
            stack.enter_context(asking_alone(settings.replays / "locks", what, tell))
        store = stack.enter_context(ResponseStore(settings.responses))
        version = (experiment.experiment, version_id)
        yield Asker(sides, store, experiment.budget, version, tell, daily_usd=settings.daily_usd)


def _own_price(experiment: Experiment, name: str) -> Price | None:
    """What the experiment itself says that a model costs, on whichever side."""
    return next((asked.price for asked in experiment.sides.values() if asked.model == name and asked.price), None)


def _require_bound(model: Model, params: Mapping[str, Any]) -> None:
    """A bound on US dollars holds only when the most that a call can cost is known."""
    if model.price is None:
        raise BadInputError(
            f"budget.usd and REFOLD_DAILY_USD need prices, and none is known for {model.name}; write it as "
            "price: {input_usd: …, output_usd: …} beside the model (per million tokens), or in a table that REFOLD_PRICES names"
        )
    if model.price.output_usd and max_output_tokens(params, model.price) is None:
        raise BadInputError(
            f"budget.usd and REFOLD_DAILY_USD need bounds, and nothing bounds a reply of {model.name}; set "
            "max_completion_tokens in params, or max_output_tokens in the price table"
        )
