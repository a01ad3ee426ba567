"""Compact JSON by the fast writer is what the standard library writes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.compact_json import ENCODER, NOT_ENCODED, SORTED, compact_encoder, is_written_alike

TEXT = st.text(st.characters(codec="utf-8"))
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(LEAF, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=12)
CONTAINER = st.lists(JSON) | st.dictionaries(TEXT, JSON)


@given(CONTAINER)
@example([1e16, 1e-5, -0.0, 123456789012345.6])
@example({"b": {"z": 1, "é": 2, "a": "\x7f\x1f\u2028\\u0000"}, "a": [0.0001]})
def test_what_is_written_alike_is(value: Any) -> None:
    """Wherever both are said to write the same they do, keys in their own order or sorted."""
    if not is_written_alike(value):
        return
    try:
        fast, ordered = ENCODER.encode(value), SORTED.encode(value)
    except NOT_ENCODED:
        return
    assert fast == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert ordered == json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


@given(CONTAINER)
def test_the_other_writer_is_the_standard_librarys(value: Any) -> None:
    """One encoder for all values writes what `json.dumps` does."""
    assert compact_encoder(allow_nan=True)(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("value", [{"a": 1, "b": "x"}, {"a": [{"b": None}, 0.5]}, [True, 10**18]])
def test_usual_values_are_written_fast(value: Any) -> None:
    """The fast writer is taken for what logs hold."""
    assert is_written_alike(value)


@pytest.mark.parametrize(
    "value", [{1: "x"}, {None: "x"}, {2.5: 1}, {"a": math.nan}, [math.inf], {"a": (1,)}, [b"x"], [1e300]]
)
def test_what_the_two_write_otherwise_is_told(value: Any) -> None:
    """Keys that are no text, what is no JSON, and exponents are the standard library's, which writes or refuses them."""
    assert not is_written_alike(value)
