"""The one class of a decision or conversation, and its counts, from the alignment of its tool calls.

A class names what changed, never whether that is good. Text is judged in `text`, rates over many units in the
statistics package: what is kept here are counts, which SQL can add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pipelines.diff.pair.align import Alignment, CallPair, PairClass

UnitClass = Literal[
    "error",
    "unparseable",
    "text_to_tool",
    "tool_to_text",
    "same_calls",
    "reordered_only",
    "args_only",
    "set_changed",
]


_ALLOWED: Mapping[UnitClass, frozenset[PairClass]] = {
    "same_calls": frozenset({"same"}),
    "reordered_only": frozenset({"same", "reordered"}),
    "args_only": frozenset({"same", "reordered", "args_changed"}),
}
"""Pair classes that a unit class may hold, narrowest first."""


class PairCounts(NamedTuple):
    """Number of pairs of each class in one unit; they add up over units."""

    same: int = 0
    reordered: int = 0
    args_changed: int = 0
    name_changed: int = 0
    name_args_changed: int = 0
    added: int = 0
    removed: int = 0


class UnitDiff(NamedTuple):
    """What differs between the tool calls of one unit's two sides.

    Attributes:
        unit_class: The first that applies:
            `error`: side B has no answer;
            `unparseable`: arguments that are not JSON, in a pair that is not the same;
            `text_to_tool`, `tool_to_text`: only B, only A calls tools;
            `same_calls`: every call is answered by one that is the same by the tool's rules, in the same order (which
            counts between parallel blocks, not inside one), and so are no calls at all;
            `reordered_only`: the same calls in another order;
            `args_only`: the same tools, some with other arguments;
            `set_changed`: other tools, more or fewer.
        is_same_names: Same tool names in the same order, block by block forgotten; None when B has no answer.
        is_same_calls: That, and equal arguments as JSON values (L1); None when B has no answer. Stricter than the class
            `same_calls`, for which normalisation and the order inside a block make no difference.
        counts: Pairs of each class; None when B has no answer.
        calls_a: Number of tool calls on side A.
        calls_b: Number of tool calls on side B; None when it has no answer.
    """

    unit_class: UnitClass
    is_same_names: bool | None
    is_same_calls: bool | None
    counts: PairCounts | None
    calls_a: int
    calls_b: int | None


def failed_unit(calls_a: int) -> UnitDiff:
    """Return the diff of a unit whose side B failed: class `error`, and nothing else known.

    Args:
        calls_a: Number of tool calls on side A.
    """
    return UnitDiff("error", None, None, None, calls_a, None)


def classify(alignment: Alignment) -> UnitDiff:
    """Classify one unit.

    Args:
        alignment: Its tool calls, aligned.
    """
    counts: dict[PairClass, int] = {}
    names_a: list[str] = []
    calls_b = []
    for pair in alignment.pairs:
        counts[pair.pair_class] = counts.get(pair.pair_class, 0) + 1
        if pair.a is not None:
            names_a.append(pair.a.name)
        if pair.b is not None:
            calls_b.append(pair.b)
    calls_b.sort()  # by position
    return UnitDiff(
        unit_class=_unit_class(alignment, counts),
        is_same_names=names_a == [call.name for call in calls_b],
        is_same_calls=_is_same_sequence(alignment.pairs),
        counts=PairCounts(**{str(pair_class): count for pair_class, count in counts.items()}),
        calls_a=alignment.calls_a,
        calls_b=alignment.calls_b,
    )


def _unit_class(alignment: Alignment, counts: Mapping[PairClass, int]) -> UnitClass:
    if any(
        (pair.flags_a or pair.flags_b) and pair.pair_class != "same" and _is_unparseable(pair)
        for pair in alignment.pairs
    ):
        return "unparseable"
    if alignment.calls_a == 0 and alignment.calls_b > 0:
        return "text_to_tool"
    if alignment.calls_a > 0 and alignment.calls_b == 0:
        return "tool_to_text"
    return next((unit_class for unit_class, allowed in _ALLOWED.items() if counts.keys() <= allowed), "set_changed")


def _is_unparseable(pair: CallPair) -> bool:
    return any(flag in ("args_invalid_json", "args_too_deep") for flag in (*pair.flags_a, *pair.flags_b))


def _is_same_sequence(pairs: tuple[CallPair, ...]) -> bool:
    """Whether both sides are one sequence at L1. Equal sequences are always aligned rank by rank."""
    last = None
    for pair in pairs:
        if pair.a is None or pair.b is None or pair.a.name != pair.b.name or pair.equal_level not in ("L0", "L1"):
            return False
        if last is not None and pair.b.position < last:
            return False
        last = pair.b.position
    return True
