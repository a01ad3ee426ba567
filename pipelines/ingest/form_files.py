"""Files of a foreign form become run lines, and run lines are imported as they always are: all of them, or nothing.

The lines wait in one private file in the home, which is imported as one; nothing of it stays. What the form reads, and what its
records mean, is the form's; what their rows come to is `assemble`'s.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import msgspec

from pipelines.collecting import collecting_seldom
from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.assemble.conversation import assemble
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.lines import Records
from pipelines.ingest.assemble.rows import Group, Record, Row
from pipelines.ingest.chat import ImportResult, import_chat
from pipelines.ingest.clock import Days
from pipelines.ingest.forms.form import Form, Options
from pipelines.ingest.forms.noted import Asked
from pipelines.ingest.reading.pipes import refuse_unreadable, spooled
from pipelines.ingest.reading.room import Room
from pipelines.output import open_output
from pipelines.store.connect import Store

_SPOOL = "lines.jsonl"
_SEPARATORS = {each.encode(): b"\\u%04x" % ord(each) for each in "\x85\u2028\u2029"}
"""Characters at which some readers end a line."""
_encode = msgspec.json.Encoder().encode
_TOLD = 64
"""Conversations after which progress is told."""


@dataclass(frozen=True, slots=True)
class Read:
    """What the files of a form hold.

    Attributes:
        form: Its name.
        tally: Counts over all of them.
        places: For each run line, where the first record of its conversation stands.
        conversations: For each run line, what it is called.
    """

    form: str
    tally: Tally
    places: list[str] = field(default_factory=list)
    conversations: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FormImport:
    """What an import of a form came to.

    Attributes:
        read: What the files hold.
        result: What was appended; None of a dry run.
        raw: Files that were kept as they are.
    """

    read: Read
    result: ImportResult | None
    raw: tuple[Path, ...] = ()


@dataclass(slots=True)
class _Drawn:
    """Records of a group while they are read: their leaves are counted, and what no row takes is kept."""

    group: Group
    first: str = ""
    leaves: int = 0
    repeated: int = 0
    copies: int = 0
    waiting: dict[int, Record] | None = None

    def records(self) -> Iterator[Record]:
        self.waiting = {}
        for record in self.group.records:
            self.first = self.first or record.where or record.place
            self.waiting[id(record.value)] = record
            yield record

    def rows(self, form: Form, options: Options) -> Iterator[Row]:
        """The rows of the group; a row's record is no longer waited for."""
        group = replace(self.group, records=self.records())
        for row in form.adapt(group, options):
            if self.waiting and (record := self.waiting.pop(id(row.rest), None)) is not None:
                self._count(record)
            yield row

    def left(self) -> dict[str, Any]:
        """Records that gave no row."""
        records = Records()
        for record in (self.waiting or {}).values():
            self._count(record)
            records.keep(None, record.value)
        return records.by_name

    def _count(self, record: Record) -> None:
        """Count a record once its adapter is done with it; only then is it known what of it is said again."""
        self.leaves += record.leaves
        self.repeated += record.repeated
        self.copies += record.copies


def form_lines(
    form: Form, files: Sequence[Path], options: Options, tally: Tally, read: Read | None = None
) -> Iterator[dict[str, Any]]:
    """The run lines that files come to, conversation after conversation.

    Args:
        form: What reads them.
        files: All together: a conversation may stand in several.
        options: What was asked.
        tally: What is counted is added to it.
        read: For every line, what it is and where it comes from is added to it.

    Raises:
        BadInputError: A file or record cannot be read; the error names its place.
    """
    for group in form.groups(files, options):
        drawn = _Drawn(group)
        made = assemble(
            group.key, drawn.rows(form, options), source=options.source or form.name, is_named=group.is_named
        )
        if options.source is not None:
            for line in made.lines:
                line["source"] = options.source
        left = drawn.left()
        if left:
            made.lines[0]["records"] = {**made.lines[0].get("records", {}), **left}
        counted = made.tally
        counted.leaves += drawn.leaves
        counted.repeated += drawn.repeated
        counted.duplicates += drawn.copies
        counted.kept += leaves(left)
        tally.add(counted)
        for line in made.lines:
            if read is not None:
                read.places.append(drawn.first or group.key)
                read.conversations.append(str(line["conversation_id"]))
            yield line


def line_bytes(line: dict[str, Any]) -> bytes:
    """A run line as UTF-8 JSON with its newline; half a surrogate pair is escaped, and is refused by whoever imports it."""
    try:
        text = _encode(line)
    except (TypeError, ValueError, OverflowError):  # half a surrogate pair, beyond 64 bits, keys that are no text
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"
    for separator, escape in _SEPARATORS.items():
        if separator in text:
            text = text.replace(separator, escape)
    return text + b"\n"


def read_form(
    form: Form,
    files: Sequence[Path],
    options: Options,
    write: Callable[[bytes], object],
    progress: Callable[[int], None] | None = None,
) -> Read:
    """Read files and give every run line to `write`.

    Raises:
        BadInputError: As `form_lines`.
    """
    read = Read(form.name, Tally())
    for number, line in enumerate(form_lines(form, files, options, read.tally, read), start=1):
        write(line_bytes(line))
        if progress is not None and number % _TOLD == 0:
            progress(number)
    return read


