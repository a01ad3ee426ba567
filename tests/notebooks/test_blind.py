"""A blind reviewer is told nothing of which side happened: the same two answers read the same, whichever of them is A."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest

from pipelines.desks.desks import SAYINGS, choice_of, said_of
from pipelines.review.blind import render_blind
from pipelines.review.headline import find_version
from pipelines.review.pair import AlignedCall, ArgumentChange, Pair, load_pair
from pipelines.review.pair_html import render_pair
from tests.support.fragments import HARMLESS, Fragment
from tests.support.small_lake import CHANGED, EXPERIMENT, OTHER_EXPERIMENT

ANSWERED = [row["unit_id"] for row in CHANGED if row["status"] == "ok"]
# What happened on A alone, on B alone, and on both: as the diff writes it, in the order of A's calls, then of B's.
CALLS = (
    AlignedCall("args_changed", "find", "find", '{"b":1,"a":2}', '{"a":3,"c":[],"b":1}', 0, 1, 0.5, (
        ArgumentChange("arg_value", "/a", "2", "3"), ArgumentChange("arg_added", "/c", "null", "[]"),
    )),
    AlignedCall("reordered", "look", "look", "{}", "{}", 1, 0, 1.0, ()),
    AlignedCall("removed", "refund", None, '{"usd":80}', None, 2, None, None, ()),
    AlignedCall("added", None, "escalate", None, '{"to":"desk"}', None, 2, None, ()),
)  # fmt: skip


def exchanged(pair: Pair) -> Pair:
    """The pair that there would be, had B happened and A been tried."""
    words = {"added": "removed", "removed": "added", "text_to_tool": "tool_to_text", "tool_to_text": "text_to_tool"}
    kinds = {"arg_added": "arg_removed", "arg_removed": "arg_added"}
    calls = [
        AlignedCall(
            words.get(call.pair_class, call.pair_class),
            *(call.name_b, call.name_a, call.arguments_b, call.arguments_a, call.position_b, call.position_a),
            call.similarity,
            tuple(
                ArgumentChange(kinds.get(each.kind, each.kind), each.path, each.new, each.old)
                for each in sorted(call.changes, key=lambda each: each.kind != "arg_added")
            ),
        )
        for call in pair.calls
    ]
    calls.sort(key=lambda call: (call.position_a is None, call.position_a or 0, call.position_b or 0))
    return replace(
        pair,
        unit_class=words.get(pair.unit_class or "", pair.unit_class),
        a=pair.b,
        b=pair.a,
        calls=tuple(calls),
        transcript_a=pair.transcript_b,
        transcript_b=pair.transcript_a,
    )


@pytest.fixture(scope="module")
def pairs(small) -> list[Pair]:
    """All pairs that both sides answered, one with calls of every kind, one where only one side calls tools, one of whole conversations."""
    version = find_version(small.lake, EXPERIMENT)
    found = [load_pair(small.lake, version, unit) for unit in ANSWERED]
    known = replace(found[0].a, outcome=True, cost_usd=0.5, latency_ms=812.0, output_tokens=77)
    found.append(replace(found[0], calls=CALLS, unit_class="text_to_tool", a=known))
    return [*found, load_pair(small.lake, find_version(small.lake, OTHER_EXPERIMENT), "s1")]


def test_which_side_happened_cannot_be_told(pairs):
    """What is shown is the same, letter for letter, for the pair and for the one with its sides exchanged: it holds no trace of which is A."""
    for pair in pairs:
        assert render_blind(pair, "A") == render_blind(exchanged(pair), "B")
        assert render_blind(pair, "B") == render_blind(exchanged(pair), "A")


def test_nothing_names_the_sides(pairs):
    """No A, no B, no class of either, nor what only one side can have: an outcome, what it cost, how long it took."""
    for pair, left in product(pairs, "AB"):
        html = render_blind(pair, left)
        shown = Fragment(html)
        assert shown.tags <= HARMLESS | {"mark"}
        assert not shown.tags & {"del", "ins"}
        assert not re.search(r"\b[AB]\b|happened|tried|baseline|candidate|outcome|cost|latency|USD|812", shown.words)
        assert not re.search(r"rf-side-[ab]\b|rf-[ab]\b", html)


def test_left_is_the_side_that_is_said(pairs):
    """The side on the left is the one that was asked for, text and calls alike; nothing of either is lost."""
    for pair in pairs:
        for left, first, second in (("A", pair.a, pair.b), ("B", pair.b, pair.a)):
            words = Fragment(render_blind(pair, left)).words
            before, _, after = words.partition("What the two sides said")[2].partition("Right")
            assert (first.text or "no text") in before
            assert (second.text or "no text") in after
        names = {name for call in pair.calls for name in (call.name_a, call.name_b) if name}
        assert all(name in words for name in names)


def test_the_sides_are_named_where_nobody_is_blind(pairs):
    """A pair that is looked at says which side is which."""
    assert "A: what happened" in Fragment(render_pair(pairs[0])).words


def test_what_is_said_is_a_verdict_on_b_and_back():
    """Left or right, by the side that was there: B is better if it is the better one, on whichever side it was."""
    assert choice_of("left", "A") == choice_of("right", "B") == "worse"
    assert choice_of("left", "B") == choice_of("right", "A") == "better"
    for said, left in product(SAYINGS, "AB"):
        assert said_of(choice_of(said, left), left) == said
