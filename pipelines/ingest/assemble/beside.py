"""Where what happened beside the calls belongs among a stream's entries: by its time, or at the message that it spoke.

Each is found without a walk over the entries, of which a long trace has as many as it has such things.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from itertools import accumulate

from pipelines.canonical.content import text_of
from pipelines.ingest.assemble.lines import settle_time
from pipelines.ingest.assemble.rows import Message, Step
from pipelines.ingest.assemble.streams import Stream
from pipelines.ingest.assemble.threads import Entry


class Timeline:
    """The entries of a stream, into which others are put before the first one that came later; they need not be in order.

    Args:
        entries: Those that are there, with their times; nobody else puts any in meanwhile.
    """

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._latest = list(accumulate(map(_at, entries), max))
        """The latest time up to each, so that the first that is later than a time is found in a row that ascends."""

    def put(self, new: list[Entry], at: int | None) -> None:
        """Put entries in, together; without a time at the end. What has none of its own gets one."""
        place = len(self._entries) if at is None else bisect_right(self._latest, at)
        self._entries[place:place] = new
        for entry in new:
            if entry.at is None:
                settle_time(entry)
        before = self._latest[place - 1] if place else -math.inf
        self._latest[place:place] = list(accumulate(map(_at, new), max, initial=before))[1:]
        place += len(new)
        latest = self._latest[place - 1] if place else -math.inf
        while place < len(self._latest) and self._latest[place] < latest:
            self._latest[place] = latest
            place += 1


def _at(entry: Entry) -> float:
    return -math.inf if entry.at is None else entry.at


class Spoken:
    """Messages that calls recorded and that a span may say how they were spoken, each once, the first first.

    Args:
        streams: Whose entries they are, in order.
    """

    def __init__(self, streams: Iterable[Stream]) -> None:
        self._left: dict[tuple[str, str], deque[Entry]] = {}
        for stream in streams:
            for entry in stream.entries:
                if entry.message is not None and entry.step is None:
                    self._left.setdefault(_said(entry.message), deque()).append(entry)

    def take(self, step: Step) -> bool:
        """Whether a span's speech is such a message, which it then is of."""
        if step.kind != "utterance" or step.message is None:
            return False
        found = self._left.get(_said(step.message))
        if not found:
            return False
        entry = found.popleft()
        entry.step = step
        settle_time(entry)
        return True


def _said(message: Message) -> tuple[str, str]:
    return message.chat["role"], text_of(message.chat.get("content")).strip()
