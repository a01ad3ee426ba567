"""Files of JSON, whether one document, an array of records, or one record a line; plain or gzip.

What is wrong is said with the file, the line or the place in the document, and what would be right. A file of lines is read line
by line; a document is held whole, so one that would not fit is refused by its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.faults import BadLineError, json_path, shown
from pipelines.ingest.reading.lines import LineReader, RawLine
from pipelines.ingest.reading.strict_json import parse

_PER_BYTE = 12
"""Bytes that a parsed document takes for each byte of its text, at most in ordinary logs."""


def values(path: Path, memory_bytes: int, *, is_list: bool = True) -> Iterator[tuple[str, Any]]:
    """The records of a file of JSON, each with its place.

    Args:
        path: One record a line, or one document over any number of lines.
        memory_bytes: What reading may take.
        is_list: Whether a document that is an array is one of records; else it is itself a record.

    Yields:
        `(place, value)`: `FILE:LINE` for a record on a line of its own, `FILE#$[3]` for one of an array, `FILE` for a document.

    Raises:
        BadInputError: The file cannot be read, or holds what is not JSON, or what the store cannot keep.
    """
    lines = iter(LineReader(path, skip_blank=True))
    first = next(lines, None)
    if first is None:
        raise BadInputError(f"{path.name} is empty; give a file of JSON")
    second = next(lines, None)
    if second is not None and not _is_whole(first):
        whole = _joined(path, [first, second], lines, memory_bytes)
        yield from _spread(path.name, parse_record(whole, path.name), is_list=is_list)
        return
    value = parse_line(first, path)
    if second is None:
        place = f"{path.name}:{first.number}"
        yield from _spread(path.name, value, is_list=True) if is_list and isinstance(value, list) else [(place, value)]
        return
    yield f"{path.name}:{first.number}", value
    del value
    line: RawLine | None = second
    while line is not None:
        yield f"{path.name}:{line.number}", parse_line(line, path)
        line = next(lines, None)


def objects(path: Path, memory_bytes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """As `values`, where every record must be an object.

    Raises:
        BadInputError: As `values`, or a record is something else.
    """
    for place, value in values(path, memory_bytes):
        if not isinstance(value, dict):
            raise BadInputError(f"{place}: is {shown(value)}; a record is a JSON object")
        yield place, value


def parse_line(line: RawLine, path: Path) -> Any:
    """The value on one line.

    Raises:
        BadInputError: With the file, the line and the place in it.
    """
    place = f"{path.name}:{line.number}"
    if line.fault is not None:
        raise BadInputError(f"{place}: {line.fault}")
    return parse_record(line.data, place)


def parse_record(data: bytes | str, place: str) -> Any:
    """The value of a JSON text that stands at `place`.

    Raises:
        BadInputError: With the place.
    """
    try:
        return parse(data if isinstance(data, str) else data.decode()).value
    except UnicodeDecodeError as error:
        raise BadInputError(f"{place}: not UTF-8 at byte {error.start + 1}; write the file again as UTF-8") from None
    except BadLineError as error:
        raise BadInputError(f"{place}: {error.json_path}: {error.reason}") from None


def expect(value: Any, kind: type, place: str, *steps: str | int) -> Any:
    """The value, where it is of this kind.

    Raises:
        BadInputError: With the place of the record and the path in it.
    """
    if isinstance(value, kind):
        return value
    wanted = "an object" if kind is dict else "an array" if kind is list else "a text"
    raise BadInputError(f"{place}: {json_path(steps)}: is {shown(value)}; it must be {wanted}")


def _is_whole(line: RawLine) -> bool:
    """Whether the first of several lines is a record of its own, or looks like one that is damaged."""
    text = line.data.strip()
    if text[:1] not in (b"{", b"["):
        return True
    try:
        parse(text.decode())
    except (UnicodeDecodeError, BadLineError):
        return text[-1:] in (b"}", b"]") and len(text) > 2
    return True


def _joined(path: Path, first: list[RawLine], lines: Iterator[RawLine], memory_bytes: int) -> bytes:
    most = max(memory_bytes // _PER_BYTE, 1 << 20)
    pieces: list[bytes] = []
    size, number = 0, 1
    for line in (*first, *lines):
        if line.fault is not None:
            raise BadInputError(f"{path.name}:{line.number}: {line.fault}")
        pieces += [b""] * (line.number - number) + [line.data]
        number, size = line.number + 1, size + len(line.data) + 1
        if size > most:
            raise BadInputError(
                f"{path.name}: one JSON document of more than {most:,} bytes, which would not fit into memory "
                f"({memory_bytes:,} bytes); write it as one record a line, or give more memory (REFOLD_MEMORY)"
            )
    return b"\n".join(pieces)


def _spread(name: str, value: Any, *, is_list: bool) -> Iterator[tuple[str, Any]]:
    if not is_list or not isinstance(value, list):
        yield name, value
        return
    for index, record in enumerate(value):
        yield f"{name}#$[{index}]", record
