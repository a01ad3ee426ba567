r"""JSON as the store can keep it: parse a line, or say where and why it cannot be kept.

The C parser does the work. Only when it objects does a scan in Python find the JSON path of the fault, so good lines
pay nothing for good errors. Refused, because PostgreSQL's jsonb would refuse or silently change them: duplicate keys,
NaN and Infinity, numbers outside the range of a double or with more digits than Python and PostgreSQL take, `\u0000`,
lone surrogates, nesting deeper than `MAX_DEPTH`. A decimal with more digits than a double holds is accepted, and
reported with its literal text, so that the importer can keep it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import msgspec

from pipelines.ingest.faults import BadLineError, json_path

MAX_DEPTH = 200
"""Deeper than any real message, and well inside the stacks of Python (1,000 frames) and PostgreSQL (2 MB)."""
MAX_INT_DIGITS = 4300
"""Python's own limit for reading an integer; PostgreSQL's numeric takes 131,072."""

# Possessive, so that a 50 MB string is one step and leaves nothing to backtrack into.
_TOKEN = re.compile(r'[ \t\n\r]*+(?:("[^"\\]*+(?:\\.[^"\\]*+)*+")|([{}\[\],:])|([^\s{}\[\],:"]++)|(.))', re.DOTALL)
_INTEGER = re.compile(r"-?\d+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LEAST_PLAIN, _ABOVE_PLAIN = 1e-4, 1e16
"""Beyond these some encoders write an exponent."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """One parsed line.

    Attributes:
        value: The JSON value; numbers are int or float.
        inexact: `(json_path, literal)` of each number whose digits a double does not hold, in document order.
        is_plain: Whether it is known that all encoders write it alike: no number of it is so small or large that some of them
            write an exponent.
    """

    value: Any
    inexact: tuple[tuple[str, str], ...] = ()
    is_plain: bool = False


class InexactFloat(float):
    """A float that remembers the literal it could not hold."""

    __slots__ = ("literal",)
    literal: str


class _RefusedError(ValueError):
    """A hook met a value that may not be kept; the scan says where."""


def parse(text: str) -> Parsed:
    """The value of one line of JSON.

    Raises:
        BadLineError: The text is not JSON, or holds something that the store cannot keep.
    """
    seen_inexact = False

    def real(literal: str) -> float:
        nonlocal seen_inexact
        number = read_decimal(literal)
        if math.isinf(number):
            raise _RefusedError
        seen_inexact |= isinstance(number, InexactFloat)
        return number

    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_float=real, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        _explain(text, error)
    except (ValueError, RecursionError):
        _explain(text, None)
    # A raw NUL never gets this far; escapes of NUL and surrogates do, and most of them are pairs (emoji).
    check_strings = "\\u0000" in text or "\\ud" in text or "\\uD" in text
    inexact: list[tuple[str, str]] = []
    if not check_strings and not seen_inexact and not _is_deep(value):
        return Parsed(value)
    value = _inspect(value, [], check_strings=check_strings, inexact=inexact if seen_inexact else None)
    return Parsed(value, tuple(inexact))


def parse_written(data: bytes) -> Parsed | None:
    """The value of a line that was written of a JSON value, so that no key comes twice and every number is read as it was.

    None where `parse` must look: what the store cannot keep is refused by it, with the place.
    """
    if b"\\u0000" in data:
        return None
    odd: list[float] = []

    def real(literal: str) -> float:
        number = float(literal)
        if number and not _LEAST_PLAIN <= abs(number) < _ABOVE_PLAIN:
            odd.append(number)
        return number

    try:
        value = msgspec.json.Decoder(float_hook=real).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return None
    if any(map(math.isinf, odd)) or _is_deep(value):
        return None
    return Parsed(value, is_plain=not odd)


def read_decimal(literal: str) -> float:
    """The double of a decimal's literal, which it remembers where it is another number."""
    number = float(literal)
    if repr(number) == literal or math.isinf(number) or _is_exactly(literal, number):
        return number
    kept = InexactFloat(number)
    kept.literal = literal
    return kept


def path_at(text: str, position: int) -> str:
    """The JSON path of the value that stands at, or was expected at, `position` of `text`."""
    return _scan(text, position)[0]


def _is_exactly(literal: str, number: float) -> bool:
    """Whether the shortest text of `number` says the same decimal as `literal`."""
    try:
        return Decimal(literal) == Decimal(repr(number))
    except InvalidOperation:  # an exponent beyond even Decimal's range
        return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _RefusedError
    return result


