"""The key of a paid answer: equal for what no model can tell apart, different for everything else."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.log.context import request_sha256
from pipelines.replay.key import finish_key, key_head, key_lines
from pipelines.replay.request import Beginnings, Head, Lines, Request

CUSTOM = {"type": "custom", "custom": {"name": "run"}}
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


def request_of(messages: list[dict[str, Any]], head: Head, draw: int = 0) -> Request:
    lines = Lines(head)
    lines.add(*messages)
    return lines.request("u", "candidate", draw, ("s", 1), lambda: (1, {}))


def calling(arguments: str, name: str = "f") -> dict[str, Any]:
    call = {"id": "call_0_0", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def shuffled(value: Any) -> Any:
    """The same JSON value with the names of its objects in another order."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    return [shuffled(each) for each in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=3), values, max_size=4))
def test_arguments_are_values(arguments):
    """Order of names, blanks and escapes of the text in which a model wrote its arguments make no other key."""
    spellings = [
        json.dumps(arguments),
        json.dumps(shuffled(arguments), indent=1),
        json.dumps(arguments, ensure_ascii=False, separators=(",", ":")),
    ]
    keys = {request_of([calling(each)], Head("m")).key for each in spellings}
    assert len(keys) == 1
    assert len({request_of([calling(each)], Head("m")).sha256 for each in {*spellings}}) == len({*spellings})


SAME = [
    ([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], [{"role": "user", "content": "Hi"}]),
    ([{"content": "Hi", "role": "user"}], [{"role": "user", "content": "Hi"}]),
    ([calling("")], [calling("{}")]),
    ([calling('{"a": 1.0}')], [calling('{"a": 1}')]),
    ([{"role": "assistant", "content": None}], [{"role": "assistant", "content": ""}]),
]
OTHER = [
    ([calling('{"a": "1"}')], [calling('{"a": 1}')]),
    ([calling('{"a": 1}')], [calling('"{\\"a\\": 1}"')]),
    ([calling('{"a": 1, "a": 2}')], [calling('{"a": 2}')]),
    ([calling('{"a": 1}', "run")], [calling('{"a":1}', "run")]),
    ([{"role": "user", "content": "Hi"}], [{"role": "system", "content": "Hi"}]),
    ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], [{"role": "user", "content": "ab"}]),
    ([{"role": "user", "content": [{"type": "text", "text": "Hi", "cache": 1}]}], [{"role": "user", "content": "Hi"}]),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_that_no_model_can_tell_apart_have_one_key(one, other):
    """A list of one text part is its text, no arguments are empty ones, names have no order."""
    head = Head("m", {}, (CUSTOM,))
    assert request_of(one, head).key == request_of(other, head).key


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_what_makes_a_difference_has_another_key(one, other):
    """Also text that looks like the value of another, and free text that looks like JSON."""
    head = Head("m", {}, (CUSTOM,))
    assert request_of(one, head).key != request_of(other, head).key


def test_wire_model_parameters_tools_and_draw_are_in_the_key():
    """Parameters as given: an empty list, null and a default that is written out are other requests."""
    heads = [
        Head("m"),
        Head("n"),
        Head("m", {"temperature": 1}),
        Head("m", {"temperature": None}),
        Head("m", {"stop": []}),
        Head("m", {}, (CUSTOM,)),
    ]
    messages = [{"role": "user", "content": "Hi"}]
    keys = [request_of(messages, head, draw).key for head in heads for draw in (0, 1, 10)]
    keys += [
        finish_key(hashlib.sha256(key_head(api, "m", {}, None) + key_lines(messages)), 0)
        for api in ("responses", "messages")
    ]
    assert len(set(keys)) == len(keys)
    assert request_of(messages, Head("m", {"temperature": 1.0})).key == request_of(messages, heads[2]).key


@given(
    st.lists(st.sampled_from([one for pair in SAME for side in pair for one in side]), max_size=6), st.integers(0, 6)
)
def test_a_key_is_the_same_however_the_messages_were_put_together(messages, split):
    """Grown, forked, under another head, or begun in the middle: the key of the whole, and `request_sha256` beside it."""
    head = Head("m", {"seed": 1})
    whole = request_of(messages, head, 3)
    lines = Lines(head)
    lines.add(*messages[:split])
    fork = lines.fork()
    fork.add(*messages[split:])
    begun = Beginnings(messages, [split]).before(len(messages), head)
    other = Lines(Head("n"), messages, [])
    expected = finish_key(hashlib.sha256(head.key_line + key_lines(messages)), 3)
    for each in (fork, begun, other.under(head)):
        made = each.request("u", "candidate", 3, ("s", 1), lambda: (1, {}))
        assert made.key == whole.key == expected
    assert whole.sha256 == request_sha256(messages, model="m", params={"seed": 1})
