r"""JSON text to values and values to canonical bytes: RFC 8785 (JCS), made total.

JCS is defined for what a double can hold. Recorded arguments also hold 64-bit ids, `NaN`, `1e400` and broken Unicode,
and two different ids must never get one hash. The scheme `jcs+bigint/1` therefore maps what JCS cannot say to objects
with one reserved key, before RFC 8785 is applied:

* an integer beyond ±(2^53 - 1), written without fraction or exponent: `{"$int": "<decimal digits>"}`
* `NaN`, `Infinity`, a number too large for a double: `{"$float": "NaN"}`, `{"$float": "1e400"}` (as written)
* a string with a lone surrogate: `{"$utf16": "<ASCII with \u escapes>"}`; as a key: `"$utf16:<the same>"`
* a recorded key that looks like one of these gets one more `$`, so that the mapping stays one-to-one.

Everything else is plain RFC 8785. What a tool call means, rules and hashes of calls live in `rules` and `calls`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec
import rfc8785

SCHEME = "jcs+bigint/1"
"""Name of the mapping; part of whatever identifies a stored hash."""

MAX_DEPTH = 128
"""Deepest nesting read as JSON. Fixed, because Python's own limit depends on the stack of the caller."""

Flag = Literal[
    "args_invalid_json",
    "args_missing",
    "args_not_object",
    "args_too_deep",
    "big_number",
    "duplicate_keys",
    "lone_surrogate",
    "non_finite",
]
"""What is odd about recorded arguments. All but the first and `args_too_deep` leave them comparable as JSON."""

_SAFE = 2**53 - 1
_DIGITS_AS_INT = 4_000  # CPython refuses to convert longer literals (4,300 digits); they stay text
_RESERVED_KEY = re.compile(r"\$+(?:int|float|utf16(?::.*)?)", re.DOTALL)

# Long digit runs and exponents; characters (and escapes of such) for which UTF-16 and code-point order differ.
_RISKY_NUMBER = re.compile(r"[0-9](?:[eE]|[0-9]{15})")
_DIGITS, _SIXTEEN = str.maketrans("123456789E", "000000000e"), "0" * 16
_RISKY_CHARACTER = re.compile(r"[\ud800-\U0010ffff]")
_RISKY_ESCAPE = re.compile(r"\\u[d-fD-F]")
_ENCODER = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class HugeNumber:
    """A number literal that neither a double nor a practical int can hold, kept as written.

    Attributes:
        kind: `int` or `float`: how the literal was written.
        literal: The literal; of a float, with a lower-case `e` and no `+`.
    """

    kind: Literal["int", "float"]
    literal: str


class Parsed(NamedTuple):
    """One JSON text, read.

    Attributes:
        value: Dicts, lists, strings, booleans, None, int, float and `HugeNumber`. An integral number within
            ±(2^53 - 1) is an int however it was written, as JSON has one number type.
        flags: What was odd, sorted.
        is_plain: Whether `value` needs no mapping and sorts alike by code point and UTF-16 (a fast path, no meaning).
    """

    value: Any
    flags: tuple[Flag, ...] = ()
    is_plain: bool = False


class NotJsonError(ValueError):
    """A text is not JSON that can be compared; `flag` says why. Callers turn it into a flag, users never see it."""

    def __init__(self, flag: Literal["args_invalid_json", "args_too_deep"]) -> None:
        super().__init__(flag)
        self.flag: Literal["args_invalid_json", "args_too_deep"] = flag


class _DuplicateKeysError(Exception):
    """Leaves the fast reader, which keeps no state and so cannot flag."""


def canonical_bytes(value: Any) -> bytes:
    """Return the canonical bytes of a JSON value under `SCHEME`.

    Args:
        value: What `parse` returns, or any tree of dict, list, tuple, str, bool, int, float, `HugeNumber` and None.

    Returns:
        UTF-8 bytes; equal for two values exactly when they are the same JSON value.

    Raises:
        TypeError: A value or key of another type.
    """
    return rfc8785.dumps(_to_jcs_domain(value))


def canonical_text(value: Any) -> str:
    """Return the canonical bytes as text: valid JSON for whatever was recorded, to be shown or stored in a column."""
    return canonical_bytes(value).decode()


def plain_bytes(value: Any) -> bytes:
    """Return the same bytes as `canonical_bytes`, several times faster, for a value that `parse` called plain."""
    return _ENCODER.encode(value)


def plain_lines(values: Sequence[Any]) -> bytes:
    """`plain_bytes` of many values, each with a line feed behind it."""
    return _ENCODER.encode_lines(values)


def string_bytes(text: str) -> bytes:
    """Return the canonical bytes of one string."""
    try:
        return _ENCODER.encode(text)
    except UnicodeEncodeError:
        return canonical_bytes(text)


