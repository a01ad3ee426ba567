"""How the log's JSON is read for a replay."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.compact_json import read_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_json_is_read_as_the_standard_library_reads_it(value: object):
    """Same values and types, whatever the text's spacing and escapes."""
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, separators=(",", ":"))):
        if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
            continue  # cannot be in the log
        assert repr(read_json(text)) == repr(json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1e400}',
        '{"a": -1e400}',
        '{"a": 18446744073709551616, "b": -9223372036854775809, "c": 123456789012345678901234567890}',
        '{"a": 1.0, "b": 0.000030632, "c": 1E+2, "d": -0, "e": -0.0, "f": 0.1234567890123456789012345}',
        '{"a": 1, "a": 2}',
        '{"a": "\\ud800 \\u0000"}',
        "null",
    ],
)
def test_ugly_json_is_read_alike(text: str):
    """Numbers beyond a double or 64 bits, duplicate keys, lone surrogates: as the standard library has them."""
    assert repr(read_json(text)) == repr(json.loads(text))
