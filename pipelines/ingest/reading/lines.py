"""Numbered lines of a file, plain or gzip, in bounded memory.

Splits bytes and nothing more: no decoding, no JSON. What cannot be read whole (a gzip stream that ends early or is
damaged, a line longer than the store can hold) comes out as a line with a fault, so that the importer treats it like
any other bad line.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Protocol

from pipelines.errors import BadInputError

MAX_LINE_BYTES = 250_000_000
"""PostgreSQL refuses a jsonb value near 256 MB (2^28 - 1 bytes), so a longer line could never be stored."""
_BLOCK = 1 << 20
_KEPT_OF_LONG = 1000
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_AS_GZIP = 31  # zlib's wbits for a gzip header with the largest window


@dataclass(frozen=True, slots=True)
class RawLine:
    """One line without its newline.

    Attributes:
        number: 1-based place in the file; blank lines count.
        data: The bytes; of a line that is too long, its beginning only.
        fault: Why these are not the whole line's bytes, or None.
    """

    number: int
    data: bytes
    fault: str | None = None


class LongLine(Protocol):
    """What is to be said of a line that is too long, told from its bytes, which nobody holds."""

    def add(self, piece: bytes) -> None:
        """Take the line's next bytes."""

    def fault(self) -> str:
        """What is wrong, once all pieces were added."""


class _DamagedError(Exception):
    """The compressed bytes end early or are not what they say."""


class LineReader:
    """Iterates over the `RawLine`s of `path`, once.

    gzip is recognised by its first two bytes, not by the name. A byte order mark is dropped at the file's start only.

    Args:
        path: The file.
        kept: What `path` gave, where that can be read once (`pipes`); `path` is then a name alone.
        max_line_bytes: Longer lines come out cut, with a fault.
        long_line: Makes what tells the fault of one that is too long; default: that it has more.
        skip_blank: Whether blank lines are counted and not given; many of them then cost next to nothing.
        on_block: Called after every piece of the decompressed file, of at most a megabyte.

    Attributes:
        size: Bytes of the file as stored (compressed, if it is).
        bytes_read: How many of those have been read so far.
    """

    def __init__(
        self,
        path: Path,
        *,
        kept: IO[bytes] | None = None,
        max_line_bytes: int = MAX_LINE_BYTES,
        long_line: Callable[[], LongLine] | None = None,
        skip_blank: bool = False,
        on_block: Callable[[], None] | None = None,
    ) -> None:
        self._path = path
        self._kept = kept
        self._max = max_line_bytes
        self._long_line = long_line
        self._skips_blank = skip_blank
        self._on_block = on_block
        self.bytes_read = 0
        if kept is not None:
            self.size = os.fstat(kept.fileno()).st_size
            return
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise BadInputError(f"cannot read {path}: {error.strerror}") from error
        if path.is_dir():
            raise BadInputError(f"{path} is a folder; name its files")

    def __iter__(self) -> Iterator[RawLine]:
        number = 1
        line = _Line(self._max, self._long_line)
        chunks = self._chunks()
        damage: str | None = None
        while True:
            try:
                chunk = next(chunks, None)
            except _DamagedError as error:
                damage = str(error)
                break
            if chunk is None:
                break
            if not line.length and self._is_blank(chunk) and chunk.endswith(b"\n"):
                number += chunk.count(b"\n")
                continue
            *whole, rest = chunk.split(b"\n")
            for piece in whole:
                if line.length or not self._is_blank(piece):
                    line.add(piece)
                    yield line.end(number)
                number += 1
            line.add(rest)
        if damage is not None:
            yield line.end(number, damage)
        elif line.length:
            yield line.end(number)

    def _is_blank(self, data: bytes) -> bool:
        """Whether these are blank lines that nobody wants."""
        return self._skips_blank and (not data or data.isspace())

    def _chunks(self) -> Iterator[bytes]:
        blocks = self._blocks()
        first = next(blocks, b"")
        for chunk in _gunzip(first, blocks) if first.startswith(_GZIP) else chain([first], blocks):
            if self._on_block is not None:
                self._on_block()
            yield chunk

    def _blocks(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") if self._kept is None else nullcontext(self._kept) as file:
                if self._kept is not None:
                    file.seek(0)
                while block := file.read(_BLOCK):
                    self.bytes_read += len(block)
                    yield block
        except OSError as error:
            raise BadInputError(f"cannot read {self._path}: {error.strerror}") from error


class _Line:
    """The line that is being read: its pieces, or, once it is too long, its beginning and what is to be said of it."""

    def __init__(self, most: int, long_line: Callable[[], LongLine] | None) -> None:
        self._most = most
        self._long_line = long_line
        self._pieces: list[bytes] = []
        self._long: LongLine | None = None
        self.length = 0

    def add(self, piece: bytes) -> None:
        self.length += len(piece)
        if self.length <= self._most:
            self._pieces.append(piece)
            return
        if self._long is None and self._long_line is not None:
            self._long = self._long_line()
            for each in self._pieces:
                self._long.add(each)
        if self._long is not None:
            self._long.add(piece)
        self._pieces = [b"".join([*self._pieces[:1], piece[:_KEPT_OF_LONG]])[:_KEPT_OF_LONG]]

    def end(self, number: int, fault: str | None = None) -> RawLine:
        """The line, and the next one begins."""
        data = b"".join(self._pieces)
        if fault is None and self.length > self._most:
            fault = f"the line has more than {self._most:,} bytes" if self._long is None else self._long.fault()
        self._pieces, self._long, self.length = [], None, 0  # whoever called would hold them beside the line
        return RawLine(number, data.removeprefix(_BOM) if number == 1 else data, fault)


def _gunzip(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """The decompressed bytes of one or more gzip members, in pieces of at most `_BLOCK` however well they compress."""
    inflater = zlib.decompressobj(wbits=_AS_GZIP)
    block: bytes | None = first
    is_inside = True
    try:
        while block is not None:
            while block:
                if not is_inside:
                    block = block.lstrip(b"\0")  # members may be padded with zeros
                    if not block:
                        break
                    inflater, is_inside = zlib.decompressobj(wbits=_AS_GZIP), True
                if out := inflater.decompress(block, _BLOCK):
                    yield out
                is_inside = not inflater.eof
                block = inflater.unconsumed_tail if is_inside else inflater.unused_data
            block = next(rest, None)
        if is_inside and (out := inflater.flush()):
            yield out
    except zlib.error as error:
        raise _DamagedError(f"the gzip stream is damaged ({error})") from error
    if is_inside and not inflater.eof:
        raise _DamagedError("the gzip stream ends early; the file is truncated")
