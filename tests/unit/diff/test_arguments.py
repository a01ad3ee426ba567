"""Similarity of arguments by its definition, and operations that really turn A into B."""

from __future__ import annotations

import copy
import json
from fractions import Fraction

import pytest
from hypothesis import given

from pipelines.canonical.calls import CanonicalCall, Canonicaliser
from pipelines.canonical.jcs import canonical_bytes
from pipelines.diff.pair.arguments import UNIT, ArgOp, arg_ops, leaves, shares_leaf, similarity
from tests.support import call_strategies


def call(value: object) -> CanonicalCall:
    """A call of tool f with these arguments."""
    return Canonicaliser().read("f", json.dumps(json.dumps(value)))  # in a string, so that a string is a value too


def alike(a: object, b: object) -> float:
    """Similarity of two argument values, 0 to 1."""
    return similarity(leaves(call(a)), leaves(call(b))) / UNIT


def resolve(document: object, pointer: str) -> object:
    """Evaluate a JSON Pointer by RFC 6901, section 4."""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


def applied(ops: tuple[ArgOp, ...], document: object) -> object:
    """Apply operations one after the other to a copy."""
    root = [copy.deepcopy(document)]
    for op in ops:
        parent_path, _, token = ("/0" + op.path).rpartition("/")
        parent = resolve(root, parent_path)
        key = token.replace("~1", "/").replace("~0", "~")
        place = int(key) if isinstance(parent, list) else key
        if op.op == "arg_removed":
            assert canonical_bytes(parent[place]) == canonical_bytes(op.old)
            del parent[place]
        elif op.op == "arg_added" and isinstance(parent, list):
            parent.insert(place, op.new)
        else:
            parent[place] = op.new
    return root[0]


def test_pointers_are_those_of_rfc_6901() -> None:
    """The document and pointers of RFC 6901, section 5 (its whole-array member taken by element)."""
    document = {
        "foo": ["bar", "baz"],
        "": 0,
        "a/b": 1,
        "c%d": 2,
        "e^f": 3,
        "g|h": 4,
        "i\\j": 5,
        'k"l': 6,
        " ": 7,
        "m~n": 8,
    }
    expected = ["/foo/0", "/foo/1", "/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", '/k"l', "/ ", "/m~0n"]
    assert list(leaves(call(document))) == expected


@given(call_strategies.values)
def test_every_leaf_is_where_its_pointer_says(value: object) -> None:
    """Resolving a leaf's pointer in the normalised arguments gives the leaf."""
    read = call(value)
    for pointer, leaf in leaves(read).items():
        found = resolve(read.value, pointer)
        assert leaf == (found if isinstance(found, str) else canonical_bytes(found))


@given(call_strategies.values, call_strategies.values)
def test_operations_turn_a_into_b(a: object, b: object) -> None:
    """Applied in order, the operations give B's arguments; there are none exactly when the arguments are equal."""
    x, y = call(a), call(b)
    ops = arg_ops(x, y)
    assert canonical_bytes(applied(ops, x.value)) == canonical_bytes(y.value)
    assert (ops == ()) == (x.l2 == y.l2)


@given(call_strategies.values, call_strategies.values)
def test_similarity_is_symmetric_bounded_and_whole_for_equals(a: object, b: object) -> None:
    """0 <= s <= 1; s(a, b) = s(b, a); s(a, a) = 1."""
    assert 0 <= alike(a, b) <= 1
    assert alike(a, b) == alike(b, a)
    assert alike(a, a) == 1


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({}, {}, Fraction(1)),
        ({}, {"x": 1}, Fraction(0)),
        ({"x": 1}, {"x": 2}, Fraction(0)),
        ({"x": 1, "y": 2}, {"x": 1, "y": 3}, Fraction(1, 2)),
        ({"x": 1, "y": 2}, {"x": 1}, Fraction(2, 3)),
        ({"x": "duck"}, {"x": "duckdb"}, Fraction(8, 10) / 2),  # Indel similarity .8, a near miss earns half of it
        ({"x": "1"}, {"x": 1}, Fraction(0)),
        ({"x": {"y": [1, 2]}}, {"x": {"y": [1, 3]}}, Fraction(1, 2)),
        ({"x": {}}, {"x": {}}, Fraction(1)),
        (None, None, Fraction(1)),
        (None, {}, Fraction(0)),
    ],
)
def test_similarity_by_hand(a: object, b: object, expected: Fraction) -> None:
    """Twice the equal leaves plus the similarity of strings at the same path, over all leaves of both."""
    assert alike(a, b) == pytest.approx(float(expected), abs=1e-9)


