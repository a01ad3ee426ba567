"""How a text may be read: as it stands, as readers of JSON, HTML and addresses read it, and in one form of letters.

Pure: no value is looked for here. A reading knows which code points of the recorded text each of its own was made of, since what is
found in a reading is hidden in the text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple
from urllib.parse import unquote

_DEPTH = 4
"""How often a text may be written within another: JSON in a string of JSON, that in a page."""
_JSON = re.compile(
    r'\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|["\\/bfnrt])',
)
_HTML = re.compile(r"&(?:#[0-9]{1,8};?|#[xX][0-9a-fA-F]{1,8};?|[a-zA-Z][a-zA-Z0-9]{1,31};)")
_ADDRESS = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Mapped(NamedTuple):
    """A text that was made of another.

    Attributes:
        text: The text.
        starts: For each of its code points the first code point of the other that it was made of.
        ends: For each the one after the last.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


class Spelled:
    """All readings of a text, made once, for whoever looks for many values."""

    def __init__(self, text: str) -> None:
        self._readings = list(readings(text))

    @cached_property
    def folded(self) -> list[str]:
        """Each in small letters, composed."""
        return [fold(each) for each in self._readings]

    @cached_property
    def composed(self) -> list[str]:
        """Each composed, in the case in which it is."""
        return [compose(each) for each in self._readings]


def readings(text: str) -> Iterator[str]:
    """A text as it stands, and each other way to read it, once."""
    seen = {text}
    waiting = [text]
    yield text
    for _ in range(_DEPTH):
        found = []
        for each in waiting:
            for mark, pattern, read in _READERS:
                if mark in each and (plain := pattern.sub(read, each)) not in seen:
                    seen.add(plain)
                    found.append(plain)
                    yield plain
        waiting = found


def mapped_readings(text: str) -> Iterator[Mapped]:
    """The same, each with the code points that its own were made of."""
    first = Mapped(text, range(len(text)), range(1, len(text) + 1))
    seen = {text}
    waiting = [first]
    yield first
    for _ in range(_DEPTH):
        found = []
        for each in waiting:
            for mark, pattern, read in _READERS:
                if mark in each.text and (plain := _replaced(each, pattern, read)).text not in seen:
                    seen.add(plain.text)
                    found.append(plain)
                    yield plain
        waiting = found


def fold(text: str) -> str:
    """One form for what people take for the same letters: composed, and in small letters."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def compose(text: str) -> str:
    """Composed letters, in the case in which they are."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def mapped(text: str, form: Callable[[str], str]) -> Mapped:
    """`form` (`fold` or `compose`) of a text, with the code points of the text that each of its own was made of."""
    if text.isascii():
        return Mapped(form(text), range(len(text)), range(1, len(text) + 1))
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _clusters(text):
        piece = form(text[start:end])
        pieces.append(piece)
        starts += [start] * len(piece)
        ends += [end] * len(piece)
    return Mapped("".join(pieces), starts, ends)


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of a text of which each is composed without its neighbours."""
    start = 0
    for place in range(1, len(text)):
        if not text[place].isascii() and _joins(text[start:place], text[place]):
            continue
        yield start, place
        start = place
    if text:
        yield start, len(text)


def _joins(before: str, letter: str) -> bool:
    if unicodedata.combining(letter):
        return True
    both = unicodedata.normalize("NFC", before + letter)
    return both != unicodedata.normalize("NFC", before) + unicodedata.normalize("NFC", letter)


def _replaced(source: Mapped, pattern: re.Pattern[str], read: Callable[[re.Match[str]], str]) -> Mapped:
    pieces: list[str] = []
    starts: list[Sequence[int]] = []
    ends: list[Sequence[int]] = []
    last = 0
    for match in pattern.finditer(source.text):
        begin, end = match.span()
        plain = read(match)
        pieces += [source.text[last:begin], plain]
        starts += [source.starts[last:begin], [source.starts[begin]] * len(plain)]
        ends += [source.ends[last:begin], [source.ends[end - 1]] * len(plain)]
        last = end
    pieces.append(source.text[last:])
    starts.append(source.starts[last:])
    ends.append(source.ends[last:])
    return Mapped("".join(pieces), list(chain.from_iterable(starts)), list(chain.from_iterable(ends)))


def _from_json(match: re.Match[str]) -> str:
    escape = match[0]
    if escape[1] != "u":
        return _LETTERS.get(escape[1], escape[1])
    code = int(escape[2:6], 16)
    if len(escape) > len(r"\u0000"):
        return chr(0x10000 + ((code - 0xD800) << 10) + int(escape[8:12], 16) - 0xDC00)
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


def _from_html(match: re.Match[str]) -> str:
    return html.unescape(match[0])


def _from_address(match: re.Match[str]) -> str:
    return unquote(match[0])


_READERS = (("\\", _JSON, _from_json), ("&", _HTML, _from_html), ("%", _ADDRESS, _from_address))
"""What must be in a text, what stands for something else in it, and for what."""
