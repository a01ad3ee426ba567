"""What holds for any text: where spans lie, that values prove themselves, that one wrong sign is seen, and that no text is slow to read."""

from __future__ import annotations

import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.detect import DETECTORS, find_spans, shipped_detectors
from tests.acceptance.detectors import HOSTILE
from tests.support import personal_values
from tests.support.labelled import KINDS, digits, iban, luhn

ALL = shipped_detectors("US")
PROVES_ITSELF = 0.9
PIECES = st.one_of(
    st.text(max_size=8),
    st.text("0123456789 -.:/()+", max_size=24),
    st.text('abAB09@.-_:"\\=%', max_size=16),
    st.sampled_from(
        [
            "phone",
            "card ",
            "password=",
            "://",
            "@",
            "\n",
            "ſ",
            "İ",
            "\u202f",
            "\ud800",
            "٣",
            "Bearer ",
            "eyJ",
            "+1 212 555 0123",
            " at ",
            " dot ",
        ]
    ),
    st.builds(
        lambda kind, seed: personal_values.VALUES[kind](Random(seed)).text,
        st.sampled_from(KINDS),
        st.integers(0, 10**6),
    ),
)
TEXTS = st.lists(PIECES, max_size=10).map("".join)


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.sampled_from([None, "phone", "password", "order_id"]))
def test_spans_lie_in_the_text(text, key):
    """Whatever the text, spans are of known classes, not empty, inside it, sorted and apart."""
    end = 0
    for span in find_spans(text, ALL, key):
        assert end <= span.start < span.end <= len(text)
        assert span.kind in DETECTORS
        assert 0 < span.score <= 1
        end = span.end


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_a_value_that_proves_itself_needs_no_surroundings(text):
    """What one detector is sure of, it finds again alone and between two lines, whole and of the same class."""
    for detector in ALL:
        for span in detector.find(text):
            value = text[span.start : span.end]
            if span.score < PROVES_ITSELF:
                continue
            assert (0, len(value), span.kind) in {(each.start, each.end, each.kind) for each in detector.find(value)}
            between = {(each.start, each.end, each.kind) for each in detector.find(f"x\n{value}\ny")}
            assert (2, 2 + len(value), span.kind) in between


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 10**9), st.data())
def test_one_wrong_sign_of_an_account_is_seen(seed, data):
    """ISO 7064 sees every single wrong digit: no account is found when one is replaced."""
    value = iban("DE", digits(Random(seed), 18))
    place = data.draw(st.integers(2, len(value) - 1))
    other = data.draw(st.sampled_from([sign for sign in "0123456789" if sign != value[place]]))
    detector = DETECTORS["iban"](None)
    assert len(list(detector.find(value))) == 1
    assert list(detector.find(value[:place] + other + value[place + 1 :])) == []


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 10**9), st.data())
def test_one_wrong_digit_of_a_card_is_seen(seed, data):
    """Luhn's digit sees every single wrong digit."""
    value = luhn("4" + digits(Random(seed), 15))
    place = data.draw(st.integers(0, 15))
    other = data.draw(st.sampled_from([sign for sign in "0123456789" if sign != value[place]]))
    detector = DETECTORS["card"](None)
    assert len(list(detector.find(value))) == 1
    assert list(detector.find(value[:place] + other + value[place + 1 :])) == []


def steps(text: str) -> int:
    """Calls and lines of Python that the detectors take, which no load changes."""
    count = 0

    def trace(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(trace)
    try:
        find_spans(text, ALL)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("piece", HOSTILE)
def test_twice_the_text_is_at_most_twice_the_work(piece: str):
    """Calls grow with the length, not with its square, for texts made to be slow."""
    text = piece * (6_000 // len(piece))
    once, twice = steps(text), steps(text * 2)
    assert twice <= 2.2 * once + 100
