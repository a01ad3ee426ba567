"""The words of a review: a verdict, a pair to judge, and what can be wrong with either."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from pipelines.errors import BadInputError

Choice = Literal["better", "worse", "same", "unsure"]
"""Of B beside A, whatever was shown where."""
CHOICES: tuple[Choice, ...] = get_args(Choice)
Left = Literal["A", "B"]
"""The side that is shown on the left, or first."""
MAX_REASON = 4_000
"""Characters of a reason."""
MAX_REVIEWER = 200
"""Characters of a reviewer's name."""
PICKED = "picked"
"""The design of a pair that was opened by hand and is in no estimate."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verdict, as it was recorded.

    Attributes:
        verdict_id: Names it; sent again, it is the same one.
        experiment: Name.
        version_id: The version whose pair it is of.
        unit_id: The pair.
        reviewer: Who; None where nobody was named.
        choice: Of B beside A.
        reason: Why, in the reviewer's words; None for nothing.
        left: The side that was shown on the left.
        seconds: From when the pair was shown to the verdict; None when not measured.
        design: How the pair was drawn, as `Design.text` has it; `PICKED` where it was not.
        probability: That the design draws this pair; None for one that was picked: it is in no estimate.
        recorded_at: When the store took it, UTC; None before it did.
    """

    verdict_id: str
    experiment: str
    version_id: str
    unit_id: str
    reviewer: str | None
    choice: Choice
    reason: str | None
    left: Left
    seconds: float | None
    design: str
    probability: float | None
    recorded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """A pair that somebody is to judge. Give it back to `Desk.record` as it is: a retry with the same one records nothing twice.

    Attributes:
        verdict_id: What the verdict will be called.
        unit_id: The pair.
        left: The side to show on the left: the same for this reviewer and pair whenever it is shown.
        design: How it was drawn; `PICKED` when it was opened by its URL and is in no sample.
        probability: That the design draws it; None for a picked one.
        place: Its place among the reviewer's pairs, from 1; None for one that is not in the sample.
        remaining: Pairs of the sample that this reviewer could still judge, this one among them.
        standing: The reviewer's standing verdict on it; None when there is none. To give another, undo it first.
    """

    verdict_id: str
    unit_id: str
    left: Left
    design: str
    probability: float | None
    place: int | None
    remaining: int
    standing: Verdict | None = None


class AlreadyJudgedError(BadInputError):
    """The reviewer's verdict on this pair stands already, from another tab or an earlier session; nothing was recorded.

    Attributes:
        standing: The verdict that stands; None where the one sent again was withdrawn.
    """

    def __init__(self, message: str, standing: Verdict | None) -> None:
        super().__init__(message)
        self.standing = standing


def read_reviewer(name: str | None) -> str | None:
    """A reviewer's name as it is recorded, without blanks around it; None for nobody named.

    Raises:
        BadInputError: It is no line of text of `MAX_REVIEWER` characters or less.
    """
    if name is None:
        return None
    told = name.strip()
    if not told or len(told) > MAX_REVIEWER or not told.isprintable():
        raise BadInputError(
            f"the reviewer's name is {name[:50]!r}; give a name of one line, of {MAX_REVIEWER} characters at most"
        )
    return told


def read_reason(reason: str | None) -> str | None:
    """A reason as it is recorded, without blanks around it; None for nothing.

    Raises:
        BadInputError: It is longer than `MAX_REASON`, or no text that can be kept.
    """
    told = (reason or "").strip()
    if len(told) > MAX_REASON:
        raise BadInputError(f"the reason has {len(told):,} characters; {MAX_REASON:,} are the most")
    if "\x00" in told or any("\ud800" <= each <= "\udfff" for each in told):
        raise BadInputError(f"the reason is no text that can be kept: {told[:100]!r}")
    return told or None
