"""Which judged pairs speak for all of them, and how likely each was to be among the judged ones.

A review seldom gets to its end, may go on with another design, and some pairs are opened by hand. What makes that one sample:

- Of a design, reviewers take the drawn pairs in an order of chance, so that those judged so far are drawn with the design's probability
  times the share that was judged.
- A drawn pair that its reviewer judged by hand left the queue before its turn came. It counts as if the turn had come, with that same
  share, by a coin that knows nothing of the verdict; else the interesting pairs would be missing.
- Of several designs a pair is judged unless every one left it: 1 - product of (1 - probability x share judged).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pipelines.verdicts.sampling import Design, Drawable, draw, fraction
from pipelines.verdicts.verdict import PICKED, Verdict


def chances_of(version_id: str, frame: Sequence[Drawable], standing: Iterable[Verdict]) -> dict[str, float]:
    """That a pair is among the judged ones, for each that counts.

    Args:
        version_id: The version.
        frame: Its pairs that can be judged.
        standing: The verdicts that stand.
    """
    units = {pair.unit_id for pair in frame}
    verdicts = [each for each in standing if each.unit_id in units]
    judged: dict[str, set[str]] = {}
    for each in verdicts:
        if each.design != PICKED and each.probability is not None:
            judged.setdefault(each.design, set()).add(each.unit_id)
    drawn = {name: _drawn(version_id, frame, name, verdicts) for name in judged}
    by_hand = [each for each in verdicts if each.design == PICKED]
    taken = {each.unit_id for each in by_hand}
    shares = {name: _share_judged(name, judged, set(drawn[name]), taken) for name in judged}
    counted = set().union(*judged.values()) | {
        each.unit_id
        for each in by_hand
        for name in judged
        if each.unit_id in drawn[name]
        and fraction(f"{version_id}\n{name}\n{each.reviewer}", each.unit_id) < shares[name]
    }
    found = {}
    for unit in counted:
        left = 1.0
        for name in judged:
            left *= 1 - drawn[name].get(unit, 0.0) * shares[name]
        found[unit] = 1 - left
    return {unit: chance for unit, chance in found.items() if chance > 0}


def _drawn(version_id: str, frame: Sequence[Drawable], name: str, verdicts: Iterable[Verdict]) -> dict[str, float]:
    """The pairs that a design draws, with probabilities; as they were recorded where the version's pairs are others by now."""
    design = Design.read(name)
    drawn = {} if design is None else draw(version_id, frame, design)
    recorded = {each.unit_id: each.probability for each in verdicts if each.design == name}
    return drawn | {unit: chance for unit, chance in recorded.items() if chance is not None}


def _share_judged(name: str, judged: Mapping[str, set[str]], drawn: set[str], taken: set[str]) -> float:
    """The share of a design's pairs that was judged in its turn, of those that neither another design nor a hand took away before."""
    others = set().union(*(units for each, units in judged.items() if each != name))
    left = drawn - others - (taken - judged[name])
    return len(judged[name] - others) / len(left) if left else 1.0
