"""Somebody who asks the models of an experiment, with the home's store of responses.

Here meet the experiment, the settings and the environment; the API key is read here and handed on as an object that does
not show it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment
from pipelines.experiment.models import list_models, read_key
from pipelines.experiment.sides import Side
from pipelines.replay.asking.asker import Asker, ModelSide
from pipelines.replay.asking.responses import ResponseStore, asking_alone
from pipelines.settings import Settings

OnSending = Callable[[str], None]
"""Told the address of an endpoint before the first text is sent to it; what it raises ends the run, and nothing is sent."""


@contextmanager
def asking(
    experiment: Experiment,
    version_id: str,
    settings: Settings,
    tell: Callable[[str], None],
    on_sending: OnSending | None = None,
) -> Iterator[Asker]:
    """Somebody who answers the requests of an experiment's models, with the home's store of responses.

    One process at a time asks an endpoint, or spends from the budget of the day; others wait.

    Args:
        experiment: Names the models.
        version_id: What they are asked for, for the ledger.
        settings: Where they may be, and where responses are kept.
        tell: Told when the work waits, and why.
        on_sending: Told of each endpoint that is not on this machine; needed where there is one.

    Raises:
        BadInputError: A key is missing, an endpoint is not allowed, or a budget cannot be checked; or nobody records that texts
            are sent away.
    """
    models = list_models(experiment, settings)
    away = {model.base_url for model in models if not model.is_here}
    if away and on_sending is None:
        raise BadInputError(
            f"texts would be sent to {', '.join(sorted(away))}, and nobody records it; use `refold ab` or `refold replan`"
        )

    def tell_sending(base_url: str) -> None:
        if on_sending is not None and base_url in away:
            on_sending(base_url)

    sides: dict[Side, ModelSide] = {
        model.side: ModelSide(
            model.base_url, read_key(model.api_key_env, os.environ), model.price, model.api, model.api_key_env
        )
        for model in models
    }
    shared = {model.base_url for model in models}
    shared |= {"the budget of the day"} if settings.daily_usd is not None else set()
    with ExitStack() as stack:
        for what in sorted(shared):
            stack.enter_context(asking_alone(settings.replays / "locks", what, tell))
        store = stack.enter_context(ResponseStore(settings.responses))
        version = (experiment.experiment, version_id)
        yield Asker(
            sides, store, experiment.budget, version, tell, daily_usd=settings.daily_usd, on_sending=tell_sending
        )
