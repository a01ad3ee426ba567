"""The desk that one reviewer sits at: the next pair, a verdict, a step back, and how far the review is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self
from uuid import uuid4

from pipelines.diff.versions import Version
from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store.connect import Store
from pipelines.verdicts.frame import load_frame
from pipelines.verdicts.record import Review
from pipelines.verdicts.sampling import Design, Drawable, draw, fraction
from pipelines.verdicts.verdict import CHOICES, PICKED, Assignment, Choice, Left, Verdict, read_reason, read_reviewer

MAX_SECONDS = 7 * 86_400.0
"""A pair that was open for longer was not looked at for as long."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What is put before reviewers.

    Attributes:
        design: How pairs are drawn.
        reviewers: To how many different people each pair goes.
    """

    design: Design = field(default_factory=Design)
    reviewers: int = 1


@dataclass(frozen=True, slots=True)
class Share:
    """A share, or a difference of shares, of all pairs of the version that both sides answered.

    Attributes:
        estimate: What it is; None without a verdict.
        low: Lower 95 % bound; None with a reason.
        high: Upper 95 % bound; None likewise.
        n: Pairs that it is made of.
        reason: Code: why a number is missing; None for nothing.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a review is.

    Attributes:
        judged: Pairs of the sample with a standing verdict of this reviewer.
        sample: Pairs of the sample.
        complete: Pairs of the sample that as many reviewers judged as are to.
        agreement: Gwet's AC1 over the pairs that several reviewers judged.
        net: Share better less share worse, of all pairs.
    """

    judged: int
    sample: int
    complete: int
    agreement: Share
    net: Share


class Desk:
    """One version and one reviewer. It holds a connection of its own: use it in one thread at a time.

    Other desks, in other threads, processes or machines, may be at the same version: each call looks at what they recorded first.
    """

    def __init__(
        self, store: Store, version: Version, frame: list[Drawable], reviewer: str | None, queue: Queue
    ) -> None:
        self.version = version
        self.reviewer = reviewer
        self.queue = queue
        self._review = Review(store, version.experiment, version.version_id)
        self._review.refresh()
        self._frame = {pair.unit_id for pair in frame}
        self._drawn = draw(version.version_id, frame, queue.design)
        key = f"{version.version_id}\n{queue.design.text}\n{reviewer}"
        self._order = sorted(self._drawn, key=lambda unit: fraction(key, unit))
        self._places = {unit: place for place, unit in enumerate(self._order, start=1)}
        self._skipped: dict[str, None] = {}

    @classmethod
    @contextmanager
    def open(
        cls, settings: Settings, lake: Lake, version: Version, reviewer: str | None = None, queue: Queue | None = None
    ) -> Iterator[Self]:
        """A desk, as long as the block lasts.

        Args:
            settings: The home, and the store.
            lake: Where the version is.
            version: What is reviewed, complete.
            reviewer: Who; None where nobody is named.
            queue: What is put before reviewers; by default 200 pairs, each alike, once.

        Raises:
            BadInputError: The reviewer's name is none, the version has no pair to judge, or several reviewers are to judge a pair and
                nobody says who this one is.
            StoreError: There is no store to record in.
        """
        queue = queue or Queue()
        who = require_reviewer(reviewer, queue.reviewers)
        frame = load_frame(lake, version)
        with Store.open(settings, must_exist=True) as store:
            yield cls(store, version, frame, who, queue)

    def next(self) -> Assignment | None:
        """The next pair for this reviewer; None when there is none left, or others are at all that is left."""
        self._review.refresh()
        left = self._left()
        return self._assign(left[0], len(left)) if left else None

    def at(self, unit_id: str, verdict_id: str | None = None) -> Assignment:
        """A pair by its URL, in the sample or not.

        Args:
            unit_id: The pair.
            verdict_id: That of the assignment that is to be had again, after a restart.

        Raises:
            BadInputError: The version has no such pair that both sides answered.
        """
        if unit_id not in self._frame:
            raise BadInputError(
                f"version {self.version.version_id} of {self.version.experiment} has no pair {unit_id[:200]!r} that both sides answered"
            )
        self._review.refresh()
        return self._assign(unit_id, len(self._left()), verdict_id)

    def record(self, assignment: Assignment, choice: Choice, reason: str | None, seconds: float | None) -> Verdict:
        """Record a verdict, durable before this returns. Sent again with the same assignment it is answered as it was recorded.

        Raises:
            AlreadyJudgedError: The reviewer's verdict on the pair stands from elsewhere, says something else, or was withdrawn.
            BadInputError: Choice, reason or seconds are none.
            StoreError: It could not be recorded; send it again.
        """
        if choice not in CHOICES:
            raise BadInputError(f"a verdict is {', '.join(CHOICES)}, not {str(choice)[:50]!r}")
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            raise BadInputError(f"a verdict takes a number of seconds, not {seconds}")
        verdict = Verdict(
            verdict_id=assignment.verdict_id,
            experiment=self.version.experiment,
            version_id=self.version.version_id,
            unit_id=assignment.unit_id,
            reviewer=self.reviewer,
            choice=choice,
            reason=read_reason(reason),
            left=assignment.left,
            seconds=None if seconds is None else min(seconds, MAX_SECONDS),
            design=assignment.design,
            probability=assignment.probability,
        )
        return self._review.record(verdict)

    def skip(self, assignment: Assignment) -> None:
        """Leave a pair: it comes again when nothing else is left for this reviewer."""
        self._skipped.pop(assignment.unit_id, None)
        self._skipped[assignment.unit_id] = None

    def undo(self) -> Verdict | None:
        """Withdraw this reviewer's last standing verdict, which is answered; None when there is none."""
        self._review.refresh()
        return self._review.withdraw(self.reviewer)

    def progress(self) -> Progress:
        """How far the review is, with what the verdicts of all reviewers come to so far."""
        self._review.refresh()
        nothing = Share(None, None, None, 0, "no_verdicts")
        counts = self._counts()
        return Progress(
            judged=sum((self.reviewer, unit) in self._review.standing for unit in self._drawn),
            sample=len(self._drawn),
            complete=sum(counts.get(unit, 0) >= self.queue.reviewers for unit in self._drawn),
            agreement=nothing,
            net=nothing,
        )

    def _left(self) -> list[str]:
        """Pairs of the sample for this reviewer, in order: those that others began, the rest, those that were skipped."""
        counts = self._counts()
        open_ = [
            unit
            for unit in self._order
            if counts.get(unit, 0) < self.queue.reviewers and (self.reviewer, unit) not in self._review.standing
        ]
        skipped = {unit: place for place, unit in enumerate(self._skipped, start=1)}
        return sorted(open_, key=lambda unit: (skipped.get(unit, 0), unit not in counts))

    def _counts(self) -> dict[str, int]:
        """Standing verdicts by pair."""
        counts: dict[str, int] = {}
        for _reviewer, unit in self._review.standing:
            counts[unit] = counts.get(unit, 0) + 1
        return counts

    def _assign(self, unit_id: str, remaining: int, verdict_id: str | None = None) -> Assignment:
        chance = self._drawn.get(unit_id)
        coin = fraction(f"{self.version.version_id}\nleft\n{self.reviewer}", unit_id)
        left: Left = "A" if coin < 0.5 else "B"
        return Assignment(
            verdict_id=verdict_id or str(uuid4()),
            unit_id=unit_id,
            left=left,
            design=PICKED if chance is None else self.queue.design.text,
            probability=chance,
            place=self._places.get(unit_id),
            remaining=remaining,
            standing=self._review.standing.get((self.reviewer, unit_id)),
        )


def require_reviewer(reviewer: str | None, reviewers: int) -> str | None:
    """Who reviews, as it is recorded.

    Raises:
        BadInputError: The name is none, or several reviewers are to judge each pair and nobody says who this one is.
    """
    if reviewers < 1:
        raise BadInputError(f"{reviewers} reviewers judge nothing; give at least 1")
    who = read_reviewer(reviewer)
    if who is None and reviewers > 1:
        raise BadInputError(
            f"each pair is to be judged by {reviewers} reviewers, and nobody says who this one is: give --as NAME, or serve the page behind "
            "a proxy that says who asks and name its header in REFOLD_REVIEWER_HEADER"
        )
    return who
