"""A talk whose outbox keeps everything, and the left fold of what it kept."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pipelines.recorder.opening import Known, Opening
from pipelines.recorder.talk import Talk
from pipelines.store import NewEvent, stream_id
from tests.oracles import left_fold
from tests.support.equality import make_log


class Kept:
    """An outbox that keeps everything, as the store would give it back."""

    def __init__(self) -> None:
        self.events: list[NewEvent] = []
        self.told: list[str] = []
        self.described = 0

    def send(self, _stream: UUID, _kind: str, expected: int, events: list[NewEvent]) -> None:
        assert expected == len(self.events)
        self.events += events

    def register(self, kind: str, sha256: str, payload: dict[str, Any]) -> None:
        pass

    def report(self, error: Exception) -> None:
        raise error

    def count_described(self, values: int) -> None:
        self.described += values

    def tell_once(self, about: str, message: str, *values: object, level: int = 0) -> None:
        self.told.append(about)


def new_talk(kept: Kept, system: list[Any] | None = None) -> Talk:
    opening = Opening(stream_id("s", "c"), "conversation", {"source": "s"}, {}, system, None, "p")
    return Talk(kept, opening, Known())


def folded(kept: Kept) -> list[dict[str, Any]]:
    """The decisions of the left fold over the events as read back."""
    log = make_log([(str(stream_id("s", "c")), "conversation", kept.events)])
    if not log:
        return []
    return left_fold.fold_month(log, log[0]["month"])["decisions"]