def _refuse(literal: str) -> NoReturn:
    raise _RefusedError(literal)


def _explain(text: str, error: json.JSONDecodeError | None) -> NoReturn:
    path, reason = _scan(text, len(text) if error is None else error.pos)
    if reason is None and error is not None:
        reason = f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1}"
        if error.msg == "Extra data" and path == "$":
            reason += "; each line must hold exactly one JSON object"
    raise BadLineError(path, reason or "cannot be parsed as JSON") from None


@dataclass(slots=True)
class _Frame:
    """One open object or array of the scan."""

    keys: set[str] | None
    step: str | int | None = None
    is_key_next: bool = False


def _scan(text: str, stop: int) -> tuple[str, str | None]:
    """The path and reason of the first refusable token before `stop`; else the path at `stop` and no reason."""
    frames: list[_Frame] = []

    def path() -> str:
        return json_path([frame.step for frame in frames if frame.step is not None])

    for match in _TOKEN.finditer(text):
        kind = match.lastindex
        if kind is None or match.start(kind) >= stop:
            break
        token = match.group(kind)
        frame = frames[-1] if frames else None
        if kind == 1 and frame is not None and frame.is_key_next and frame.keys is not None:
            key = _decoded(token)
            frame.step, frame.is_key_next = key, False
            if key in frame.keys:
                return path(), "the key occurs twice in one object; the store would keep only the last"
            frame.keys.add(key)
        elif kind == 2:
            _punctuate(token, frames)
            if len(frames) > MAX_DEPTH:
                return path(), f"nested more than {MAX_DEPTH} levels deep"
        elif kind == 3 and (reason := _refusal(token)):
            return path(), reason
    return path(), None


def _punctuate(mark: str, frames: list[_Frame]) -> None:
    if mark == "{":
        frames.append(_Frame(set(), None, is_key_next=True))
    elif mark == "[":
        frames.append(_Frame(None, 0))
    elif mark in "}]":
        if frames:
            frames.pop()
    elif mark == "," and frames:
        frame = frames[-1]
        if isinstance(frame.step, int):
            frame.step += 1
        elif frame.keys is not None:
            frame.step, frame.is_key_next = None, True


def _decoded(token: str) -> str:
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token[1:-1]


def _refusal(token: str) -> str | None:
    """Why a bare token may not be kept, or None."""
    if token in ("NaN", "Infinity", "-Infinity"):
        return f"{token} is not JSON; write null or a string"
    if _INTEGER.fullmatch(token):
        digits = len(token.lstrip("-"))
        return (
            f"an integer of {digits:,} digits; at most {MAX_INT_DIGITS:,} can be kept"
            if digits > MAX_INT_DIGITS
            else None
        )
    if _NUMBER.fullmatch(token) and math.isinf(float(token)):
        shown = token if len(token) <= 40 else token[:40] + "…"
        return f"the number {shown} is outside the range of a double (about 1.8e308)"
    return None


def _is_deep(value: Any) -> bool:
    """Whether a value nests others more than `MAX_DEPTH` levels deep."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True


def _inspect(value: Any, steps: list[str | int], *, check_strings: bool, inexact: list[tuple[str, str]] | None) -> Any:
    """`value` with every `InexactFloat` made a plain float and noted; refuses unkeepable strings and deep nesting."""
    if isinstance(value, str):
        if check_strings:
            _check_string(value, steps, "the string")
    elif isinstance(value, dict):
        _check_depth(steps)
        for key, inner in value.items():
            if check_strings:
                _check_string(key, [*steps, key], "the key")
            value[key] = _inspect(inner, [*steps, key], check_strings=check_strings, inexact=inexact)
    elif isinstance(value, list):
        _check_depth(steps)
        for index, inner in enumerate(value):
            value[index] = _inspect(inner, [*steps, index], check_strings=check_strings, inexact=inexact)
    elif inexact is not None and isinstance(value, InexactFloat):
        inexact.append((json_path(steps), value.literal))
        return float(value)
    return value


def _check_depth(steps: list[str | int]) -> None:
    if len(steps) >= MAX_DEPTH:
        raise BadLineError(json_path(steps), f"nested more than {MAX_DEPTH} levels deep")


def _check_string(text: str, steps: list[str | int], what: str) -> None:
    if "\0" in text:
        raise BadLineError(json_path(steps), f"{what} holds \\u0000, which PostgreSQL cannot store")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise BadLineError(
            json_path(steps), f"{what} holds the lone surrogate \\u{code:04x}, which is not a character"
        ) from None
