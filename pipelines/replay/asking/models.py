"""Somebody who asks the models of an experiment, with the home's store of responses.

Here meet the experiment, the settings and the environment; the API key is read here and handed on as an object that does
not show it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from pipelines.experiment.file import Experiment
from pipelines.experiment.models import list_models, read_key
from pipelines.experiment.sides import Side
from pipelines.replay.asking.asker import Asker, ModelSide
from pipelines.replay.asking.responses import ResponseStore, asking_alone
from pipelines.settings import Settings


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
