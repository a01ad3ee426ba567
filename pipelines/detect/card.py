"""Numbers of payment cards: issuer, length, check digit; in groups of spaces or dashes, or not.

Twelve and thirteen digits are goods, parcels and times far more often than cards: they count where a word for a card stands before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.detect.context import is_called, is_in_account, is_other
from pipelines.detect.detector import Span
from pipelines.detect.plain import plain

_CANDIDATE = re.compile(r"[0-9](?<![\w+$€£#].)(?<![0-9A-Za-z][.,:/-].)(?:[ -]?[0-9]){11,24}(?![\w])(?![.,:/-][0-9])")
_ESCAPED = re.compile(r"(?<=\\[nrt])[0-9](?:[ -]?[0-9]){11,24}(?![\w])(?![.,:/-][0-9])")
_GROUP = re.compile(r"[0-9]+(?:-[0-9]+)*")
"""Digits up to a space."""
_SEPARATOR = re.compile(r"[ -]")
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:30[0-5]\d|3095|36\d{2}|3[89]\d{2})\d{10,15}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|(?:6011|64[4-9]\d|65\d{2})\d{12,15}"  # Discover
    r"|62\d{14,17}"  # UnionPay
    r"|220[0-4]\d{12,15}"  # Mir
    r"|(?:50(?:18|20|38)|5[68]\d{2}|5893|6304|67\d{2}|639\d|60\d{2}|6[13]\d{2})\d{8,15}"  # Maestro and its kin
    r"|(?:508\d|8[12]\d{2})\d{12}"  # RuPay
    r"|506[01]\d{12,15}"  # Verve
    r"|(?:9792|6361)\d{12}"  # Troy
)
_GROUPINGS = re.compile(
    r"\d{4}(?:[ -]\d{4}){2,3}(?:[ -]\d{1,4})?|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{6}[ -]\d{13}|\d{8}[ -]\d{4,11}|\d{12,19}|\d{4}[ -]\d{5}[ -]\d{6}"
)
_WORD = re.compile(
    r"(?i:(?<![^\W\d_])(?:cards?|credit|debit|visa|master ?card|amex|maestro|discover|pan|cc|(?:kredit|debit)?karten?\w*|carte|tarjeta|carta|"
    r"cart[aã]o|kort|karta|kaart)(?![^\W\d_])|カード|卡|카드)"
)
_GROUPED, _BARE, _SHORT = 0.95, 0.9, 0.8
_FEW, _OTHER = 13, 3


class CardDetector:
    """Payment cards; a key or a word decides about the short ones, and against what is called an order or the like."""

    name = "card"

    def find(self, text: str, key: str | None = None) -> Iterator[Span]:
        """Spans of card numbers, in the order of the text."""
        line = plain(text)
        for match in (*_CANDIDATE.finditer(line), *(_ESCAPED.finditer(line) if "\\" in line else ())):
            for start, end in _parts(match):
                score = _score(line, start, end, key)
                if score:
                    yield Span(start, end, "card", score)
                    break


def _parts(match: re.Match[str]) -> Iterator[tuple[int, int]]:
    """Where a number may stand in a run of digits, the longest first: other numbers may be before it and after it, of up to three digits."""
    groups = [(match.start() + each.start(), match.start() + each.end()) for each in _GROUP.finditer(match[0])]
    first = [place for place in range(len(groups)) if place == 0 or _length(groups[place - 1]) <= _OTHER]
    for begin in first[:2]:
        yield groups[begin][0], groups[-1][1]
        if len(groups) - begin > 1 and _length(groups[-1]) <= _OTHER:
            yield groups[begin][0], groups[-2][1]


def _length(group: tuple[int, int]) -> int:
    return group[1] - group[0]


def _score(line: str, start: int, end: int, key: str | None) -> float:
    """How sure it is that this is a card's number, or 0."""
    found = line[start:end]
    number = _SEPARATOR.sub("", found)
    if not (_ISSUERS.fullmatch(number) and _GROUPINGS.fullmatch(found) and has_check_digit(number)):
        return 0.0
    if is_in_account(line, start):
        return 0.0
    if len(number) <= _FEW:
        return _SHORT if is_called(line, start, key, _WORD) else 0.0
    if len(number) < len(found):
        return _GROUPED
    return 0.0 if is_other(line, start, key) and not is_called(line, start, key, _WORD) else _BARE


def has_check_digit(number: str) -> bool:
    """Whether the last digit is the one that ISO/IEC 7812-1 demands (Luhn)."""
    doubled = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    values = [int(digit) for digit in reversed(number)]
    return (sum(values[::2]) + sum(doubled[value] for value in values[1::2])) % 10 == 0
