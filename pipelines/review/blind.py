"""A pair as a blind reviewer sees it: a left and a right side, and nothing that tells which of them happened.

Beside the names that is what the sides are in order of, what the order of things follows, and what only one side can have:
costs, latency, an outcome. How a side is written is what is judged; it stays.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pipelines.review.pair import AlignedCall, ArgumentChange, Pair
from pipelines.review.pair_html import Sides, render_pair

BLIND = Sides(
    a="the left",
    b="the right",
    title_a="Left",
    title_b="Right",
    column_a="Left",
    column_b="Right",
    mark_a="one",
    mark_b="one",
    is_blind=True,
)
_TURNED = {
    "text_to_tool": "tool_to_text",
    "tool_to_text": "text_to_tool",
    "added": "removed",
    "removed": "added",
    "arg_added": "arg_removed",
    "arg_removed": "arg_added",
}
"""Codes that say which side has something, as they are when the sides change places."""


def render_blind(pair: Pair, left: str) -> str:
    """A pair that both sides answered, with side `left` (A or B) on the left."""
    return render_pair(turn(pair, left), BLIND)


def turn(pair: Pair, left: str) -> Pair:
    """The pair with side `left` in A's place, and its calls in an order that is the same whichever side that is."""
    calls = pair.calls if left == "A" else tuple(map(_turn_call, pair.calls))
    turned = replace(pair, calls=tuple(sorted(map(_in_order, calls), key=_place)))
    if left == "A":
        return turned
    return replace(
        turned,
        unit_class=_TURNED.get(pair.unit_class or "", pair.unit_class),
        a=pair.b,
        b=pair.a,
        transcript_a=pair.transcript_b,
        transcript_b=pair.transcript_a,
    )


def _turn_call(call: AlignedCall) -> AlignedCall:
    return replace(
        call,
        pair_class=_TURNED.get(call.pair_class, call.pair_class),
        name_a=call.name_b,
        name_b=call.name_a,
        arguments_a=call.arguments_b,
        arguments_b=call.arguments_a,
        position_a=call.position_b,
        position_b=call.position_a,
        changes=tuple(
            ArgumentChange(_TURNED.get(each.kind, each.kind), each.path, each.new, each.old) for each in call.changes
        ),
    )


def _in_order(call: AlignedCall) -> AlignedCall:
    return replace(call, changes=tuple(sorted(call.changes, key=lambda each: (each.path, each.kind))))


def _place(call: AlignedCall) -> tuple[float, float]:
    """Where either side makes the call first; of two, the one that the left makes first."""
    left, right = (math.inf if place is None else place for place in (call.position_a, call.position_b))
    return min(left, right), left
