"""Levels of equality of tool calls, and their hashes."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.canonical.calls import CallHashes, Canonicaliser, equal_level
from pipelines.canonical.jcs import canonical_bytes
from pipelines.canonical.rules import ToolRules, normalise
from tests.support import call_strategies


def hashes(arguments: str | None, name: str = "f") -> CallHashes:
    """Hashes of one call without rules."""
    return Canonicaliser().hash_call(name, arguments)


def as_string(text: str) -> str:
    """JSON text of arguments that were recorded as a string."""
    return json.dumps(text)


def test_hashes_can_be_recomputed_by_anybody() -> None:
    """A hash is SHA-256 over canonical JSON of the name and the arguments, or the raw text."""
    found = hashes('{"b": " x ", "a": 1.0}', "get order")
    assert found.l0 == hashlib.sha256(b'{"name":"get order","raw":"{\\"b\\": \\" x \\", \\"a\\": 1.0}"}').hexdigest()
    assert found.l1 == hashlib.sha256(b'{"args":{"a":1,"b":" x "},"name":"get order"}').hexdigest()
    assert found.l2 == hashlib.sha256(b'{"args":{"a":1,"b":"x"},"name":"get order"}').hexdigest()
    assert found.l3 == found.l2


@given(call_strategies.objects, st.randoms())
def test_key_order_white_space_and_escapes_vanish_at_l1(value: dict[str, object], random: object) -> None:
    """One object written in any way, as an object or inside a string, has one L1 hash."""
    keys = list(value)
    random.shuffle(keys)
    shuffled = {key: value[key] for key in keys}
    texts = [json.dumps(value), json.dumps(shuffled, ensure_ascii=False, indent=2)]
    assert len({hashes(text).l1 for text in [*texts, *map(as_string, texts)]}) == 1


@given(call_strategies.objects)
def test_l2_is_the_normalised_value(value: dict[str, object]) -> None:
    """The canonical bytes of L2 are those of the normalised value, also where reading could see that nothing changes."""
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert Canonicaliser().read("f", text).l2 == canonical_bytes(normalise(value))


@pytest.mark.parametrize("text", ["x ", " x", "x\t", "x\u00a0", "x\r\n", "\nx"])
def test_outer_white_space_vanishes_at_l2_alone(text: str) -> None:
    """Margins of a string, of whatever kind and side, keep two calls apart at L1 and not at L2."""
    bare, margined = hashes('{"k": ["x"]}'), hashes(json.dumps({"k": [text]}))
    assert (bare.l1 == margined.l1, bare.l2 == margined.l2) == (False, True)


def test_numbers_are_equal_by_value_and_types_are_not() -> None:
    """1 is 1.0 is 1e0; true, "1" and null are something else."""
    assert hashes('{"a": 1}').l1 == hashes('{"a": 1.0}').l1 == hashes('{"a": 1e0}').l1
    assert len({hashes(f'{{"a": {text}}}').l2 for text in ("1", "true", '"1"', "null", "[1]")}) == 5


@given(call_strategies.objects, call_strategies.objects)
def test_equality_at_a_level_implies_the_next(a: dict[str, object], b: dict[str, object]) -> None:
    """L0 equal implies L1 equal implies L2 equal implies L3 equal, and `equal_level` names the first."""
    rules = {"f": ToolRules(is_lenient=True)}
    texts = [json.dumps(a), json.dumps(a, indent=1), json.dumps(normalise(a)), json.dumps(b), as_string("{broken")]
    reader = Canonicaliser(rules)
    for left in texts:
        for right in texts:
            x, y = reader.hash_call("f", left), reader.hash_call("f", right)
            equal = [x.l0 == y.l0, x.l1 == y.l1, x.l2 == y.l2, x.l3 == y.l3]
            assert equal == sorted(equal)
            level = equal_level(reader.read("f", left), reader.read("f", right))
            assert level == next((f"L{i}" for i, is_equal in enumerate(equal) if is_equal), None)


def test_no_arguments_are_one_thing_and_null_is_another() -> None:
    """`{}`, an empty string and no arguments at all are one value, though not one text; `null` is another, at every level."""
    found = [hashes(text) for text in ("null", "{}", '""', None, '"null "', '"{ }"')]
    assert len({one.l0 for one in found}) == 6
    assert found[1].l1 == found[2].l1 == found[3].l1 == found[5].l1 == found[1].l3
    assert (found[0].l1 == found[4].l1, found[0].l1 == found[1].l1) == (True, False)
    reader = Canonicaliser()
    levels = [
        equal_level(reader.read("f", a), reader.read("f", b)) for a, b in ((None, '""'), ('""', "{}"), (None, None))
    ]
    assert levels == ["L1", "L1", "L0"]
    assert equal_level(reader.read("f", None), reader.read("f", "null")) is None
    assert Canonicaliser().read("f", None).flags == ("args_missing",)


def test_text_that_is_not_json_is_equal_only_as_text() -> None:
    """A broken string keys on itself at every level, and cannot equal an object that quotes it."""
    broken = '{"menu_item_id": ""cortado-3621"","quantity": "1"}'
    call = Canonicaliser().read("f", as_string(broken))
    assert (call.is_json, call.raw, call.flags) == (False, broken, ("args_invalid_json",))
    found = hashes(as_string(broken))
    assert found.l0 == found.l1 == found.l2 == found.l3
    assert found != hashes(as_string(broken + " "))
    assert found.l1 != hashes(json.dumps({"raw": broken})).l1


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        ("{}", ()),
        ("null", ()),
        ("[1]", ("args_not_object",)),
        (as_string('"twice encoded"'), ("args_not_object",)),
        (as_string('{"a": 1, "a": 2}'), ("duplicate_keys",)),
        (
            as_string('{"a": NaN, "b": "\\ud800", "c": 18446744073709551616}'),
            ("big_number", "lone_surrogate", "non_finite"),
        ),
        (as_string("\ufeff{}"), ("args_invalid_json",)),
        (as_string("[" * 500 + "]" * 500), ("args_too_deep",)),
    ],
)
def test_oddities_are_flags_not_errors(arguments: str, flags: tuple[str, ...]) -> None:
    """Whatever was recorded can be read; what is odd is said."""
    assert Canonicaliser().read("f", arguments).flags == flags


def test_rules_change_l2_and_nothing_before() -> None:
    """Ignored arguments, defaults and coercion show in L2 alone; leniency in L3 alone."""
    schema = {"properties": {"n": {"type": "integer", "default": 3}}}
    rules = {"f": ToolRules(schema=schema, ignore_args=frozenset({"id"}), is_lenient=True)}
    ruled = Canonicaliser(rules)
    given_ = ruled.hash_call("f", '{"id": "a", "n": "3", "city": "ROME"}')
    plain = ruled.hash_call("f", '{"city": "ROME"}')
    loose = ruled.hash_call("f", '{"city": "ro-me"}')
    assert given_.l1 == hashes('{"id": "a", "n": "3", "city": "ROME"}').l1
    assert (given_.l1 != plain.l1, given_.l2 == plain.l2) == (True, True)
    assert (plain.l2 != loose.l2, plain.l3 == loose.l3) == (True, True)
    assert ruled.hash_call("g", '{"city": "ROME"}') == hashes('{"city": "ROME"}', "g")


def test_many_calls_are_hashed_like_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch equals call by call, also when the memory of what was read overflows or a text is long."""
    monkeypatch.setattr("pipelines.canonical.calls._CACHE_ENTRIES", 2)
    texts = ['{"a": 1}', None, '{"a": 2}', '{"a": 1}', json.dumps({"a": "x" * 10_000}), as_string("{")] * 3
    reader = Canonicaliser()
    assert reader.hash_calls(["f"] * len(texts), texts) == [hashes(text) for text in texts]
    assert [reader.read("f", text).hashes() for text in texts] == [hashes(text) for text in texts]
    with pytest.raises(ValueError, match="longer"):
        reader.hash_calls(["f"], texts)


