"""What the verdicts of a version come to: shares of all its pairs, of its segments, and how far reviewers agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.verdicts.agreement import gwet_ac1, kappa
from pipelines.verdicts.chances import chances_of
from pipelines.verdicts.estimate import Reason, Share
from pipelines.verdicts.judged import AGREEMENT, Judgement, sum_up_judge
from pipelines.verdicts.sampling import Drawable
from pipelines.verdicts.shares import net_of, share_of
from pipelines.verdicts.verdict import CHOICES, PICKED, Verdict

ALL = "all"
"""Segment and value of the whole, as in `ab_summary`."""
_PLACES = {choice: place for place, choice in enumerate(CHOICES)}


@dataclass(frozen=True, slots=True)
class Line:
    """One number of a review.

    Attributes:
        metric: better, worse, same or unsure: the share of pairs; net: better less worse; agreement_ac1 and agreement_kappa: how far
            reviewers agree beyond chance; judge_agreement_ac1: how far a judge agrees with them, and without it no other judge_… has a
            number: judge_better, judge_worse, judge_same, judge_net, judge_consistent (both orders say the same), judge_net_debiased.
        segment: Segment column, or `all`.
        segment_value: Its value, or `all`.
        estimate: The number; None with a reason.
        low: Lower 95 % bound; None with a reason.
        high: Upper 95 % bound; None likewise.
        n: Judged pairs that it is made of.
        pairs: Pairs that it speaks of: all that both sides answered.
        reviewers: Different people, an unnamed one counted as one.
        design: How the pairs were drawn, designs joined by "; "; None for agreement.
        reason: Code: why a number is missing; None for nothing.
    """

    metric: str
    segment: str
    segment_value: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    pairs: int
    reviewers: int
    design: str | None
    reason: Reason | None


def summarise(
    version_id: str,
    frame: Sequence[Drawable],
    standing: Iterable[Verdict],
    segments: Sequence[str] = (),
    judgements: Mapping[str, Judgement] | None = None,
) -> list[Line]:
    """What the standing verdicts of a version come to, the whole first, then segments in order.

    Args:
        version_id: The version.
        frame: Its pairs that can be judged.
        standing: Its standing verdicts; those on pairs that are not in the frame are in no number.
        segments: Columns of `STRATA` to tell apart.
        judgements: What a judge said, by pair; None or nothing without one.
    """
    values = _values(frame, standing)
    verdicts = [each for given in values.values() for each in given]
    chances = chances_of(version_id, frame, verdicts)
    design = "; ".join(sorted({each.design for each in verdicts if each.design != PICKED and each.unit_id in chances}))
    lines = []
    for segment, value, units in _groups(frame, segments):
        judged = [unit for unit in values if unit in chances and unit in units]
        who = len({each.reviewer for unit in judged for each in values[unit]})
        for metric, share in _shares({unit: values[unit] for unit in judged}, chances).items():
            lines.append(_line(metric, segment, value, share, len(units), who, design or None))
        for metric, share in _agreements({unit: each for unit, each in values.items() if unit in units}).items():
            who = len({each.reviewer for unit in units for each in values.get(unit, ())})
            lines.append(_line(metric, segment, value, share, len(units), who, None))
    return lines + _judge_lines(judgements or {}, values, chances, len(frame))


def _judge_lines(
    judgements: Mapping[str, Judgement],
    values: Mapping[str, Sequence[Verdict]],
    chances: Mapping[str, float],
    pairs: int,
) -> list[Line]:
    who = len({each.reviewer for unit in judgements for each in values.get(unit, ())})
    design = next((each.design for each in judgements.values()), None)
    return [
        _line(metric, ALL, ALL, share, pairs, who, None if metric == AGREEMENT else design)
        for metric, share in sum_up_judge(judgements, values, chances).items()
    ]


def _values(frame: Sequence[Drawable], standing: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Standing verdicts by pair, in the frame's order."""
    values: dict[str, list[Verdict]] = {}
    for each in standing:
        values.setdefault(each.unit_id, []).append(each)
    return {pair.unit_id: values[pair.unit_id] for pair in frame if pair.unit_id in values}


def _groups(frame: Sequence[Drawable], segments: Sequence[str]) -> Iterator[tuple[str, str, set[str]]]:
    yield ALL, ALL, {pair.unit_id for pair in frame}
    for segment in segments:
        found: dict[str, set[str]] = {}
        for pair in frame:
            value = pair.segments.get(segment)
            if value is not None:
                found.setdefault(value, set()).add(pair.unit_id)
        for value in sorted(found):
            yield segment, value, found[value]


def _shares(values: Mapping[str, Sequence[Verdict]], chances: Mapping[str, float]) -> dict[str, Share]:
    drawn = np.array([chances[unit] for unit in values])
    said = {
        choice: np.array([sum(each.choice == choice for each in given) / len(given) for given in values.values()])
        for choice in CHOICES
    }
    net = net_of(said["better"], said["worse"], drawn)
    return {"net": net} | {choice: share_of(each, drawn) for choice, each in said.items()}


def _agreements(values: Mapping[str, Sequence[Verdict]]) -> dict[str, Share]:
    ratings = [{each.reviewer or "": _PLACES[each.choice] for each in given} for given in values.values()]
    return {"agreement_ac1": gwet_ac1(ratings, len(CHOICES)), "agreement_kappa": kappa(ratings, len(CHOICES))}


def _line(metric: str, segment: str, value: str, share: Share, pairs: int, reviewers: int, design: str | None) -> Line:
    return Line(
        metric,
        segment,
        value,
        share.estimate,
        share.low,
        share.high,
        share.n,
        pairs,
        reviewers,
        design,
        share.reason,
    )
