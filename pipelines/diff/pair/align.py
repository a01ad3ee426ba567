"""Which tool call of one agent answers which of the other's, and how the two differ.

The pairing is the best one under a lexicographic objective, found exactly:

1. most pairs of calls that are the same by the tool's rules;
2. of the rest, as many pairs with one name as there can be, with the greatest sum of argument similarity;
3. of the rest, pairs across names with the greatest sum of similarity, over cells that are at least half alike and
   share a path;
4. among all of these, the least sum of squared differences of position.

Greedy matching, and adding a small penalty for distance, both miss this optimum. What remains is added or removed.
Order counts between parallel blocks, never inside one. The class of a whole decision or conversation is in `classify`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from pipelines.canonical.calls import CanonicalCall, Canonicaliser, Level, equal_level
from pipelines.canonical.jcs import Flag
from pipelines.diff.pair.arguments import UNIT, ArgOp, arg_ops, leaves, shares_leaf, similarity
from pipelines.diff.pair.assignment import best_assignment

PairClass = Literal["same", "reordered", "args_changed", "name_changed", "name_args_changed", "added", "removed"]

_ADMISSIBLE = UNIT // 2
_CACHED = 100_000  # different calls that are remembered
_CACHED_TEXT = 4_096  # characters; longer arguments seldom repeat and would fill the memory

_Key = int | tuple[str, bool, bytes]


class ToolCall(NamedTuple):
    """One tool call of one side.

    Attributes:
        position: Its place in the list, from 0.
        block: The parallel block it belongs to; calls of one block have no order. Never decreases with position.
        name: The tool's name.
        arguments: JSON text of the arguments as `canonical.calls.Canonicaliser.read` takes it.
    """

    position: int
    block: int
    name: str
    arguments: str | None


class CallPair(NamedTuple):
    """Two calls that answer each other, or one that nothing answers.

    Attributes:
        pair_class: `same`; `reordered` (same, but out of the longest common order); `args_changed`; `name_changed` (the
            arguments are the same); `name_args_changed`; `added` (B alone); `removed` (A alone).
        a: The call on side A; None when added.
        b: The call on side B; None when removed.
        equal_level: Strongest level at which the arguments are equal; None when they are not, or one side is missing.
        similarity: Argument similarity, 0 to 1; None when one side is missing.
        is_moved: Whether the pair is out of the longest common order, whatever its class.
        arg_ops: What turns A's arguments into B's, normalised; empty when equal or one side is missing.
        flags_a: What is odd about A's arguments.
        flags_b: What is odd about B's arguments.
    """

    pair_class: PairClass
    a: ToolCall | None
    b: ToolCall | None
    equal_level: Level | None
    similarity: float | None
    is_moved: bool
    arg_ops: tuple[ArgOp, ...]
    flags_a: tuple[Flag, ...]
    flags_b: tuple[Flag, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Two lists of tool calls, aligned.

    Attributes:
        pairs: One per call of either side: in A's order, then calls of B alone in B's order.
        calls_a: Number of calls on side A.
        calls_b: Number of calls on side B.
    """

    pairs: tuple[CallPair, ...]
    calls_a: int
    calls_b: int

    def count(self, pair_class: PairClass) -> int:
        """Return the number of pairs of a class."""
        return sum(pair.pair_class == pair_class for pair in self.pairs)


class _Known:
    """Arguments that were read: `key` is shared by the calls that are the same; leaves are flattened when needed."""

    __slots__ = ("_leaves", "canonical", "key")

    def __init__(self, canonical: CanonicalCall, key: _Key) -> None:
        self.canonical = canonical
        self.key = key
        self._leaves: dict[str, object] | None = None

    @property
    def leaves(self) -> dict[str, object]:
        if self._leaves is None:
            self._leaves = leaves(self.canonical)
        return self._leaves


class _Cell(NamedTuple):
    """A call under alignment: `rank` is its place in the order of its side."""

    rank: int
    call: ToolCall
    known: _Known

    @property
    def key(self) -> _Key:
        return self.known.key

    @property
    def leaves(self) -> dict[str, object]:
        return self.known.leaves


_Match = tuple[_Cell, _Cell]


def align(a: Sequence[ToolCall], b: Sequence[ToolCall], canonicaliser: Canonicaliser | None = None) -> Alignment:
    """Align two lists of tool calls once; `Aligner` says how, and is faster for many."""
    return Aligner(canonicaliser or Canonicaliser()).align(a, b)


