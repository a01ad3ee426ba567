"""Canonical bytes: RFC 8785 where it is defined, one-to-one where it is not."""

from __future__ import annotations

import hashlib
import json
import re
from itertools import islice

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.canonical import jcs
from pipelines.canonical.jcs import (
    MAX_DEPTH,
    NotJsonError,
    canonical_bytes,
    canonical_text,
    parse,
    plain_bytes,
    string_bytes,
)
from tests.support import call_strategies
from tests.unit.canonical.es6_numbers import CHECKSUMS, as_double, bit_patterns

LARGEST = 2**53 - 1


def bytes_of(text: str) -> bytes:
    """Canonical bytes of a JSON text along the way that hashes take."""
    parsed = parse(text)
    return plain_bytes(parsed.value) if parsed.is_plain else canonical_bytes(parsed.value)


@pytest.mark.parametrize("lines", CHECKSUMS)
def test_numbers_are_written_as_published(lines: int) -> None:
    """The first N lines of the published number sequence hash to the published checksum."""
    digest = hashlib.sha256()
    for bits in islice(bit_patterns(), lines):
        digest.update(b"%x,%s\n" % (bits, canonical_bytes(as_double(bits))))
    assert digest.hexdigest() == CHECKSUMS[lines]


def test_numbers_read_from_text_are_written_as_published() -> None:
    """The same through the reader and its fast path, except integral numbers that are integers beyond 2^53 - 1."""
    for bits in islice(bit_patterns(), 10_000):
        number = as_double(bits)
        assert bytes_of(repr(number)) == rfc8785.dumps(number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            (
                '{"numbers": [1E30, 4.50, 333333333.33333329, 2e-3, 0.000000000000000000000000001], '
                '"escaping": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}'
            ),
            (
                '{"escaping":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/","literals":[null,true,false],'
                '"numbers":[1e+30,4.5,333333333.3333333,0.002,1e-27]}'
            ),
        ),
        (
            '{"\\u20ac": 1, "1": 2, "\\u0080": 3, "\\ud83d\\ude02": 4, "\\u00f6": 5, "\\ufb33": 6, "</script>": 7}',
            '{"1":2,"</script>":7,"\u0080":3,"ö":5,"€":1,"\U0001f602":4,"\ufb33":6}',
        ),
    ],
)
def test_published_examples(text: str, expected: str) -> None:
    """The values and key-order examples of RFC 8785 (section 3.2 and its reference test data) come out byte for byte."""
    assert bytes_of(text).decode() == expected


@given(call_strategies.values)
def test_fast_path_equals_rfc8785(value: object) -> None:
    """Reading text and writing it on the fast path gives what the general way gives for the value."""
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert bytes_of(text) == canonical_bytes(value)


@given(call_strategies.values)
def test_canonical_bytes_are_a_fixed_point(value: object) -> None:
    """Canonical bytes, read again, are themselves, but for what needs mapping and doubles that look like big integers."""
    first = canonical_bytes(value)
    if not re.search(rb"\$|[0-9]{16}", first):
        assert bytes_of(first.decode()) == first


@given(call_strategies.values, call_strategies.values)
def test_bytes_are_equal_exactly_for_equal_values(a: object, b: object) -> None:
    """Two values share bytes exactly when they are one JSON value: 1 is 1.0, but neither true nor "1"."""

    def shape(value: object) -> object:
        if isinstance(value, dict):
            return "object", tuple(sorted((key, shape(item)) for key, item in value.items()))
        if isinstance(value, list):
            return "array", tuple(shape(item) for item in value)
        if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST:
            value = int(value)
        return type(value).__name__, repr(value)

    assert (canonical_bytes(a) == canonical_bytes(b)) == (shape(a) == shape(b))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.00001", "0.00001"),
        ("0.0000001", "1e-7"),
        ("1e5", "100000"),
        ("-0.0", "0"),
        ("-0", "0"),
        ("1.50", "1.5"),
        ("1E21", "1e+21"),
        ("333333333.33333329", "333333333.3333333"),
    ],
)
def test_numbers_are_written_one_way(text: str, expected: str) -> None:
    """However a number is written, its bytes are ECMAScript's, alone and inside an object."""
    assert bytes_of(text).decode() == expected
    assert bytes_of(f'{{"n": {text}}}').decode() == f'{{"n":{expected}}}'


def test_integers_beyond_a_double_stay_apart() -> None:
    """2^53 and 2^53 + 1 are different ids; so are 2^63 and longer ones, and 10,000 digits are no error."""
    texts = [str(2**53), str(2**53 + 1), str(2**63), str(-(2**63)), "1" * 10_000, "1" * 9_999 + "2"]
    assert len({bytes_of(text) for text in texts}) == len(texts)
    assert bytes_of(str(2**53 + 1)) == b'{"$int":"9007199254740993"}'
    assert all(parse(text).flags == ("big_number",) for text in texts)
    assert bytes_of(str(LARGEST)) == str(LARGEST).encode()
    assert parse(str(LARGEST)).flags == ()


