"""Files of OTLP: export requests as JSON lines, as one document, or as an array of them; plain or gzip.

Gives documents, each with its place; what is in them is `otel.values`'. A document is parsed at once, so memory is bounded by the
longest line (or by the one document of a file that is not lines).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from pipelines.errors import BadInputError
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.reading.lines import MAX_LINE_BYTES, LineReader, RawLine
from pipelines.ingest.reading.strict_json import parse

_decode = msgspec.json.Decoder().decode
_WHITESPACE = b" \t\r\n"


def documents(path: Path, take: Callable[[RawLine], bool] | None = None) -> Iterator[tuple[int, str, Any]]:
    """The export requests of a file: number of the line, path within that line, and the value.

    Args:
        path: The file.
        take: Is given every line of JSON lines first; of one that it takes nothing is given.

    Raises:
        BadInputError: The file cannot be read, or something in it is no JSON; the error says where.
    """
    lines = iter(LineReader(path, skip_blank=True))
    first = next(lines, None)
    if first is None:
        return
    if _begins_document(first):
        yield from _of_document(path, first, lines)
        return
    line: RawLine | None = first
    while line is not None:
        if take is None or line.fault is not None or not take(line):
            for inner, value in _listed(_value(path, line)):
                yield line.number, inner, value
        line = next(lines, None)


def _begins_document(line: RawLine) -> bool:
    """Whether a document goes on after its first line: printed with indentation, it opens what it does not close."""
    if line.fault is not None:
        return False
    try:
        json.loads(line.data)
    except json.JSONDecodeError as error:
        return line.data[error.pos :].strip(_WHITESPACE) == b"" and line.data.strip(_WHITESPACE)[-1:] in b"{[,:}]"
    except ValueError:
        return False
    return False


def _of_document(path: Path, first: RawLine, lines: Iterator[RawLine]) -> Iterator[tuple[int, str, Any]]:
    """Documents that are printed over several lines, one after the other."""
    pieces, size = [first.data], len(first.data)
    for line in lines:
        if line.fault is not None:
            raise BadInputError(f"{path.name}:{line.number}: {line.fault}")
        size += len(line.data) + 1
        if size > MAX_LINE_BYTES:
            raise BadInputError(
                f"{path.name} is one document of more than {MAX_LINE_BYTES:,} bytes; write an export request a line"
            )
        pieces.append(line.data)
    data = b"\n".join(pieces)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path.name}: byte {error.start} is not UTF-8") from error
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        end = at
        try:
            _, end = decoder.raw_decode(text, at)
            value = parse(text[at:end]).value
        except BadLineError as error:
            raise BadInputError(f"{path.name}#{error.json_path}: {error.reason}") from error
        except json.JSONDecodeError as error:
            broken = first.number + text.count("\n", 0, error.pos)
            raise BadInputError(f"{path.name}:{broken}: not JSON ({error.msg}, column {error.colno})") from error
        except RecursionError as error:
            raise BadInputError(f"{path.name}: nested too deep") from error
        for inner, document in _listed(value):
            yield first.number + text.count("\n", 0, at), inner, document
        at = end + len(text[end:]) - len(text[end:].lstrip())


def _value(path: Path, line: RawLine) -> Any:
    """What a line says, by the fast parser; where that objects, or takes what cannot be kept, the strict one says why."""
    if line.fault is not None:
        raise BadInputError(f"{path.name}:{line.number}: {line.fault}")
    if b"\\u0000" not in line.data:
        try:
            return _decode(line.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    try:
        return parse(line.data.decode()).value
    except BadLineError as error:
        raise BadInputError(f"{path.name}:{line.number}: {error.json_path}: {error.reason}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path.name}:{line.number}: byte {error.start} is not UTF-8") from error


def _listed(value: Any) -> Iterator[tuple[str, Any]]:
    """The documents of a value: itself, or what a list of them has."""
    if isinstance(value, list):
        for place, each in enumerate(value):
            yield f"[{place}]", each
    else:
        yield "", value
