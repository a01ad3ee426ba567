"""The alignment against the definition of its objective, enumerated, and against properties that need no reference."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.canonical.calls import Canonicaliser
from pipelines.canonical.rules import ToolRules
from pipelines.diff.pair.align import Alignment, ToolCall, align
from pipelines.diff.pair.arguments import UNIT, leaves, shares_leaf, similarity
from tests.support import call_strategies

Matching = tuple[tuple[int, int], ...]
READER = Canonicaliser()


def calls(*given_: tuple[str, object], blocks: list[int] | None = None) -> list[ToolCall]:
    """Calls by name and arguments, each in a block of its own unless blocks are given."""
    numbers = blocks or list(range(len(given_)))
    return [ToolCall(i, numbers[i], name, json.dumps(arguments)) for i, (name, arguments) in enumerate(given_)]


def classes(alignment: Alignment) -> list[str]:
    """Pair classes in order."""
    return [pair.pair_class for pair in alignment.pairs]


def matching_of(alignment: Alignment) -> Matching:
    """Matched positions of A and B."""
    return tuple((pair.a.position, pair.b.position) for pair in alignment.pairs if pair.a and pair.b)


def all_matchings(a: list[ToolCall], b: list[ToolCall]) -> Iterator[Matching]:
    """Every way of pairing some of A with some of B."""

    def extend(index: int, free: frozenset[int], chosen: Matching) -> Iterator[Matching]:
        if index == len(a):
            yield chosen
            return
        yield from extend(index + 1, free, chosen)
        for j in free:
            yield from extend(index + 1, free - {j}, (*chosen, (index, j)))

    return extend(0, frozenset(range(len(b))), ())


class Objective:
    """The value of a matching, criterion by criterion, computed pair by pair from the definition."""

    def __init__(self, a: list[ToolCall], b: list[ToolCall]) -> None:
        x = [READER.read(call.name, call.arguments) for call in a]
        y = [READER.read(call.name, call.arguments) for call in b]
        self.exact = [[p.hashes().l2 == q.hashes().l2 for q in y] for p in x]
        self.named = [[p.name == q.name for q in y] for p in x]
        self.alike = [[similarity(leaves(p), leaves(q)) for q in y] for p in x]
        self.shared = [[shares_leaf(leaves(p), leaves(q)) for q in y] for p in x]

    def __call__(self, matching: Matching) -> tuple[int, ...] | None:
        exact = named = similar = cross = squares = 0
        for i, j in matching:
            squares += (i - j) ** 2
            if self.exact[i][j]:
                exact += 1
            elif self.named[i][j]:
                named += 1
                similar += self.alike[i][j]
            elif 2 * self.alike[i][j] >= UNIT and self.shared[i][j]:
                cross += self.alike[i][j]
            else:
                return None
        return exact, named, similar, cross, -squares


EXAMPLES = int(os.environ.get("REFOLD_ALIGNED_LISTS", "24"))


@settings(max_examples=150)
@given(call_strategies.call_lists(max_size=4), call_strategies.call_lists(max_size=4))
def test_no_pairing_is_better(a: list[ToolCall], b: list[ToolCall]) -> None:
    """Of all pairings of up to 4 x 4 calls none has more equal pairs, then more and more alike pairs of one name, then
    more alike pairs across names, then smaller distances."""
    objective = Objective(a, b)
    values = [value for value in map(objective, all_matchings(a, b)) if value is not None]
    assert objective(matching_of(align(a, b))) == max(values)


@settings(max_examples=EXAMPLES)
@given(call_strategies.call_lists(max_size=5), call_strategies.call_lists(max_size=5))
def test_no_pairing_of_five_is_better(a: list[ToolCall], b: list[ToolCall]) -> None:
    """The same up to 5 x 5 calls; `REFOLD_ALIGNED_LISTS` asks for more examples."""
    objective = Objective(a, b)
    assert objective(matching_of(align(a, b))) == max(
        value for value in map(objective, all_matchings(a, b)) if value is not None
    )


@pytest.mark.parametrize("seed", range(EXAMPLES // 2))
def test_no_pairing_of_five_look_alikes_is_better(seed: int) -> None:
    """The same for 5 x 5 calls of two tools, where copies and near misses compete."""
    random = Random(seed)

    def some() -> list[ToolCall]:
        return calls(*((random.choice("fg"), {"x": random.choice("aab"), "y": random.randrange(2)}) for _ in range(5)))

    a, b = some(), some()
    objective = Objective(a, b)
    assert objective(matching_of(align(a, b))) == max(
        value for value in map(objective, all_matchings(a, b)) if value is not None
    )


def best_chain(alignment: Alignment) -> set[int]:
    """Indices of the matched pairs that keep their order: fewest left out, most same, smallest positions on side A."""
    matched = [pair for pair in alignment.pairs if pair.a and pair.b]

    def is_chain(kept: tuple[int, ...]) -> bool:
        return all(
            (matched[i].a.block - matched[j].a.block) * (matched[i].b.block - matched[j].b.block) >= 0
            for i, j in combinations(kept, 2)
        )

    for size in range(len(matched), -1, -1):
        chains = [kept for kept in combinations(range(len(matched)), size) if is_chain(kept)]
        if chains:
            return set(
                min(
                    chains,
                    key=lambda kept: (
                        -sum(matched[i].pair_class in ("same", "reordered") for i in kept),
                        sorted(matched[i].a.position for i in kept),
                    ),
                )
            )
    return set()


@given(call_strategies.call_lists(max_size=6), st.randoms())
def test_the_order_kept_is_the_longest_there_is(a: list[ToolCall], random: Random) -> None:
    """Pairs out of order are those outside the best chain, found by trying every subset; among them the same ones are
    classed reordered."""
    shuffled = random.sample(a, len(a))
    blocks = sorted(random.choices(range(4), k=len(a)))
    b = [ToolCall(i, blocks[i], call.name, call.arguments) for i, call in enumerate(shuffled)]
    alignment = align(a, b)
    chain = best_chain(alignment)
    matched = [pair for pair in alignment.pairs if pair.a and pair.b]
    assert [not pair.is_moved for pair in matched] == [i in chain for i in range(len(matched))]
    for pair in matched:
        is_equal = pair.equal_level is not None and pair.a.name == pair.b.name
        assert (pair.pair_class == "reordered") == (is_equal and pair.is_moved)
        assert (pair.pair_class == "same") == (is_equal and not pair.is_moved)


@given(call_strategies.call_lists(max_size=8))
def test_a_list_against_itself_is_all_same(a: list[ToolCall]) -> None:
    """diff(x, x) is `same`, in place, at L0, without operations, broken arguments included."""
    alignment = align(a, a)
    assert classes(alignment) == ["same"] * len(a)
    assert all(p.a == p.b and p.equal_level == "L0" and p.similarity == 1 and not p.arg_ops for p in alignment.pairs)


@given(call_strategies.call_lists(max_size=7), call_strategies.call_lists(max_size=7))
def test_swapping_sides_mirrors_the_diff(a: list[ToolCall], b: list[ToolCall]) -> None:
    """diff(b, a) has added for removed, and as many of everything that the objective fixes."""
    forward = Counter(classes(align(a, b)))
    back = Counter(classes(align(b, a)))
    assert forward["same"] + forward["reordered"] == back["same"] + back["reordered"]
    assert forward["args_changed"] == back["args_changed"]
    across = forward["name_changed"] + forward["name_args_changed"]
    if across == back["name_changed"] + back["name_args_changed"]:  # equal sums may come from one pair or two
        assert (forward["added"], forward["removed"]) == (back["removed"], back["added"])


@given(call_strategies.call_lists(max_size=7), call_strategies.call_lists(max_size=7), st.randoms())
def test_how_arguments_are_written_changes_nothing(a: list[ToolCall], b: list[ToolCall], random: Random) -> None:
    """Permuting keys, white space and 1 for 1.0 on one side changes no pair and no class."""

    def rewritten(call: ToolCall) -> ToolCall:
        if call.arguments is None or call.arguments.startswith('"'):
            return call
        value = json.loads(call.arguments)
        if isinstance(value, dict):
            value = {
                key: float(item) if item == 1 else item for key, item in random.sample(list(value.items()), len(value))
            }
        return ToolCall(call.position, call.block, call.name, json.dumps(value, indent=1))

    plain, other = align(a, b), align(a, [rewritten(call) for call in b])
    assert classes(plain) == classes(other)
    assert matching_of(plain) == matching_of(other)
    assert [pair.arg_ops for pair in plain.pairs] == [pair.arg_ops for pair in other.pairs]


@given(call_strategies.call_lists(max_size=7), call_strategies.call_lists(max_size=7), st.randoms())
def test_the_order_in_which_calls_are_given_changes_nothing(
    a: list[ToolCall], b: list[ToolCall], random: Random
) -> None:
    """Positions say the order, not the sequence; and a shared reader changes nothing either."""
    assert align(random.sample(a, len(a)), random.sample(b, len(b)), READER) == align(a, b)


@given(call_strategies.call_lists(max_size=7), call_strategies.call_lists(max_size=7))
def test_every_call_is_in_one_pair(a: list[ToolCall], b: list[ToolCall]) -> None:
    """Pairs hold A's calls in order, then those of B alone in order; nothing is lost or doubled."""
    alignment = align(a, b)
    assert [pair.a for pair in alignment.pairs if pair.a] == a
    assert sorted((pair.b for pair in alignment.pairs if pair.b), key=lambda call: call.position) == b
    alone = [pair.b.position for pair in alignment.pairs if pair.a is None]
    assert alone == sorted(alone)
    assert classes(alignment)[len(a) :] == ["added"] * len(alone)
    assert sum(alignment.count(name) for name in set(classes(alignment))) == len(alignment.pairs)
    assert (alignment.calls_a, alignment.calls_b) == (len(a), len(b))


