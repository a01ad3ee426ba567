"""Requests: bytes that are sent, hashes that anyone can recompute, prefixes shared."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.experiment.decision import Decision
from pipelines.log.context import request_sha256, tools_sha256
from pipelines.replay.request import Beginnings, Head, Lines

messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": st.text()}),
    max_size=5,
)
tools = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.just("function"),
            # others are not sent; names of other letters are the matter of `test_tool_names.py`
            "function": st.fixed_dictionaries(
                {}, optional={"name": st.from_regex("[A-Za-z0-9_-]{1,64}", fullmatch=True), "description": st.text()}
            ),
        }
    )
)
params = st.dictionaries(
    st.sampled_from(["temperature", "seed", "stop"]),
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
)


@given(messages, tools, params, st.none() | st.text(), st.integers(0, 5))
def test_body_and_hash_are_those_of_the_whole_request(given_messages, given_tools, given_params, model, split):
    """The body parses to model, messages, tools and params; the chained hash is the hash over the whole; a fork is free."""
    head = Head(model, given_params, tuple(given_tools))
    lines = Lines(head)
    lines.add(*given_messages[:split])
    fork = lines.fork()
    fork.add({"role": "user", "content": "elsewhere"})
    for message in given_messages[split:]:
        lines.add(message)
    request = lines.request("u", "candidate", 0, ("s", 1), lambda: (2, {"source": "shop"}))
    lines.add({"role": "user", "content": "later"})
    assert request.decision == Decision("s", 1, 2, tuple(given_messages), head.tools, {"source": "shop"})
    body: dict[str, Any] = {"messages": given_messages, **given_params}
    body |= {"tools": given_tools} if given_tools else {}
    body |= {"model": model} if model is not None else {}
    assert json.loads(request.body()) == body
    hashed = tools_sha256(given_tools) if given_tools else None
    assert request.sha256 == request_sha256(given_messages, model=model, params=given_params, tools_sha256=hashed)
    assert lines.under(head) is lines
    other = request_sha256([*given_messages, {"role": "user", "content": "later"}], model="other")
    assert lines.under(Head("other")).sha256 == other
    forked = [*given_messages[:split], {"role": "user", "content": "elsewhere"}]
    assert fork.sha256 == request_sha256(forked, model=model, params=given_params, tools_sha256=hashed)


@given(
    messages,
    st.lists(st.integers(0, 5), max_size=3),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["m", "n"])), max_size=8),
)
def test_a_beginning_is_the_messages_before_it_in_whatever_order_they_are_asked_for(given_messages, starts, asked):
    """Hash, body and messages are those of lines written for it alone, and what is added to one is in no other."""
    heads = {name: Head(name) for name in ("m", "n")}
    beginnings = Beginnings(given_messages, starts)
    for wanted, name in asked:
        count = min(wanted, len(given_messages))
        alone = Lines(heads[name], ())
        alone.add(*given_messages[:count])
        lines = beginnings.before(count, heads[name])
        for each in (lines, alone):
            each.add({"role": "user", "content": "and?"})
        made, expected = (
            each.request("u", "candidate", 0, ("s", 1), lambda: (2, {"source": "shop"})) for each in (lines, alone)
        )
        assert (made.sha256, made.body()) == (expected.sha256, expected.body())
        assert made.decision == expected.decision
