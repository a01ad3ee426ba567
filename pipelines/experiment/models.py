"""The models of an experiment: who is asked for which side, whether that is allowed, and whether its budget can be checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.address import read_address
from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment
from pipelines.experiment.prices import Price, load_prices, max_output_tokens
from pipelines.experiment.sides import Api, Side
from pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is asked for one side.

    Attributes:
        side: Candidate or control.
        name: The model; None where an agent asks whichever it likes.
        base_url: Its endpoint.
        api_key_env: Variable that holds the key; None for none.
        price: What tokens cost, in a batch where it is asked in one; None when not known.
        api: The wire it is asked over.
    """

    side: Side
    name: str | None
    base_url: str
    api_key_env: str | None
    price: Price | None
    api: Api = "chat"

    @property
    def is_here(self) -> bool:
        """Whether its endpoint is on this machine, so that asking it sends nothing away."""
        return read_address(self.base_url).is_loopback


def list_models(experiment: Experiment, settings: Settings) -> list[Model]:
    """The models that an experiment asks.

    Raises:
        BadInputError: An endpoint is not allowed, or the budget in US dollars cannot be checked for lack of a price.
    """
    prices = load_prices(settings.prices)
    models = []
    for side, asked in experiment.sides.items():
        if not asked.asks_models:
            continue
        base_url, api_key_env = experiment.endpoint_of(side)
        require_allowed(base_url, settings.endpoints)
        price = _own_price(experiment, asked.model) or (prices.find(asked.model) if asked.model is not None else None)
        if price is not None and experiment.batch:
            price = price.in_batch
        model = Model(side, asked.model, base_url, api_key_env, price, experiment.api_of(side))
        if experiment.budget.usd is not None or settings.daily_usd is not None:
            _require_bound(model, experiment.params_of(side))
        models.append(model)
    return models


def require_allowed(base_url: str, allowed: Iterable[str] | None) -> None:
    """Refuse an endpoint that texts must not be sent to.

    Args:
        base_url: The endpoint, as the experiment names it.
        allowed: Addresses (`REFOLD_ENDPOINTS`) that it may be, or be under; None: this machine's loopback alone.

    Raises:
        BadInputError: It is not among them.
    """
    try:
        asked = read_address(base_url)
    except ValueError as error:
        raise BadInputError(f"{base_url!r} is no address that REFOLD_ENDPOINTS could name: {error}") from None
    if allowed is None:
        if asked.is_loopback:
            return
        raise BadInputError(
            f"{base_url} is not on this machine; to send recorded texts there, name it in REFOLD_ENDPOINTS"
        )
    known = list(allowed)
    if not any(asked.is_under(read_address(each)) for each in known):
        raise BadInputError(f"{base_url} is not among REFOLD_ENDPOINTS ({', '.join(known) or 'which names none'})")


def read_key(variable: str | None, env: Mapping[str, str]) -> str | None:
    """The API key in the named variable, None when no variable is named.

    Raises:
        BadInputError: The variable is not set, or holds what no header can carry; the value is not repeated.
    """
    if variable is None:
        return None
    key = env.get(variable, "").strip()
    if not key:
        raise BadInputError(f"api_key_env: the environment variable {variable} is not set")
    if not key.isascii() or not key.isprintable():
        raise BadInputError(f"api_key_env: the environment variable {variable} does not hold an API key")
    return key


def _own_price(experiment: Experiment, name: str | None) -> Price | None:
    """What the experiment itself says that a model costs, on whichever side."""
    return next((asked.price for asked in experiment.sides.values() if asked.model == name and asked.price), None)


def _require_bound(model: Model, params: Mapping[str, Any]) -> None:
    """A bound on US dollars holds only when the most that a call can cost is known."""
    if model.name is None:
        raise BadInputError(
            f"budget.usd and REFOLD_DAILY_USD need prices, and the {model.side} may ask any model; name the one with model"
        )
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
