"""JSON that the store can keep is parsed; everything else is refused with its place."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.compact_json import ENCODER, is_written_alike
from pipelines.ingest.canonical import canonical_json, digest, same_json
from pipelines.ingest.faults import BadLineError, json_path
from pipelines.ingest.form_lines import line_bytes
from pipelines.ingest.reading.strict_json import MAX_DEPTH, parse, parse_written
from tests.support import chat_strategies

REFUSED = {
    "broken in a message": ('{"messages":[{"role": }]}', "$.messages[0].role", "Expecting value"),
    "no colon": ('{"messages":[{"role" 1}]}', "$.messages[0].role", "':'"),
    "unclosed": ('{"messages":[1,2', "$.messages[1]", "','"),
    "unclosed string": ('{"a":"b', "$.a", "Unterminated string"),
    "raw control character": ('{"a":"x\ny"}', "$.a", "control character"),
    "trailing comma": ('{"a":[1,]}', "$.a[1]", "Expecting value"),
    "two values": ("{} {}", "$", "exactly one JSON object"),
    "a BOM inside the file": ("\ufeff{}", "$", "BOM"),
    "NaN": ('{"a":{"b":[1,NaN]}}', "$.a.b[1]", "NaN"),
    "minus infinity": ('{"a b":-Infinity}', '$["a b"]', "-Infinity"),
    "overflow": ('{"a":[{"b":1e400}]}', "$.a[0].b", "1e400"),
    "too many digits": ('{"a":' + "7" * 4301 + "}", "$.a", "4,301 digits"),
    "duplicate key": ('{"a":1,"b":{"a":2},"a":3}', "$.a", "twice"),
    "duplicate key, escaped": ('{"m":[{},{"k":1,"\\u006b":2}]}', "$.m[1].k", "twice"),
    "NUL": ('{"a":["x\\u0000y"]}', "$.a[0]", "\\u0000"),
    "NUL in a key": ('{"a":{"\\u0000":1}}', '$.a["\\u0000"]', "\\u0000"),
    "high surrogate": ('{"a":"\\ud83d"}', "$.a", "\\ud83d"),
    "low surrogate, upper case": ('{"a":"\\uDE00"}', "$.a", "\\ude00"),
    "surrogates in the wrong order": ('{"a":"\\ude00\\ud83d"}', "$.a", "\\ude00"),
    "too deep": ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), json_path([0] * MAX_DEPTH), "levels deep"),
    "too deep for the parser": ("[" * 100_000, json_path([0] * MAX_DEPTH), "levels deep"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_place_and_the_reason(case: str) -> None:
    """What jsonb would refuse or change is refused, with the JSON path and the offending thing."""
    text, path, reason = REFUSED[case]
    with pytest.raises(BadLineError) as caught:
        parse(text)
    assert caught.value.json_path == path
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    "text",
    ['"\\ud83d\\ude00"', '"\\\\u0000"', '"\\\\ud83d"', "9223372036854775809", '{"":1,"a":{"":1}}', "3.0632e-05", "-0.0",
     "1" * 4300, "[" * MAX_DEPTH + "]" * MAX_DEPTH, '"\u202f\u2011"'],
)  # fmt: skip
def test_harmless_lookalikes_are_accepted(text: str) -> None:
    """Escaped pairs, escaped backslashes, large integers and odd spaces are good JSON and mean what json says."""
    assert parse(text).value == json.loads(text)
    assert parse(text).inexact == ()


@pytest.mark.parametrize(
    ("literal", "is_exact"),
    [("0.1", True), ("0.10", True), ("1E5", True), ("0.12345678901234567890123", False), ("1e-400", False),
     ("9007199254740993.5", False), ("1e-99999999999999999999", False)],
)  # fmt: skip
def test_digits_that_a_double_loses_are_reported(literal: str, is_exact: bool) -> None:
    """A decimal comes back with its literal text exactly when a double does not hold its digits."""
    parsed = parse('{"a":[0,' + literal + "]}")
    assert parsed.inexact == (() if is_exact else (("$.a[1]", literal),))
    assert type(parsed.value["a"][1]) is float


@given(chat_strategies.json_values)
def test_values_survive_both_spellings(value: object) -> None:
    """Escaped or not, sorted or not, a value is parsed to itself and has one canonical text."""
    canonical = canonical_json(value)
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1)):
        parsed = parse(text)
        assert same_json(parsed.value, value)
        assert canonical_json(json.loads(canonical)) == canonical
        numbered = json.loads(text, parse_float=_whole)
        assert canonical == json.dumps(numbered, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _whole(literal: str) -> float:
    number = Decimal(literal)
    return int(number) if number == number.to_integral_value() else float(number)


@given(chat_strategies.json_values)
def test_what_was_written_of_a_value_is_read_as_it(value: object) -> None:
    """A line of ours is read without looking for what is not in it, and means what the strict parser says."""
    line = line_bytes({"a": value})
    written = parse_written(line) or parse(line.decode())
    assert repr(written.value) == repr(parse(line.decode()).value) == repr({"a": value})
    assert written.inexact == ()


@given(st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1e-4, 9.9e-5, 1e16, 1e15, 123.0]))
def test_what_is_plain_is_written_as_json_does(number: float) -> None:
    """What a line of ours is known to be need not be looked for."""
    written = parse_written(line_bytes({"a": [number, "1e16"]}))
    assert written is not None
    alike = ENCODER.encode(written.value) == json.dumps(written.value, separators=(",", ":")).encode()
    assert alike or not written.is_plain
    assert written.is_plain == is_written_alike(written.value)


@pytest.mark.parametrize("case", [name for name in REFUSED if not name.startswith("duplicate key")])
def test_what_is_refused_is_left_to_the_strict_parser(case: str) -> None:
    """Written by us or not: what the store cannot keep is never taken."""
    assert parse_written(REFUSED[case][0].encode("utf-8", "surrogatepass")) is None


def test_canonical_numbers_are_values() -> None:
    """Spellings of one number are equal, neighbours above 2^53 are not, and true is not 1."""
    assert canonical_json({"b": 1.0, "a": 1e23}) == '{"a":100000000000000000000000,"b":1}'
    assert same_json(-0.0, 0)
    assert not same_json(2**63, 2**63 + 1)
    assert not same_json(True, 1)
    assert not same_json(None, 0)


def test_digest_sees_digits_beyond_a_double() -> None:
    """Two lines that differ only where a double is blind have different digests."""
    first, second = (parse('{"a":0.1234567890123456789' + last + "}") for last in "12")
    assert first.value == second.value
    assert digest(first.value, first.inexact) != digest(second.value, second.inexact)
