"""What rules and schemas make equal, and what stays different."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given

from pipelines.canonical.jcs import canonical_bytes
from pipelines.canonical.rules import ToolRules, lenient, normalise, rules_from_tools
from pipelines.errors import BadInputError
from tests.support import call_strategies

BOOKING = {
    "type": "object",
    "required": ["guest"],
    "properties": {
        "guest": {"type": "string", "default": "nobody"},
        "nights": {"type": "integer", "default": 1},
        "price": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "code": {"type": ["string", "integer"]},
        "at": {"type": "string", "format": "date-time"},
        "opens": {"type": "string", "format": "time"},
        "tags": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
        "rooms": {"type": "array", "items": {"$ref": "#/$defs/Room"}},
        "loop": {"$ref": "#/$defs/Loop"},
    },
    "$defs": {
        "Room": {"type": "object", "properties": {"beds": {"type": "integer", "default": 2}}},
        "Loop": {"$ref": "#/$defs/Loop"},
    },
}
RULES = ToolRules(schema=BOOKING)


def booking(**arguments: object) -> object:
    """Normalised arguments of the booking tool."""
    return normalise({"guest": "Ann", "nights": 1, "price": None, **arguments}, RULES)


@given(call_strategies.values)
def test_normalising_twice_changes_nothing(value: object) -> None:
    """Normalisation is idempotent and leaves what it was given as it was."""
    before = copy.deepcopy(value)
    for rules in (ToolRules(), RULES, ToolRules(ignore_args=frozenset({"a"}), multiset_args=frozenset({"/b/*"}))):
        once = normalise(value, rules)
        assert canonical_bytes(normalise(once, rules)) == canonical_bytes(once)
    assert canonical_bytes(value) == canonical_bytes(before)


@pytest.mark.parametrize(
    ("a", "b"),
    [("caf\u00e9", "cafe\u0301"), ("one\r\ntwo", "one\ntwo"), ("  x\t", "x"), ("\u202fx\u00a0", "x")],
)
def test_strings_are_equal_whatever_their_unicode_form_line_ends_and_margins(a: str, b: str) -> None:
    """NFC, LF and outer white space are evened out, deep inside too."""
    assert normalise({"k": [a]}) == normalise({"k": [b]})


@pytest.mark.parametrize(
    ("a", "b"), [("a  b", "a b"), ("A", "a"), ("5", 5), ("2024-01-02", "02.01.2024"), ("\u2011", "-"), ("1.0", "1")]
)
def test_without_a_schema_nothing_is_guessed(a: object, b: object) -> None:
    """Inner white space, case, digits in strings, dates and look-alikes stay different."""
    assert normalise({"k": a}) != normalise({"k": b})


def test_defaults_are_filled_in_for_what_may_be_absent() -> None:
    """An absent optional argument equals its default, nested too; a required one stays absent."""
    assert normalise({"guest": "Ann", "rooms": [{}]}, RULES) == booking(rooms=[{"beds": 2}])
    assert normalise({}, RULES) == {"nights": 1, "price": None}


def test_strings_become_numbers_only_where_the_schema_says_number() -> None:
    """`"5"` is 5 for an integer, `"5.50"` is 5.5 for an optional number; a type that allows strings changes nothing."""
    assert booking(nights="5") == booking(nights=5)
    assert booking(nights=" -5 ") == booking(nights=-5)
    assert booking(price="5.50") == booking(price=5.5)
    assert booking(price="7e0") == booking(price=7)
    assert booking(nights="5.5") != booking(nights=5.5)
    assert booking(nights="05") != booking(nights=5)
    assert booking(nights="9" * 5_000) == {"guest": "Ann", "nights": "9" * 5_000, "price": None}
    assert booking(code="5") != booking(code=5)
    assert booking(guest="5") != booking(guest=5)


def test_times_are_one_instant_only_where_the_schema_says_so() -> None:
    """RFC 3339 strings with an offset are compared in UTC; without one their zone is unknown."""
    assert booking(at="2024-03-31T02:30:00+02:00") == booking(at="2024-03-31 00:30:00Z")
    assert booking(at="2024-03-31t00:30:00.5z") == booking(at="2024-03-31T00:30:00.500000+00:00")
    assert booking(at="2024-03-31T00:30:00") != booking(at="2024-03-31T00:30:00Z")
    assert booking(opens="01:30:00+02:00") == booking(opens="23:30:00Z")
    assert booking(opens="01:30:00.0") == booking(opens="01:30:00") != booking(opens="01:30:00Z")
    for text in ("tomorrow", "2024-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "2024-03-31T00:30:00.1234567Z"):
        assert booking(at=text)["at"] == text
    for text in ("noon", "01:00:00+99:99"):
        assert booking(opens=text)["opens"] == text


def test_order_counts_unless_a_rule_says_otherwise() -> None:
    """Arrays are multisets where the schema has uniqueItems or the configuration names them, and nowhere else."""
    assert booking(tags=["b", "a"]) == booking(tags=["a", "b"])
    assert booking(tags=["a", "a", "b"]) != booking(tags=["a", "b", "b"])
    assert normalise({"x": [2, 1]}) != normalise({"x": [1, 2]})
    named = ToolRules(multiset_args=frozenset({"/x/*/y"}))
    assert normalise({"x": [{"y": [2, 1]}]}, named) == {"x": [{"y": [1, 2]}]}
    assert normalise({"x": [2, 1]}, named) == {"x": [2, 1]}


def test_ignored_arguments_are_dropped_by_name_or_pointer() -> None:
    """A bare name is a top-level argument; a pointer may go deeper, escape `/`, and stand for any key with `*`."""
    rules = ToolRules(ignore_args=frozenset({"id", "/a~1b", "/list/*/at"}))
    value = {"id": 1, "a/b": [7, 8], "list": [{"at": 1, "x": 2}, {"at": 3}], "deep": {"id": 4}}
    assert normalise(value, rules) == {"list": [{"x": 2}, {}], "deep": {"id": 4}}


def test_references_in_a_circle_say_nothing() -> None:
    """A schema that refers to itself forever is no schema, not an endless loop."""
    assert booking(loop=" x ")["loop"] == "x"


def test_lenient_is_as_loose_as_it_says() -> None:
    """L3 drops case, blanks and `,./-_*^`, and digits beyond nine: so it also confuses ids, which is why it is opt-in."""
    assert lenient({"k": "New-York, NY"}) == lenient({"k": "new york ny"})
    assert lenient("user-12") == lenient("user1-2")
    assert lenient([1 / 3, True, 5]) == lenient([0.333333333333, True, 5])
    assert lenient(0.1) != lenient(0.1001)


def test_schemas_are_found_in_every_usual_form() -> None:
    """Chat-completions tools, and tools with `parameters`, `input_schema` or `inputSchema`, give the same rules."""
    forms = [
        {"type": "function", "function": {"name": "book", "parameters": BOOKING}},
        {"name": "book", "parameters": BOOKING},
        {"name": "book", "input_schema": BOOKING},
        {"name": "book", "inputSchema": BOOKING},
    ]
    for form in forms:
        assert rules_from_tools([form]) == {"book": RULES}
    assert rules_from_tools([{"name": "ping"}]) == {"ping": ToolRules()}


@pytest.mark.parametrize("tool", [{}, {"name": ""}, {"function": "f"}, {"name": "f", "parameters": [1]}])
def test_a_broken_tool_schema_is_bad_input(tool: dict[str, object]) -> None:
    """A tool without a name, or whose schema is not an object, is refused with what was seen."""
    with pytest.raises(BadInputError, match="tool"):
        rules_from_tools([tool])
