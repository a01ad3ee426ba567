"""A checkpoint: how long the home log was, its root, and where the streams of open months stood. C2SP tlog-checkpoint.

    ORIGIN
    SIZE
    BASE64(root over the log's documents)
    refold-heads/1 MONTH EPOCH XID STREAMS BASE64(root over the heads)      a line for each month that was not sealed

A month's heads are those of its events that were complete then: (epoch, order_xid) before (EPOCH, XID). Which those are does not
change any more, so they can be found again at any time, and a tail that was cut since shows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.proof.merkle import Hashes, leaf_hashes, merkle_root
from pipelines.proof.note import NoteError

_HEADS = "refold-heads/1"
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class MonthHeads:
    """Where the streams of a month stood.

    Attributes:
        month: UTC month, YYYY-MM.
        epoch: Events of earlier epochs count,
        xid: and those of this epoch whose `order_xid` is below.
        streams: Streams with such events.
        root: Root over their heads; see `pipelines.proof.heads`.
    """

    month: str
    epoch: int
    xid: int
    streams: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The body of a checkpoint.

    Attributes:
        origin: Which log it is of.
        size: Entries of the home log.
        root: Root over them.
        heads: Of months that were not sealed, by month.
        others: Lines that this version does not know.
    """

    origin: str
    size: int
    root: bytes
    heads: tuple[MonthHeads, ...]
    others: tuple[str, ...] = ()

    def text(self) -> str:
        """What is signed."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode()]
        lines += [
            f"{_HEADS} {each.month} {each.epoch} {each.xid} {each.streams} {base64.b64encode(each.root).decode()}"
            for each in self.heads
        ]
        return "".join(f"{line}\n" for line in [*lines, *self.others])

    @classmethod
    def read(cls, text: str) -> Checkpoint:
        """The checkpoint in a note's text.

        Raises:
            NoteError: It is none.
        """
        lines = text[:-1].split("\n")
        if len(lines) < 3 or not all(lines) or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
            raise NoteError("it is not a checkpoint: origin, size and root, a line each, and no empty one")
        heads = [_read_heads(line) for line in lines[3:] if line.startswith(f"{_HEADS} ")]
        others = [line for line in lines[3:] if not line.startswith(f"{_HEADS} ")]
        return cls(lines[0], int(lines[1]), _root(lines[2]), tuple(heads), tuple(others))


def log_leaves(documents: Sequence[str]) -> Hashes:
    """The leaves of the home log's tree: (n, 32)."""
    leaves = [leaf_hashes(np.frombuffer(text.encode(), np.uint8).reshape(1, -1))[0] for text in documents]
    return np.stack(leaves) if leaves else np.empty((0, 32), np.uint8)


def log_root(documents: Sequence[str]) -> bytes:
    """The root of the home log over its first documents."""
    return merkle_root(log_leaves(documents))


def _read_heads(line: str) -> MonthHeads:
    parts = line.split(" ")
    if len(parts) != 6 or not _MONTH.fullmatch(parts[1]) or not all(part.isdecimal() for part in parts[2:5]):
        raise NoteError("it is not a checkpoint of this version: a line of heads cannot be read")
    return MonthHeads(parts[1], int(parts[2]), int(parts[3]), int(parts[4]), _root(parts[5]))


def _root(text: str) -> bytes:
    try:
        root = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        root = b""
    if len(root) != 32:
        raise NoteError("it is not a checkpoint: a root is not 32 bytes in base64")
    return root