def test_shares_are_exact() -> None:
    """1/3 + 2/3 and 1/2 + 1/2 are the same sum, so neither wins by rounding."""
    third = similarity({"a": b"1", "b": b"2", "c": b"3"}, {"a": b"1", "b": b"0", "c": b"0"})
    half = similarity({"a": b"1", "b": b"2"}, {"a": b"1", "b": b"0"})
    assert 3 * third == UNIT == 2 * half


def test_long_strings_are_compared_by_their_beginning() -> None:
    """A difference after the first 10,000 characters no longer counts against similarity, but still is a difference."""
    a, b = {"x": "y" * 10_000 + "a"}, {"x": "y" * 10_000 + "b"}
    assert alike(a, b) == 0.5
    assert [op.op for op in arg_ops(call(a), call(b))] == ["arg_value"]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"x": 1}, {"x": 2}, [("arg_value", "/x", 1, 2)]),
        ({"x": 1}, {"x": "1"}, [("arg_type", "/x", 1, "1")]),
        ({"x": 1}, {"x": True}, [("arg_type", "/x", 1, True)]),
        ({"x": {"y": 1}}, {"x": [1]}, [("arg_type", "/x", {"y": 1}, [1])]),
        ({"x": 1}, {}, [("arg_removed", "/x", 1, None)]),
        ({}, {"x": {"y": 1}}, [("arg_added", "/x", None, {"y": 1})]),
        ({"x": [1, 2, 3]}, {"x": [1]}, [("arg_removed", "/x/2", 3, None), ("arg_removed", "/x/1", 2, None)]),
        (None, {}, [("arg_type", "", None, {})]),
        ({"x": None}, {"x": 0}, [("arg_type", "/x", None, 0)]),
    ],
)
def test_operations_by_hand(a: object, b: object, expected: list[tuple[object, ...]]) -> None:
    """One operation per changed member or element, a whole subtree being one; 1 against true is another type."""
    assert [(op.op, op.path, op.old, op.new) for op in arg_ops(call(a), call(b))] == expected


def test_text_that_is_not_json_is_one_value() -> None:
    """Broken arguments compare as text with each other, and are of another type than any JSON value."""
    reader = Canonicaliser()
    a, b, c = (reader.read("f", text) for text in ('"{brake"', '"{broke"', "{}"))
    assert [(op.op, op.path, op.old, op.new) for op in arg_ops(a, b)] == [("arg_value", "", "{brake", "{broke")]
    assert [(op.op, op.old, op.new) for op in arg_ops(a, c)] == [("arg_type", "{brake", {})]
    assert arg_ops(a, a) == ()
    assert 0 < similarity(leaves(a), leaves(b)) < UNIT / 2
    assert similarity(leaves(a), leaves(c)) == 0
    assert shares_leaf(leaves(a), leaves(b))


def test_missing_arguments_are_added_or_removed_whole() -> None:
    """No arguments at all against some: one operation at the root."""
    reader = Canonicaliser()
    none, some, broken = (reader.read("f", text) for text in (None, '{"x": 1}', '"{"'))
    assert arg_ops(none, some) == (ArgOp("arg_added", "", None, {"x": 1}),)
    assert arg_ops(some, none) == (ArgOp("arg_removed", "", {"x": 1}, None),)
    assert arg_ops(none, broken) == (ArgOp("arg_added", "", None, "{"),)
    assert arg_ops(broken, none) == (ArgOp("arg_removed", "", "{", None),)
    assert arg_ops(none, none) == ()
    assert leaves(none) == {}