class Aligner:
    """Aligns lists of tool calls under one set of rules, remembering what it read. Not safe to share by threads.

    Args:
        canonicaliser: Reads the calls under the tools' rules.
    """

    def __init__(self, canonicaliser: Canonicaliser) -> None:
        self._reader = canonicaliser
        self._known: dict[tuple[str, str | None], _Known] = {}
        self._keys: dict[tuple[str, bool, bytes], int] = {}

    def align(self, a: Sequence[ToolCall], b: Sequence[ToolCall]) -> Alignment:
        """Align two lists of tool calls.

        Args:
            a: Side A's calls, in any order; positions unique, blocks never decreasing with position.
            b: Side B's calls, likewise.

        Returns:
            The alignment; the same for the same calls, whatever the order of their keys.

        Raises:
            ValueError: A position occurs twice on one side, or a block number decreases.
        """
        if len(self._known) > _CACHED or len(self._keys) > _CACHED:  # never between two sides, whose keys are compared
            self._known.clear()
            self._keys.clear()
        left, right = self._cells(a), self._cells(b)
        matches = _matches(left, right)
        in_order = _longest_chain(matches)
        answer = {x.rank: (y, place) for place, (x, y) in enumerate(matches)}
        pairs = []
        for cell in left:
            found = answer.get(cell.rank)
            if found is None:
                flags = cell.known.canonical.flags
                pairs.append(CallPair("removed", cell.call, None, None, None, False, (), flags, ()))
            else:
                other, place = found
                pairs.append(_pair(cell, other, is_moved=in_order is not None and place not in in_order))
        if len(matches) < len(right):
            answered = {y.rank for _, y in matches}
            pairs.extend(
                CallPair("added", None, cell.call, None, None, False, (), (), cell.known.canonical.flags)
                for cell in right
                if cell.rank not in answered
            )
        return Alignment(tuple(pairs), len(left), len(right))

    def _cells(self, calls: Sequence[ToolCall]) -> list[_Cell]:
        cells: list[_Cell] = []
        last: ToolCall | None = None
        for call in calls:
            if last is not None and (call.position <= last.position or call.block < last.block):
                return self._cells(_in_order(calls))
            last = call
            found = self._known.get((call.name, call.arguments))
            cells.append(_Cell(len(cells), call, self._read(call) if found is None else found))
        return cells

    def _read(self, call: ToolCall) -> _Known:
        canonical = self._reader.read(call.name, call.arguments)
        key: _Key = canonical.key
        if len(canonical.l3) <= _CACHED_TEXT:
            key = self._keys.setdefault(canonical.key, len(self._keys))
        known = _Known(canonical, key)
        if len(call.arguments or "") <= _CACHED_TEXT:
            self._known[call.name, call.arguments] = known
        return known


