"""What of a side can be asked over its wire at all, and what goes out in another form: counted before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipelines.console import counted
from pipelines.replay.request import Request
from pipelines.replay.wires.notes import DETAILS
from pipelines.replay.work import Unit


@dataclass(slots=True)
class Preflight:
    """Decisions of one side, each counted once however often it is drawn.

    Attributes:
        replayable: Those that can be asked; `noted` is a part of it.
        noted: Those of them of which something goes out in another form.
        not_replayable: Those that would fail without being asked.
        notes: Of those that are noted, by code of the note.
        unasked: Units and draws that would fail without being asked, by reason.
        details: What the wire has no form for, in words, and how many decisions that is true of.
    """

    replayable: int = 0
    noted: int = 0
    not_replayable: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    unasked: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)

    def requests(self, units: Iterable[Unit]) -> Iterator[Request]:
        """The requests that can be sent, every unit looked at on the way."""
        seen: str | None = None
        for unit in units:
            is_first, seen = unit.row["unit_id"] != seen, str(unit.row["unit_id"])  # draws of a unit follow each other
            reason = getattr(unit, "reason", None)
            if unit.request is None:
                if reason is not None:
                    self._refuse(reason, is_first=is_first)
                continue
            notes = list(unit.request.notes())
            fatal = next((note for note in notes if note.is_fatal), None)
            if fatal is not None:
                self._refuse("not_expressible", is_first=is_first)
                self.details[f"{fatal.code}: {fatal.detail}"] += is_first
                continue
            if is_first:
                self.replayable += 1
                self.noted += bool(notes)
                self.notes.update(note.code for note in notes)
            yield unit.request

    def _refuse(self, reason: str, *, is_first: bool) -> None:
        self.unasked[reason] += 1
        self.not_replayable += is_first

    def describe(self, api: str) -> list[str]:
        """In lines, for people."""
        can = f"{counted(self.replayable, 'decision')} can be replayed, {self.noted:,} of them with a note"
        lines = [f"  over {api}: {can}; {self.not_replayable:,} cannot"]
        lines += [f"  note: {count:,} × {code}: {DETAILS[code]}" for code, count in sorted(self.notes.items())]
        lines += [f"  would not be asked: {count:,} × {reason}" for reason, count in sorted(self.unasked.items())]
        return lines + [f"  no form: {count:,} × {detail}" for detail, count in sorted(self.details.items())]