def test_of_equally_long_orders_the_one_with_more_same_pairs_is_kept() -> None:
    """A changed pair and a same pair that swapped places: the same one stayed, the changed one moved."""
    alignment = align(calls(("g", {"y": 1}), ("f", {"x": 1})), calls(("f", {"x": 1}), ("g", {"y": 2})))
    assert [(pair.pair_class, pair.is_moved) for pair in alignment.pairs] == [("args_changed", True), ("same", False)]


def test_an_equal_pair_is_worth_more_than_any_likeness() -> None:
    """Equal calls are paired first, though two pairs at 2/3 each would add up to more than 1 + 0."""
    both, left, right = ("f", {"a": 1, "b": 1}), ("f", {"a": 1}), ("f", {"b": 1})
    alignment = align(calls(both, both, left), calls(both, right, right))
    assert alignment.count("same") + alignment.count("reordered") == 1
    assert sorted(pair.similarity for pair in alignment.pairs) == [0, pytest.approx(2 / 3), 1]


def test_greedy_matching_would_be_wrong() -> None:
    """[f{a,b}, f{a}] against [f{a}, f{a,b}]: both are found, whichever comes first."""
    wide, narrow = ("f", {"a": 1, "b": 2}), ("f", {"a": 1})
    assert sorted(classes(align(calls(wide, narrow), calls(narrow, wide)))) == ["reordered", "same"]
    near, far = ("f", {"a": 1, "b": 2, "c": 0}), ("f", {"a": 1})
    alignment = align(calls(wide, narrow), calls(far, near))
    assert matching_of(alignment) == ((0, 1), (1, 0))


