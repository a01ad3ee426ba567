"""The address of the review page: what widgets choose is read back from it, and what anybody wrote into it does no harm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.review.changes import MOVES, Filter
from pipelines.review.location import Location, chosen

_NAMES = st.lists(st.text(min_size=1), max_size=4, unique=True)


@given(
    _NAMES,
    _NAMES,
    st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted),
    st.booleans(),
    st.sampled_from(MOVES),
)
def test_what_is_chosen_is_read_back(segments, tools, similar, is_all, move):
    """Every choice comes back from the address, whatever is in its names: commas, per cent signs, equal signs."""
    location = Location({})
    values = {"segment": segments, "tool": tools, "similar": similar, "all": is_all, "moved": f"{move}:a:b"}
    for name, value in values.items():
        location.keep(name, value)
    expected = chosen((), segments, tools, similar, f"{move}:a:b", is_all=is_all)
    assert location.wanted.chosen == expected
    assert (expected.metric, expected.move) == ("a:b", move)
    for name in values:
        location.keep(name, None)
    assert location.wanted.chosen == Filter()


@given(st.dictionaries(st.sampled_from(["class", "similar", "moved", "view", "all", "unit", "order"]), st.text()))
def test_any_address_asks_for_something(params):
    """What is no range, no move and no view is left out."""
    wanted = Location(params).wanted
    low, high = wanted.chosen.similarity
    assert 0 <= low <= high <= 1
    assert wanted.view in ("pairs", "judge")
    assert wanted.chosen.move in MOVES


def test_another_version_forgets_the_pair():
    """A pair, and a version, are those of what is above them; a pair that is named alone is judged."""
    params = {"version": "v1", "unit": "s1/1"}
    location = Location(params)
    assert location.wanted.view == "judge"
    location.keep("version", "v2")
    assert params == {"version": "v2"}
    location.keep("experiment", "other")
    assert params == {"experiment": "other"}
