"""Files that a person hands in: YAML and JSON, read one way, with the line of every key for the errors.

YAML is read by the core schema of YAML 1.2, whatever the library's own: `1e-3` is a number, `yes`, `22:00` and `2026-05-01` are
text, `010` is ten. A key is what stands there, quoted or not, and stands once; the merge key `<<` fills in what is not
written. Tags, more than one document, and numbers that are infinite or none are refused, and so is what is too large, too
deep or grows by its aliases, before it is built. Nothing here knows what a document is for.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from pipelines.errors import BadInputError

Place = tuple[str | int, ...]
"""Where a value is: keys and numbers in lists, from the outside."""

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Values of a YAML document, those that an alias repeats counted each time."""
_MAX_DIGITS = 400

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_DOUBTS = (
    (re.compile(r"yes|on|y", re.IGNORECASE), "is text; write true, or quote it"),
    (re.compile(r"no|off|n", re.IGNORECASE), "is text; write false, or quote it"),
    (
        re.compile(r"[-+]?0[0-9]+"),
        "is a number to the base of ten here and to the base of eight elsewhere; leave out the 0",
    ),
    (re.compile(r"[-+]?(?=.*_)[0-9][0-9_.eE+-]*"), "is text; write the number without _, or quote it"),
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"), "is text, not a number of seconds; quote it"),
    (re.compile(r"[-+]?0b[01_]+"), "is text; write the number to the base of ten, or quote it"),
)
"""Plain words that other readers of YAML take for something else."""
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]++', re.DOTALL)


