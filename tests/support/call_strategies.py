"""Hypothesis strategies of the diff: JSON values, ugly ones included, and lists of tool calls."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from pipelines.diff.pair.align import ToolCall

keys = st.one_of(
    st.sampled_from(["a", "b", "~", "/", "$int", "$$float", "é", "\ufb33", "\U0001f602", ""]), st.text(max_size=3)
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1e4, 1e4).map(lambda number: round(number, 2)),
    st.text(max_size=6),
    st.sampled_from(
        [" x ", "x ", " x", "a\r\nb", "e\u0301", "NaN", "$", "1e5", "\u202f", "\u0000", 'say "hi"', "\\u00e9"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=8,
)
objects = st.dictionaries(keys, values, max_size=3)


@st.composite
def call_lists(draw: st.DrawFn, max_size: int) -> list[ToolCall]:
    """Lists of calls from a small world, so that equal and similar calls are frequent."""
    size = draw(st.integers(0, max_size))
    calls = []
    block = 0
    for position in range(size):
        name = draw(st.sampled_from("fgh"))
        arguments = draw(
            st.dictionaries(st.sampled_from("abc"), st.sampled_from([1, 2, "paris", "parts", "rome"]), max_size=3)
        )
        text = draw(st.sampled_from([json.dumps(arguments), json.dumps(arguments), '"{broken"', "null"]))
        calls.append(ToolCall(position, block, name, text))
        block += draw(st.integers(0, 1))
    return calls
