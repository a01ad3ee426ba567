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
)

NONE_GIVEN = "{}"
"""The value of a call without arguments."""

_LARGEST = 2**53 - 1
# A fraction that ends in 0, or a negative zero: RFC 8785 spells them in another way than they may be written.
_LOOSE_NUMBER = re.compile(r"\.[0-9]*0(?![0-9])|-0")


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


def fields_of(recorded: str | None) -> dict[str, str | bool | None]:
    """The fields that a tool call in a table says its arguments by: `arguments`, `recorded` if that is another text, `is_invalid_json`."""
    text, is_invalid = read_arguments(recorded)
    return {"arguments": text, "recorded": None if recorded == text else recorded, "is_invalid_json": is_invalid}


def _value_text(text: str) -> str:
    if text.count("{") + text.count("[") < MAX_DEPTH and is_plain(text) and _LOOSE_NUMBER.search(text) is None:
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