class DocumentError(BadInputError):
    """A file cannot be used; the message begins with its name, and with a line where there is one.

    Attributes:
        findings: What is wrong, by place, where the file could be read at all.
    """

    def __init__(self, message: str, findings: Sequence[tuple[Place, str]] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and where it says it.

    Attributes:
        origin: The file, for errors.
        value: Mappings with text keys, lists, text, numbers, booleans, None.
        lines: Line, from 1, of each key and each element of a list; what an alias or a merge repeats is not in it.
        doubtful: Plain words that other readers of YAML take for something else: what to do about them.
    """

    origin: str
    value: Any
    lines: Mapping[Place, int] = field(default_factory=dict)
    doubtful: Mapping[Place, str] = field(default_factory=dict)

    def line_of(self, place: Sequence[str | int]) -> int | None:
        """The line of a place, or of the nearest around it that is written; None for a document without lines."""
        there = tuple(place)
        while there and there not in self.lines:
            there = there[:-1]
        return self.lines.get(there)

    def refuse(self, findings: Sequence[tuple[Place, str]]) -> NoReturn:
        """Refuse the file for all that is wrong with it: (place, what), told in the order of lines.

        Raises:
            DocumentError: Always.
        """
        told = []
        for place, what in findings:
            line = self.line_of(place)
            name = ".".join(map(str, place))
            text = what if not name or what.startswith(name) else f"{name}: {what}"
            told.append((line or 0, f"line {line}: {text}" if line else text))
        texts = list(dict.fromkeys(text for _, text in sorted(told, key=lambda each: each[0])))
        if len(texts) == 1:
            raise DocumentError(f"{self.origin}: {texts[0]}", findings)
        listed = "\n".join(f"  {text}" for text in texts)
        raise DocumentError(f"{self.origin}: {len(texts)} findings\n{listed}", findings)


def read_document(path: Path, what: str) -> Document:
    """Read a file: JSON where its name ends so, YAML otherwise.

    Args:
        path: The file.
        what: What it is to be, for errors: `tool manifest`.

    Raises:
        DocumentError: It cannot be read, or is not sound.
    """
    text = read_text(path, what)
    parse = parse_json if path.suffix.lower() == ".json" else parse_yaml
    return parse(text, f"{what} {path}" if what else str(path))


def read_text(path: Path, what: str) -> str:
    """The text of a regular file of at most `MAX_BYTES`, UTF-8. A pipe or a device is not waited for.

    Raises:
        DocumentError: It is something else, or cannot be read.
    """
    named = f"{what} {path}" if what else str(path)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise DocumentError(f"{named} cannot be read: it is not a regular file")
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise DocumentError(f"{named} is larger than {MAX_BYTES:,} bytes, and nothing of this kind is")
        return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DocumentError(f"{named} cannot be read: {why}") from error


def find_file(name: str, folder: Path, what: str, allowed: Sequence[Path] = ()) -> Path:
    """The file that a document names, relative to its folder, wherever links lead.

    Args:
        name: As written.
        folder: Folder of the document.
        what: What is named, for errors: `prompt_file`.
        allowed: Further folders in which it may be.

    Raises:
        DocumentError: It is not there, or lies outside of these folders.
    """
    try:
        found = (folder / name).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise DocumentError(f"{what} {folder / name} cannot be read: {why}") from error
    require_inside(found, folder, what, allowed)
    return found


def require_inside(path: Path, folder: Path, what: str, allowed: Sequence[Path] = ()) -> None:
    """Refuse a file outside of the folder of the document that names it and of those that the user allows.

    Raises:
        DocumentError: It lies elsewhere, perhaps by a link.
    """
    found = path.resolve()
    if not any(found.is_relative_to(each.resolve()) for each in (folder, *allowed)):
        raise DocumentError(
            f"{what}: {found} is not in {folder.resolve()}, the folder of the experiment; if it is to be read, name its "
            "folder with --allow-files DIR or in REFOLD_ALLOW_FILES"
        )


def parse_yaml(text: str, origin: str) -> Document:
    """Read YAML by the core schema of YAML 1.2.

    Raises:
        DocumentError: It is not YAML, or not sound; the message names the line, or both lines of a key.
    """
    _require_size(text, origin)
    composer = _Composer(origin)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        value = composer.compose(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}:" if mark is not None else ""
        raise DocumentError(f"{origin}:{line} not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise DocumentError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from error
    return Document(origin, value, composer.lines, composer.doubtful)


def parse_json(text: str, origin: str) -> Document:
    """Read JSON.

    Raises:
        DocumentError: It is not JSON, a key is given twice, or a number is none that a double holds.
    """
    _require_size(text, origin)
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise DocumentError(f"{origin}: line {error.lineno}: not valid JSON: {error.msg}") from error
    except UnicodeEncodeError as error:
        raise DocumentError(f"{origin}: not valid JSON: a text has half of a pair of surrogates") from error
    except (ValueError, RecursionError) as error:
        why = "it is too deep" if isinstance(error, RecursionError) else str(error)
        raise DocumentError(f"{origin}: not valid JSON: {why}") from error
    lines: dict[Place, int] = {}
    for place, line in _json_places(text, origin):
        if isinstance(place[-1], str) and place in lines:
            raise _twice(origin, place, lines[place], line)
        lines[place] = line
    return Document(origin, value, lines)


def _require_size(text: str, origin: str) -> None:
    if len(text) > MAX_BYTES:
        raise DocumentError(f"{origin}: larger than {MAX_BYTES:,} characters, and nothing of this kind is")


def _twice(origin: str, place: Place, first: int, second: int) -> DocumentError:
    name = ".".join(map(str, place))
    return DocumentError(f"{origin}: line {second}: {name} is given twice, first in line {first}; keep one of them")


class _Composer:
    """Values of the events of a YAML document, with what is counted on the way."""

    def __init__(self, origin: str) -> None:
        self.lines: dict[Place, int] = {}
        self.doubtful: dict[Place, str] = {}
        self._origin = origin
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._nodes = 0

    def compose(self, events: Iterator[Any]) -> Any:
        self._events = events
        value, documents = None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, "a second document begins here; a file holds one")
                value = self._value(next(events), (), 0)
        return value

    def _value(self, event: Any, place: Place, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            self._refuse(event, f"the tag {event.tag!r} is not read; leave it out, and quote what is text")
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested more than {MAX_DEPTH} deep")
        before = self._nodes
        self._count(event, 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = list(self._elements(place, depth))
        else:
            value = self._mapping(place, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._nodes - before
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            self._refuse(event, f"*{event.anchor} names nothing that stands before it")
        known = self._anchors[event.anchor]
        if known is None:
            self._refuse(event, f"*{event.anchor} is inside of what it names")
        self._count(event, known[1])
        return known[0]

    def _elements(self, place: Place, depth: int) -> Iterator[Any]:
        number = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            here = (*place, number)
            self.lines[here] = _line(event)
            yield self._value(event, here, depth + 1)
            number += 1

    def _mapping(self, place: Place, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen: dict[tuple[str, bool], int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                self._refuse(event, "a key is plain or quoted text, and nothing else")
            key, line = event.value, _line(event)
            if event.implicit[0] and not key:
                self._refuse(event, "a key is empty")
            is_merge = event.implicit[0] and key == "<<"
            here = (*place, key)
            if (key, is_merge) in seen:
                raise _twice(self._origin, here, seen[key, is_merge], line)
            seen[key, is_merge] = line
            if event.anchor is not None:
                self._anchors[event.anchor] = key, 1
            if is_merge:
                merged = self._merged(event, self._value(next(self._events), here, depth + 1))
            else:
                self.lines[here] = line
                found[key] = self._value(next(self._events), here, depth + 1)
        for key in merged.keys() - found.keys():
            self.lines[(*place, key)] = seen["<<", True]
        return {**merged, **found}

    def _merged(self, event: Any, value: Any) -> dict[str, Any]:
        """What a merge key fills in; of several mappings an earlier one goes before a later one."""
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            self._refuse(event, "<< takes a mapping, or a list of mappings")
        found: dict[str, Any] = {}
        for source in reversed(sources):
            found |= source
        return found

    def _scalar(self, event: Any, place: Place) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return text
        doubt = next((told for form, told in _DOUBTS if form.fullmatch(text)), None)
        if doubt is not None:
            self.doubtful[place] = f"{text} {doubt}"
        if text in _WORDS:
            return _WORDS[text]
        if _OTHER_BASE.fullmatch(text):
            return int(text, 0)
        if not _FLOAT.fullmatch(text):
            return self._refuse(event, f"{text} is no number that can be used") if _NO_NUMBER.fullmatch(text) else text
        if len(text) > _MAX_DIGITS:
            self._refuse(event, "the number is too long")
        value = int(text) if _INTEGER.fullmatch(text) else float(text)
        return value if math.isfinite(value) else self._refuse(event, f"{text} is larger than any number that is kept")

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._refuse(event, f"more than {MAX_NODES:,} values, those that aliases repeat counted each time")

    def _refuse(self, event: Any, why: str) -> NoReturn:
        raise DocumentError(f"{self._origin}: line {_line(event)}: {why}")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _json_places(text: str, origin: str) -> Iterator[tuple[Place, int]]:
    """(place, line) of every key and every element of sound JSON, in order."""
    opened: list[str] = []
    place: list[str | int] = []  # the key or the number in each of what is opened
    line, at, is_key = 1, 0, False
    for token in _TOKEN.finditer(text):
        line += text.count("\n", at, token.start())
        at, word = token.start(), token[0]
        if word in ("}", "]"):
            opened.pop()
            place.pop()
            is_key = False
        elif word == ",":
            is_key = opened[-1] == "{"
            if not is_key:
                place[-1] = int(place[-1]) + 1
        elif word == ":":
            is_key = False
        elif is_key:
            place[-1] = json.loads(word)
            yield tuple(place), line
        else:
            if opened and opened[-1] == "[":
                yield tuple(place), line
            if word in ("{", "["):
                if len(opened) >= MAX_DEPTH:
                    raise DocumentError(f"{origin}: line {line}: nested more than {MAX_DEPTH} deep")
                is_key = word == "{"
                opened.append(word)
                place.append("" if is_key else 0)


def _no_constant(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is no number")


def _finite(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise ValueError(f"{literal} is larger than any number that is kept")
    return value
