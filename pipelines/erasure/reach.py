"""Which streams an erasure reaches, in what was made when. By ids alone: what was said in them is gone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from pipelines.proof.erasure import Target

_FOLDER = "erasures"
_DONE = "derived_at"


@dataclass(frozen=True, slots=True)
class Reach:
    """The streams of an erasure.

    Of a stream that is erased as a whole nothing is made any more. One of which single events are erased goes on: what was made
    of it once everything from before had been forgotten knows nothing of them, and stays.

    Attributes:
        whole: Streams that are erased as a whole.
        parts: Streams of which single events are.
        done_at: When everything that was derived had been forgotten, UTC; None as long as it has not.
    """

    whole: frozenset[str]
    parts: frozenset[str]
    done_at: datetime | None

    @classmethod
    def of(cls, targets: Iterable[Target], done_at: datetime | None) -> Self:
        """Of an erasure's targets."""
        listed = list(targets)
        whole = frozenset(each.stream for each in listed if each.is_whole)
        return cls(whole, frozenset(each.stream for each in listed) - whole, done_at)

    @property
    def streams(self) -> frozenset[str]:
        """All of them."""
        return self.whole | self.parts

    def since(self, made_at: datetime | None) -> frozenset[str]:
        """Those of which what was made at a time may hold something; of an unknown time, all."""
        is_later = made_at is not None and self.done_at is not None and made_at > self.done_at
        return self.whole if is_later else self.streams


def find_done(home: Path, erasure: str) -> datetime | None:
    """When all that was derived had been forgotten for an erasure; None when it was not, or is not known.

    Without the note everything is looked at again: that forgets too much rather than too little.
    """
    try:
        found = json.loads(_note(home, erasure).read_text(encoding="utf-8"))
        return datetime.fromisoformat(found[_DONE])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def note_done(home: Path, erasure: str, at: datetime) -> None:
    """Note that it was; the first time counts, since what was made after it is told from what was made before."""
    path = _note(home, erasure)
    if find_done(home, erasure) is not None:
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps({_DONE: at.isoformat()}), encoding="utf-8")
    temporary.replace(path)


def _note(home: Path, erasure: str) -> Path:
    return home / _FOLDER / f"{erasure}.json"