def import_form(
    store: Store | None,
    form: Form,
    files: Sequence[Path],
    options: Options,
    *,
    home: Path,
    to_lines: Path | None = None,
    keep_raw: bool = False,
    at: datetime | None = None,
    days: Days | None = None,
    skip_bad: Path | None = None,
    room: Room | None = None,
    progress: Callable[[int], None] | None = None,
) -> FormImport:
    """Import files of a form, all or nothing.

    Args:
        store: Where to; None only reads them (a dry run).
        form: What reads them.
        files: All together; pipes too, and `-` is standard input.
        options: What was asked; its folder is made here.
        home: REFOLD_HOME, in which a private folder holds what does not fit into memory.
        to_lines: Write the run lines to this file, too.
        keep_raw: Keep the files themselves in `raw/` of the home, each under the hash of its bytes.
        at: As of `import_chat`.
        days: As of `import_chat`.
        skip_bad: As of `import_chat`.
        room: As of `import_chat`.
        progress: Called with the number of lines read so far.

    Raises:
        BadInputError: A file, a record or a line is bad; nothing was imported.
        MonthSealed: An event belongs to a month that is closed to writes.
    """
    files = [each for path in files for each in _files_of(path)]
    refuse_unreadable(files)
    with collecting_seldom(), _folder(home) as folder, ExitStack() as stack:
        own = replace(options, folder=folder)
        paths = [_regular(path, folder) for path in files]
        believed = days or Days.given(None, None, datetime.now(UTC))
        is_plain = skip_bad is None and to_lines is None and at is None
        asked = Asked.of(form, files, paths, options, home) if store is not None and is_plain else None
        begin = time.monotonic()
        if store is not None and asked is not None and (note := asked.noted(store, believed)) is not None:
            raw = tuple(_kept(path, home) for path in paths) if keep_raw else ()
            result = ImportResult(0, 0, 0, len(note.streams), 0, 0, (), (), time.monotonic() - begin)
            return FormImport(Read(form.name, note.tally), result, raw)
        outputs: list[BinaryIO] = []
        if store is not None:
            outputs.append(stack.enter_context((folder / _SPOOL).open("wb")))
        if to_lines is not None:
            outputs.append(stack.enter_context(open_output(to_lines, is_private=True)))
        read = read_form(form, paths, own, lambda line: [each.write(line) for each in outputs], progress)
        stack.close()
        if store is None:
            return FormImport(read, None)
        raw = tuple(_kept(path, home) for path in paths) if keep_raw else ()
        streams: list[tuple[UUID, str]] = []
        result = _import_lines(
            store, folder / _SPOOL, read, streams, at=at, days=believed, skip_bad=skip_bad, room=room
        )
        if asked is not None and not result.erased:
            asked.note(believed, read.tally, streams)
        return FormImport(read, result, raw)


def _import_lines(
    store: Store,
    spool: Path,
    read: Read,
    streams: list[tuple[UUID, str]],
    *,
    at: datetime | None,
    days: Days | None,
    skip_bad: Path | None,
    room: Room | None,
) -> ImportResult:
    """Import the lines, and add to `streams` what each makes; what is wrong with one is told of the record that it comes from."""
    more: dict[str, Any] = {} if room is None else {"room": room}
    try:
        return import_chat(
            store,
            [spool],
            at=at,
            days=days,
            skip_bad=skip_bad,
            spool=spool.parent,
            places=read.places,
            is_made_here=True,
            on_line=lambda stream, digest: streams.append((stream, digest)),
            **more,
        )
    except BadInputError as error:
        raise BadInputError(_of_records(str(error), spool, read)) from error


def _of_records(text: str, spool: Path, read: Read) -> str:
    def place(found: re.Match[str]) -> str:
        number = int(found[1])
        if not 0 < number <= len(read.places):
            return found[0]
        return f"{read.places[number - 1]} (conversation {read.conversations[number - 1]!r})"

    return re.sub(rf"(?:{re.escape(str(spool))}|{re.escape(spool.name)}):(\d+)", place, text)


@contextmanager
def _folder(home: Path) -> Iterator[Path]:
    """A private folder in the home that is gone afterwards."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = tempfile.TemporaryDirectory(dir=home, prefix="import-")
    except OSError as error:
        raise BadInputError(f"cannot make a folder in {home}: {error.strerror}") from error
    with folder as name:
        yield Path(name)


def _files_of(path: Path) -> list[Path]:
    """The files that a Delta table has now; any other path is itself."""
    if not (path / "_delta_log").is_dir():
        return [path]
    from deltalake import DeltaTable  # noqa: PLC0415 -- for tables alone
    from deltalake.exceptions import DeltaError  # noqa: PLC0415 -- as above

    try:
        return [Path(each.removeprefix("file://")) for each in DeltaTable(path).file_uris()]
    except DeltaError as error:
        raise BadInputError(f"{path} cannot be read as a Delta table: {error}") from error


def _regular(path: Path, folder: Path) -> Path:
    """A file that can be read more than once: itself, or what a pipe gave."""
    with spooled(path, folder) as kept:
        if kept is None:
            return path
        kept.seek(0)
        copy = folder / ("stdin" if str(path) == "-" else path.name)
        with copy.open("xb") as file:
            shutil.copyfileobj(kept, file)
        return copy


def _kept(path: Path, home: Path) -> Path:
    """A copy of the file under the hash of its bytes."""
    import hashlib  # noqa: PLC0415 -- for this alone

    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    kept = home / "raw" / sha256[:2] / f"{sha256}-{path.name}"
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not kept.exists():
        with path.open("rb") as file, open_output(kept, is_private=True) as copy:
            shutil.copyfileobj(file, copy)
    return kept
