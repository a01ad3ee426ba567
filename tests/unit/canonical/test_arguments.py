"""The one JSON value of a tool call's arguments, whatever their spelling."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.canonical import arguments
from pipelines.canonical.arguments import Arguments, read_arguments, read_many
from pipelines.canonical.calls import Canonicaliser
from pipelines.canonical.jcs import canonical_text
from tests.support import call_strategies


def inside(text: str) -> str:
    """JSON text of arguments that were recorded as a string."""
    return json.dumps(text)


@pytest.mark.parametrize(
    ("recorded", "text"),
    [
        (None, "{}"),
        (inside(""), "{}"),
        ("{}", "{}"),
        (inside(" { } "), "{}"),
        ("null", "null"),
        (inside("null"), "null"),
        (inside("5"), "5"),
        ("5", "5"),
        (inside("true"), "true"),
        (inside("[1, 2.50]"), "[1,2.5]"),
        ("[]", "[]"),
        (inside('"twice"'), '"twice"'),
        (inside(inside("{}")), '"{}"'),
        (inside('{"b": 1.0, "a": 1e2}'), '{"a":100,"b":1}'),
        ('{"b":1.10,"a":-0}', '{"a":0,"b":1.1}'),
        (inside('{"a": 1, "a": 2}'), '{"a":2}'),
        ('{"a":{"b":1,"b":2}}', '{"a":{"b":2}}'),
        ('{"id":9223372036854775809}', '{"id":9223372036854775809}'),
        (inside('{"id": -18446744073709551617}'), '{"id":-18446744073709551617}'),
        (inside('{"a": 1e400, "b": [-2E+999]}'), '{"a":1e400,"b":[-2e999]}'),
        (inside('{"\\ud83d\\ude00": 1, "\\uffee": 2}'), '{"\U0001f600":1,"\uffee":2}'),
        (inside('{"a": "\\u0000\\u001f"}'), '{"a":"\\u0000\\u001f"}'),
        (inside('{"$int": "5", "$float": {"$utf16": "x"}}'), '{"$float":{"$utf16":"x"},"$int":"5"}'),
    ],
)
def test_one_value_whatever_the_spelling(recorded: str | None, text: str) -> None:
    """An object, a string that holds it, and nothing at all come to one JSON text of one value; it is its own value."""
    assert read_arguments(recorded) == Arguments(text)
    assert read_arguments(text if text[0] != '"' else inside(text)) == Arguments(text)


@pytest.mark.parametrize(
    "content",
    [
        "oops",
        "  ",
        "{",
        "{}x",
        '{"a": 1,}',
        "[1,]",
        "{'a': 1}",
        '{"a": NaN}',
        "NaN",
        "-Infinity",
        "nan",
        '{"a": "\\ud800"}',
        '{"\\udc00": 1}',
        "\ufeff{}",
        '{"a": "\t"}',
        '{"menu_item_id": ""cortado"","quantity": "1"}',
        "\u00a0{}",
        "01",
        "[" * 500 + "]" * 500,
        "[" * 100_000,
    ],
)
def test_a_string_that_holds_no_json_is_the_string(content: str) -> None:
    """It is kept as what it is, and flagged; NaN and half a character are no JSON either."""
    found = read_arguments(inside(content))
    assert found.is_invalid_json
    assert json.loads(found.text) == content
    assert read_arguments(found.text) == found


def test_what_is_nested_too_deeply_to_compare_is_still_an_object() -> None:
    """Recorded as an object it stays one; inside a string it stays the string."""
    deep = '{"a":' * 300 + "1" + "}" * 300
    assert read_arguments(deep) == Arguments(deep)
    assert read_arguments(inside(deep)) == Arguments(inside(deep), is_invalid_json=True)


@given(call_strategies.objects, st.randoms())
def test_the_text_is_canonical_json(value: dict[str, Any], random: Any) -> None:
    """Key order, white space and escapes vanish; where JSON has a number for it, the text is RFC 8785's."""
    keys = list(value)
    random.shuffle(keys)
    shuffled = {key: value[key] for key in keys}
    texts = [json.dumps(value), json.dumps(shuffled, ensure_ascii=False, indent=2)]
    found = {read_arguments(text) for text in [*texts, *map(inside, texts)]}
    assert len(found) == 1
    (only,) = found
    assert json.loads(only.text) == json.loads(texts[0])
    canonical = canonical_text(json.loads(texts[0]))
    if "$" not in canonical and re.search(r"[0-9]{16}", canonical) is None:
        assert only.text == canonical


@given(call_strategies.values)
def test_any_json_value_is_read_back(value: Any) -> None:
    """What the text says is what was recorded, also where the fast reader is used; a second reading changes nothing."""
    if isinstance(value, str):
        value = [value]
    recorded = json.dumps(value, ensure_ascii=False)
    for text in (recorded, inside(recorded), json.dumps(value)):
        found = read_arguments(text)
        assert (json.loads(found.text), found.is_invalid_json) == (value, False)
        assert read_arguments(found.text) == found


@given(call_strategies.objects, call_strategies.objects)
def test_one_text_exactly_when_one_value(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Two texts are equal exactly when the calls are equal at L1."""
    reader = Canonicaliser()
    left, right = inside(json.dumps(a, indent=1)), json.dumps(b)
    same = reader.hash_call("f", left).l1 == reader.hash_call("f", right).l1
    assert (read_arguments(left).text == read_arguments(right).text) == same


ODD = [
    "{",
    "{}",
    '{"a": -0}',
    '{"a": -0.0}',
    '{"at": "2026-05-01"}',
    '{"a": 1.50}',
    '{"a": 1e5}',
    '{"a": "x\u2028y\x85z"}',
    "",
    '"text"',
    '"{\\"a\\": 1}"',
]
ODD += [
    "null",
    "{} {}",
    '{"a": [1',
    "2]}",
    "{},{}",
    '{"a":\n1}',
    '{"a": "b"}\n',
    '{"$a": 1}',
    '{"a": NaN}',
    '{"a": 1, "a": 2}',
    "{" * 200,
    '{"a": ' * 200 + "1" + "}" * 200,
]
texts = st.one_of(
    st.sampled_from(ODD),
    call_strategies.objects.map(json.dumps),
    call_strategies.objects.map(lambda value: json.dumps(value, ensure_ascii=False)),
    st.text(max_size=12),
)


@settings(max_examples=400)
@given(st.lists(texts, max_size=12), st.integers(1, 5))
def test_many_are_read_as_each_is_alone(recorded: list[str], at_once: int) -> None:
    """Whatever stands beside it, a text is read as it is read alone; also texts that only together would be JSON."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arguments, "_MANY", at_once)
        assert [*zip(*read_many(recorded), strict=True)] == [tuple(read_arguments(text)) for text in recorded]


def test_a_date_asks_for_no_care() -> None:
    """Only a number's minus is one: a text with dates is read with the others."""
    texts = [json.dumps({"at": f"2026-05-{day:02d}", "n": day}) for day in range(1, 29)]
    assert arguments._plain_objects(texts) == [text.replace(" ", "") for text in texts]
    assert arguments._plain_objects([*texts, '{"a": -0}']) is None
