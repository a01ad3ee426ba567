"""Agreement with agentevals' trajectory match, whose four modes follow from an alignment; and where it is wrong.

What agentevals 0.0.9 says of 5,000 pairs is kept in `cases/`; `trajectories` says how it was made and can be made again.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.canonical.calls import Canonicaliser
from pipelines.diff.pair.align import Aligner, Alignment, ToolCall
from tests.unit.diff.trajectories import COUNT, MODES, Message, pairs

SAID = Path(__file__).parent / "cases" / "agentevals_0_0_9.txt"


def listed(trajectory: list[Message]) -> list[ToolCall]:
    """A trajectory's calls in order; a message is a block."""
    flat = [(block, *call) for block, message in enumerate(trajectory) for call in message]
    return [ToolCall(place, *call) for place, call in enumerate(flat)]


def derived(alignment: Alignment, *, is_as_long: bool) -> dict[str, bool]:
    """agentevals' modes: A is its reference, B its output. Order inside a message counts for none of them."""
    is_same = [pair.pair_class in ("same", "reordered") for pair in alignment.pairs]
    superset = all(same or pair.a is None for same, pair in zip(is_same, alignment.pairs, strict=True))
    subset = all(same or pair.b is None for same, pair in zip(is_same, alignment.pairs, strict=True))
    in_place = all(pair.a and pair.b and pair.a.block == pair.b.block for pair in alignment.pairs)
    unordered = superset and subset
    return {
        "strict": unordered and in_place and is_as_long,
        "unordered": unordered,
        "superset": superset,
        "subset": subset,
    }


def test_four_modes_agree_on_random_trajectories():
    """On 5,000 random pairs all four modes say what agentevals says; each mode says yes and no often."""
    aligner = Aligner(Canonicaliser())
    said = SAID.read_text(encoding="ascii").split()
    assert len(said) == COUNT
    ours = []
    for reference, output in pairs():
        alignment = aligner.align(listed(reference), listed(output))
        modes = derived(alignment, is_as_long=len(reference) == len(output))
        ours.append("".join(str(int(modes[mode])) for mode in MODES))
    assert ours == said
    for place in range(len(MODES)):
        assert 1_000 < sum(line[place] == "1" for line in said) < COUNT - 1_000


def one(*calls: tuple[str, object]) -> list[ToolCall]:
    return listed([[(name, json.dumps(arguments)) for name, arguments in calls]])


@pytest.mark.parametrize(
    ("reference", "output", "is_same"),
    [
        # agentevals compares Python values, in which True is 1
        (one(("f", {"a": 1})), one(("f", {"a": True})), False),
        (one(("f", {"a": 1})), one(("f", {"a": 1.0})), True),
        # its greedy matcher spends the wide call on the narrow reference, with arguments matched as supersets
        (one(("f", {"a": 1}), ("f", {"a": 1, "b": 2})), one(("f", {"a": 1, "b": 2}), ("f", {"a": 1})), True),
    ],
)
def test_where_agentevals_is_wrong(reference: list[ToolCall], output: list[ToolCall], is_same: bool):
    """true is not 1, 1.0 is 1, and no call is spent on the wrong partner."""
    alignment = Aligner(Canonicaliser()).align(reference, output)
    assert derived(alignment, is_as_long=True)["unordered"] is is_same