@pytest.mark.parametrize("size", [2, 3, 10, 40])
def test_a_reversed_list_keeps_one_call_in_place(size: int) -> None:
    """A reversed list of k distinct calls is k - 1 `reordered` and the first of A `same`; in one block it is all `same`."""
    some = [("f", {"x": i}) for i in range(size)]
    assert classes(align(calls(*some), calls(*some[::-1]))) == ["same"] + ["reordered"] * (size - 1)
    one_block = [0] * size
    parallel = align(calls(*some, blocks=one_block), calls(*some[::-1], blocks=one_block))
    assert classes(parallel) == ["same"] * size


def test_one_changed_option_is_one_operation() -> None:
    """The same call with another value of one parameter is `args_changed` with exactly one `arg_value`."""
    alignment = align(calls(("book", {"city": "Rome", "n": 1})), calls(("book", {"city": "Oslo", "n": 1})))
    (pair,) = alignment.pairs
    assert pair.pair_class == "args_changed"
    assert [(op.op, op.path, op.old, op.new) for op in pair.arg_ops] == [("arg_value", "/city", "Rome", "Oslo")]
    assert pair.equal_level is None
    assert pair.similarity == pytest.approx((2 + 1 - 6 / 8) / 4)


def test_pairs_across_names_need_likeness_and_a_shared_path() -> None:
    """Another name pairs only at similarity .5 or more with a common path; two empty calls share nothing."""
    same_args = align(calls(("search", {"q": "x"})), calls(("find", {"q": "x"})))
    assert classes(same_args) == ["name_changed"]
    assert same_args.pairs[0].equal_level == "L0"
    assert classes(align(calls(("search", {"q": 1, "n": 2})), calls(("find", {"q": 1, "n": 3})))) == [
        "name_args_changed"
    ]
    assert classes(align(calls(("search", {"q": 1, "n": 2})), calls(("find", {"q": 1, "m": 2, "k": 3})))) == [
        "removed",
        "added",
    ]
    assert classes(align(calls(("search", {})), calls(("find", {})))) == ["removed", "added"]


