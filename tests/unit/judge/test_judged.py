"""What a judge's choices come to: nothing without people, and corrected by them, what is so."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.verdicts.judged import AGREEMENT, Judgement, sum_up_judge
from pipelines.verdicts.verdict import Verdict


def judgement(choice, probability=1.0):
    return Judgement(choice, True, probability, "m", "uniform n=1 seed=0")


def verdict(unit, choice, reviewer="ada"):
    return Verdict(f"v-{unit}-{reviewer}", "e", "v", unit, reviewer, choice, None, "A", None, "uniform n=1 seed=0", 0.5)


JUDGED = {f"u{n}": judgement(("better", "same", "worse")[n % 3]) for n in range(60)}


def test_no_number_stands_without_people():
    """Nobody, too few, or all of one mind by chance alone: every number of the judge is None, with a reason."""
    assert sum_up_judge({}, {}, {}) == {}
    few = {f"u{n}": [verdict(f"u{n}", "better")] for n in range(4)}
    for verdicts in ({}, few):
        found = sum_up_judge(JUDGED, verdicts, dict.fromkeys(verdicts, 0.5))
        assert set(found) == {
            AGREEMENT,
            "judge_net",
            "judge_better",
            "judge_worse",
            "judge_same",
            "judge_consistent",
            "judge_net_debiased",
        }
        assert {(each.estimate, each.low, each.high) for each in found.values()} == {(None, None, None)}
        assert all(each.reason in ("no_pair_twice", "few_pairs_twice") for each in found.values())


def test_agreement_is_with_the_choice_of_most():
    """Of three people the choice of two; where they differ it is unsure, which no judge says. By hand, of Gwet's formula."""
    verdicts = {f"u{n}": [verdict(f"u{n}", JUDGED[f"u{n}"].choice, who) for who in ("ada", "bob")] for n in range(12)}
    for n in range(3):
        other = "better" if JUDGED[f"u{n}"].choice != "better" else "worse"
        verdicts[f"u{n}"] = [verdict(f"u{n}", other, "ada"), verdict(f"u{n}", JUDGED[f"u{n}"].choice, "bob")]
    found = sum_up_judge(JUDGED, verdicts, dict.fromkeys(verdicts, 0.5))[AGREEMENT]
    agreed = 9 / 12
    # judge: 4, 4, 4 of three choices; people: 3, 3, 3 of them and 3 unsure
    shares = np.array([7, 7, 7, 3]) / 24
    by_chance = float((shares * (1 - shares)).sum() / 3)
    assert found.estimate == pytest.approx((agreed - by_chance) / (1 - by_chance))
    assert found.low < found.estimate < found.high
    assert found.n == 12


def test_a_judge_that_people_correct():
    """It says better of half too often: its own net is off, and the corrected one is the people's, by Hájek's formula by hand."""
    truth = {f"u{n}": "better" if n < 15 else "worse" for n in range(60)}
    judged = {f"u{n}": judgement("better" if n < 40 else "worse") for n in range(60)}
    verdicts = {unit: [verdict(unit, choice)] for unit, choice in truth.items()}
    found = sum_up_judge(judged, verdicts, dict.fromkeys(verdicts, 1.0))
    assert found["judge_net"].estimate == pytest.approx((40 - 20) / 60)
    assert found["judge_net_debiased"].estimate == pytest.approx((15 - 45) / 60)
    some = {unit: each for unit, each in verdicts.items() if int(unit[1:]) % 2 == 0}
    half = sum_up_judge(judged, some, dict.fromkeys(some, 0.5))["judge_net_debiased"]
    errors = [(1 if truth[u] == "better" else -1) - (1 if judged[u].choice == "better" else -1) for u in some]
    assert half.estimate == pytest.approx(20 / 60 + sum(errors) / len(errors))
    assert half.low < -0.5 < half.high


def test_the_corrected_interval_holds():
    """Over 400 drawn reviews of 40 pairs by people, of 400 that a biased judge was asked 200 about: 93 % and more."""
    random = np.random.default_rng(11)
    names = np.array(["better", "worse", "same"])
    truth = random.choice(names, 400, p=(0.35, 0.25, 0.4))
    biased = np.where(random.random(400) < 0.25, "better", truth)
    score = {"better": 1, "worse": -1, "same": 0}
    net = float(np.mean([score[each] for each in truth]))
    holds = misses = 0
    for _ in range(400):
        asked, seen = (random.choice(400, size, replace=False) for size in (200, 80))
        judged = {f"u{n}": judgement(biased[n], 0.5) for n in asked}
        verdicts = {f"u{n}": [verdict(f"u{n}", truth[n])] for n in seen}
        found = sum_up_judge(judged, verdicts, dict.fromkeys(verdicts, 0.2))
        corrected, own = found["judge_net_debiased"], found["judge_net"]
        holds += corrected.low <= net <= corrected.high
        misses += not own.low <= net <= own.high
    assert holds / 400 >= 0.93
    assert misses / 400 > 0.5