def _in_order(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """The calls by position.

    Raises:
        ValueError: They cannot be put in order.
    """
    ordered = sorted(calls, key=_position)
    for before, after in pairwise(ordered):
        if before.position == after.position:
            raise ValueError(f"position {after.position} occurs twice on one side; positions must be unique")
        if before.block > after.block:
            raise ValueError(
                f"block {after.block} at position {after.position} follows block {before.block}; blocks must not decrease"
            )
    return ordered


def _position(call: ToolCall) -> int:
    return call.position


def _pair(a: _Cell, b: _Cell, *, is_moved: bool) -> CallPair:
    read_a, read_b = a.known.canonical, b.known.canonical
    level = equal_level(read_a, read_b)
    is_same_name = a.call.name == b.call.name
    if level is not None:
        pair_class: PairClass = "name_changed" if not is_same_name else "reordered" if is_moved else "same"
        return CallPair(pair_class, a.call, b.call, level, 1.0, is_moved, (), read_a.flags, read_b.flags)
    return CallPair(
        "args_changed" if is_same_name else "name_args_changed",
        a.call,
        b.call,
        None,
        similarity(a.leaves, b.leaves) / UNIT,
        is_moved,
        arg_ops(read_a, read_b),
        read_a.flags,
        read_b.flags,
    )


def _matches(left: list[_Cell], right: list[_Cell]) -> list[_Match]:
    """The best pairing; where little is open, without solving anything."""
    if len(left) == len(right) and all(x.known.key == y.known.key for x, y in zip(left, right, strict=True)):
        return list(zip(left, right, strict=True))  # the optimum: all same, all in order
    rest = {cell.known.key: cell for cell in right}
    if len(rest) < len(right) or len({cell.known.key for cell in left}) < len(left):
        return _best_matches(left, right)
    # No call occurs twice on a side: the pairs that are the same are given.
    matches: list[_Match] = []
    rest_a: list[_Cell] = []
    for cell in left:
        same = rest.pop(cell.known.key, None)
        if same is None:
            rest_a.append(cell)
        else:
            matches.append((cell, same))
    if rest_a and rest:
        if len(rest_a) > 1 or len(rest) > 1:
            return matches + _best_matches(rest_a, list(rest.values()))
        (x,), (y,) = rest_a, rest.values()
        if x.call.name == y.call.name or _cross(x, y):
            matches.append((x, y))
    return matches


def _best_matches(left: list[_Cell], right: list[_Cell]) -> list[_Match]:
    by_key: defaultdict[_Key, tuple[list[_Cell], list[_Cell]]] = defaultdict(lambda: ([], []))
    for cell in left:
        by_key[cell.key][0].append(cell)
    for cell in right:
        by_key[cell.key][1].append(cell)
    matches: list[_Match] = []
    by_name: defaultdict[str, tuple[list[_Cell], list[_Cell]]] = defaultdict(lambda: ([], []))
    for copies_a, copies_b in by_key.values():
        # With as many copies on both sides the objective pairs all of them, and in order. Otherwise which copy is left
        # over is decided together with everything else of that name.
        if len(copies_a) == len(copies_b):
            matches.extend(zip(copies_a, copies_b, strict=True))
            continue
        name = (copies_a or copies_b)[0].call.name
        by_name[name][0].extend(copies_a)
        by_name[name][1].extend(copies_b)
    for group_a, group_b in _independent_groups(by_name.values()):
        group_a.sort(key=lambda cell: cell.rank)
        group_b.sort(key=lambda cell: cell.rank)
        matches.extend(_solve(group_a, group_b))
    return matches


def _independent_groups(
    names: Iterable[tuple[list[_Cell], list[_Cell]]],
) -> list[tuple[list[_Cell], list[_Cell]]]:
    """Join the names between which a pair is possible: only what A has too many of can answer what B has too many of."""
    groups = list(names)
    surplus_a = [i for i, (cells_a, cells_b) in enumerate(groups) if len(cells_a) > len(cells_b)]
    surplus_b = [i for i, (cells_a, cells_b) in enumerate(groups) if len(cells_a) < len(cells_b)]
    if not (surplus_a and surplus_b):
        return [group for group in groups if group[0] and group[1]]
    leader = list(range(len(groups)))
    for i in surplus_a:
        for j in surplus_b:
            if leader[i] != leader[j] and any(_cross(x, y) for x in groups[i][0] for y in groups[j][1]):
                old, new = leader[j], leader[i]
                leader = [new if group == old else group for group in leader]
    joined: dict[int, tuple[list[_Cell], list[_Cell]]] = {}
    for group, (cells_a, cells_b) in zip(leader, groups, strict=True):
        target = joined.setdefault(group, ([], []))
        target[0].extend(cells_a)
        target[1].extend(cells_b)
    return [group for group in joined.values() if group[0] and group[1]]


def _cross(a: _Cell, b: _Cell) -> int:
    """Return the similarity of two calls with different names, in parts; 0 when they may not be paired."""
    if not shares_leaf(a.leaves, b.leaves):
        return 0
    parts = similarity(a.leaves, b.leaves)
    return parts if parts >= _ADMISSIBLE else 0


def _solve(left: list[_Cell], right: list[_Cell]) -> list[_Match]:
    if len(left) == 1 and len(right) == 1:
        return [(left[0], right[0])]
    most = min(len(left), len(right))
    positions = [cell.call.position for cell in (*left, *right)]
    widest = (max(positions) - min(positions)) ** 2
    # A mixed base: each digit is larger than anything the lower ones can add up to.
    distances = most * widest + 1
    sums = most * UNIT + 1
    cross_digit = distances
    similar_digit = cross_digit * sums
    named_digit = similar_digit * sums
    same_digit = named_digit * (most + 1)

    def weight(a: _Cell, b: _Cell) -> int:
        if a.key == b.key:
            gain = same_digit
        elif a.call.name == b.call.name:
            gain = named_digit + similar_digit * similarity(a.leaves, b.leaves)
        else:
            gain = cross_digit * _cross(a, b)
        return gain - (a.call.position - b.call.position) ** 2 if gain else 0

    # Every possible pair gains more than its distance costs, so 0 can stand for "not paired".
    is_swapped = len(left) > len(right)
    weights = [[weight(a, b) for b in right] for a in left]
    if is_swapped:
        weights = [list(line) for line in zip(*weights, strict=True)]
    matches = []
    for row, column in enumerate(best_assignment(weights)):
        if weights[row][column]:
            matches.append((left[column], right[row]) if is_swapped else (left[row], right[column]))
    return matches


def _index(match: _Match) -> int:
    return match[0].rank


def _longest_chain(matches: list[_Match]) -> set[int] | None:
    """Return the places of the pairs that kept their order; None when all did.

    The longest chain of pairs whose block indices decrease on neither side; among the longest, the one with most pairs
    that are the same, then with the lexicographically smallest positions on side A.
    """
    in_order = sorted(matches, key=_index)
    if all(x[1].call.block <= y[1].call.block for x, y in pairwise(in_order)):
        return None
    order = sorted(
        range(len(matches)),
        key=lambda place: (matches[place][0].call.block, matches[place][1].call.block, matches[place][0].rank),
    )
    blocks = [matches[place][1].call.block for place in order]
    if all(before <= after for before, after in pairwise(blocks)):
        return None
    count = len(order)
    rank = {place: r for r, place in enumerate(sorted(order, key=lambda place: matches[place][0].rank))}
    weights = []
    for place in order:
        a, b = matches[place]
        is_same = a.key == b.key
        # Of sets of one size, the one whose sorted positions are smallest has the greatest sum of these powers of two.
        weights.append((((count + 1) + is_same) << count) + (1 << (count - 1 - rank[place])))
    best: list[int] = []
    previous: list[int | None] = []
    for i in range(count):
        total, source = 0, None
        for j in range(i):
            if blocks[j] <= blocks[i] and best[j] > total:
                total, source = best[j], j
        best.append(total + weights[i])
        previous.append(source)
    at: int | None = max(range(count), key=best.__getitem__)
    chain = set()
    while at is not None:
        chain.add(order[at])
        at = previous[at]
    return chain
