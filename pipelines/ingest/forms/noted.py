"""What an import of files came to, noted in the home, so that the same import again need not read them.

A note is named by a hash of the bytes of the files, of how they are named and of what was asked; it holds the streams that the import
led to, each with the digest of its line. It is believed only where this version's code wrote it, and where the store says of each
of the streams that it stands, with that digest and with nothing erased. Else the files are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

import pipelines
from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.clock import Days
from pipelines.ingest.forms.form import SHIPPED, Form, Options
from pipelines.ingest.growth import digests_of
from pipelines.ingest.known import known_streams
from pipelines.output import open_output
from pipelines.sqlfiles import sql_root
from pipelines.store.connect import Store

_FOLDER = "imports"
_BATCH = 1_000
_PACKAGE = Path(pipelines.__file__).parent


@dataclass(slots=True)
class Note:
    """What an import came to.

    Attributes:
        code: Hash of the code that read the files.
        first, last: The days that were believed.
        tally: Counts of what the files hold.
        streams: For each run line the stream that it is, and its digest.
    """

    code: str
    first: date
    last: date
    tally: Tally
    streams: list[tuple[UUID, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """An import of files, as it is told from another one.

    Attributes:
        path: Where its note is.
        files: The files.
        stamps: Their sizes and times when they were hashed.
    """

    path: Path
    files: tuple[Path, ...]
    stamps: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, form: Form, names: Sequence[Path], files: Sequence[Path], options: Options, home: Path) -> Asked | None:
        """The import of these files; None where nothing can be noted: of a database, and by an importer of one's own.

        Args:
            form: What reads them.
            names: The files as they were named: a form may take a name from them.
            files: Where their bytes are.
            options: What was asked.
            home: REFOLD_HOME.
        """
        if not files or form.name not in SHIPPED or not type(form).__module__.startswith(f"{__package__}."):
            return None
        stamps = _stamps(files)
        asked = (type(form).__qualname__, vars(form), options.source, options.conversation_key, options.subject_key)
        named = [(str(name.absolute()), _sha256(file)) for name, file in zip(names, files, strict=True)]
        key = hashlib.sha256(repr((form.name, asked, named)).encode("utf-8", "surrogateescape")).hexdigest()
        return cls(home / _FOLDER / f"{key}.json", tuple(files), stamps)

    def noted(self, store: Store, days: Days) -> Note | None:
        """What the import came to when it was made before, where all of that still stands and would be believed today."""
        try:
            note = msgspec.json.decode(self.path.read_bytes(), type=Note, dec_hook=_counter)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        is_believed = note.code == _code() and days.first <= note.first and note.last <= days.last
        return note if is_believed and _stand(store, note.streams) else None

    def note(self, days: Days, tally: Tally, streams: list[tuple[UUID, str]]) -> None:
        """Note what the import came to, unless files changed while they were read."""
        if not streams or _stamps(self.files) != self.stamps:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open_output(self.path, is_private=True) as file:
            file.write(msgspec.json.encode(Note(_code(), days.first, days.last, tally, streams)))


def notes_of(home: Path, streams: Collection[str]) -> list[Path]:
    """The notes of a home that name one of some streams: a digest lets whoever guesses a line know that it was there."""
    wanted = [stream.encode() for stream in streams]
    found = sorted((home / _FOLDER).glob("*.json"))
    return [path for path in found if any(each in path.read_bytes() for each in wanted)]


def _counter(kind: Any, value: Any) -> Any:
    """Counts by name, which are no type that JSON is read into."""
    return kind(value)


def _stand(store: Store, streams: Sequence[tuple[UUID, str]]) -> bool:
    """Whether streams are in the store as lines of these digests made them, whatever came after, and nothing of them is erased."""
    for begin in range(0, len(streams), _BATCH):
        some = streams[begin : begin + _BATCH]
        known = known_streams(store, [stream for stream, _ in some])
        for stream, digest in some:
            found = known.get(stream)
            if found is None or found.is_erased:
                return False
            if found.digest != digest and digest not in digests_of(store.read_stream(stream)):
                return False
    return True


def _stamps(files: Sequence[Path]) -> tuple[tuple[int, int], ...]:
    found = [path.stat() for path in (*files, *beside(files))]
    return tuple((each.st_size, each.st_mtime_ns) for each in found)


def beside(files: Sequence[Path]) -> list[Path]:
    """What SQLite has written of a database and not yet put into it."""
    return [log for path in files if (log := path.with_name(f"{path.name}-wal")).exists()]


def _sha256(file: Path) -> list[str]:
    """Hashes of a file, and of what belongs to it."""
    return [_hash(path) for path in (file, *beside([file]))]


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from error


@cache
def _code() -> str:
    """Hash of all code that may have a part in what files come to."""
    whole = hashlib.sha256()
    for folder, kind in ((_PACKAGE, "*.py"), (sql_root(), "*.sql")):
        for path in sorted(folder.rglob(kind)):
            whole.update(path.read_bytes())
    return whole.hexdigest()
