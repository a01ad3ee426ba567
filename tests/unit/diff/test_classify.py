"""The class of a unit, by example and by what the classes imply."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from pipelines.canonical.calls import Canonicaliser
from pipelines.diff.pair.align import ToolCall, align
from pipelines.diff.pair.classify import PairCounts, UnitDiff, classify, failed_unit
from tests.support import call_strategies

F, G, F2 = ("f", '{"x": 1}'), ("g", '{"y": "a"}'), ("f", '{"x": 2}')
BROKEN = ("f", '"{"')


def unit(a: list[tuple[str, str]], b: list[tuple[str, str]], *, blocks: bool = True) -> UnitDiff:
    """Diff of two lists of calls, each call in its own block or all in one."""
    left, right = (
        [ToolCall(i, i if blocks else 0, name, text) for i, (name, text) in enumerate(side)] for side in (a, b)
    )
    return classify(align(left, right))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([], [], "same_calls"),
        ([F, G], [F, G], "same_calls"),
        ([F], [("f", '{"x":1.0}')], "same_calls"),
        ([BROKEN], [BROKEN], "same_calls"),
        ([F], [BROKEN], "unparseable"),
        ([BROKEN], [], "unparseable"),
        ([], [F], "text_to_tool"),
        ([F, G], [], "tool_to_text"),
        ([F, G], [G, F], "reordered_only"),
        ([F], [F2], "args_only"),
        ([F, F2, G], [G, F2, ("f", '{"x": 3}')], "args_only"),
        ([F], [F, G], "set_changed"),
        ([F], [G], "set_changed"),
        ([G], [("h", '{"y": "a"}')], "set_changed"),
    ],
)
def test_the_first_class_that_applies(a: list[tuple[str, str]], b: list[tuple[str, str]], expected: str) -> None:
    """Each class by its smallest examples."""
    assert unit(a, b).unit_class == expected


def test_a_failed_unit_is_an_error_and_nothing_else_is_known() -> None:
    """Unknown is neither zero nor equal: a unit without an answer has no counts."""
    assert failed_unit(3) == UnitDiff("error", None, None, None, 3, None)


def test_counts_are_of_pairs() -> None:
    """Every pair is counted once, under its class."""
    found = unit([F, G, F2, ("k", '{"z": 1}')], [G, F, ("f", '{"x": 7}'), ("m", '{"z": 1}'), ("n", "{}")])
    assert found.counts == PairCounts(same=1, reordered=1, args_changed=1, name_changed=1, added=1)
    assert (found.calls_a, found.calls_b) == (4, 5)


def test_same_calls_as_a_metric_is_stricter_than_the_class() -> None:
    """The metric wants one sequence at L1; the class forgives order inside a block and what normalisation evens out."""
    parallel = unit([F, G], [G, F], blocks=False)
    assert (parallel.unit_class, parallel.is_same_names, parallel.is_same_calls) == ("same_calls", False, False)
    trimmed = unit([("f", '{"x": "a"}')], [("f", '{"x": " a"}')])
    assert (trimmed.unit_class, trimmed.is_same_names, trimmed.is_same_calls) == ("same_calls", True, False)
    copies = unit([F, F2], [F2, F])
    assert (copies.unit_class, copies.is_same_names, copies.is_same_calls) == ("reordered_only", True, False)
    assert unit([F], [("f", '{"x":1.0}')]).is_same_calls is True
    assert unit([], []).is_same_calls is True


@given(call_strategies.call_lists(max_size=6), call_strategies.call_lists(max_size=6))
def test_the_metrics_equal_a_plain_comparison_of_sequences(a: list[ToolCall], b: list[ToolCall]) -> None:
    """Same names and same calls are what comparing the two sequences says; counts hold every call once."""
    reader = Canonicaliser()
    found = classify(align(a, b, reader))
    first, second = ([reader.hash_call(call.name, call.arguments).l1 for call in side] for side in (a, b))
    assert found.is_same_calls == (first == second)
    assert found.is_same_names == ([call.name for call in a] == [call.name for call in b])
    counts = found.counts
    both = counts.same + counts.reordered + counts.args_changed + counts.name_changed + counts.name_args_changed
    assert (both + counts.removed, both + counts.added) == (len(a), len(b))
    if found.is_same_calls:
        assert found.unit_class == "same_calls"


@given(call_strategies.call_lists(max_size=6), call_strategies.call_lists(max_size=6))
def test_an_equal_list_hash_means_the_same_calls(a: list[ToolCall], b: list[ToolCall]) -> None:
    """Lists with one L2 hash need no alignment: the class would be `same_calls` with every pair the same."""
    reader = Canonicaliser()
    keys = [reader.hash_list([(call.block, call.name, call.arguments) for call in side]).l2 for side in (a, b)]
    if keys[0] == keys[1]:
        assert classify(align(a, b, reader)).counts == PairCounts(same=len(a))
        assert classify(align(a, b, reader)).unit_class == "same_calls"


def test_equal_blocks_in_any_inner_order_have_one_list_hash() -> None:
    """The fast check also finds lists whose parallel blocks were only written in another order."""
    reader = Canonicaliser()
    for arguments in ("{}", json.dumps({"x": 1})):
        a, b = [(0, "f", arguments), (0, "g", "{}")], [(3, "g", "{}"), (3, "f", arguments)]
        assert reader.hash_list(a) == reader.hash_list(b)