def test_of_equal_copies_the_nearest_are_paired() -> None:
    """With three copies on one side and one on the other, the one at the least distance answers."""
    copy = ("f", {"x": 1})
    other = ("g", {"y": 1})
    assert matching_of(align(calls(copy, copy, copy), calls(other, copy))) == ((1, 1),)
    assert matching_of(align(calls(copy, other), calls(copy, copy, copy))) == ((0, 0),)


def test_rules_decide_what_is_the_same() -> None:
    """An ignored argument is no difference (L2); leniency makes a call the same at L3; without rules both differ."""
    rules = Canonicaliser({"f": ToolRules(ignore_args=frozenset({"id"}), is_lenient=True)})
    a, b = calls(("f", {"id": 1, "city": "Rome"})), calls(("f", {"id": 2, "city": "Rome"}))
    c = calls(("f", {"id": 3, "city": "ROME "}))
    assert [(p.pair_class, p.equal_level) for p in align(a, b, rules).pairs] == [("same", "L2")]
    assert [(p.pair_class, p.equal_level) for p in align(a, c, rules).pairs] == [("same", "L3")]
    assert [op.path for op in align(a, b).pairs[0].arg_ops] == ["/id"]
    assert align(a, b, rules).pairs[0].arg_ops == ()


def test_arguments_that_are_not_json_are_flagged_and_paired() -> None:
    """A broken call pairs with its own kind by name, and says on which side it is broken."""
    broken = [ToolCall(0, 0, "f", '"{"')]
    (pair,) = align(calls(("f", {"x": 1})), broken).pairs
    assert (pair.pair_class, pair.flags_a, pair.flags_b) == ("args_changed", (), ("args_invalid_json",))
    assert (pair.similarity, [op.op for op in pair.arg_ops]) == (0, ["arg_type"])


def test_impossible_lists_are_refused() -> None:
    """A position twice, or a block that goes back, is an error of the caller."""
    f = ToolCall(0, 1, "f", "{}")
    with pytest.raises(ValueError, match="position 0"):
        align([f, f], [])
    with pytest.raises(ValueError, match="block 0"):
        align([], [f, ToolCall(1, 0, "f", "{}")])


def test_long_lists_are_aligned_in_reasonable_time() -> None:
    """120 calls of one tool against 120 others: every call finds the one that differs in one of its two arguments."""
    a = calls(*(("run", {"step": i, "cmd": f"command {i * 7919}"}) for i in range(120)))
    b = calls(*(("run", {"step": i, "cmd": f"command {i * 7919} --x"}) for i in reversed(range(120))))
    alignment = align(a, b)
    assert matching_of(alignment) == tuple((i, 119 - i) for i in range(120))
    assert sum(not pair.is_moved for pair in alignment.pairs) == 1
