"""Pairs are drawn with the probabilities that are told, by every design, always the same; and what is judged speaks for all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.verdicts.chances import chances_of
from pipelines.verdicts.sampling import FLOOR, Design, Drawable, Kind, allocate, draw, fraction, inclusion
from pipelines.verdicts.shares import net_of, share_of
from pipelines.verdicts.summary import summarise
from pipelines.verdicts.verdict import Choice
from tests.support.review_sessions import hold, judged, session


def made(pairs: int) -> list[Drawable]:
    """A version's pairs: a third unchanged, classes of very different sizes."""
    classes = ["same_calls"] * 7 + ["args_only"] * 2 + ["set_changed"]
    return [
        Drawable(
            f"unit {n}",
            0.0 if n % 3 == 0 else fraction("size", str(n)),
            {"unit_class": classes[n % 10], "source": f"source {n % 2}"},
        )
        for n in range(pairs)
    ]


FRAME = made(120)
TRUTH: dict[str, Choice] = {
    pair.unit_id: "same" if pair.size < 0.5 else "worse" if fraction("t", pair.unit_id) < 0.5 else "better"
    for pair in FRAME
}


@pytest.mark.parametrize("kind", ["uniform", "stratified", "changes"])
@pytest.mark.parametrize("n", [1, 7, 40, 500])
def test_a_pair_is_drawn_as_often_as_its_probability_says(kind: Kind, n: int):
    """Over many seeds; a sample has as many pairs as were asked for, and is the same for the same seed."""
    sessions = 400
    drawn = [draw("v", FRAME, Design(kind, n, seed)) for seed in range(sessions)]
    assert drawn[3] == draw("v", list(reversed(FRAME)), Design(kind, n, 3))
    least = 6 if kind == "stratified" else 1  # two of each of three classes
    assert {len(each) for each in drawn} == {min(max(n, least), len(FRAME))}
    for pair in FRAME[:30]:
        chances = {round(each[pair.unit_id], 9) for each in drawn if pair.unit_id in each}
        assert len(chances) <= 1
        chance = chances.pop() if chances else 0.0
        share = sum(pair.unit_id in each for each in drawn) / sessions
        assert share == pytest.approx(
            chance, abs=5 * (chance * (1 - chance) / sessions) ** 0.5 + (0.03 if not chances else 0)
        )
    if kind == "changes" and n == 7:
        rates = [chance for each in drawn for chance in each.values()]
        assert max(rates) <= min(rates) / FLOOR + 1e-9


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=40), st.integers(1, 50))
def test_inclusion_probabilities_sum_to_the_sample(sizes: list[float], n: int):
    """None above 1, in the order of sizes, and their sum is the number drawn."""
    chances = inclusion(sizes, n)
    assert sum(chances) == pytest.approx(min(n, len(sizes)))
    assert all(0 < chance <= 1 for chance in chances)
    assert sorted(chances) == pytest.approx([chance for _, chance in sorted(zip(sizes, chances, strict=True))])


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 500), min_size=1, max_size=8), st.integers(1, 400))
def test_strata_are_given_what_they_have(strata: dict[str, int], n: int):
    """At least two of each where it has them, no more than it has, and all of the sample is given out."""
    sizes = allocate(strata, n)
    assert all(min(2, strata[name]) <= size <= strata[name] for name, size in sizes.items())
    assert sum(sizes.values()) == min(sum(strata.values()), max(n, sum(min(2, size) for size in strata.values())))


def test_a_design_is_read_as_it_is_written():
    """Each of them, and nothing else."""
    for design in (Design(), Design("stratified", 9, 3, "agent"), Design("changes", 1, 2)):
        assert Design.read(design.text) == design
    assert Design.read("stratified by=unit_class n=5 seed=0") == Design("stratified", 5, 0, "unit_class")
    assert Design.read("picked") is None
    for wrong in ({"size": 0}, {"by": "nothing"}):
        with pytest.raises(BadInputError):
            Design(**wrong)


