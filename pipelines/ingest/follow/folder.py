"""Which files of a folder are new or have grown since they were imported whole: the one place that says so.

What was imported is remembered in a private note, a file by its size, time, inode and SHA-256. A note saves reading and no more: an
import of what is there already appends nothing, so one that is lost, or was not written because the process was killed, costs time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipelines.errors import BadInputError
from pipelines.ingest.forms.noted import beside
from pipelines.output import open_output

SETTLE_SECONDS = 30.0
"""How long a file must have been left alone before it is read."""
_ENDINGS = (".tmp", ".part", "-wal", "-shm", "-journal")
"""Ends of names of files that are not whole, and of what belongs to a database beside them."""
_BLOCK = 1 << 16
_MAX_TAIL = 1 << 26
"""Bytes of a last line that are looked at; one that is longer and does not end is taken for half of one."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells without reading a file that it is as it was: bytes, time of change in nanoseconds, inode."""

    size: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of a file together with what SQLite has written and not yet put into it."""
        found = [each.stat() for each in (path, *beside([path]))]
        return cls(sum(each.st_size for each in found), max(each.st_mtime_ns for each in found), found[0].st_ino)


@dataclass(frozen=True, slots=True)
class Known:
    """A file that a pass was done with.

    Attributes:
        stamp: As it was before it was read.
        sha256: Of its bytes then.
        form: What it was read as.
        is_refused: Whether it was refused and not imported. Why is not kept: a reason may quote what was said.
        is_alone_bad: Whether it was refused for itself, and not for what other files or the store say.
    """

    stamp: Stamp
    sha256: str
    form: str
    is_refused: bool = False
    is_alone_bad: bool = False


@dataclass(slots=True)
class Memory:
    """What is remembered of a folder.

    Attributes:
        path: The note.
        log: Id of the log that it was imported into; for another one nothing is known.
        files: By path below the folder.
    """

    path: Path
    log: str | None
    files: dict[str, Known] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, log: str | None) -> Memory:
        """The note at a path; an empty one where there is none, or it is damaged, or is of another log (None: of any)."""
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            files = {name: Known(**{**each, "stamp": Stamp(**each["stamp"])}) for name, each in told["files"].items()}
            return cls(path, log or told["log"], files if log in (None, told["log"]) else {})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls(path, log)

    def save(self) -> None:
        """Replace the note, whole."""
        told = {"log": self.log, "files": {name: asdict(each) for name, each in self.files.items()}}
        with open_output(self.path, is_private=True) as file:
            file.write(json.dumps(told).encode())  # escapes bytes of a name that are no text


@dataclass(slots=True)
class Seen:
    """What a look at a folder found; names are paths below it, in their order.

    Attributes:
        new: Files that were never imported, as they are now.
        grown: Files that were imported, or refused, and have changed since.
        unchanged: Files that are as they were imported.
        refused: Files that were refused and are as they were.
        unreadable: Files that cannot be read, and why.
        waiting: Files that are not read yet, and why.
        passed_over: What is no file to import, and why.
    """

    new: dict[str, Known] = field(default_factory=dict)
    grown: dict[str, Known] = field(default_factory=dict)
    unchanged: dict[str, Known] = field(default_factory=dict)
    refused: dict[str, Known] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)


def look(folder: Path, memory: Memory, now_ns: int, settle: float = SETTLE_SECONDS) -> Seen:
    """Look at all files below a folder; only those that are not as they were are read, to hash them.

    Raises:
        BadInputError: There is no such folder.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is no folder; name one whose files are to be imported")
    seen = Seen()
    for path in _files(folder, seen):
        name = str(path.relative_to(folder))
        try:
            _see(seen, name, path, memory.files.get(name), now_ns, settle)
        except OSError as error:
            seen.unreadable[name] = f"it cannot be read: {error.strerror or error}"
    return seen


def has_changes(folder: Path, memory: Memory, now_ns: int, settle: float = SETTLE_SECONDS) -> bool:
    """Whether some file of a folder may be new or have grown; none is read whole, so one that was only touched counts."""
    for path in _files(folder, Seen()):
        known = memory.files.get(str(path.relative_to(folder)))
        with suppress(OSError):  # what cannot be read is for a look to tell
            stamp = Stamp.of(path)
            if (known is None or known.stamp != stamp) and _why_it_waits(path, stamp, now_ns, settle) is None:
                return True
    return False


def _why_it_waits(path: Path, stamp: Stamp, now_ns: int, settle: float) -> str | None:
    if abs(now_ns - stamp.changed_ns) < settle * 1e9:
        return f"it changed less than {settle:g} seconds ago"
    return "its last line is not whole" if ends_in_half_a_line(path) else None


def _see(seen: Seen, name: str, path: Path, known: Known | None, now_ns: int, settle: float) -> None:
    stamp = Stamp.of(path)
    if known is not None and known.stamp == stamp:
        (seen.unchanged if not known.is_refused else seen.refused)[name] = known
        return
    if (why := _why_it_waits(path, stamp, now_ns, settle)) is not None:
        seen.waiting[name] = why
        return
    now = Known(stamp, sha256_of(path), known.form if known else "")
    if known is None:
        seen.new[name] = now
    elif known.sha256 != now.sha256:
        seen.grown[name] = now
    else:
        again = Known(stamp, known.sha256, known.form, known.is_refused, known.is_alone_bad)
        (seen.unchanged if not known.is_refused else seen.refused)[name] = again


def _files(folder: Path, seen: Seen) -> Iterator[Path]:
    """Regular files at any depth, in the order of their names; links to folders are not followed."""
    for above, folders, names in os.walk(folder):
        here = Path(above)
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        if "_delta_log" in folders:
            folders.clear()
            seen.passed_over[str(here.relative_to(folder))] = "it is a Delta table; import it by its own name"
            continue
        for name in sorted(names):
            path = here / name
            if not name.startswith(".") and not name.endswith(_ENDINGS) and (path.is_file() or path.is_symlink()):
                yield path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, and of what belongs to it."""
    whole = hashlib.sha256()
    for each in (path, *beside([path])):
        with each.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def ends_in_half_a_line(path: Path) -> bool:
    """Whether a file of JSON ends without a newline in what begins a JSON value and does not end it."""
    with path.open("rb") as file:
        if not file.read(_BLOCK).lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
            return False
        left, tail = file.seek(0, os.SEEK_END), b""
        while left and b"\n" not in tail:
            if len(tail) > _MAX_TAIL:
                return True
            size = min(max(_BLOCK, len(tail)), left)
            left -= size
            file.seek(left)
            tail = file.read(size) + tail
    last = tail[tail.rfind(b"\n") + 1 :].strip()
    if not last.startswith((b"{", b"[")):
        return False
    try:
        json.loads(last)
    except (ValueError, RecursionError):
        return True
    return False
