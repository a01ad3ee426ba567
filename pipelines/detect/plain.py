"""The text with one spelling for each digit, dash, space and letter of full width; every code point keeps its place.

Detectors look at this text, so that a number copied from a page with U+2011 or typed with Arabic digits is found; their spans hold in the
text as it was.
"""

from __future__ import annotations

import unicodedata

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"
_FULL_STOPS = "\u3002\uff61"
"""Domain labels may be separated by them."""
_FULL_WIDTH = range(0xFF01, 0xFF5F)
_FROM_FULL_WIDTH = 0xFEE0


class _Spellings(dict[int, str]):
    """How each code point is written, as far as texts had them."""

    def __missing__(self, point: int) -> str:
        spelling = self[point] = _spell(chr(point))
        return spelling


def _spell(sign: str) -> str:
    if sign in _DASHES:
        return "-"
    if sign in _FULL_STOPS:
        return "."
    if ord(sign) in _FULL_WIDTH:
        return chr(ord(sign) - _FROM_FULL_WIDTH)
    category = unicodedata.category(sign)
    if category == "Nd":
        return str(unicodedata.decimal(sign))
    return " " if category == "Zs" else sign


_SPELLINGS = _Spellings()


def plain(text: str) -> str:
    """The text in one spelling, as long as it was; itself where it is ASCII."""
    return text if text.isascii() else text.translate(_SPELLINGS)
