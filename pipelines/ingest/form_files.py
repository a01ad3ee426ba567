"""Files of a foreign form become run lines, and run lines are imported as they always are: all of them, or nothing.

The lines wait in one private file in the home, which is imported as one; nothing of it stays.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, cast
from uuid import UUID

from pipelines.collecting import collecting_seldom
from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.chat import ImportResult, import_chat
from pipelines.ingest.clock import Days
from pipelines.ingest.form_lines import Read, read_form
from pipelines.ingest.form_process import Arriving, Reading, is_worth_it
from pipelines.ingest.forms.form import Form, Options
from pipelines.ingest.forms.noted import Asked
from pipelines.ingest.reading.pipes import refuse_unreadable, spooled
from pipelines.ingest.reading.room import Room
from pipelines.output import open_output
from pipelines.store.connect import Store

_SPOOL = "lines.jsonl"


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
        arriving = None
        is_alone = store is not None and to_lines is None and not keep_raw
        if is_alone and is_worth_it(form, paths, own):
            (folder / _SPOOL).touch(mode=0o600)
            read = Read(form.name, Tally())
            arriving = Arriving(Reading(form.name, home, tuple(paths), own, folder / _SPOOL), read, progress)
            stack.enter_context(arriving)
        else:
            read = _read_here(form, paths, own, None if store is None else folder / _SPOOL, to_lines, progress)
        if store is None:
            return FormImport(read, None)
        raw = tuple(_kept(path, home) for path in paths) if keep_raw else ()
        streams: list[tuple[UUID, str]] = []
        with nullcontext() if arriving is None else arriving.told_first():
            result = _import_lines(
                store, folder / _SPOOL, read, streams, arriving, at=at, days=believed, skip_bad=skip_bad, room=room
            )
        if asked is not None and not result.erased:
            asked.note(believed, read.tally, streams)
        return FormImport(read, result, raw)


def _read_here(
    form: Form,
    paths: Sequence[Path],
    options: Options,
    spool: Path | None,
    to_lines: Path | None,
    progress: Callable[[int], None] | None,
) -> Read:
    """Read the files, and write the run lines to where they are wanted."""
    with ExitStack() as stack:
        outputs: list[BinaryIO] = []
        if spool is not None:
            outputs.append(stack.enter_context(spool.open("wb")))
        if to_lines is not None:
            outputs.append(stack.enter_context(open_output(to_lines, is_private=True)))
        return read_form(form, paths, options, lambda line: [each.write(line) for each in outputs], progress)


def _import_lines(
    store: Store,
    spool: Path,
    read: Read,
    streams: list[tuple[UUID, str]],
    arriving: Arriving | None,
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
            arriving=None if arriving is None else cast("IO[bytes]", arriving),
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