def test_a_list_is_its_blocks_and_a_block_has_no_order() -> None:
    """Order counts between blocks, not inside one; block numbers themselves do not count; repetition does."""
    reader = Canonicaliser()
    f, g = ("f", "{}"), ("g", "{}")

    def of(*calls: tuple[int, tuple[str, str]]) -> str:
        return reader.hash_list([(block, name, text) for block, (name, text) in calls]).l1

    assert of((0, f), (0, g)) == of((7, g), (7, f))
    assert of((0, f), (1, g)) != of((0, g), (1, f))
    assert of((0, f), (1, g)) != of((0, f), (0, g))
    assert of((0, f), (1, f)) != of((0, f))
    assert of() == hashlib.sha256(b"").hexdigest()
    assert len({of(), of((0, f)), of((0, f), (0, f)), of((0, f), (1, f))}) == 4


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("fg"), st.sampled_from(["{}", '{"a": 1}', '{"a":1.0}']))))
def test_list_hashes_hold_the_levels_apart(calls: list[tuple[int, str, str]]) -> None:
    """Rewriting arguments keeps the L1 hash of a list; it keeps L0 only if no text changed."""
    calls.sort(key=lambda call: call[0])
    rewritten = [(block, name, text.replace('{"a": 1}', '{"a":1.0}')) for block, name, text in calls]
    a, b = (Canonicaliser().hash_list(some) for some in (calls, rewritten))
    assert (a.l1, a.l2, a.l3) == (b.l1, b.l2, b.l3)
    assert (a.l0 == b.l0) == (calls == rewritten)
