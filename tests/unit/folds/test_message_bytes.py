"""The bytes of a message, which every hash of a request is over."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.folds.context import message_bytes

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
shapes = st.sampled_from([("role", "content"), ("content", "role"), ("role", "tool_call_id", "content"), ("role",)])


@given(st.data(), shapes)
def test_a_message_is_compact_json_in_the_order_given(data: st.DataObject, shape: tuple[str, ...]):
    """Whatever the shape, the bytes are those of the standard library's compact JSON, not escaped to ASCII."""
    message: dict[str, Any] = {name: data.draw(st.text() | values) for name in shape}
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    assert message_bytes(message) == text.encode("utf-8", "surrogatepass")
