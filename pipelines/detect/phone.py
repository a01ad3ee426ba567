"""Telephone numbers: international ones, national ones of a region, and whatever digits a word or key calls a phone's.

Which numbers a country has is `phonenumbers`' to say. Digits without separators are item and order numbers far more often than national
telephone numbers: they count next to a word for a phone only, or under such a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers
from phonenumbers import Leniency, NumberParseException, PhoneNumberMatcher

from pipelines.detect.context import is_called, is_in_account, is_other, spelled_out
from pipelines.detect.detector import Span
from pipelines.detect.plain import plain
from pipelines.errors import BadInputError

_CANDIDATE = re.compile(
    r"[+(0-9](?<![\w$€£#@/%+-].)(?:(?<=[+(])|(?<![0-9][ .,:].))(?:(?:[ ./-]|\) ?-?|[ -]?\(| - )?[0-9]){6,17}"
    r"(?:\s?(?:ext\.?|x|extension|Durchwahl|poste)\s?[0-9]{1,5})?(?!\w)"
)
_GROUP = re.compile(r"[0-9]+(?![0-9/.-])")
"""Digits after which a number may end: a dash goes on."""
_BARE = re.compile(r"(?!00)[0-9]+")
_NOT_PHONE = re.compile(
    r"\d{4}[-/.]\d\d?[-/.]\d\d?(?:\D.*)?"  # 2024-05-15 10:30
    r"|\d\d?[-/.]\d\d?[-/.](?:19|20)\d\d(?:\D.*)?"  # 15.05.2024
    r"|\d{1,3}(?:\.\d{1,3}){3}"  # IPv4
    r"|\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d{1,3}(?:,\d{3})+(?:\.\d+)?"  # 1.234.567
    r"|\d+\.\d+"  # a decimal
    r"|\d+(?:\.\d+)*\.\d(?:\.\d+)*"  # sections, object identifiers
    r"|97[89][- ]?\d[-\d ]{8,}"  # ISBN
    r"|\d{5}-\d{3,4}|\d{3}-\d{2}-\d{4}"  # postal codes, social security
    r"|\d{4}([ -])\d{4}\1\d{4}\1\d{3,4}"  # a card
)
_AFTER = re.compile(r"\s?(?:€|%|usd|eur|\$|kg|cm|mm|ms\b|:\d|,\d|\.\d|[-/]\d)", re.IGNORECASE)
_WORD = re.compile(
    r"(?i:(?<![^\W\d_])(?:(?:tele)?phones?|phone ?(?:no|nr|number)|telephone|tel|tél|cell|cellphone|mobiles?|call|calls|ring|text|sms|dial|fax|whats ?app|"
    r"contact ?(?:no|number|phone)|ph|telefon\w*|handy\w*|mobil\w*|rufnummer|anruf\w*|rufen|ruf|téléphone|portable(?=\W*(?:est|le|au|\W)*\Z)|appel\w*|joignable|num[eé]ro ?tel|"
    r"tel[eé]fonos?|m[oó]vil|celular|ll[aá]m\w+|m[aá]rca\w*|telefones?|ligue|liga\w*|cellulare|chiama\w*|telefoon\w*|mobiel|bel|denwa|"
    r"telefono|numero ?di ?telefono|telefonu?|kom[oó]rk\w+|puhelin|telefonnummer|telephonenumber|msisdn|landline|hotline|callback)(?![^\W\d_])"
    r"|電話|携帯|电话|手机|전화|휴대폰|телефон|тел\.|τηλ|هاتف|جوال|फ़ोन|फोन|मोबाइल|โทร)"
)
_INTERNATIONAL, _NATIONAL, _CALLED, _SHAPE = 0.95, 0.75, 0.85, 0.6
_FEWEST, _MOST, _MOST_NATIONAL, _EXTENSION = 7, 15, 13, 5
"""Digits of a number (E.164), of one without its country, and of an extension."""
_MOST_GROUPS, _OTHER = 8, 3
"""Groups of a number, and digits of a number after it that nothing calls a phone's."""
_NUMBER_OF_A_LIST = re.compile(r"[0-9]{7,} [0-9]\Z")
_NORTH_AMERICAN = re.compile(r"\(?[2-9]\d{2}\)?[ -]{1,2}[2-9]\d{2}-\d{4}")
"""The shape that names its plan: a region is not needed to know it."""


