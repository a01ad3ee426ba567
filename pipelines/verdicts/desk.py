"""The desk that one reviewer sits at: the next pair, a verdict, a step back, and how far the review is."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID, uuid4

from pipelines.diff.versions import Version
from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store.connect import Store
from pipelines.verdicts.estimate import Share
from pipelines.verdicts.frame import find_segments, load_frame
from pipelines.verdicts.leases import SECONDS, Lease, Leases
from pipelines.verdicts.record import Review
from pipelines.verdicts.sampling import Design, Drawable, draw, fraction
from pipelines.verdicts.summary import ALL, Line, summarise
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
        self,
        store: Store,
        version: Version,
        frame: list[Drawable],
        reviewer: str | None,
        queue: Queue,
        leases: Leases,
        segments: tuple[str, ...] = (),
    ) -> None:
        self.version = version
        self.reviewer = reviewer
        self.queue = queue
        self._review = Review(store, version.experiment, version.version_id)
        self._review.refresh()
        self._leases = leases
        self._segments = segments
        self._frame = {pair.unit_id: pair for pair in frame}
        self._drawn = draw(version.version_id, frame, queue.design)
        key = f"{version.version_id}\n{queue.design.text}\n{reviewer}"
        self._order = sorted(self._drawn, key=lambda unit: fraction(key, unit))
        self._places = {unit: place for place, unit in enumerate(self._order, start=1)}
        self._skipped: dict[str, None] = {}
        self._open: Assignment | None = None

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
            leases = Leases(settings.home, version.version_id)
            yield cls(store, version, frame, who, queue, leases, find_segments(lake, version))

    def next(self) -> Assignment | None:
        """The next pair for this reviewer; None when there is none left, or others are at all that is left.

        The same one until it is judged or skipped. It is this reviewer's for a quarter of an hour, in which it is put before as many others
        as are still to judge it.
        """
        self._review.refresh()
        with self._leases.changing() as leases:
            left = self._left(leases)
            if not left:
                return None
            shown = self._open
            unit, verdict_id = (left[0], str(uuid4())) if shown is None else (shown.unit_id, shown.verdict_id)
            if unit not in left:  # judged in another tab, or by enough others
                unit, verdict_id = left[0], str(uuid4())
            self._open = found = self._assign(unit, len(left), verdict_id, is_drawn=True)
            leases[:] = [each for each in leases if each.verdict_id != verdict_id]
            leases.append(Lease(found.unit_id, self.reviewer, found.verdict_id, time.time() + SECONDS))
        return found

    def at(self, unit_id: str, verdict_id: str | None = None) -> Assignment:
        """A pair by its URL, in the sample or not. Its verdict counts as picked by hand, unless `next` gave the pair to this reviewer.

        Args:
            unit_id: The pair.
            verdict_id: That of the assignment that is to be had again, after a restart.

        Raises:
            BadInputError: The version has no such pair that both sides answered, or `verdict_id` is none.
        """
        if unit_id not in self._frame:
            raise BadInputError(
                f"version {self.version.version_id} of {self.version.experiment} has no pair {unit_id[:200]!r} that both sides answered"
            )
        if verdict_id is not None and not _is_id(verdict_id):
            raise BadInputError(f"{verdict_id[:50]!r} names no verdict; it is a UUID that an assignment had")
        self._review.refresh()
        shown = self._open if self._open is not None and self._open.unit_id == unit_id else None
        given = shown or (self._leases.find(unit_id, self.reviewer) if unit_id in self._drawn else None)
        name = verdict_id or (str(uuid4()) if given is None else given.verdict_id)
        return self._assign(unit_id, len(self._left([])), name, is_drawn=given is not None)

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
        recorded = self._review.record(verdict)
        self._release(assignment)
        return recorded

    def skip(self, assignment: Assignment) -> None:
        """Leave a pair: it is free for others, and comes again when nothing else is left for this reviewer."""
        self._release(assignment)
        self._skipped.pop(assignment.unit_id, None)
        self._skipped[assignment.unit_id] = None

    def undo(self) -> Verdict | None:
        """Withdraw this reviewer's last standing verdict, which is answered; None when there is none.

        The pair is the reviewer's again, drawn if it was, and the next one: another verdict on it counts as the first would have.
        """
        self._review.refresh()
        verdict = self._review.withdraw(self.reviewer)
        if verdict is not None and verdict.unit_id in self._drawn and verdict.design == self.queue.design.text:
            if self._open is not None:
                self._release(self._open)
            found = self._assign(verdict.unit_id, len(self._left([])), str(uuid4()), is_drawn=True)
            self._open = found
            with self._leases.changing() as leases:
                leases.append(Lease(found.unit_id, self.reviewer, found.verdict_id, time.time() + SECONDS))
        return verdict

    def progress(self) -> Progress:
        """How far the review is, with what the verdicts of all reviewers come to so far."""
        lines = {line.metric: line for line in self.summary() if line.segment == ALL}
        counts = self._counts()
        return Progress(
            judged=sum((self.reviewer, unit) in self._review.standing for unit in self._drawn),
            sample=len(self._drawn),
            complete=sum(counts.get(unit, 0) >= self.queue.reviewers for unit in self._drawn),
            agreement=_share(lines["agreement_ac1"]),
            net=_share(lines["net"]),
        )

    def summary(self) -> list[Line]:
        """What the verdicts of all reviewers come to so far, as `summarise` has it; now, not as of the last export."""
        self._review.refresh()
        frame = list(self._frame.values())
        return summarise(self.version.version_id, frame, self._review.standing.values(), self._segments)

    def _release(self, assignment: Assignment) -> None:
        if self._open is not None and self._open.unit_id == assignment.unit_id:
            self._open = None
        mine = (assignment.unit_id, self.reviewer)
        with self._leases.changing() as leases:
            leases[:] = [each for each in leases if (each.unit_id, each.reviewer) != mine]

    def _left(self, leases: Sequence[Lease]) -> list[str]:
        """Pairs of the sample for this reviewer, in order: those that others began, the rest, those skipped or in another tab."""
        counts = self._counts()
        begun = set(counts)
        mine = {each.unit_id for each in leases if each.reviewer == self.reviewer}
        for unit, _reviewer in {(each.unit_id, each.reviewer) for each in leases if each.reviewer != self.reviewer}:
            counts[unit] = counts.get(unit, 0) + 1
        open_ = [
            unit
            for unit in self._order
            if counts.get(unit, 0) < self.queue.reviewers and (self.reviewer, unit) not in self._review.standing
        ]
        last = {unit: place for place, unit in enumerate(self._skipped, start=2)}
        return sorted(open_, key=lambda unit: (last.get(unit, int(unit in mine)), unit not in begun))

    def _counts(self) -> dict[str, int]:
        """Standing verdicts by pair."""
        counts: dict[str, int] = {}
        for _reviewer, unit in self._review.standing:
            counts[unit] = counts.get(unit, 0) + 1
        return counts

    def _assign(self, unit_id: str, remaining: int, verdict_id: str, *, is_drawn: bool) -> Assignment:
        coin = fraction(f"{self.version.version_id}\nleft\n{self.reviewer}", unit_id)
        left: Left = "A" if coin < 0.5 else "B"
        return Assignment(
            verdict_id=verdict_id,
            unit_id=unit_id,
            left=left,
            design=self.queue.design.text if is_drawn else PICKED,
            probability=self._drawn.get(unit_id) if is_drawn else None,
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


def _share(line: Line) -> Share:
    return Share(line.estimate, line.low, line.high, line.n, line.reason)


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
