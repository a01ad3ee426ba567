"""How much memory a line takes to import, told from its bytes before anything of it is parsed.

A line becomes Python objects, and those become what is sent; all of it is held at once, since a conversation is appended whole.
`REFOLD_MEMORY` bounds the process, so a line that takes more than is left is refused, with the bound that would do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.ingest.faults import BadLineError
from pipelines.ingest.reading.lines import MAX_LINE_BYTES

_COPIES = 7.0
"""Bytes held per byte of a line at most: it, its strings, its canonical form or what is sent, and the connection's buffer."""
_FIXED = 60 * 10**6
"""What the first lines take whatever they hold: batches, the connection and the libraries that they need."""
_WIDE_COPIES = 4
"""How often its characters are held at their own width, where one is beyond Latin-1: Python gives all of a text the widest's."""
_VALUE_BYTES, _OBJECT_BYTES, _MESSAGE_BYTES = 90, 400, 4_000
"""What a value, an object and a message take beside their characters, as Python objects, as events and on their way."""
_ROLE = b'"role"'
_LONGEST = len(_ROLE) - 1
"""Bytes of what is counted that may stand in the piece before; as many as a mark of wide characters needs."""
_STEP = 50 * 10**6
"""What a bound that would do is rounded up to; half of it is left for what a process takes more than the one before it."""
_WIDEST = re.compile(rb"[\xf0-\xf7]|\\u[dD][89abAB]")
_WIDE = re.compile(rb"[\xc4-\xef]|\\u(?:[^0]|0[^0])")


@dataclass(frozen=True, slots=True)
class Room:
    """What is left for a line.

    Attributes:
        limit: `REFOLD_MEMORY`, in bytes.
        taken: What the process holds before the first line.
    """

    limit: int
    taken: int

    @property
    def max_line_bytes(self) -> int:
        """Longer lines do not fit, whatever is in them."""
        return min(MAX_LINE_BYTES, max(int((self.limit - self.taken - _FIXED) / _COPIES), 0))

    def long_line(self) -> LineSize:
        """What is wrong with a line of more than `max_line_bytes`, told from its bytes as they pass."""
        return LineSize(self)

    def refuse_dense(self, data: bytes) -> None:
        """Refuse a line of so many values, messages or wide characters that it does not fit, though it is not too long.

        Raises:
            BadLineError: It does not; the reason names its size and the bound that would do.
        """
        worst = len(data) * (_COPIES + _MESSAGE_BYTES / 8)
        if self.taken + _FIXED + worst <= self.limit:
            return
        size = LineSize(self)
        size.add(data)
        if size.needed > self.limit:
            raise BadLineError("$", size.fault())


class LineSize:
    """What a line takes, added up piece by piece."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._length = self._extra = 0
        self._width = 1
        self._end = b""

    def add(self, piece: bytes) -> None:
        """Take the line's next bytes."""
        self._length += len(piece)
        around = self._end + piece[:_LONGEST]  # what is counted may begin in one piece and end in the next
        self._extra += _beside(piece) + _beside(around) - _beside(self._end) - _beside(piece[:_LONGEST])
        for each in (around, piece):
            self._width = max(self._width, 4 if _WIDEST.search(each) else 2 if _WIDE.search(each) else 1)
        self._end = (self._end + piece[-_LONGEST:])[-_LONGEST:]

    def add_event(self) -> None:
        """Take an event of the line, beside its bytes."""
        self._extra += _MESSAGE_BYTES

    @property
    def needed(self) -> int:
        """Bytes of the process with this line, about and at most."""
        copies = _COPIES + _WIDE_COPIES * (self._width - 1)
        return self._room.taken + _FIXED + int(self._length * copies) + self._extra

    def fault(self, what: str = "line", verb: str = "import") -> str:
        """What is wrong with it, and the bound that would do."""
        if self._length > MAX_LINE_BYTES:
            return f"the {what} has {self._length:,} bytes, more than the {MAX_LINE_BYTES:,} that can be stored"
        enough = -(-(self.needed + _STEP // 2) // _STEP) * _STEP // 10**6
        return (
            f"the {what} has {self._length:,} bytes and takes some {self.needed // 10**6:,} MB of memory to {verb}, more than "
            f"REFOLD_MEMORY ({self._room.limit // 10**6:,} MB) allows; REFOLD_MEMORY={enough}MB would do"
        )


def _beside(data: bytes) -> int:
    """Bytes that values, objects and messages take beside their characters."""
    return (
        data.count(b",") * _VALUE_BYTES
        + (data.count(b"{") + data.count(b"[")) * _OBJECT_BYTES
        + data.count(_ROLE) * _MESSAGE_BYTES
    )
