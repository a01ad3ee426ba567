"""Which pairs of a version are drawn for review, and how likely each was to be: fixed size, known probabilities, the same every time."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pipelines.errors import BadInputError

Kind = Literal["uniform", "stratified", "changes"]
KINDS: tuple[Kind, ...] = get_args(Kind)
STRATA = ("unit_class", "source", "agent", "vertical", "channel", "task")
"""Columns by which pairs are stratified."""
FLOOR = 0.2
"""Least size of a pair for `changes`, where the largest is 1: nothing is drawn less than a fifth as often as anything else."""
_SCALE = float(2**64)
_TEXT = re.compile(r"(uniform|stratified|changes)(?: by=(\w+))? n=(\d+) seed=(\d+)")


@dataclass(frozen=True, slots=True)
class Design:
    """How pairs are drawn.

    Attributes:
        kind: `uniform`: each alike. `stratified`: by the square roots of the strata's sizes, so that small ones are
            seen too. `changes`: the larger the
            change, the likelier, and none less than a fifth as likely as the likeliest.
        size: Pairs that are drawn; all, where there are no more.
        seed: Another one draws others.
        by: Column of the strata, for `stratified`.
    """

    kind: Kind = "uniform"
    size: int = 200
    seed: int = 0
    by: str | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise BadInputError(f"a sample of {self.size} pairs draws none; give at least 1")
        if self.by is not None and self.by not in STRATA:
            raise BadInputError(f"pairs have no strata {self.by!r}; there are {', '.join(STRATA)}")

    @property
    def text(self) -> str:
        """As events have it."""
        by = f" by={self.by or STRATA[0]}" if self.kind == "stratified" else ""
        return f"{self.kind}{by} n={self.size} seed={self.seed}"

    @classmethod
    def read(cls, text: str) -> Design | None:
        """The design that an event names; None for none that is known, as of a picked pair."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        kind: Kind = next(each for each in KINDS if each == found[1])
        return cls(kind, int(found[3]), int(found[4]), found[2])


@dataclass(frozen=True, slots=True)
class Drawable:
    """A pair that can be drawn: both sides answered.

    Attributes:
        unit_id: The pair.
        size: How much it changed, 0 to 1.
        segments: Value by column of `STRATA`; None where not known.
    """

    unit_id: str
    size: float
    segments: Mapping[str, str | None]


def draw(version_id: str, pairs: Sequence[Drawable], design: Design) -> dict[str, float]:
    """The pairs that a design draws, with the probability that it does; a function of its arguments alone."""
    key = f"{version_id}\n{design.text}"
    order = sorted(pairs, key=lambda pair: fraction(key, pair.unit_id))
    if design.kind == "stratified":
        return _draw_strata(order, design)
    sizes = [1.0 if design.kind == "uniform" else FLOOR + (1 - FLOOR) * pair.size for pair in order]
    chances = inclusion(sizes, design.size)
    taken = _systematic(chances, fraction(key, "start"))
    return {order[at].unit_id: chances[at] for at in taken}


def inclusion(sizes: Sequence[float], n: int) -> list[float]:
    """Probabilities proportional to sizes, none above 1, that sum to `n`, or to all of them."""
    certain: set[int] = set()
    while True:
        left = n - len(certain)
        if left <= 0 or len(certain) == len(sizes):
            return [1.0 if at in certain else 0.0 for at in range(len(sizes))]
        total = sum(size for at, size in enumerate(sizes) if at not in certain)
        over = {at for at, size in enumerate(sizes) if at not in certain and size * left >= total}
        if not over:
            return [1.0 if at in certain else size * left / total for at, size in enumerate(sizes)]
        certain |= over


def fraction(key: str, of: str) -> float:
    """A number of [0, 1) that stands for chance, the same for the same words."""
    return int.from_bytes(hashlib.sha256(f"{key}\n{of}".encode()).digest()[:8], "big") / _SCALE


def _systematic(chances: Sequence[float], start: float) -> list[int]:
    """Places at which the running sum of the probabilities passes start, start + 1 and so on; the order is one of chance already."""
    taken, total, passed = [], 0.0, start
    for at, chance in enumerate(chances):
        total += chance
        if chance >= 1 or total > passed:
            taken.append(at)
            passed += 1
    return taken


def _draw_strata(order: Sequence[Drawable], design: Design) -> dict[str, float]:
    strata: dict[str, list[str]] = {}
    for pair in order:
        strata.setdefault(str(pair.segments.get(design.by or STRATA[0])), []).append(pair.unit_id)
    sizes = allocate({name: len(units) for name, units in strata.items()}, design.size)
    return {unit: sizes[name] / len(units) for name, units in strata.items() for unit in units[: sizes[name]]}


def allocate(strata: Mapping[str, int], n: int) -> dict[str, int]:
    """How many are drawn of each stratum: by the square root of its size, at least two where it has them, and no more than it has."""
    sizes = {name: min(size, 2) for name, size in strata.items()}
    for _ in range(n - sum(sizes.values())):
        short = [name for name, size in strata.items() if sizes[name] < size]
        if not short:
            break
        # the next goes where it is due first, as seats by Sainte-Laguë
        due = max(short, key=lambda name: (math.sqrt(strata[name]) / (2 * sizes[name] + 1), name))
        sizes[due] += 1
    return sizes