def parse(text: str) -> Parsed:
    """Read one JSON text the way every comparison here reads it.

    Of duplicate keys the last one counts, as in PostgreSQL's jsonb and in most parsers, and a flag is set.

    Args:
        text: JSON, with `NaN` and `Infinity` allowed because models write them.

    Returns:
        Value and flags.

    Raises:
        NotJsonError: The text is not JSON (a byte-order mark counts as that), or is nested deeper than `MAX_DEPTH`.
    """
    try:
        if is_plain(text):
            try:
                parsed = Parsed(_decode_fast(text), (), is_plain=True)
            except _DuplicateKeysError:
                parsed = _parse_with_flags(text)
        else:
            parsed = _parse_with_flags(text)
    except RecursionError:
        raise NotJsonError("args_too_deep") from None
    except ValueError:
        raise NotJsonError("args_invalid_json") from None
    # Counting brackets bounds the depth from above, so nearly every text is spared the walk.
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(parsed.value) > MAX_DEPTH:
        raise NotJsonError("args_too_deep")
    return parsed


def is_plain(text: str) -> bool:
    """Whether the fast encoder certainly writes the value of `text` as RFC 8785 does, without any mapping."""
    return not (
        "$" in text  # perhaps a reserved key
        or ("N" in text and "NaN" in text)  # one character is found many times faster than several
        or "Infinity" in text
        or "0.0000" in text  # may be written 1e-05 where ECMAScript writes 0.00001
        or ("\\" in text and "\\u" in text and _RISKY_ESCAPE.search(text))
        or (not text.isascii() and _RISKY_CHARACTER.search(text))
        or _has_risky_number(text)
    )


def _has_risky_number(text: str) -> bool:
    """Whether `_RISKY_NUMBER` is in it; looked for without it where that is several times faster."""
    if not text.isascii():
        return _RISKY_NUMBER.search(text) is not None
    digits = text.translate(_DIGITS)
    return "0e" in digits or _SIXTEEN in digits


def _plain_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateKeysError
    return result


def _number(literal: str) -> int | float:
    number = float(literal)
    return int(number) if number.is_integer() and abs(number) <= _SAFE else number


_FAST_DECODER = json.JSONDecoder(object_pairs_hook=_plain_object, parse_float=_number)


def _decode_fast(text: str) -> Any:
    if text[:1] == "{":
        value, end = _FAST_DECODER.raw_decode(text)
        if end == len(text):
            return value
    return _FAST_DECODER.decode(text)  # white space around it, or more after it


def _parse_with_flags(text: str) -> Parsed:
    flags: set[Flag] = set()

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            flags.add("duplicate_keys")
        return result

    def read_int(literal: str) -> int | HugeNumber:
        if len(literal) > _DIGITS_AS_INT:
            flags.add("big_number")
            return HugeNumber("int", literal)
        number = int(literal)
        if abs(number) > _SAFE:
            flags.add("big_number")
        return number

    def read_float(literal: str) -> int | float | HugeNumber:
        if math.isinf(float(literal)):
            flags.add("big_number")
            return HugeNumber("float", literal.lower().replace("e+", "e"))
        return _number(literal)

    def read_constant(name: str) -> float:
        flags.add("non_finite")
        return float(name)

    decoder = json.JSONDecoder(
        object_pairs_hook=read_object, parse_int=read_int, parse_float=read_float, parse_constant=read_constant
    )
    value = decoder.decode(text)
    # Only an escape can bring a lone surrogate into well-formed text, but Python strings may hold one directly.
    if re.search(r"\\u[dD]|[\ud800-\udfff]", text) and _has_lone_surrogate(value):
        flags.add("lone_surrogate")
    return Parsed(value, tuple(sorted(flags)))


def _to_jcs_domain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if _is_well_formed(value) else {"$utf16": _escaped(value)}
    if isinstance(value, int | float | HugeNumber):
        return _number_in_domain(value)
    if isinstance(value, list | tuple):
        return [_to_jcs_domain(item) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): _to_jcs_domain(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _number_in_domain(value: float | HugeNumber) -> Any:
    if isinstance(value, HugeNumber):
        return {f"${value.kind}": value.literal}
    if isinstance(value, int):
        return value if abs(value) <= _SAFE else {"$int": str(value)}
    if math.isfinite(value):
        return value
    return {"$float": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"an object key must be a string, got {type(key).__name__}")
    if not _is_well_formed(key):
        return "$utf16:" + _escaped(key)
    return "$" + key if key.startswith("$") and _RESERVED_KEY.fullmatch(key) else key


def _is_well_formed(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _has_lone_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        return not _is_well_formed(value)
    if isinstance(value, list):
        return any(_has_lone_surrogate(item) for item in value)
    if isinstance(value, dict):
        return any(not _is_well_formed(key) or _has_lone_surrogate(item) for key, item in value.items())
    return False


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return deepest
