"""How much memory a line takes to import, told from its bytes before anything of it is parsed.

A line becomes Python objects, and those become what is sent; all of it is held at once, since a conversation is appended whole.
`REFOLD_MEMORY` bounds the process, so a line that takes more than is left is refused, with the bound that would do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.ingest.faults import BadLineError
from pipelines.ingest.lines import MAX_LINE_BYTES

_COPIES = 7.0
"""Bytes held per byte of a line at most: it, its strings, its canonical form or what is sent, and the connection's buffer."""
_FIXED = 60 * 10**6
"""What the first lines take whatever they hold: batches, the connection and the libraries that they need."""
_WIDE_COPIES = 4
"""How often its characters are held at their own width, where one is beyond Latin-1: Python gives all of a text the widest's."""
_VALUE_BYTES, _OBJECT_BYTES, _MESSAGE_BYTES = 90, 400, 4_000
"""What a value, an object and a message take beside their characters, as Python objects, as events and on their way."""
_STEP = 50 * 10**6
"""What a bound that would do is rounded up to."""
_WIDEST = re.compile(rb"[\xf0-\xf7]|\\u[dD][89abAB]")
_WIDE = re.compile(rb"[\xc4-\xef]|\\u(?!00)")


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

    def too_long(self, length: int) -> str:
        """What is wrong with a line of more than `max_line_bytes`."""
        if length > MAX_LINE_BYTES:
            return f"the line has {length:,} bytes, more than the {MAX_LINE_BYTES:,} that can be stored"
        return self._refusal(length, self.taken + _FIXED + int(length * _COPIES))

    def refuse_dense(self, data: bytes) -> None:
        """Refuse a line of so many values, messages or wide characters that it does not fit, though it is not too long.

        Raises:
            BadLineError: It does not; the reason names its size and the bound that would do.
        """
        worst = len(data) * (_COPIES + _MESSAGE_BYTES / 8)
        if self.taken + _FIXED + worst <= self.limit:
            return
        needed = self.taken + _FIXED + _bytes_of(data)
        if needed > self.limit:
            raise BadLineError("$", self._refusal(len(data), needed))

    def _refusal(self, length: int, needed: int) -> str:
        enough = -(-needed // _STEP) * _STEP // 10**6
        return (
            f"the line has {length:,} bytes and takes some {needed // 10**6:,} MB of memory to import, more than REFOLD_MEMORY "
            f"({self.limit // 10**6:,} MB) allows; REFOLD_MEMORY={enough}MB would do"
        )


def _bytes_of(data: bytes) -> int:
    """Bytes that a process takes for a line beside its own, about and at most."""
    width = 4 if _WIDEST.search(data) else 2 if _WIDE.search(data) else 1
    return int(
        len(data) * (_COPIES + _WIDE_COPIES * (width - 1))
        + data.count(b",") * _VALUE_BYTES
        + (data.count(b"{") + data.count(b"[")) * _OBJECT_BYTES
        + data.count(b'"role"') * _MESSAGE_BYTES
    )
