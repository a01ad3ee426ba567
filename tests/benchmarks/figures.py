"""What a benchmark says: one figure, its peer or limit from the same run, and whether the target holds.

Only the form of figures is here; how they are measured is in `rounds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Target:
    """A goal to beat.

    Attributes:
        bound: Whether the value must be at least or at most this.
        value: The bound.
        of: What is bounded: the ratio to the peer, or the figure itself.
    """

    bound: Literal["at least", "at most"]
    value: float
    of: Literal["ratio", "figure"] = "ratio"

    def holds(self, value: float) -> bool:
        """Whether `value` (the ratio or the figure, as `of` says) is on the good side."""
        return value >= self.value if self.bound == "at least" else value <= self.value

    def __str__(self) -> str:
        sign = "≥" if self.bound == "at least" else "≤"
        return f"{sign} {_number(self.value)}{' ×' if self.of == 'ratio' else ''}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        name: `benchmark: what is measured`.
        unit: Unit of `this` and `peer`.
        this: This program's number.
        peer_name: What it is compared with; None for a number without a peer.
        peer: The peer's or limit's number from the same run.
        ratio: Median over the rounds of this number by the peer's.
        target: The goal; None for a number that is only shown.
    """

    name: str
    unit: str
    this: float
    peer_name: str | None = None
    peer: float | None = None
    ratio: float | None = None
    target: Target | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the target holds; None without a target."""
        if self.target is None:
            return None
        value = self.ratio if self.target.of == "ratio" else self.this
        assert value is not None
        return self.target.holds(value)

    def to_json(self) -> dict[str, Any]:
        """The figure as JSON values, `holds` included."""
        return {
            "name": self.name,
            "unit": self.unit,
            "this": self.this,
            "peer_name": self.peer_name,
            "peer": self.peer,
            "ratio": self.ratio,
            "target": None if self.target is None else str(self.target),
            "holds": self.holds,
        }


COLUMNS = ("name", "this", "peer", "ratio", "target", "holds")


def table_rows(figures: Iterable[Figure]) -> list[tuple[str, ...]]:
    """The figures as texts, one row each, under `COLUMNS`."""
    return [
        (
            figure.name,
            f"{_number(figure.this)} {figure.unit}",
            "" if figure.peer is None else f"{_number(figure.peer)} {figure.unit} ({figure.peer_name})",
            "" if figure.ratio is None else f"{_number(figure.ratio)} ×",
            "" if figure.target is None else str(figure.target),
            {True: "yes", False: "no", None: ""}[figure.holds],
        )
        for figure in figures
    ]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The rows as a Markdown table, as `docs/benchmarks.md` keeps it."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(figures: Sequence[Figure]) -> Mapping[str, int]:
    """How many targets hold, are missed, and how many figures have none."""
    answers = [figure.holds for figure in figures]
    return {"held": answers.count(True), "missed": answers.count(False), "without_target": answers.count(None)}


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.0001 else f"{value:.1e}"
