"""Reviewers at their desks, and what the page shows them: blind until they have judged.

What is answered before a verdict says which pair and how it reads, never which side is which: that is worked out again, from the desk,
when the verdict comes. A desk is opened by the first question, and again when the store went away.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pipelines.console import counted
from pipelines.diff.versions import Version, list_versions
from pipelines.errors import BadInputError, RefoldError
from pipelines.lake.lake import Lake
from pipelines.review.blind import render_blind
from pipelines.review.markup import fill_part
from pipelines.review.numbers import interval, number, percent
from pipelines.review.pair import load_pair
from pipelines.settings import Settings
from pipelines.verdicts.desk import Desk, Progress, Queue
from pipelines.verdicts.estimate import Share
from pipelines.verdicts.verdict import AlreadyJudgedError, Assignment, Choice, Verdict

Said = Literal["left", "right", "same", "unsure"]
"""What a blind reviewer says: which side is the better one, or neither."""
SAYINGS: tuple[Said, ...] = get_args(Said)
_WORDS = {"left": "Left is better", "right": "Right is better", "same": "No difference", "unsure": "Unsure"}
_SIDES = {"A": "A, what happened", "B": "B, what was tried"}
_CHOICES = {"better": "B is better", "worse": "B is worse", "same": "no difference", "unsure": "unsure"}
_MOST_DESKS = 64
"""Desks that are kept open, each with a connection of its own; the one that was used longest ago is closed."""

Shown = dict[str, Any]
"""What the page's script is told, as JSON."""


@dataclass
class _Held:
    """A desk in use: one question at a time."""

    desk: Desk
    opened: AbstractContextManager[Desk]
    lock: threading.Lock = field(default_factory=threading.Lock)


class Desks:
    """The desks of one server. Every method may be called by any thread.

    Args:
        settings: The home, and the store.
        lake: Where versions are.
        queue: What is put before reviewers.
    """

    def __init__(self, settings: Settings, lake: Lake, queue: Queue) -> None:
        self._settings = settings
        self._lake = lake
        self._queue = queue
        self._held: dict[tuple[str, str, str | None], _Held] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Leave all desks."""
        with self._lock:
            held = list(self._held.values())
            self._held.clear()
        for each in held:
            _leave(each)

    def show(self, experiment: str, version_id: str, reviewer: str | None, unit_id: str | None) -> Shown:
        """The pair to judge: the one that is named, or the next.

        Raises:
            BadInputError: There is no such version or pair, or nobody says who reviews.
            StoreError: There is no store to record in.
        """
        with self._desk(experiment, version_id, reviewer) as desk:
            assignment = desk.at(unit_id) if unit_id else desk.next()
            if assignment is None:
                return {"state": "done"}
            return self._pair(desk.version, assignment)

    def stands(self, experiment: str, version_id: str, reviewer: str | None, unit_id: str) -> Shown:
        """What stands of the reviewer's on a pair; null where nothing does."""
        with self._desk(experiment, version_id, reviewer) as desk:
            standing = desk.at(unit_id).standing
            return {"state": "stands", "stands": None if standing is None else _stands(standing)}

    def record(
        self,
        experiment: str,
        version_id: str,
        reviewer: str | None,
        unit_id: str,
        verdict_id: str,
        said: Said,
        reason: str | None,
        seconds: float | None,
    ) -> Shown:
        """Record what a reviewer says of a pair; durable before this returns.

        Raises:
            BadInputError: Something of it is none.
            StoreError: It could not be recorded; it may be sent again.
        """
        with self._desk(experiment, version_id, reviewer) as desk:
            assignment = desk.at(unit_id, verdict_id)
            try:
                verdict = desk.record(assignment, choice_of(said, assignment.left), reason, seconds)
            except AlreadyJudgedError as error:
                told = None if error.standing is None else _stands(error.standing)
                return {"state": "taken", "unit": unit_id, "stands": told}
            return {"state": "recorded", "unit": unit_id, **_told(verdict)}

    def skip(self, experiment: str, version_id: str, reviewer: str | None, unit_id: str) -> Shown:
        """Leave a pair for later."""
        with self._desk(experiment, version_id, reviewer) as desk:
            desk.skip(desk.at(unit_id))
            return {"state": "skipped", "unit": unit_id}

    def undo(self, experiment: str, version_id: str, reviewer: str | None) -> Shown:
        """Take back the reviewer's last verdict."""
        with self._desk(experiment, version_id, reviewer) as desk:
            verdict = desk.undo()
            if verdict is None:
                return {"state": "nothing"}
            return {"state": "undone", "unit": verdict.unit_id, **_told(verdict)}

    def progress(self, experiment: str, version_id: str, reviewer: str | None) -> Shown:
        """How far the reviewer is, and what all verdicts come to so far."""
        with self._desk(experiment, version_id, reviewer) as desk:
            found = desk.progress()
            lines = tell_progress(found, desk.version.pairs, self._queue.reviewers)
            return {
                "state": "progress",
                "judged": found.judged,
                "sample": found.sample,
                "html": fill_part("room.html", "progress", lines),
            }

    def _pair(self, version: Version, assignment: Assignment) -> Shown:
        pair = load_pair(self._lake, version, assignment.unit_id)
        return {
            "state": "pair",
            "unit": assignment.unit_id,
            "verdict": assignment.verdict_id,
            "place": None if assignment.probability is None else assignment.place,
            "remaining": assignment.remaining,
            "stands": None if assignment.standing is None else _stands(assignment.standing),
            "html": render_blind(pair, assignment.left),
        }

    @contextmanager
    def _desk(self, experiment: str, version_id: str, reviewer: str | None) -> Iterator[Desk]:
        """The desk of a reviewer at a version, for one question."""
        key = (experiment, version_id, reviewer)
        held = self._sit(key)
        try:
            with held.lock:
                yield held.desk
        except BadInputError:
            raise
        except Exception:
            # whatever went wrong with its connection, the next question opens another
            with self._lock:
                is_mine = self._held.get(key) is held and self._held.pop(key) is held
            if is_mine:
                _leave(held)
            raise

    def _sit(self, key: tuple[str, str, str | None]) -> _Held:
        with self._lock:
            if (held := self._held.pop(key, None)) is None:
                experiment, version_id, reviewer = key
                opened = Desk.open(
                    self._settings, self._lake, self._version(experiment, version_id), reviewer, self._queue
                )
                held = _Held(opened.__enter__(), opened)
            self._held[key] = held  # the last one is the one used last
            oldest = next(iter(self._held.values())) if len(self._held) > _MOST_DESKS else None
            if oldest is not None:
                del self._held[next(iter(self._held))]
        if oldest is not None:
            _leave(oldest)
        return held

    def _version(self, experiment: str, version_id: str) -> Version:
        for version in list_versions(self._lake, experiment):
            if version.version_id == version_id:
                return version
        raise BadInputError(f"experiment {experiment!r} has no complete version {version_id!r}")