@pytest.mark.parametrize(
    ("kinds", "n", "size"),
    [(("uniform",), 30, 30), (("changes",), 30, 60), (("stratified",), 30, 30), (("uniform", "changes"), 15, 30)],
)
def test_the_nets_interval_holds(kinds: tuple[Kind, ...], n: int, size: int):
    """Short form of `tests/acceptance/review_sampling.py`: 300 sessions, with twice the error of so few; no bias to speak of."""
    held = {each.metric: each for each in hold(FRAME, TRUTH, kinds, n, sessions=300, size=size)}
    assert 0.93 - 0.03 <= held["net"].covered <= 0.97 + 0.02
    assert all(each.covered >= 0.9 for each in held.values())
    assert all(abs(each.bias) < 0.02 for each in held.values())


def test_all_pairs_judged_leave_nothing_uncertain():
    """Of all pairs the interval is the truth itself, by every design."""
    for kind in ("uniform", "stratified", "changes"):
        design = Design(kind, len(FRAME))
        for line in summarise("v", FRAME, session(FRAME, TRUTH, [design], len(FRAME), 0)):
            if line.metric in ("better", "worse", "same", "net"):
                assert line.low == pytest.approx(line.estimate)
                assert line.high == pytest.approx(line.estimate)


def test_a_pair_that_was_picked_counts_only_where_its_turn_would_have_come():
    """By hand outside of the sample: in no number. In it: with the share that was judged, so that the picked ones are not missing."""
    design = Design("uniform", 60, 1)
    drawn = draw("v", FRAME, design)
    outside = next(pair.unit_id for pair in FRAME if pair.unit_id not in drawn)
    alone = summarise("v", FRAME, [judged(outside, "worse")])
    assert {line.reason for line in alone[:5]} == {"no_verdicts"}
    picked = [judged(unit, "worse", reviewer="ada") for unit in list(drawn)[:30]]
    queued = [judged(unit, "same", design.text, drawn[unit], "ada") for unit in list(drawn)[30:45]]
    chances = chances_of("v", FRAME, [*picked, *queued])
    assert {each.unit_id for each in queued} < set(chances)
    assert len(set(chances) - {each.unit_id for each in queued}) == pytest.approx(30 * 15 / 30, abs=6)
    assert {round(chance, 9) for chance in chances.values()} == {60 / 120 * 15 / 30}


def test_few_verdicts_have_no_bounds_and_several_reviewers_are_one_value():
    """Fewer than five pairs: an estimate with a reason. Two reviewers who differ are half a choice each."""
    design = Design("uniform", 20)
    drawn = draw("v", FRAME, design)
    few = summarise(
        "v", FRAME, [judged(unit, "worse", design.text, drawn[unit]) for unit in list(drawn)[:4]], ["source"]
    )
    net = few[0]
    assert (net.metric, net.estimate, net.low, net.reason, net.n, net.pairs) == (
        "net",
        -1.0,
        None,
        "few_verdicts",
        4,
        120,
    )
    assert [(line.segment_value, line.pairs) for line in few if line.metric == "net"] == [
        ("all", 120),
        ("source 0", 60),
        ("source 1", 60),
    ]
    two = [
        judged(unit, said, design.text, drawn[unit], name)
        for unit in drawn
        for name, said in (("a", "worse"), ("b", "same"))
    ]
    lines = {line.metric: line for line in summarise("v", FRAME, two)}
    assert (lines["worse"].estimate, lines["net"].estimate, lines["worse"].reviewers) == (0.5, -0.5, 2)
    assert lines["agreement_ac1"].estimate < 0


@given(st.lists(st.tuples(st.sampled_from(["better", "worse", "same"]), st.floats(0.05, 1.0)), min_size=5, max_size=60))
def test_bounds_are_around_the_estimate(said: list[tuple[str, float]]):
    """Whatever was said and however likely pairs were: inside of what is possible, estimate inside of bounds."""
    chances = np.array([chance for _, chance in said])
    values = [np.array([float(each == choice) for each, _ in said]) for choice in ("better", "worse")]
    better, worse = (share_of(each, chances) for each in values)
    net = net_of(*values, chances)
    for found, least in ((better, 0), (worse, 0), (net, -1)):
        assert found.reason is None
        assert least - 1e-9 <= found.low <= found.estimate + 1e-9 <= found.high + 2e-9 <= 1 + 3e-9
