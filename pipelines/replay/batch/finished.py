"""Batches that somebody can go on with now: what a sensor asks, and what is said of those that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.errors import BadInputError
from pipelines.experiment.models import require_allowed
from pipelines.replay.asking.responses import ResponseStore
from pipelines.replay.batch.batches import describe_under_way
from pipelines.replay.batch.client import BatchError, NotNowError
from pipelines.replay.batch.ledger import Batch, Ledger
from pipelines.replay.batch.session import SETTLING, Session, describe
from pipelines.settings import Settings

_SECONDS = 20.0
"""For each answer of a provider: who asks is asked again in a few minutes."""


@dataclass(frozen=True, slots=True)
class Finished:
    """An experiment of which something can be gone on with.

    Attributes:
        experiment: Name.
        versions: The versions, in the order in which they were submitted.
        is_retry: Whether failed units of them were asked about once more.
        tokens: What the batches are known by.
    """

    experiment: str
    versions: tuple[str, ...]
    is_retry: bool
    tokens: tuple[str, ...]


def list_open(settings: Settings, experiment: str | None = None) -> list[Batch]:
    """The batches of a home that are under way, of one experiment or of all."""
    if not settings.responses.exists():
        return []
    with ResponseStore(settings.responses) as store:
        found = Ledger(store).list_open()
    return [batch for batch in found if experiment in (None, batch.purpose.experiment)]


def describe_unfinished(settings: Settings, experiment: str) -> str:
    """What of an experiment is under way, in words."""
    return describe_under_way(list_open(settings, experiment))


def find_finished(settings: Settings, tell: Callable[[str], None]) -> list[Finished]:
    """The experiments of which a batch has ended, or was left by somebody who was stopped; their providers are asked.

    Args:
        settings: The home, and where texts may go.
        tell: Told of batches that cannot be asked about.
    """
    batches = list_open(settings)
    ready = asyncio.run(_ready(settings, batches, tell)) if batches else []
    found: dict[tuple[str, bool], list[Batch]] = {}
    for batch in ready:
        found.setdefault((batch.purpose.experiment, batch.purpose.is_retry), []).append(batch)
    return [
        Finished(
            experiment,
            tuple(dict.fromkeys(batch.purpose.version_id for batch in some)),
            is_retry,
            tuple(batch.token for batch in some),
        )
        for (experiment, is_retry), some in sorted(found.items())
    ]


async def _ready(settings: Settings, batches: list[Batch], tell: Callable[[str], None]) -> list[Batch]:
    ready = []
    with ResponseStore(settings.responses) as store:
        async with Session(Ledger(store), _SECONDS, tell) as session:
            for batch in batches:
                try:
                    require_allowed(batch.base_url, settings.endpoints)
                    if batch.remote is None:
                        is_ready = datetime.now(UTC) - batch.changed_at > SETTLING
                    else:
                        remote = await session.poll(batch)
                        is_ready = remote is None or remote.is_ended
                except (BadInputError, BatchError, NotNowError) as error:
                    tell(f"{describe(batch)}: {error}")
                else:
                    ready += [batch] if is_ready else []
    return ready
