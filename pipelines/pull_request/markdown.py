r"""Texts of logs in GitHub's Markdown, where they stay texts: no markup, no HTML, no link, nobody mentioned.

Within code, GitHub resolves neither markup nor mentions nor links, so a text stands in a code span or a fenced block whose fence
is longer than any in it. In prose every mark is written as its character reference, and a word joiner parts what GitHub would link
after it has read those: `@name`, `#1`, `http://`, `www.`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipelines.console import on_one_line, printable

_JOINER = "\u2060"
_MARKS = re.compile(r"[!#$&(-+/:<-@\[-`{-~-]|(?<=^[0-9])\.|(?<=^[0-9]{2})\.")
_LINKED = re.compile(r"(?<=@)|(?<=#)|(?<=:)(?=\S)|(?<=[Ww])(?=\.)|(?<=[Gg][Hh])(?=-)")
_TICKS = re.compile("`+")


def prose(text: str) -> str:
    """A text as a part of a line of prose, and nothing else."""
    parted = _LINKED.sub(_JOINER, on_one_line(text))
    shown = _MARKS.sub(lambda found: f"&#{ord(found[0])};", parted)
    return shown if shown.strip() == shown else shown.strip()


def code(text: str) -> str:
    """A text as a code span on one line, for prose; a table would end it at a `|`."""
    shown = on_one_line(text) or " "
    fence = _fence(shown, 1)
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def block(lines: Iterable[str], language: str = "") -> str:
    """Lines as a fenced block, each with what is not seen as its code."""
    shown = "\n".join(printable(line).replace("\n", "\\n").replace("\r", "\\r") for line in lines)
    fence = _fence(shown, 3)
    return f"{fence}{language}\n{shown}\n{fence}"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are Markdown already, without `|` in them."""
    names = list(header)
    lines = [names, ["---", *(["---:"] * (len(names) - 1))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fence(text: str, least: int) -> str:
    """Ticks that are no run of a text's own."""
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    return "`" * max(least, longest + 1)
