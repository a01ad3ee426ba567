"""The proof that a value is nowhere derived: everything under the home is decoded, and what still holds it is named by its place.

The log itself keeps what was recorded, by design: of its events is told which have it hidden by redactions and which show it. Nothing of the
value is repeated in what is found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipelines.lake.datasets import EVENTS
from pipelines.redaction.places import STORE, Place, find_value
from pipelines.redaction.selection import Scope, Wanted, scan
from pipelines.redaction.value import Value
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.store.erasures import list_holds

_TOLD = 20
"""Events that are named; of more their number is told."""


@dataclass(slots=True)
class Proof:
    """Where a value stands.

    Attributes:
        derived: Places outside of the log, by path and part: there must be none.
        shown: Events of the log that show it, as STREAM@VERSION; the first of them.
        shown_events: How many those are: there must be none.
        metadata: Those of them that hold it in their metadata, which no redaction hides.
        hidden_events: Events that hold it where redactions hide it: they keep it, until they are erased.
        log_files: Files of the lake's own copy of the log that hold it, as the store does.
        holds: Holds whose words hold it.
        entries: Entries of the home log that do.
    """

    derived: list[Place] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    shown_events: int = 0
    metadata: int = 0
    hidden_events: int = 0
    log_files: int = 0
    holds: int = 0
    entries: int = 0

    @property
    def is_proven(self) -> bool:
        """Whether it is nowhere derived, and hidden wherever the log has it."""
        return not (self.derived or self.shown_events or self.holds or self.entries)


def prove(settings: Settings, store: Store, text: str) -> Proof:
    """Look for a value in everything under the home, and in the store.

    Args:
        settings: The home; its lake and its reports may be elsewhere.
        store: Its store.
        text: The value.

    Raises:
        BadInputError: It would be found everywhere.
    """
    value = Value(text)
    proof = Proof()
    places: list[Place] = find_value(settings.home, text, (STORE,))
    if not settings.lake.resolve().is_relative_to(settings.home.resolve()):
        places += find_value(settings.lake, text, ())
    log = settings.lake / EVENTS.name
    files: set[Path] = set()
    for place in places:
        if place.path.is_relative_to(log):
            files.add(place.path)
        else:
            proof.derived.append(place)
    proof.log_files = len(files)
    _look_in_store(store, value, proof)
    proof.holds = sum(value.stands_in(f"{hold.reason} {hold.customer or ''}") for hold in list_holds(store.conn))
    proof.entries = sum(value.stands_in(entry.signed.text) for entry in store.home_log())
    return proof


def _look_in_store(store: Store, value: Value, proof: Proof) -> None:
    """Which events hold it, and which of them show it."""
    wanted = Wanted.of_value(value)
    for event in scan(store, Scope(), wanted, is_hidden_told=True):
        if not event.hits.hits and not event.hits.is_left and not event.is_in_metadata:
            proof.hidden_events += 1
            continue
        proof.shown_events += 1
        proof.metadata += event.is_in_metadata
        if len(proof.shown) < _TOLD:
            proof.shown.append(f"{event.stream}@{event.version}")