class PhoneDetector:
    """Telephone numbers of the world, and those of one region in its national forms.

    Attributes:
        region: Two letters of ISO 3166, or None.
    """

    name = "phone"

    def __init__(self, region: str | None) -> None:
        if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
            raise BadInputError(
                f"the region is {region!r}, which has no telephone numbers; write two letters such as US or DE"
            )
        self.region = region

    def find(self, text: str, key: str | None = None) -> Iterator[Span]:
        """Spans of numbers, extensions included, in the order of the text."""
        line = plain(text)
        after = 0
        names_phone = None
        for match in _CANDIDATE.finditer(line):
            start, found = match.start(), match[0]
            if start < after or _NOT_PHONE.fullmatch(found):
                continue
            if names_phone is None:
                names_phone = _WORD.search(spelled_out(line if key is None else key)) is not None
            is_phone = names_phone and is_called(line, start, key, _WORD)
            if (not is_phone and (_BARE.fullmatch(found) or is_other(line, start, key))) or is_in_account(line, start):
                continue
            span = self._longest(line, start, found, is_phone=is_phone)
            if span is not None:
                after = span.end
                yield span

    def _longest(self, line: str, start: int, found: str, *, is_phone: bool) -> Span | None:
        """The number that begins here and ends at the end of one of these groups of digits, the longest that there is."""
        groups = list(_GROUP.finditer(found))
        if len(groups) > _MOST_GROUPS or found.count("(") > 1:
            return None
        ends = [
            each.end()
            for each in reversed(groups)
            if not _AFTER.match(line, start + each.end()) and (is_phone or _count(found[each.end() :]) <= _OTHER)
        ]
        for last in ends:
            score = self._score(found[:last], is_called=is_phone)
            if score:
                return _span(found, start, last, score)
        for last in ends if is_phone else ():
            number = found[:last]
            is_number = _FEWEST <= _count(number) <= _MOST_NATIONAL and not _NUMBER_OF_A_LIST.search(number)
            if is_number and not _NOT_PHONE.fullmatch(number):
                return _span(found, start, last, _CALLED)
        return None

    def _score(self, number: str, *, is_called: bool) -> float:
        """How sure it is that this is a number of a numbering plan, or 0."""
        if not _FEWEST <= _count(number) <= _MOST + _EXTENSION or _NOT_PHONE.fullmatch(number):
            return 0.0
        if number.startswith(("+", "00")):
            international = "+" + number[2:] if number.startswith("00") else number
            return _INTERNATIONAL if _is_valid(international, None) else _CALLED if _is_possible(international) else 0.0
        if is_called:
            return _CALLED if self.region is not None and _is_valid(number, self.region) else 0.0
        if self.region is not None and _is_written_in(number, self.region):
            return _NATIONAL
        return _SHAPE if _NORTH_AMERICAN.fullmatch(number) and _is_valid(number, "US") else 0.0


def _span(found: str, start: int, last: int, score: float) -> Span:
    """The number that ends here, without a parenthesis that is not closed in it."""
    is_open = found[0] == "(" and ")" not in found[:last]
    return Span(start + is_open, start + last, "phone", score)


def _count(number: str) -> int:
    return sum(map(str.isdigit, number))


def _is_valid(number: str, region: str | None) -> bool:
    """Whether a country's numbering plan has it."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except NumberParseException:
        return False


def _is_written_in(number: str, region: str) -> bool:
    """Whether it is a valid number of a region, with the prefix that the region's people write before it."""
    match = next(iter(PhoneNumberMatcher(number, region, Leniency.VALID)), None)
    return match is not None and match.start == 0 and match.end == len(number)


def _is_possible(number: str) -> bool:
    """Whether a country's numbers are of this length."""
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number, None))
    except NumberParseException:
        return False
