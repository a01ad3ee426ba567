"""The arguments of a tool call as one JSON value, whatever their spelling: what tables, metrics and people are shown.

The wire carries arguments as a string that holds JSON, logs hold that string or the object, and some hold nothing. One rule
says which value each of them is:

| recorded | value |
|---|---|
| nothing, `""`, `{}` | `{}` |
| a string that holds JSON | what it holds; read once: a string in it stays a string |
| any other string | the string itself, `is_invalid_json` |
| any other JSON value, null too | that value |

JSON is what RFC 8259 says and UTF-8 can write: `NaN`, infinities, lone surrogates and nesting beyond `jcs.MAX_DEPTH` are
no JSON value. Of keys given twice the last counts. What makes two calls the same is `calls`', over the recorded text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import rfc8785

from pipelines.canonical.jcs import (
    MAX_DEPTH,
    HugeNumber,
    NotJsonError,
    Parsed,
    canonical_text,
    is_plain,
    parse,
    plain_bytes,
    plain_lines,
)

NONE_GIVEN = "{}"
"""The value of a call without arguments."""

_LARGEST = 2**53 - 1
# A fraction that ends in 0, or a negative zero: RFC 8785 spells them in another way than they may be written.
_LOOSE_FRACTION = re.compile(r"\.[0-9]*0(?![0-9])")
_MINUS_ZERO = re.compile(r"-0(?![0-9])")
_MANY = 256
"""Texts read at a time; where one of them asks for care, each is read alone."""
_LINES = msgspec.json.Decoder()


class Arguments(NamedTuple):
    """One call's arguments.

    Attributes:
        text: JSON text of the value: members, strings and numbers as RFC 8785 writes them, and numbers beyond
            2^53 as integers in their digits or doubles with an exponent.
        is_invalid_json: Whether they are a string that holds no JSON; `text` is that string, then.
    """

    text: str
    is_invalid_json: bool = False


def sent_text(recorded: str) -> str:
    """The text of the arguments as the model sent them: the content of a JSON string, any other text as it is."""
    if recorded[:1] != '"':
        return recorded
    try:
        content = json.loads(recorded)
    except ValueError:
        return recorded
    return content if isinstance(content, str) else recorded


def read_arguments(recorded: str | None) -> Arguments:
    """Read the arguments of one call.

    Args:
        recorded: JSON text of what was recorded; text that is not JSON is taken as a string's content. None for nothing.
    """
    if recorded is None:
        return Arguments(NONE_GIVEN)
    sent = sent_text(recorded)
    if not sent:
        return Arguments(NONE_GIVEN)
    try:
        return Arguments(_value_text(sent))
    except NotJsonError as error:
        if sent is recorded and error.flag == "args_too_deep":  # it was recorded as an object, so it is one
            return Arguments(recorded)
        return Arguments(canonical_text(sent), is_invalid_json=True)


def read_many(recorded: Sequence[str]) -> tuple[list[str], list[bool]]:
    """What `read_arguments` says of each of the texts: `text`, and `is_invalid_json`.

    Objects that ask for no care are read and written many at a time.
    """
    texts: list[str] = []
    flags: list[bool] = []
    for start in range(0, len(recorded), _MANY):
        some = recorded[start : start + _MANY]
        plain = _plain_objects(some)
        if plain is None:
            read = [read_arguments(text) for text in some]
            texts += [each.text for each in read]
            flags += [each.is_invalid_json for each in read]
        else:
            texts += plain
            flags += [False] * len(plain)
    return texts, flags


def _plain_objects(texts: Sequence[str]) -> list[str] | None:
    """The values of texts that all are objects and plain, a line each; None where one is not."""
    lines = "\n".join(texts)
    if lines.count("\n") != len(texts) - 1 or not all(text[:1] == "{" and _is_shallow(text) for text in texts):
        return None
    if not is_plain(lines) or _has_loose_number(lines):
        return None
    try:
        values = _LINES.decode_lines(lines)
        return plain_lines(values).decode().split("\n")[:-1] if len(values) == len(texts) else None
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None  # the reader of one says why


def fields_of(recorded: str | None) -> dict[str, str | bool | None]:
    """The fields that a tool call in a table says its arguments by: `arguments`, `recorded` if that is another text, `is_invalid_json`."""
    text, is_invalid = read_arguments(recorded)
    return {"arguments": text, "recorded": None if recorded == text else recorded, "is_invalid_json": is_invalid}


def _has_loose_number(text: str) -> bool:
    return _LOOSE_FRACTION.search(text) is not None or _MINUS_ZERO.search(text) is not None


def _is_shallow(text: str) -> bool:
    return len(text) < MAX_DEPTH or text.count("{") + text.count("[") < MAX_DEPTH


def _value_text(text: str) -> str:
    if _is_shallow(text) and is_plain(text) and not _has_loose_number(text):
        try:
            return plain_bytes(msgspec.json.decode(text)).decode()
        except (msgspec.DecodeError, UnicodeEncodeError):
            pass  # the reader that says why
    parsed: Parsed = parse(text)
    if {"non_finite", "lone_surrogate"}.intersection(parsed.flags):
        raise NotJsonError("args_invalid_json")
    return plain_bytes(parsed.value).decode() if parsed.is_plain else _written(parsed.value)


def _written(value: Any) -> str:
    if isinstance(value, HugeNumber):
        return value.literal
    if isinstance(value, int | float) and abs(value) > _LARGEST:
        return repr(value)  # digits are an integer's, an exponent is a double's: two values, as their hashes say
    if isinstance(value, list):
        return "[" + ",".join(_written(item) for item in value) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_written(key)}:{_written(value[key])}" for key in keys) + "}"
    return rfc8785.dumps(value).decode()
