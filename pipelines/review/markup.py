"""Write HTML: the one place that makes tags, and everything else it is given it escapes.

A fragment is `Markup`; a plain string is text from somewhere and is escaped when it enters a fragment, so forgetting to
escape is not possible. No fragment holds a script, a link or an image, whatever the logs say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

_NO_TEXT = re.compile("[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Controls of direction can make a text read as another one; they are shown instead of obeyed.
_DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# What every address holds; a word joiner behind it is invisible and leaves no address.
_ADDRESS = re.compile(r"[:/@]|www", re.IGNORECASE)
_WORD_JOINER = "\u2060"


@dataclass(frozen=True, slots=True)
class Markup:
    """A piece of HTML that is safe to show; not a string, so that the two cannot be mixed up."""

    html: str = ""


Content = str | Markup | None
"""What a fragment may hold: text to escape, markup, or nothing."""


def text(value: str) -> Markup:
    """Escape text; what a page cannot hold or should not obey is shown by its code point."""
    shown = _DIRECTION.sub(_code_point, _NO_TEXT.sub(_code_point, value))
    return Markup(escape(shown, quote=True))


def _code_point(match: re.Match[str]) -> str:
    return f"\u27e8U+{ord(match[0]):04X}\u27e9"


def join(parts: Iterable[Content], between: str = "") -> Markup:
    """Parts one after the other, each escaped unless it is markup."""
    return Markup(text(between).html.join(_markup(part).html for part in parts))


def tag(name: str, *parts: Content, css: str = "", **attributes: str | None) -> Markup:
    """One element. `css` is its classes; an attribute that is None is left out, `_` in its name is a hyphen."""
    given = {"class": css or None, **attributes}
    written = "".join(
        f' {key.replace("_", "-")}="{text(value).html}"' for key, value in given.items() if value is not None
    )
    return Markup(f"<{name}{written}>{join(parts).html}</{name}>")


def _markup(part: Content) -> Markup:
    return Markup() if part is None else part if isinstance(part, Markup) else text(part)


def details(summary: Content, *parts: Content, is_open: bool = False) -> Markup:
    """A part of the page that the reader opens."""
    return tag("details", tag("summary", summary), *parts, open="" if is_open else None)


def table_cell(value: str | None, characters: int) -> str:
    """Text for a cell of a table widget, on one line, cut, and nothing that the widget would make a link or fetch.

    The widget escapes tags, but it turns addresses into links and loads the images that they name.
    """
    line = " ".join((value or "").split())
    line = line if len(line) <= characters else line[: characters - 1] + "…"
    line = _DIRECTION.sub(_code_point, _NO_TEXT.sub(_code_point, line))
    return _ADDRESS.sub(lambda match: match[0] + _WORD_JOINER, line)


def cut(value: str, characters: int) -> tuple[str, int]:
    """The beginning of a text, and how many characters are left out."""
    return value[:characters], max(len(value) - characters, 0)
