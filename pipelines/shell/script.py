"""What is typed, cut into statements and commands as DuckDB reads it: `;` in a text or a comment ends nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

_HALVES = re.compile("[\ud800-\udfff]")
_END, _COMMAND = ";", "\\"
WORDS = {"quit": "\\q", "exit": "\\q", "help": "\\?"}
"""What people type who come from other shells, for commands."""
_CLOSING = {"'": "'", '"': '"', "/": "*/", "$": "$", "-": "\n"}
"""What ends a text, a quoted name or a comment, by how it begins."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word of SQL, where it stands.

    Attributes:
        kind: keyword, identifier, numeric_const, string_const, operator or comment.
        start: Place of its first character.
        text: It, without the blanks after it.
    """

    kind: str
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """A statement without its `;`, or a command with its backslash."""

    text: str
    is_command: bool = False


def tokens(text: str) -> list[Token]:
    """The words of a text, in order; none where DuckDB cannot cut it."""
    sound = _HALVES.sub("?", text)
    try:
        found = duckdb.tokenize(sound)
    except (duckdb.Error, ValueError):
        return []
    if not sound.isascii():  # places are counted in bytes
        places, place = {}, 0
        for index, character in enumerate(sound):
            places[place] = index
            place += len(character.encode())
        found = [(places[start], kind) for start, kind in found if start in places]
    ends = [*(start for start, _ in found[1:]), len(text)][: len(found)]
    return [Token(kind.name, start, text[start:end].rstrip()) for (start, kind), end in zip(found, ends, strict=True)]


def cut(text: str) -> tuple[list[str], str]:
    """The statements that are ended by `;`, without it, and what stands after the last."""
    statements, begin = [], 0
    if _END in text:
        for token in tokens(text):
            if token.kind == "operator" and token.text == _END:
                statements.append(text[begin : token.start])
                begin = token.start + 1
    return [statement.strip() for statement in statements if not is_blank(statement)], text[begin:]


def parts(text: str) -> Iterator[Part]:
    """What is to be done, in order: a line that begins with a backslash is a command, unless a statement goes on."""
    waiting = ""
    for line in text.splitlines(keepends=True):
        if is_command(line) and is_blank(waiting):
            waiting = ""
            yield Part(line.strip(), is_command=True)
            continue
        waiting += line
        if _END in line:
            statements, waiting = cut(waiting)
            yield from map(Part, statements)
            if is_command(waiting):  # on the line of the statement before it
                yield Part(waiting.strip(), is_command=True)
                waiting = ""
    if not is_blank(waiting):
        yield Part(waiting.strip())


def is_command(line: str) -> bool:
    """Whether a line is a command."""
    return line.lstrip().startswith(_COMMAND)


def is_whole(text: str) -> bool:
    """Whether what is typed says all of something: nothing, a command, or statements that are ended."""
    is_word = text.strip().lower() in WORDS or text.lstrip().startswith(".")  # the latter is told that it is no command
    return is_word or is_command(text) or not cut(text)[1].strip()


def is_blank(text: str) -> bool:
    """Whether a text says nothing: it is blanks and comments."""
    return not text.strip() or all(token.kind == "comment" for token in tokens(text))


def is_inside(text: str) -> bool:
    """Whether a text ends within a string, a quoted name or a comment."""
    last = next(reversed(tokens(text)), None)
    if last is None or last.kind not in ("string_const", "comment", "identifier"):
        return False
    closing = _CLOSING.get(last.text[:1])
    if closing is None:
        return False
    rest = text[last.start + 1 :]
    return closing not in rest if last.kind == "comment" else not last.text[1:].endswith(closing)


def leading_words(text: str) -> list[str]:
    """The words of a statement in capitals, comments left out."""
    return [token.text.upper() for token in tokens(text) if token.kind != "comment"]