def test_what_is_no_double_is_mapped_and_flagged() -> None:
    """NaN, the infinities and 1e400 are five different values, flagged."""
    texts = ["NaN", "Infinity", "-Infinity", "1e400", "-1E+400"]
    assert [bytes_of(text) for text in texts] == [
        b'{"$float":"NaN"}',
        b'{"$float":"Infinity"}',
        b'{"$float":"-Infinity"}',
        b'{"$float":"1e400"}',
        b'{"$float":"-1e400"}',
    ]
    assert [parse(text).flags for text in texts] == [("non_finite",)] * 3 + [("big_number",)] * 2
    assert canonical_bytes(float("nan")) == b'{"$float":"NaN"}'


def test_mapped_values_collide_with_nothing_recorded() -> None:
    """A recorded object that looks like a mapped value keeps bytes of its own."""
    texts = [
        str(2**60),
        json.dumps({"$int": str(2**60)}),
        json.dumps({"$$int": str(2**60)}),
        '"\\ud800"',
        '{"$utf16": "\\\\ud800"}',
        '{"\\ud800": 1}',
        '{"$utf16:\\\\ud800": 1}',
        '{"$$utf16:\\\\ud800": 1}',
    ]
    assert len({bytes_of(text) for text in texts}) == len(texts)


def test_lone_surrogates_are_flagged_wherever_they_are() -> None:
    """A lone surrogate in a key, an element or alone is flagged and hashable; a pair is an ordinary character."""
    for text in ('"\\ud800"', '["\\udc00x"]', '{"\\ud800": 1}', '"\ud800"'):
        assert parse(text).flags == ("lone_surrogate",)
        bytes_of(text)
    assert parse('"\\ud83d\\ude00"').flags == ()
    assert bytes_of('"\\ud83d\\ude00"') == '"\U0001f600"'.encode()
    assert string_bytes("\ud800") == canonical_bytes("\ud800")


@pytest.mark.parametrize("plain", ['{"a": 1, "a": 2}', '{"a": "$", "a": 2}'])
def test_of_duplicate_keys_the_last_counts(plain: str) -> None:
    """Duplicate keys are flagged, and the last one is the value, on the fast path and off it."""
    assert parse(plain).value == {"a": 2}
    assert parse(plain).flags == ("duplicate_keys",)


@pytest.mark.parametrize("text", ["", " ", "{", "{'a': 1}", "\ufeff{}", '{"a": ""b""}', '"\x01"', "01", "nul", "{} {}"])
def test_what_is_not_json_is_refused(text: str) -> None:
    """Text that is not JSON, with a byte-order mark or with raw control characters, is not guessed at."""
    with pytest.raises(NotJsonError) as refused:
        parse(text)
    assert refused.value.flag == "args_invalid_json"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_nesting_has_one_limit(depth: int) -> None:
    """Deeper than the limit is refused by name, whether or not Python could have read it."""
    with pytest.raises(NotJsonError) as refused:
        parse("[" * depth + "]" * depth)
    assert refused.value.flag == "args_too_deep"
    parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    parse("[" + "[]," * 1_000 + "[]]")


def test_whatever_was_recorded_can_be_shown_as_json() -> None:
    """The text of a value is valid JSON and valid Unicode, also for NaN, endless digits and lone surrogates."""
    text = canonical_text(parse('[NaN, 1e400, "\\ud800", ' + "7" * 5_000 + "]").value)
    assert json.loads(text)[0] == {"$float": "NaN"}
    assert text.encode()


@given(st.dictionaries(st.integers(), st.none(), min_size=1))
def test_what_is_no_json_value_is_an_error(value: object) -> None:
    """Keys that are not strings, and types JSON does not have, raise instead of being turned into something."""
    with pytest.raises(TypeError):
        canonical_bytes(value)
    with pytest.raises(TypeError):
        canonical_bytes([{1, 2}])


@settings(max_examples=500)
@given(st.text(st.sampled_from("0159eE.+-a\u00e9 "), max_size=40))
def test_numbers_that_ask_for_care_are_found_either_way(text: str) -> None:
    """A digit before an exponent, and sixteen digits in a row, are found with the pattern and without it."""
    assert jcs._has_risky_number(text) == (re.search(r"[0-9](?:[eE]|[0-9]{15})", text) is not None)
    digits = text.replace(" ", "7" * 15)
    assert jcs._has_risky_number(digits) == (re.search(r"[0-9](?:[eE]|[0-9]{15})", digits) is not None)