def choice_of(said: Said, left: str) -> Choice:
    """The verdict on B beside A, of what was said of the left and the right."""
    if said in ("same", "unsure"):
        return said
    return "better" if (said == "right") == (left == "A") else "worse"


def said_of(choice: Choice, left: str) -> Said:
    """What was said of the left and the right, of the verdict on B beside A."""
    if choice in ("same", "unsure"):
        return choice
    return "right" if (choice == "better") == (left == "A") else "left"


def tell_progress(found: Progress, pairs: int, reviewers: int) -> list[tuple[str, str]]:
    """What the verdicts of all reviewers come to, as names and values."""
    lines = [
        (
            f"Judged by {counted(reviewers, 'reviewer')}",
            f"{found.complete:,} of the {found.sample:,} pairs that were drawn",
        )
    ]
    net = found.net
    lines.append((f"B better less B worse, of all {pairs:,} pairs", _share(net, is_share=True)))
    if reviewers > 1 or found.agreement.estimate is not None:
        lines.append(("Agreement of reviewers (Gwet's AC1)", _share(found.agreement, is_share=False)))
    return lines


def _share(share: Share, *, is_share: bool) -> str:
    if share.estimate is None:
        return "nothing yet"
    shown = percent(share.estimate, is_signed=True) if is_share else number(share.estimate)
    if share.low is None and share.high is None:
        return f"{shown}, of {share.n:,} pairs: too few for an interval"
    return f"{shown} [{interval(share.low, share.high, is_share=is_share)}], of {share.n:,} pairs"


def _told(verdict: Verdict) -> Shown:
    """A verdict in words, and what it was of: for who has judged."""
    right = "B" if verdict.left == "A" else "A"
    return {
        "words": _WORDS[said_of(verdict.choice, verdict.left)],
        "revealed": f"Left was {_SIDES[verdict.left]}; right was {_SIDES[right]}: {_CHOICES[verdict.choice]}.",
        "reason": verdict.reason or "",
    }


def _stands(verdict: Verdict) -> Shown:
    when = "" if verdict.recorded_at is None else f"{verdict.recorded_at:%Y-%m-%d %H:%M} UTC"
    return {**_told(verdict), "when": when}


def _leave(held: _Held) -> None:
    with held.lock, suppress(RefoldError):
        held.opened.__exit__(None, None, None)
