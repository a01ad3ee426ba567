"""Addresses of networks: IPv4, IPv6, and MAC with colons, dashes or points.

Not taken: versions, section numbers and object identifiers, which look like IPv4; times, scopes of code and fingerprints, which look like the
other two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address

from pipelines.detect.detector import Span
from pipelines.detect.plain import plain

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_V4 = re.compile(rf"(?<![\w.])(?<![\w]-)(?:{_OCTET}\.){{3}}{_OCTET}(?![\w]|\.\w|-\d)")
_V6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{2,46}+(?:(?:\.[0-9]{1,3}){3})?(?:%\w{1,15})?(?![\w:])")
_MAC = re.compile(
    r"(?<![\w:.-])(?:[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2})(?![\w]|[:.-]\w)"
)
_V4_HINT = re.compile(r"\.[0-9]{1,3}\.[0-9]")
_V6_HINT = re.compile(r":[0-9A-Fa-f]{0,4}:")
_MAC_HINT = re.compile(r"[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-]|\.[0-9A-Fa-f]{4}\.")
"""What is in each, cheaply looked for."""
_HAS_DIGIT = re.compile(r"\d")
_LONG_GROUP = re.compile(r"[0-9A-Fa-f]{3}")
_HAS_LETTER = re.compile(r"[A-Fa-f]")
_NUMBERED = re.compile(
    r"(?i:\b(?:versi\w+|v|ver|release\w*|build|kernel|firmware|section|chapter|clause|§|oid|appendix|figure|table|step|[a-z]+/)\s?[:=#]?\s?[\"']?)\Z"
)
"""Words before a number of something that has parts: `version 1.2.3.4`, `Chrome/1.2.3.4`, `§ 4.1.2.1`."""
_SECTION = re.compile(r"§\s?\Z")
_SCORE, _V6_SCORE, _ALL_DIGITS = 0.9, 0.95, 0.6
_MAX_V6 = 45


class NetworkDetector:
    """IPv4, IPv6 and MAC addresses, all of the class `network`; needs no region and no key."""

    name = "network"

    def find(self, text: str, key: str | None = None) -> Iterator[Span]:
        """Spans of addresses, ports and lengths of prefixes not included."""
        line = plain(text)
        if _V4_HINT.search(line):
            yield from _v4(line, key)
        if _MAC_HINT.search(line):
            for match in _MAC.finditer(line):
                if _HAS_LETTER.search(match[0]) or ":" in match[0]:
                    yield Span(
                        match.start(),
                        match.end(),
                        "network",
                        _V6_SCORE if _HAS_LETTER.search(match[0]) else _ALL_DIGITS,
                    )
        if _V6_HINT.search(line):
            yield from _v6(line)


def _v4(line: str, key: str | None) -> Iterator[Span]:
    if key is not None and _NUMBERED.search(f"{key} "):
        return
    for match in _V4.finditer(line):
        before = line[max(match.start() - 24, 0) : match.start()]
        if not (_NUMBERED.search(before) or _SECTION.search(before)):
            yield Span(match.start(), match.end(), "network", _SCORE)


def _v6(line: str) -> Iterator[Span]:
    for match in _V6.finditer(line):
        found = match[0]
        end = match.end()
        if found.endswith(":") and not found.endswith("::"):  # a colon of the sentence
            found, end = found[:-1], end - 1
        if len(found) <= _MAX_V6 and is_v6(found):
            yield Span(match.start(), end, "network", _V6_SCORE)


def is_v6(text: str) -> bool:
    """Whether it is an IPv6 address that is not also a scope or slice of code: `::`, `1::4` and `fade::add` are not."""
    if text.count(":") < 4 and not (_HAS_DIGIT.search(text) and _LONG_GROUP.search(text)):
        return False
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
