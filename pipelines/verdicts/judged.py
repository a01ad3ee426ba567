"""What the choices of a model come to beside the verdicts of people: nothing, as long as nobody says how far the two agree.

The judge's sample speaks of all pairs as any sample does. `judge_agreement_ac1` is Gwet's AC1 between the judge and the people, over the
pairs that both judged; of several people the choice that most made, and unsure where none did. As long as it has no interval, no
number of the judge is given. `judge_net_debiased` is the prediction-powered estimate (Angelopoulos et al. 2023): the judge's net over its
sample, less its mean error over the pairs that people drew and judged, each weighed by the inverse of its chance to be in both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.diff.versions import Version
from pipelines.lake.datasets import JUDGEMENTS
from pipelines.lake.lake import Lake
from pipelines.verdicts.agreement import gwet_ac1
from pipelines.verdicts.estimate import Share
from pipelines.verdicts.shares import net_of, share_of
from pipelines.verdicts.verdict import CHOICES, Choice, Verdict

AGREEMENT = "judge_agreement_ac1"
_SCORES: Mapping[str, float] = {"better": 1.0, "worse": -1.0, "same": 0.0, "unsure": 0.0}
_PLACES = {choice: place for place, choice in enumerate(CHOICES)}
_READ = """
SELECT unit_id, choice, choice_a_first = choice_b_first AS is_consistent, probability, model, design
FROM judgements
WHERE experiment = $experiment AND version_id = $version_id AND choice IS NOT NULL
ORDER BY unit_id
"""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of one pair.

    Attributes:
        choice: Of B beside A, of both orders together.
        is_consistent: Whether both orders said the same.
        probability: That its design draws the pair.
        model: Who was asked.
        design: How the pairs were drawn.
    """

    choice: Choice
    is_consistent: bool
    probability: float
    model: str
    design: str


def load_judgements(lake: Lake, version: Version) -> dict[str, Judgement]:
    """What the judge said of a version's pairs, by pair; of pairs without a choice nothing."""
    if lake.last_commit(JUDGEMENTS.name, version.partition) is None:
        return {}
    with lake.connect(_READ) as connection:
        return {unit: Judgement(*values) for unit, *values in connection.execute(_READ, version.partition).fetchall()}


def sum_up_judge(
    judgements: Mapping[str, Judgement], verdicts: Mapping[str, Sequence[Verdict]], chances: Mapping[str, float]
) -> dict[str, Share]:
    """The judge's numbers by metric; all without a number where its agreement with people has no interval.

    Args:
        judgements: What it said, by pair.
        verdicts: What people said, by pair.
        chances: That a pair is among those that people drew and judged, for those that count.
    """
    if not judgements:
        return {}
    people = {unit: _of_most(verdicts[unit]) for unit in judgements if verdicts.get(unit)}
    ratings = [{"people": _PLACES[people[unit]], "judge": _PLACES[judgements[unit].choice]} for unit in people]
    agreement = gwet_ac1(ratings, len(CHOICES))
    found = _shares(judgements)
    debiased = _debiased(judgements, verdicts, chances, found["judge_net"])
    found |= {"judge_net_debiased": debiased}
    if agreement.low is None or agreement.high is None:
        agreement = replace(agreement, estimate=None, low=None, high=None)
        found = {
            name: Share(None, None, None, each.n, agreement.reason or "no_verdicts") for name, each in found.items()
        }
    return {AGREEMENT: agreement, **found}


def _of_most(verdicts: Sequence[Verdict]) -> Choice:
    (first, count), *others = Counter(each.choice for each in verdicts).most_common(2)
    return "unsure" if others and others[0][1] == count else first


def _shares(judgements: Mapping[str, Judgement]) -> dict[str, Share]:
    chances = np.array([each.probability for each in judgements.values()])
    choices = [each.choice for each in judgements.values()]
    said = {name: np.array([choice == name for choice in choices], dtype=float) for name in ("better", "worse", "same")}
    consistent = np.array([each.is_consistent for each in judgements.values()], dtype=float)
    return {
        "judge_net": net_of(said["better"], said["worse"], chances),
        **{f"judge_{name}": share_of(each, chances) for name, each in said.items()},
        "judge_consistent": share_of(consistent, chances),
    }


def _debiased(
    judgements: Mapping[str, Judgement],
    verdicts: Mapping[str, Sequence[Verdict]],
    chances: Mapping[str, float],
    judged: Share,
) -> Share:
    """The judge's net less its mean error, with bounds of both."""
    both = [unit for unit in judgements if unit in chances and verdicts.get(unit)]
    drawn = np.array([chances[unit] * judgements[unit].probability for unit in both])
    errors = np.array([_score(verdicts[unit]) - _SCORES[judgements[unit].choice] for unit in both])
    half = net_of(np.clip(errors, 0, None) / 2, np.clip(-errors, 0, None) / 2, drawn)
    if judged.estimate is None or half.estimate is None:
        return Share(None, None, None, len(both), half.reason or judged.reason)
    estimate = judged.estimate + 2 * half.estimate
    bounds = (judged.low, judged.high, half.low, half.high)
    if judged.low is None or judged.high is None or half.low is None or half.high is None:
        return Share(estimate, None, None, len(both), half.reason or judged.reason)
    low, high, half_low, half_high = (bound for bound in bounds if bound is not None)
    down = math.hypot(judged.estimate - low, 2 * (half.estimate - half_low))
    up = math.hypot(high - judged.estimate, 2 * (half_high - half.estimate))
    return Share(estimate, max(-1.0, estimate - down), min(1.0, estimate + up), len(both))


def _score(verdicts: Sequence[Verdict]) -> float:
    return sum(_SCORES[each.choice] for each in verdicts) / len(verdicts)
