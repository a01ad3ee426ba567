"""How the spans of several detectors become one list, and what a text in one spelling is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.detect import DETECTORS, Span, find_spans, named_detector, shipped_detectors
from pipelines.detect.plain import plain
from pipelines.errors import BadInputError
from pipelines.settings import Settings

TEXT = "abcdefghij"
SPANS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 10), st.sampled_from(["email", "card", "phone"]), st.floats(0.1, 1))
    .filter(lambda each: each[0] < each[1])
    .map(lambda each: Span(*each)),
    max_size=12,
)


class Fixed:
    """Finds what it was given."""

    name = "fixed"

    def __init__(self, spans: list[Span]):
        self.spans = spans

    def find(self, text: str, key: str | None = None) -> Iterator[Span]:
        yield from self.spans


@given(SPANS, SPANS)
def test_the_list_covers_what_was_found_and_nothing_else(one, two):
    """Sorted, without overlaps, covering exactly the code points of all spans; class and score are of the surest that is inside."""
    found = find_spans(TEXT, [Fixed(one), Fixed(two)])
    covered = [place for span in found for place in range(span.start, span.end)]
    assert covered == sorted({place for span in one + two for place in range(span.start, span.end)})
    for span in found:
        inside = [each for each in one + two if span.start <= each.start and each.end <= span.end]
        assert max(each.score for each in inside) == span.score
        assert span.kind in {each.kind for each in inside if each.score == span.score}


@given(st.text())
def test_one_spelling_keeps_every_place(text):
    """As long as the text, digits of every script as ASCII, and a fixed point."""
    line = plain(text)
    assert len(line) == len(text)
    assert plain(line) == line
    for before, after in zip(text, line, strict=True):
        if unicodedata.category(before) == "Nd":
            assert after == str(unicodedata.digit(before))


def test_each_is_called_as_it_is_listed():
    """A detector's name is the one it is chosen by."""
    assert {name: make(None).name for name, make in DETECTORS.items()} == {name: name for name in DETECTORS}
    assert [each.name for each in shipped_detectors(None)] == list(DETECTORS)


def test_a_name_that_is_none_is_refused():
    """With those that there are; each of them is made by its name."""
    assert [named_detector(name, "US").name for name in DETECTORS] == list(DETECTORS)
    with pytest.raises(
        BadInputError,
        match="'nonsense': there is none; there are email, iban, card, network, phone, secret, and presidio",
    ):
        named_detector("nonsense", None)


def test_the_region_is_a_setting():
    """Two letters, in any case; anything else is refused with its value."""
    assert Settings.from_env({"REFOLD_REGION": "de"}).region == "DE"
    assert Settings.from_env({}).region is None
    with pytest.raises(BadInputError, match="REFOLD_REGION is 'Germany'"):
        Settings.from_env({"REFOLD_REGION": "Germany"})
