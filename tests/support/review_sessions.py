"""Simulated review sessions: what is true of every pair is known, a sample is drawn and judged, and its intervals are held to the truth.

A session is a seed: it draws pairs by a design, judges the first so many of a reviewer's order, and sums up as the product does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.verdicts.sampling import Design, Drawable, Kind, draw, fraction
from pipelines.verdicts.summary import ALL, summarise
from pipelines.verdicts.verdict import CHOICES, Choice, Verdict

METRICS = ("net", *CHOICES)


@dataclass(frozen=True, slots=True)
class Held:
    """How often an interval held.

    Attributes:
        metric: The metric.
        truth: What is true of all pairs.
        covered: Share of sessions whose interval held the truth.
        width: Mean width.
        bias: Mean of estimate less truth.
    """

    metric: str
    truth: float
    covered: float
    width: float
    bias: float


def judged(
    unit_id: str, choice: Choice, design: str = "picked", chance: float | None = None, reviewer: str | None = None
) -> Verdict:
    """A verdict as a desk records it."""
    return Verdict(f"{reviewer} {unit_id}", "e", "v", unit_id, reviewer, choice, None, "A", None, design, chance)


def truth_of(truth: Mapping[str, Choice]) -> dict[str, float]:
    """The share of every choice, and the net, of all pairs."""
    shares = {choice: sum(each == choice for each in truth.values()) / len(truth) for choice in CHOICES}
    return {"net": shares["better"] - shares["worse"], **shares}


def session(
    frame: Sequence[Drawable], truth: Mapping[str, Choice], designs: Sequence[Design], judged_pairs: int, seed: int
) -> list[Verdict]:
    """The verdicts of one reviewer, who goes through each design in turn, so many pairs of it."""
    found: dict[str, Verdict] = {}
    for design in designs:
        drawn = draw("v", frame, design)
        order = sorted(drawn, key=lambda unit: fraction(f"{seed}\n{design.text}", unit))
        left = [unit for unit in order if unit not in found][:judged_pairs]
        found |= {unit: judged(unit, truth[unit], design.text, drawn[unit]) for unit in left}
    return list(found.values())


def hold(
    frame: Sequence[Drawable],
    truth: Mapping[str, Choice],
    kinds: Sequence[Kind],
    judged_pairs: int,
    *,
    sessions: int,
    size: int | None = None,
) -> list[Held]:
    """How often intervals held over sessions, by metric; `size` pairs are drawn, by default those that are judged."""
    true = truth_of(truth)
    told: dict[str, list[tuple[bool, float, float]]] = {metric: [] for metric in METRICS}
    for seed in range(sessions):
        designs = [Design(kind, size or judged_pairs, seed) for kind in kinds]
        for line in summarise("v", frame, session(frame, truth, designs, judged_pairs, seed)):
            if line.segment == ALL and line.metric in told:
                assert line.estimate is not None
                assert line.low is not None
                assert line.high is not None
                is_held = line.low - 1e-9 <= true[line.metric] <= line.high + 1e-9
                told[line.metric].append((is_held, line.high - line.low, line.estimate - true[line.metric]))
    return [
        Held(metric, true[metric], *(sum(column) / len(rows) for column in zip(*rows, strict=True)))
        for metric, rows in told.items()
    ]
