"""What a recorder tells its owner: how full it is, and that it is too full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.errors import RefoldError

WhenFull = Literal["block", "raise", "spill"]
"""What a recording call does when the buffer is full: wait, raise `RecorderFull`, or write to the spill folder."""


class RecorderFull(RefoldError):  # noqa: N818 -- the word callers use
    """The recorder's buffer is full and its owner chose to be told; nothing of this call was recorded."""


@dataclass(frozen=True, slots=True)
class RecorderStatus:
    """Where recorded packets (one a call) are.

    Attributes:
        buffered: Waiting in memory.
        buffered_bytes: Their bytes.
        spilled_bytes: Bytes of the spill file still to be sent.
        sent: Packets that the store has taken since the start, those found to be there already included.
        refused: Packets that the store refuses for ever; they are in a `.refused.jsonl`, or in the log.
        lost: Packets that could be kept nowhere.
        failed: Recording calls of which nothing could be kept.
        described: Values kept as a short description, because no JSON can be made of them; their events say which.
        is_away: Whether the last attempt did not reach the store.
    """

    buffered: int
    buffered_bytes: int
    spilled_bytes: int
    sent: int
    refused: int
    lost: int
    failed: int
    described: int
    is_away: bool
