"""One pass over a folder that is followed: what is new or has grown is imported, what is refused is told and holds up nothing else.

Files of a form whose conversations may be scattered over files are read together, the known ones too, as soon as one of them changed;
of the other forms each file is imported by itself. What is known of a file is written down when its import has succeeded, so a pass
that is killed anywhere is made again, and appends what is missing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import BadInputError
from pipelines.ingest.chat import ImportResult, import_chat
from pipelines.ingest.clock import Days
from pipelines.ingest.follow.folder import SETTLE_SECONDS, Known, Memory, Seen, Stamp, has_changes, look
from pipelines.ingest.form_files import import_form
from pipelines.ingest.forms.dataset import Dataset
from pipelines.ingest.forms.form import Form, Options, form_named
from pipelines.ingest.forms.recognition import recognised
from pipelines.ingest.reading.room import Room
from pipelines.locks import holding
from pipelines.store.connect import Store
from pipelines.store.errors import MonthSealed

CHAT, AUTO = "chat", "auto"
_APART = frozenset({CHAT, "dataset", "inspect", "voice", "codex", "swe-agent"})
"""Forms of which a file holds whole conversations; those of any other may be scattered over files."""
_REFUSALS = (BadInputError, MonthSealed)
"""What is wrong with a file, and not with the store."""

_BEFORE = "it was refused before, and is as it was; an import of it by its name says why"


@dataclass(frozen=True, slots=True)
class Followed:
    """A folder, and how its files are read.

    Attributes:
        form: Name of a form, `chat`, or `auto` where each file tells.
        folder: Where the files are.
        shape: As of `refold import chat --shape`.
        source: As of an import, like all that follows.
        settle: Seconds for which a file must have been left alone.
    """

    form: str
    folder: Path
    shape: str | None = None
    source: str | None = None
    conversation_key: str | None = None
    subject_key: str | None = None
    keep_raw: bool = False
    at: datetime | None = None
    times_from: datetime | None = None
    times_until: datetime | None = None
    settle: float = field(default=SETTLE_SECONDS, repr=False, compare=False)

    def note(self, home: Path) -> Path:
        """Where what is known of the folder is remembered: another note for anything that would be read otherwise."""
        asked = repr(replace(self, folder=self.folder.absolute()))
        return home / "follow" / f"{hashlib.sha256(asked.encode('utf-8', 'surrogateescape')).hexdigest()}.json"


@dataclass(slots=True)
class Pass:
    """What a pass came to; files are named by their paths below the folder.

    Attributes:
        folder: The folder.
        new, grown: Files that were imported; of a dry run, that would be.
        unchanged: How many are as they were imported.
        waiting: Files that the next pass reads, and why.
        refused: Files that are refused, and why; of those that were refused before and are as they were, only that.
        passed_over: What is no file to import, and why.
        conversations, went_on, already_present, erased, events: As of an import, over all of them.
    """

    folder: str
    new: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)
    unchanged: int = 0
    waiting: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    conversations: int = 0
    went_on: int = 0
    already_present: int = 0
    erased: int = 0
    events: int = 0

    def add(self, result: ImportResult) -> None:
        """Count an import."""
        self.conversations += result.conversations
        self.went_on += result.grown
        self.already_present += result.already_present
        self.erased += result.erased
        self.events += result.events


def has_work(followed: Followed, home: Path) -> bool:
    """Whether a pass would read anything, or say that there is no such folder; the store is not asked."""
    if not followed.folder.is_dir():
        return True
    memory = Memory.load(followed.note(home), None)
    return has_changes(followed.folder, memory, time.time_ns(), followed.settle)


def follow(store: Store | None, followed: Followed, *, home: Path, room: Room) -> Pass:
    """Make one pass.

    Args:
        store: Where to; None only looks (a dry run).
        followed: The folder.
        home: REFOLD_HOME, which has the note.
        room: Memory that an import may take.

    Raises:
        BadInputError: There is no such folder or form.
        StoreError: The store cannot be used; what was imported until then stands and is remembered.
    """
    if followed.form not in (CHAT, AUTO):
        form_named(followed.form, home)
    note = followed.note(home)
    if store is None:
        memory = Memory.load(note, None)
        return _told(followed, look(followed.folder, memory, time.time_ns(), followed.settle))
    note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with holding(note.with_suffix(".lock")):
        memory = Memory.load(note, str(store.home_id()))
        seen = look(followed.folder, memory, time.time_ns(), followed.settle)
        return _Passing(store, followed, home, room, memory, seen).made()


def _told(followed: Followed, seen: Seen) -> Pass:
    return Pass(
        str(followed.folder),
        new=list(seen.new),
        grown=list(seen.grown),
        unchanged=len(seen.unchanged),
        waiting=seen.waiting,
        refused={**seen.unreadable, **dict.fromkeys(seen.refused, _BEFORE)},
        passed_over=seen.passed_over,
    )


@dataclass(slots=True)
class _Passing:
    """A pass while it is made."""

    store: Store
    followed: Followed
    home: Path
    room: Room
    memory: Memory
    seen: Seen
    told: Pass = field(init=False)

    def made(self) -> Pass:
        seen = self.seen
        self.told = _told(self.followed, seen)
        self.told.new, self.told.grown = [], []
        waiting = {name: self.memory.files[name] for name in seen.waiting if name in self.memory.files}
        self.memory.files = {**waiting, **seen.unchanged, **seen.refused}
        self.memory.save()
        by_form: dict[str, dict[str, Known]] = {}
        for name, known in self._in_order({**seen.new, **seen.grown}):
            try:
                form = self._form_of(name)
            except BadInputError as error:
                self._refuse(name, known, error, is_alone_bad=True)
            else:
                by_form.setdefault(form, {})[name] = replace(known, form=form)
        for form, files in by_form.items():
            if form in _APART:
                for name, known in files.items():
                    self._try({}, {name: known})
            else:
                self._together(form, files)
        return self.told

    def _in_order(self, files: dict[str, Known]) -> Iterable[tuple[str, Known]]:
        """The oldest first: what goes on comes after what it goes on from."""
        return sorted(files.items(), key=lambda each: (each[1].stamp.changed_ns, each[0]))

    def _together(self, form: str, files: dict[str, Known]) -> None:
        """Import files with all that are known; where that is refused, without those that are bad alone, else one more at a time."""
        stood = {name: each for name, each in self.seen.unchanged.items() if each.form == form}
        again = {n: each for n, each in self.seen.refused.items() if each.form == form and not each.is_alone_bad}
        wanted = {
            name: replace(known, is_refused=False, is_alone_bad=False)
            for name, known in self._in_order({**again, **files})
        }
        if self._try(stood, wanted, is_last=False):
            return
        good = {name: known for name, known in wanted.items() if self._is_good(name, known)}
        if 1 < len(good) < len(wanted) and self._try(stood, good, is_last=False):
            return
        for name, known in good.items():
            if self._try(stood, {name: known}):
                stood[name] = known

    def _is_good(self, name: str, known: Known) -> bool:
        """Whether a file can be read at all; if not, that is told."""
        try:
            self._import(known.form, [name], is_dry=True)
        except _REFUSALS as error:
            self._refuse(name, known, error, is_alone_bad=True)
            return False
        return True

    def _try(self, stood: dict[str, Known], files: dict[str, Known], *, is_last: bool = True) -> bool:
        """Import files with those that stood before; whether that was done. A refusal is told where there is nothing left to try."""
        form = next(iter(files.values())).form
        try:
            result = self._import(form, [*stood, *files])
        except _REFUSALS as error:
            if is_last:
                for name, known in files.items():
                    self._refuse(name, known, error, is_alone_bad=form in _APART)
            return False
        self.told.add(result)
        for name, known in files.items():
            self.told.refused.pop(name, None)
            (self.told.new if name in self.seen.new else self.told.grown).append(name)
            if _is_as(self.followed.folder / name, known.stamp):
                self.memory.files[name] = known
        self.memory.save()
        return True

    def _refuse(self, name: str, known: Known, error: Exception, *, is_alone_bad: bool) -> None:
        self.told.refused[name] = str(error)
        if _is_as(self.followed.folder / name, known.stamp):
            self.memory.files[name] = replace(known, is_refused=True, is_alone_bad=is_alone_bad)
        self.memory.save()

    def _form_of(self, name: str) -> str:
        if self.followed.form != AUTO:
            return "dataset" if self.followed.shape else self.followed.form
        return recognised([self.followed.folder / name], self.home)[0][0].name

    def _import(self, form: str, names: list[str], *, is_dry: bool = False) -> ImportResult:
        asked = self.followed
        files = [asked.folder / name for name in names]
        days = Days.given(asked.times_from, asked.times_until, datetime.now(UTC))
        if form == CHAT:
            return import_chat(
                self.store, files, at=asked.at, source=asked.source, days=days, spool=self.home, room=self.room
            )
        reader: Form = Dataset(asked.shape) if asked.shape else form_named(form, self.home)
        options = Options(asked.source, asked.conversation_key, asked.subject_key, self.room.limit, self.room.taken)
        store = None if is_dry else self.store
        done = import_form(
            store,
            reader,
            files,
            options,
            home=self.home,
            keep_raw=asked.keep_raw and not is_dry,
            at=asked.at,
            days=days,
            room=self.room,
        )
        return done.result or ImportResult(0, 0, 0, 0, 0, 0, (), (), 0.0)


def _is_as(path: Path, stamp: Stamp) -> bool:
    """Whether a file is as it was before it was read; one that changed meanwhile is read again."""
    try:
        return Stamp.of(path) == stamp
    except OSError:
        return False
