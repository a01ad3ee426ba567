"""What answers count, in all the places and by all the names that endpoints have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.experiment.prices import Price
from pipelines.replay.asking.usage import read_usage

PLAIN_PRICE = Price(input_usd=1.0, cached_input_usd=0.1, output_usd=10.0)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}, (10, 5)),
        ({"usage": {"prompt_tokens": 10, "completion_tokens": 5}}, (10, 5)),
        ({"usage": {"input_tokens": 10, "output_tokens": 5}}, (10, 5)),
        ({"usage": {"prompt_tokens": "10", "completion_tokens": 5.0}}, (10, 5)),
        ({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 55}}, (10, 45)),
        ({"usage": {"prompt_tokens": 10, "total_tokens": 55}}, (10, 45)),
        ({"usage": {"completion_tokens": 5, "total_tokens": 15}}, (10, 5)),
        ({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 0}}, (10, 5)),
        (
            {
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 50,
                    "completion_tokens_details": {"reasoning_tokens": 40},
                }
            },
            (10, 50),
        ),
        (
            {
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "completion_tokens_details": {"reasoning_tokens": 40},
                }
            },
            (10, 45),
        ),
        ({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 3}}, (10, 8)),
        ({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 3, "total_tokens": 15}}, (10, 5)),
        ({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 3, "total_tokens": 18}}, (10, 8)),
        (
            {
                "usage": {
                    "input_tokens": 10,
                    "output_tokens": 5,
                    "cache_read_input_tokens": 90,
                    "cache_creation_input_tokens": 7,
                }
            },
            (107, 5),
        ),
        (
            {
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "prompt_cache_hit_tokens": 4,
                    "prompt_cache_miss_tokens": 6,
                }
            },
            (10, 5),
        ),
        (
            {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 90}}},
            (100, 5),
        ),
        ({"usage": [{"prompt_tokens": 10, "completion_tokens": 2}, None, {"completion_tokens": 3}]}, (10, 5)),
        ({"choices": [{"usage": {"prompt_tokens": 10, "completion_tokens": 5}}]}, (10, 5)),
        ({"choices": [{"message": {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}}]}, (10, 5)),
        ({"usage": None, "x_groq": {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}}, (10, 5)),
        (
            {
                "usage": {"prompt_tokens": 1, "completion_tokens": 9},
                "x": {"usage": {"prompt_tokens": 10, "completion_tokens": 5}},
            },
            (10, 9),
        ),
        (
            {
                "usageMetadata": {
                    "promptTokenCount": 10,
                    "candidatesTokenCount": 5,
                    "thoughtsTokenCount": 40,
                    "totalTokenCount": 55,
                }
            },
            (10, 45),
        ),
        ({"usage": {"prompt_tokens": -10, "completion_tokens": 5}}, (None, 5)),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": 5}}, (None, 5)),
        ({"usage": {"prompt_tokens": 10, "completion_tokens": 10**12}}, (10, None)),
        ({"usage": {"prompt_tokens": 10**400, "completion_tokens": float("inf")}}, (None, None)),
        ({"usage": {"prompt_tokens": True, "completion_tokens": "many"}}, (None, None)),
        ({"usage": "much"}, (None, None)),
        ({"usage": None}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_everything_that_is_counted_is_read(document, expected):
    """By whatever name, wherever it stands, beside or inside another count; what cannot be a count is not known."""
    usage = read_usage(document)
    assert (usage.input_tokens, usage.output_tokens) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 1}, (None, None, None)),
        (
            {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}},
            (0, None, None),
        ),
        (
            {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 7},
            (0, 7, None),
        ),
        (
            {
                "input_tokens": 100,
                "output_tokens": 1,
                "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 60},
            },
            (5, 60, None),
        ),
        (
            {
                "input_tokens": 3,
                "output_tokens": 1,
                "cache_read_input_tokens": 90,
                "cache_creation_input_tokens": 7,
                "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 2},
            },
            (90, 7, 2),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 1, "cache_creation_input_tokens": 700, "cached_tokens": -1},
            (None, 700, None),
        ),
    ],
)
def test_what_a_cache_gave_and_took_is_told_or_not_known(usage, expected):
    """Nothing is a count; what is not told is none."""
    read = read_usage({"usage": usage})
    assert (read.cached_tokens, read.written_tokens, read.long_written_tokens) == expected


@given(
    st.tuples(*[st.integers(0, 1_000)] * 4),
    st.tuples(*[st.none() | st.floats(0, 100)] * 3),
    st.sampled_from([1.0, 0.5]),
)
def test_a_call_costs_the_sum_of_its_tokens_at_their_prices(parts, usd, factor):
    """Each token of the request has one price: of those that a cache gave, took, keeps for an hour, or of all others."""
    plain, cached, written, kept = parts
    price = Price(
        input_usd=2.0,
        output_usd=8.0,
        cached_input_usd=usd[0],
        cache_write_usd=usd[1],
        long_cache_write_usd=usd[2],
        batch=factor,
    )
    own = [2.0, usd[0], usd[1], usd[2] if usd[2] is not None else usd[1]]
    each = [2.0 if value is None else value for value in own]
    expected = sum(count * value for count, value in zip(parts, each, strict=True)) + 8.0 * 5
    counts = (plain + cached + written + kept, 5, cached, written + kept, kept)
    assert price.cost(*counts) == pytest.approx(expected / 1e6)
    assert price.in_batch.cost(*counts) == pytest.approx(factor * expected / 1e6)
    if usd[0] is None or usd[0] <= 2.0:  # reading from a cache is never dearer
        assert price.cost(*counts) <= price.most(counts[0], counts[1]) * (1 + 1e-9)
    assert price.most(counts[0], 5) in {
        price.cost(counts[0], 5, 0, *each) for each in ((), (counts[0],), (counts[0],) * 2)
    }


def test_cached_tokens_are_cheaper_and_never_more_than_there_are():
    """Those that were read from a cache, by whatever name; those that were written cost what others do where nothing says more."""
    for usage in (
        {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 90}},
        {"prompt_tokens": 100, "completion_tokens": 1, "cached_tokens": 90},
        {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 7},
        {"prompt_tokens": 100, "completion_tokens": 1, "prompt_cache_hit_tokens": 90, "prompt_cache_miss_tokens": 10},
    ):
        read = read_usage({"usage": usage})
        assert read[:3] == (100, 1, 90)
        assert PLAIN_PRICE.cost(*read[:3]) == pytest.approx((10 + 9 + 10) / 1e6)


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"cost": 0.25}, 0.25),
        ({"cost": {"total_cost": 0.25, "input_tokens_cost": 0.1}}, 0.25),
        ({"estimated_cost": 0.25}, 0.25),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.24}}, 0.25),
        ({"cost": 0.25, "cost_details": {"upstream_inference_cost": 0.2}}, 0.25),
        ({"cost": -1}, None),
        ({"cost": "free"}, None),
        ({"cost": 1e300}, None),
    ],
)
def test_a_price_that_is_told_counts_where_it_is_higher(usage, usd):
    """An endpoint's own sum is never more than is booked; what cannot be a sum is none."""
    read = read_usage({"usage": {"prompt_tokens": 10, "completion_tokens": 5, **usage}})
    assert read.cost_usd == (None if usd is None else pytest.approx(usd))


counts = st.integers(-5, 100) | st.none() | st.text(max_size=3) | st.floats(allow_nan=True) | st.integers(0, 2**80)
shapes = st.dictionaries(
    st.sampled_from(
        ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "reasoning_tokens"]
    ),
    counts,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "usage": shapes | st.lists(shapes, max_size=3),
            "choices": st.lists(st.fixed_dictionaries({"usage": shapes})),
        },
    )
)
def test_no_count_that_is_told_is_larger_than_what_is_read(document):
    """Whatever is told, every plain count of one place is covered, and nothing is negative or beyond what a column holds."""
    read = read_usage(document)
    usage = document.get("usage")
    for name, value in (("prompt_tokens", read.input_tokens), ("completion_tokens", read.output_tokens)):
        told = usage.get(name) if isinstance(usage, dict) else None
        if isinstance(told, int) and 0 < told < 10**9 and value is not None:
            assert value >= told
        assert value is None or 0 <= value < 2**63
