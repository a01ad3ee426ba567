"""Recall and precision, as `tests/acceptance/detectors.py` measures them at full size: fewer values, by the same code."""

from __future__ import annotations

import pytest

from pipelines.detect import Span
from tests.acceptance.detectors import EMBEDDED, GENERATORS, PRECISION, RECALL, Tally, measure, recorded_messages, score
from tests.support.labelled import KINDS, Planted, Sample

COUNT = 250


def holds(tallies: dict[str, Tally]) -> None:
    """All bounds; near-misses outnumber values."""
    for kind, tally in tallies.items():
        if not tally.near_misses:
            continue
        assert tally.near_misses == 2 * tally.values
        if kind in RECALL:
            assert tally.recall >= RECALL[kind], (kind, tally.misses[:5])
            assert tally.precision >= PRECISION[kind], (kind, tally.misses[:5])


@pytest.mark.parametrize("name", GENERATORS)
def test_what_is_planted_is_found(name: str):
    """In messages of our own, for each generator: recall and precision of each class are at least what is promised."""
    holds(measure(GENERATORS[name], EMBEDDED, COUNT, seed=3))


@pytest.mark.parametrize("name", GENERATORS)
def test_what_is_planted_in_recorded_messages_is_found(name: str, shared_data):
    """The same in the recorded messages of real conversations."""
    messages = recorded_messages(shared_data / "conversations.jsonl.gz")
    assert len(messages) > 30_000
    holds(measure(GENERATORS[name], messages, COUNT, seed=4))


def test_the_measure_sees_what_is_wrong():
    """A value missed by one sign is neither found nor right, and a span on a near-miss counts against the class of the span."""
    tallies = {kind: Tally() for kind in KINDS}
    value = Planted("to a@b.example now", ((3, 14, "email"),), 0, 18, Sample("", (), "email"))
    score(value, [Span(3, 14, "email", 1)], tallies)
    score(value, [Span(3, 13, "email", 1)], tallies)
    score(Planted("order 7", (), 0, 7, Sample("", (), "card")), [Span(6, 7, "phone", 1)], tallies)
    assert (tallies["email"].recall, tallies["email"].precision) == (0.5, 0.5)
    assert (tallies["phone"].wrong, tallies["card"].wrong, tallies["card"].near_misses) == (1, 0, 1)
