"""A JSON Patch turns A's arguments into B's, whatever is in them; the library applies patches as RFC 6902 says."""

from __future__ import annotations

import copy
import json

import jsonpatch
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.canonical.calls import Canonicaliser
from pipelines.canonical.jcs import canonical_bytes
from pipelines.diff.pair.patch import arguments_patch

KEYS = st.sampled_from(["a", "b", "a/b", "m~n", "~1", "~0", "", "0", "-", "é", "😀", "$int", " "]) | st.text(max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.just(2**70) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(VALUES, VALUES)
@example({"a/b": {"m~n": 1}}, {"a/b": {"m~n": 2}, "~1": 3})
@example([1, True, 1], [True, 1.0, "1"])
@example({"ids": [3, 1, 2]}, {"ids": [1, 2, 3, 4]})
@example({"name": "Zoë"}, {"name": "Zoe\u0308"})
def test_a_patch_turns_a_into_b(a: object, b: object) -> None:
    """apply(patch(a, b), a) is b, canonical byte for byte: escaped names, arrays, Unicode, 1 against true, big numbers."""
    old, new = (json.dumps(json.dumps(value)) for value in (a, b))
    before, after = (Canonicaliser().read("f", text).l1 for text in (old, new))
    patch = arguments_patch(old, new)
    assert patch is not None
    assert canonical_bytes(jsonpatch.apply_patch(json.loads(before), patch)) == canonical_bytes(json.loads(after))
    assert (patch == []) == (before == after)
    assert json.loads(json.dumps(patch)) == patch


def test_there_is_no_patch_for_what_is_no_json() -> None:
    """Broken arguments are no value that a patch could speak of."""
    assert arguments_patch('"{broken"', "{}") is None
    assert arguments_patch("{}", '"{broken"') is None


def test_no_arguments_are_an_empty_object() -> None:
    """Absent, an empty text and an object without members are the same arguments."""
    for old in (None, '""', "{}"):
        assert arguments_patch(old, "{}") == []
        assert arguments_patch("{}", old) == []


def test_how_arguments_are_written_is_no_operation() -> None:
    """Key order, blanks, 1.0 for 1, and an object inside a string."""
    assert arguments_patch('{"a": 1, "b": [2]}', json.dumps('{"b":[2.0],"a":1}')) == []


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        (
            {"foo": ["bar", "baz"]},
            [{"op": "add", "path": "/foo/1", "value": "qux"}],
            {"foo": ["bar", "qux", "baz"]},
        ),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
        (
            {"baz": "qux", "foo": "bar"},
            [{"op": "replace", "path": "/baz", "value": "boo"}],
            {"baz": "boo", "foo": "bar"},
        ),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        ),
        (
            {"foo": ["all", "grass", "cows", "eat"]},
            [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
            {"foo": ["all", "cows", "eat", "grass"]},
        ),
        (
            {"foo": "bar"},
            [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
            {"foo": "bar", "child": {"grandchild": {}}},
        ),
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        (
            {"foo": ["bar"]},
            [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
            {"foo": ["bar", ["abc", "def"]]},
        ),
        (
            {"baz": "qux", "foo": ["a", 2, "c"]},
            [{"op": "test", "path": "/foo/1", "value": 2}],
            {"baz": "qux", "foo": ["a", 2, "c"]},
        ),
        ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], None),
        ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], None),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], None),
    ],
)
def test_patches_mean_what_rfc_6902_says(document: object, patch: list[dict], expected: object) -> None:
    """The examples of RFC 6902, appendix A (but A.13, which no parsed patch can be); None: the patch must fail."""
    given_document = copy.deepcopy(document)
    if expected is None:
        with pytest.raises((jsonpatch.JsonPatchException, jsonpatch.JsonPointerException)):
            jsonpatch.apply_patch(document, patch)
    else:
        assert jsonpatch.apply_patch(document, patch) == expected
    assert document == given_document
