"""The stream of a version's review: verdicts appended, taken back, and those that stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

from pipelines.store.connect import Store
from pipelines.store.errors import VersionConflict
from pipelines.store.events import REVIEW, STREAM_NAMESPACE, NewEvent, StoredEvent
from pipelines.verdicts.verdict import AlreadyJudgedError, Verdict

RECORDED, WITHDRAWN = "verdict.recorded.v1", "verdict.withdrawn.v1"
_FIELDS = ("verdict_id", "experiment", "version_id", "unit_id", "choice", "left", "design")
_OPTIONAL = ("reviewer", "reason", "seconds", "probability")
_REDACTION = "redaction.applied."
_METADATA = {"actor": "reviewer"}


def review_stream(experiment: str, version_id: str) -> UUID:
    """The stream of a version's review, for good."""
    return uuid5(STREAM_NAMESPACE, f"review\n{experiment}\n{version_id}")


class Review:
    """What stands in one version's review, kept up with the store.

    Attributes:
        standing: The verdicts that stand, by reviewer and pair.
    """

    def __init__(self, store: Store, experiment: str, version_id: str) -> None:
        self._store = store
        self._stream = review_stream(experiment, version_id)
        self._version = 0
        self._given: dict[str, Verdict] = {}
        self._places: dict[int, str] = {}
        self._withdrawn: set[str] = set()
        self.standing: dict[tuple[str | None, str], Verdict] = {}

    def refresh(self) -> None:
        """Read what was appended since, by whomever."""
        for event in self._store.read_stream(self._stream, self._version + 1):
            self._apply(event)

    def record(self, verdict: Verdict) -> Verdict:
        """Append a verdict, durable on return; one that was recorded already is answered as it is.

        Raises:
            AlreadyJudgedError: The reviewer's verdict on the pair stands, or this very one was withdrawn.
        """
        self.refresh()
        while True:
            if (found := self._given.get(verdict.verdict_id)) is not None:
                if found.verdict_id in self._withdrawn:
                    raise _refused(found, None)
                if (found.unit_id, found.choice) != (verdict.unit_id, verdict.choice):
                    raise _refused(found, found)
                return found
            if (standing := self.standing.get(_key(verdict))) is not None:
                raise _refused(standing, standing)
            if self._append(NewEvent(RECORDED, _payload(verdict), _METADATA)):
                return self._given[verdict.verdict_id]

    def withdraw(self, reviewer: str | None) -> Verdict | None:
        """Take back the verdict of a reviewer that was recorded last and stands; None when none does."""
        while True:
            mine = [each for each in self.standing.values() if each.reviewer == reviewer]
            if not mine:
                return None
            payload = {"verdict_id": mine[-1].verdict_id, "unit_id": mine[-1].unit_id, "reviewer": reviewer}
            if self._append(NewEvent(WITHDRAWN, payload, _METADATA)):
                return mine[-1]

    def _append(self, event: NewEvent) -> bool:
        """Append behind what is known of the stream; false when somebody was faster, whose events are known now."""
        try:
            self._store.append(self._stream, REVIEW, [event], self._version)
        except VersionConflict:
            self.refresh()
            return False
        self.refresh()
        return True

    def _apply(self, event: StoredEvent) -> None:
        self._version = event.stream_version
        if event.event_type == RECORDED and not event.is_erased:
            verdict = replace(verdict_of(event.payload), recorded_at=event.created_at)
            self._given.setdefault(verdict.verdict_id, verdict)
            self._places[event.stream_version] = verdict.verdict_id
            self.standing.setdefault(_key(verdict), verdict)
        elif event.event_type == WITHDRAWN and (given := self._given.get(str(event.payload.get("verdict_id")))):
            self._withdrawn.add(given.verdict_id)
            self._settle(_key(given))
        elif event.event_type.startswith(_REDACTION):
            self._hide(self._places.get(event.payload["target"]["stream_version"]))

    def _settle(self, key: tuple[str | None, str]) -> None:
        """What stands of a reviewer and a pair: the first verdict that was not taken back."""
        self.standing.pop(key, None)
        for each in self._given.values():
            if _key(each) == key and each.verdict_id not in self._withdrawn:
                self.standing[key] = each
                return

    def _hide(self, verdict_id: str | None) -> None:
        """Forget the reason of a verdict of which something must not be shown."""
        if verdict_id is not None:
            given = self._given[verdict_id] = replace(self._given[verdict_id], reason=None)
            if self.standing.get(_key(given), given).verdict_id == verdict_id and verdict_id not in self._withdrawn:
                self.standing[_key(given)] = given


def verdict_of(payload: dict[str, Any]) -> Verdict:
    """The verdict that an event's payload is."""
    fields: dict[str, Any] = {name: payload[name] for name in _FIELDS}
    return Verdict(**fields | {name: payload.get(name) for name in _OPTIONAL})


def judged_units(standing: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Verdicts by pair."""
    found: dict[str, list[Verdict]] = {}
    for each in standing:
        found.setdefault(each.unit_id, []).append(each)
    return found


def _payload(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in (*_FIELDS, *_OPTIONAL)}


def _key(verdict: Verdict) -> tuple[str | None, str]:
    return verdict.reviewer, verdict.unit_id


def _refused(found: Verdict, standing: Verdict | None) -> AlreadyJudgedError:
    who = "" if found.reviewer is None else f" by {found.reviewer!r}"
    if standing is None:
        return AlreadyJudgedError(f"this verdict on {found.unit_id}{who} was withdrawn; open the pair again", None)
    return AlreadyJudgedError(
        f"{found.unit_id} was judged{who} already: {standing.choice}; undo that verdict to give another", standing
    )
