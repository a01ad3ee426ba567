"""Which pairs are in front of somebody now: a small file of the home, so that two people do not take the same one needlessly.

A lease ends by time. Nothing depends on it but who sees which pair: that no verdict is doubled is the store's to see to. People at homes
of their own, on one store, do not see each other's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.locks import holding

SECONDS = 900.0
"""A pair that was shown for longer is free for others."""
_FOLDER = "review"


@dataclass(frozen=True, slots=True)
class Lease:
    """A pair in front of somebody.

    Attributes:
        unit_id: The pair.
        reviewer: Who; None where nobody is named.
        verdict_id: What the verdict will be called.
        until: When the lease ends, seconds since 1970.
    """

    unit_id: str
    reviewer: str | None
    verdict_id: str
    until: float


class Leases:
    """The leases of one version."""

    def __init__(self, home: Path, version_id: str) -> None:
        self._path = home / _FOLDER / f"{version_id}.leases.json"

    @contextmanager
    def changing(self) -> Iterator[list[Lease]]:
        """The leases that have not ended; what the list is at the block's end is kept. Others wait meanwhile."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with holding(self._path.with_suffix(".lock")):
            before = self._read()
            leases = list(before)
            yield leases
            if leases != before:
                beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
                beside.write_text(json.dumps([asdict(each) for each in leases]), encoding="utf-8")
                beside.replace(self._path)

    def find(self, unit_id: str, reviewer: str | None) -> Lease | None:
        """The lease of somebody's on a pair; None when there is none or it ended."""
        mine = (each for each in self._read() if (each.unit_id, each.reviewer) == (unit_id, reviewer))
        return next(mine, None)

    def _read(self) -> list[Lease]:
        now = time.time()
        with suppress(OSError, ValueError, TypeError):
            found = [Lease(**each) for each in json.loads(self._path.read_text(encoding="utf-8"))]
            return [each for each in found if now < each.until <= now + SECONDS]
        return []
