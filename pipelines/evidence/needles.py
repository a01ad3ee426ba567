r"""What must stand in the JSON text of an event in which a text stands, however it is spelled: for a scan to leave the others out.

PostgreSQL writes jsonb with what it must escape escaped; a string in it may hold JSON of anybody's, in which `é` is `\u00e9`, `/` is
`\/` and `<` is `\u003c`. So what is looked for are the parts of a text that no writer escapes. What is found is read and compared:
this leaves nothing out and may let anything in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache

from pipelines.duck import quote_literal

_LITERAL = re.compile(r"[A-Za-z0-9 .,:;!?@#$%^*()_\[\]{}|~-]+")
"""Runs of characters that writers of JSON write as they are."""
_LITERAL_OF_ANY_CASE = re.compile(_LITERAL.pattern.replace("A-Za-z", "A-JL-Za-jl-z"))
"""Likewise; the sign for Kelvin is a capital k, too, and may be escaped."""
_RUNS = 3
_PLAIN_DIGITS = 300
"""Digits up to which a number is looked for as people write it."""
_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def narrows(columns: tuple[str, ...], texts: list[str], *, ignore_case: bool = False) -> str:
    """An SQL condition that holds wherever all `texts` stand in one of the columns, which are JSON text; TRUE where nothing can be told.

    Args:
        columns: The columns, as SQL.
        texts: What stands there, decoded.
        ignore_case: Whether in any case of letters; then the columns are compared in small letters.
    """
    alternatives = []
    for column in columns:
        compared = f"lower({column})" if ignore_case else column
        told = [condition for text in texts if (condition := _narrow(compared, text, ignore_case=ignore_case))]
        alternatives.append(" AND ".join(told) if told else "TRUE")
    return f"({' OR '.join(f'({each})' for each in alternatives)})"


def narrows_number(column: str, number: Decimal) -> str:
    """An SQL condition that holds wherever a number stands in a column of JSON text, however it is written."""
    if abs(number.adjusted()) > _PLAIN_DIGITS:
        return "TRUE"
    plain = f"{number.copy_abs():f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return f"(contains({column}, {quote_literal(plain or '0')}) OR regexp_matches({column}, '[0-9][eE][+-]?[0-9]'))"


def _narrow(compared: str, text: str, *, ignore_case: bool) -> str:
    """Of one text in one column; nothing where there is nothing to look for."""
    pattern = _LITERAL_OF_ANY_CASE if ignore_case else _LITERAL
    runs = sorted(pattern.findall(text), key=len, reverse=True)[:_RUNS]
    joint = " AND " if runs else " OR "
    told = sorted(runs or set(_spellings(text[:1], ignore_case=ignore_case)))
    sought = [f"lower({quote_literal(each)})" if ignore_case else quote_literal(each) for each in told]
    return f"({joint.join(f'contains({compared}, {each})' for each in sought)})" if sought else ""


def _spellings(character: str, *, ignore_case: bool) -> Iterator[str]:
    """Every way in which a character may be written, or a part of it that all of these have."""
    for each in [character, *_capitals().get(small(character), ())] if ignore_case else character:
        if each in _SHORT:
            yield _SHORT[each]
        elif each >= " ":
            yield each
        unit = int.from_bytes(each.encode("utf-16-be")[:2])
        yield from (f"u{unit:04x}", f"u{unit:04X}")


@cache
def _capitals() -> dict[str, list[str]]:
    """Of each small letter those whose small one it is, and itself."""
    found: dict[str, list[str]] = {}
    for each in map(chr, range(0x110000)):
        lowered = each.lower()
        if lowered != each and len(lowered) == 1:
            found.setdefault(lowered, [lowered]).append(each)
    return found


def small(text: str) -> str:
    """A text in small letters, each in its place: letters that would become two stay as they are."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(each if len(each.lower()) != 1 else each.lower() for each in text)
