"""The bytes of a message, which every hash of a request is over."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.log.context import Context, message_bytes, message_lines

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
said = st.text() | values
events = st.one_of(
    st.tuples(st.just("conversation.started"), st.fixed_dictionaries({"messages": st.tuples(st.fixed_dictionaries({"content": said}))})),
    st.tuples(st.just("context.supplied"), st.fixed_dictionaries({"content": said}, optional={"role": st.text(max_size=3)})),
    st.tuples(st.just("user.utterance"), st.fixed_dictionaries({"text": said}, optional={"content": said})),
    st.tuples(st.just("agent.utterance"), st.fixed_dictionaries({"text": said}, optional={"content": said})),
    st.tuples(st.just("tool.call"), st.fixed_dictionaries({"call_id": st.none(), "name": said, "arguments": values})),
    st.tuples(st.just("tool.result"), st.fixed_dictionaries({"call_id": st.none(), "output": said, "error": said})),
)  # fmt: skip
shapes = st.sampled_from([("role", "content"), ("content", "role"), ("role", "tool_call_id", "content"), ("role",)])


@settings(max_examples=200, deadline=None)
@given(st.data(), shapes)
def test_a_message_is_compact_json_in_the_order_given(data: st.DataObject, shape: tuple[str, ...]):
    """Whatever the shape, the bytes are those of the standard library's compact JSON, not escaped to ASCII."""
    message: dict[str, Any] = {name: data.draw(st.text() | values) for name in shape}
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    assert message_bytes(message) == text.encode("utf-8", "surrogatepass")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(events, st.sampled_from(["m1", "m2", None])), max_size=6))
def test_a_context_knows_when_its_messages_need_no_second_look(
    told: list[tuple[tuple[str, dict[str, Any]], str | None]],
):
    """Whatever a log says, the lines of a context that calls itself plain are those of its messages, one by one."""
    context = Context()
    for (name, payload), message_id in told:
        context.add(name, payload, message_id, "agent")
    lines = b"".join(message_bytes(message) + b"\n" for message in context.messages)
    assert message_lines(context.messages, is_plain=context.is_plain) == lines
    assert message_lines(context.messages) == lines
