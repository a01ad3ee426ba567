"""International bank account numbers: country, its length, check digits; in any case, in groups or not.

Lengths are those of the IBAN registry (ISO 13616), and of the countries that use the form without being in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.detect.detector import Span
from pipelines.detect.plain import plain

LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22,
    "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22,
    "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30,
    "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20,
    "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
    "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26,
    "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
    "AO": 25, "BF": 28, "BJ": 28, "CF": 27, "CG": 27, "CI": 28, "CM": 27, "CV": 25, "DZ": 26, "GA": 27, "GQ": 27, "GW": 25, "IR": 26, "KM": 27,
    "MA": 28, "MG": 27, "ML": 28, "MZ": 25, "NE": 28, "SN": 28, "TD": 27, "TG": 28,
}  # fmt: skip
"""Country → signs of its accounts, country and check digits included."""
_BEGIN = re.compile(r"[0-9]{2}(?<=[A-Za-z]{2}..)(?<![A-Za-z0-9].{4})(?=[ -]?[A-Za-z0-9])")
_ESCAPED = re.compile(r"[0-9]{2}(?<=\\[nrt][A-Za-z]{2}..)(?=[ -]?[A-Za-z0-9])")
"""Check digits of an account that begins a word, or a line whose end is written `\\n`."""
_SCORE = 0.98
_GROUP = 4
"""Signs before the first separator, if there is one."""
_VALUES = {sign: str(int(sign, 36)) for sign in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


class IbanDetector:
    """Bank accounts; needs no region and no key."""

    name = "iban"

    def find(self, text: str, key: str | None = None) -> Iterator[Span]:  # noqa: ARG002 -- an account proves itself
        """Spans of accounts, in the order of the text."""
        line = plain(text)
        after = 0
        for begin in (*_BEGIN.finditer(line), *(_ESCAPED.finditer(line) if "\\" in line else ())):
            start = begin.start() - 2
            end = _end_of_account(line, start) if start >= after else None
            if end is not None:
                after = end
                yield Span(start, end, "iban", _SCORE)


def _end_of_account(line: str, start: int) -> int | None:
    """The place after the account that begins here, or None: as many signs as the country has, one separator between two at most."""
    length = LENGTHS.get(line[start : start + 2].upper())
    if length is None:
        return None
    signs: list[str] = []
    place, is_grouped = start, False
    while len(signs) < length and place < len(line):
        sign = line[place]
        if (
            sign in " -"
            and len(signs) >= _GROUP
            and (is_grouped or len(signs) == _GROUP)
            and line[place - 1] not in " -"
        ):
            is_grouped = True
            place += 1
            continue
        value = _VALUES.get(sign.upper()) if sign.isascii() else None
        if value is None:
            return None
        signs.append(value)
        place += 1
    if len(signs) < length or (line[place : place + 1].isalnum() and line[place].isascii()):
        return None
    return place if int("".join(signs[4:] + signs[:4])) % 97 == 1 else None
