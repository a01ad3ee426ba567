"""What is told of an error of somebody's SQL: everything while it is bound, and no value of the data when it runs.

Messages of a database quote what they stumbled over, and a function can raise with any text; both may be personal, and
what is told ends in logs and run records, beyond redaction. So nothing is told of a running statement but the kind of
error and the beginning of a message that is known to hold no value.
"""

from __future__ import annotations

import json
import re

import duckdb

_KIND = re.compile(r"[A-Z][A-Za-z/-]*(?: [A-Za-z-]+){0,4}")
_EXCERPT = re.compile(r"\n\s*LINE \d+:.*", re.DOTALL)
_BEGINNINGS = (
    "Could not convert string",
    "Could not convert",
    "Could not cast",
    "Could not parse string",
    "Failed to cast value",
    "Failed to cast decimal value",
    "Casting value",
    "Type",
    "Malformed JSON",
    "Overflow in addition",
    "Overflow in subtraction",
    "Overflow in multiplication",
    "Overflow in division",
    "Overflow on negation",
    "Overflow",
    "More than one row returned by a subquery",
    "Scalar subquery can only return a single row",
    "invalid timestamp field format",
    "invalid date field format",
    "timestamp field value out of range",
    "date field value out of range",
    "Value",
    "cannot take",
    "JSON path error",
    "Invalid type",
    "Invalid JSON path",
    "Duplicate key",
    "Map keys must be unique",
    "Map keys can not be NULL",
    "out of range",
)


def read_error(error: duckdb.Error) -> tuple[str, int | None]:
    """(message on one line, byte position in the statement or None) of an error of binding; it may hold values."""
    kind, _, rest = str(error).partition(": ")
    try:
        told = json.loads(rest)
        message, position = told["exception_message"], told.get("position")
    except (ValueError, KeyError, TypeError):
        message, position = _EXCERPT.sub("", rest or kind), None
    text = " ".join(
        part if part[-1] in ".!?:," else f"{part}." for part in map(str.strip, message.splitlines()) if part
    )
    return f"{kind}: {text.rstrip('.')}", None if position is None else int(position)


def without_values(error: duckdb.Error) -> str:
    """What may be told of an error of a running statement: its kind, and how its message begins where that is known."""
    kind, _, message = read_error(error)[0].partition(": ")
    if not _KIND.fullmatch(kind):
        kind = type(error).__name__
    known = next((each for each in _BEGINNINGS if message.startswith(each)), "")
    return f"{kind}: {known} …" if known else f"{kind} …"
