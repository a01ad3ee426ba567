"""Import chat-completions JSONL into the store: exact, repeatable, and per file all or nothing.

A file is read twice, and what can be read once, such as a pipe, is put into a file first. The first pass only checks it and finds
its months, so that a bad line stops the import before anything was touched, and so that partitions are made in short transactions
of their own: making one locks readers out, and must not wait for the whole file. The second pass appends in one transaction. Of
lines that Refold made itself both are left out where the months are there: they are good, and if one is not, the transaction is
undone. Memory is bounded by a batch.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Literal
from uuid import UUID

from pipelines.errors import BadInputError
from pipelines.ingest.batches import (
    BATCH_CONVERSATIONS,
    Read,
    batches,
    events_of,
    months_of,
    stream_batch,
    where_one_goes_on,
)
from pipelines.ingest.clock import Days
from pipelines.ingest.convert import TOOLS_TYPE, Conversation, Place
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.known import (
    Known,
    Rest,
    conflict,
    conflict_with_store,
    known_streams,
    moved_out,
    rest_of,
    says_the_same,
)
from pipelines.ingest.reading.bad_lines import BadLines
from pipelines.ingest.reading.lines import LineReader, RawLine
from pipelines.ingest.reading.pipes import refuse_unreadable, spooled
from pipelines.ingest.reading.room import Room
from pipelines.ingest.reading.strict_json import Parsed, parse, parse_written, path_at
from pipelines.ingest.recorded import conversation_of
from pipelines.store.connect import Store
from pipelines.store.errors import Erased, VersionConflict
from pipelines.store.events import AppendManyResult, StreamBatch
from pipelines.store.months import closed_months, month_of, open_months

BLOCKS_TOLD = 16
"""Megabytes of a file, decompressed, after which progress is told although no conversation came."""


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far one file is.

    Attributes:
        path: The file.
        step: `check` is the first pass, `append` the second; before them `read`, of what can be read once.
        bytes_read: Bytes of the file (compressed, if it is) read in this pass.
        bytes_total: Bytes of the file; 0 where nobody knows yet.
        conversations: Conversations read in this pass.
    """

    path: Path
    step: Literal["read", "check", "append"]
    bytes_read: int
    bytes_total: int
    conversations: int


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import came to, over all its files.

    Attributes:
        conversations: Conversations appended now.
        events: Events appended now.
        grown: Conversations that were there and have gone on, and got the rest now.
        already_present: Lines whose conversation was there already with the same content; nothing was appended for them.
        erased: Lines whose conversation, or a part of it, was erased; nothing was appended for them.
        skipped: Bad lines written to the file of skipped lines.
        months: UTC months `YYYY-MM` of the events appended now, ascending.
        empty: Files that held no line at all, as they were named.
        seconds: Wall time.
    """

    conversations: int
    events: int
    grown: int
    already_present: int
    erased: int
    skipped: int
    months: tuple[str, ...]
    empty: tuple[str, ...]
    seconds: float


@dataclass(slots=True)
class _Tally:
    conversations: int = 0
    events: int = 0
    grown: int = 0
    already_present: int = 0
    erased: int = 0
    skipped: int = 0
    months: set[str] = field(default_factory=set)
    empty: list[str] = field(default_factory=list)

    def add(self, other: _Tally) -> None:
        self.conversations += other.conversations
        self.events += other.events
        self.grown += other.grown
        self.already_present += other.already_present
        self.erased += other.erased
        self.skipped += other.skipped
        self.months |= other.months
        self.empty += other.empty

    def result(self, seconds: float) -> ImportResult:
        return ImportResult(
            conversations=self.conversations,
            events=self.events,
            grown=self.grown,
            already_present=self.already_present,
            erased=self.erased,
            skipped=self.skipped,
            months=tuple(sorted(self.months)),
            empty=tuple(self.empty),
            seconds=seconds,
        )


def import_chat(
    store: Store,
    paths: Iterable[Path],
    *,
    at: datetime | None = None,
    source: str | None = None,
    days: Days | None = None,
    skip_bad: Path | None = None,
    spool: Path | None = None,
    room: Room = Room(sys.maxsize, 0),  # noqa: B008 -- frozen
    places: Sequence[str] = (),
    is_made_here: bool = False,
    arriving: IO[bytes] | None = None,
    on_line: Callable[[UUID, str], object] | None = None,
    progress: Callable[[ImportProgress], None] | None = None,
) -> ImportResult:
    """Import files of one chat-completions conversation a line, plain or gzip.

    Each file is one transaction; files before a failing one stay imported.

    Args:
        store: Where to.
        paths: The files, in order; what can be read once, as pipes can, is; `-` is standard input.
        at: Time of events that have none recorded (naive is UTC); None is now.
        source: Source of lines that name none.
        days: Lines with recorded times outside are bad ones; None is 2000 to a year from now.
        skip_bad: Write bad lines to this file and import the rest; None stops at the first one.
        spool: Folder for what pipes give, a private file each that nothing stays of; None is the system's for such.
        room: How much memory there is; a line that takes more to import is a bad one. By default there is no bound.
        places: For each line of a file that was made of another form's, where its first record was read.
        is_made_here: Whether the lines were written of values, by this program: they are read faster, and first taken to be good,
            and their months to be there; a file of which both hold is read once. What comes of it is the same.
        arriving: The one file, where it is still being written: reading it waits for what is to come.
        on_line: Called for each good line with its stream and digest, once all of its file is imported.
        progress: Called now and then while a file is read.

    Raises:
        BadInputError: A file cannot be read, a line is bad, or a conversation is there already with another content;
            nothing of that file was imported.
        MonthSealed: An event belongs to a month that is closed to writes.
    """
    begin = time.monotonic()
    now = datetime.now(UTC)
    at = now if at is None else at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    days = days or Days.given(None, None, now)
    if fault := days.fault(at):
        raise BadInputError(f"--at {fault}")
    paths = list(paths)
    refuse_unreadable(paths)  # all must be readable before the first is imported
    for path in paths:
        if skip_bad is not None and skip_bad.resolve() == path.resolve():
            raise BadInputError(f"{skip_bad} is one of the files to import; write the bad lines to another one")
    total = _Tally()
    with ExitStack() as stack:
        bad_lines = None if skip_bad is None else stack.enter_context(BadLines(skip_bad))
        for path in paths:
            folder = spool or Path(tempfile.gettempdir())
            with spooled(path, folder, partial(_tell_read, progress, path)) as kept:
                total.add(
                    _FileImport(
                        store,
                        path,
                        kept if arriving is None else arriving,
                        at,
                        source,
                        days,
                        bad_lines,
                        room,
                        places,
                        is_made_here,
                        on_line,
                        progress,
                    ).run()
                )
    return total.result(time.monotonic() - begin)


def _tell_read(progress: Callable[[ImportProgress], None] | None, path: Path, read: int) -> None:
    if progress is not None:
        progress(ImportProgress(path, "read", read, 0, 0))


class _MonthNotOpenError(Exception):
    """A line has an event of a month that is closed, or is to be made first."""


@dataclass(slots=True)
class _FileImport:
    """The import of one file."""

    store: Store
    path: Path
    kept: IO[bytes] | None
    at: datetime
    source: str | None
    days: Days
    bad_lines: BadLines | None
    room: Room
    places: Sequence[str]
    is_made_here: bool
    on_line: Callable[[UUID, str], object] | None
    progress: Callable[[ImportProgress], None] | None
    tally: _Tally = field(default_factory=_Tally)
    streams: list[tuple[UUID, str]] = field(default_factory=list)
    closed: frozenset[str] = frozenset()
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def run(self) -> _Tally:
        """Import the file; where its lines are taken to be good and their months to be there, in one pass while they are."""
        if self.is_made_here and self.bad_lines is None and self._append_all(open_months(self.store.conn)):
            return self._done()
        self.tally, self.streams = _Tally(), []
        months: dict[str, datetime] = {}
        for read in self._lines("check"):
            for event in read.conversation.events:
                assert event.created_at is not None
                months.setdefault(month_of(event.created_at), event.created_at)
        self.closed = closed_months(self.store.conn)
        if self.closed & months.keys():
            months.setdefault(month_of(self.now), self.now)  # where what would belong to them goes
        self.store.ensure_months(months.values())
        self._append_all(None)
        return self._done()

    def _append_all(self, open_now: frozenset[str] | None) -> bool:
        """Append all lines in one transaction, or nothing where the months of some are not among those that are open now."""
        with suppress(_MonthNotOpenError), self.store.transaction():
            for batch in batches(self._lines("append")):
                if open_now is not None and not all(months_of(read.conversation.events) <= open_now for read in batch):
                    raise _MonthNotOpenError
                if self.on_line is not None:
                    self.streams += [(read.conversation.stream_id, read.conversation.digest) for read in batch]
                self._append(batch)
            return True
        return False

    def _done(self) -> _Tally:
        if self.bad_lines is not None:
            self.bad_lines.commit()
        if self.on_line is not None:
            for stream, digest in self.streams:
                self.on_line(stream, digest)
        return self.tally

    def _lines(self, step: Literal["check", "append"]) -> Iterator[Read]:
        """Good lines of one pass; a bad one stops the first pass, or is noted in the second."""
        count = blocks = lines = 0

        def tell_block() -> None:
            nonlocal blocks
            blocks += 1
            if self.progress is not None and blocks % BLOCKS_TOLD == 0:
                self.progress(ImportProgress(self.path, step, reader.bytes_read, reader.size, count))

        reader = LineReader(
            self.path,
            kept=self.kept,
            max_line_bytes=self.room.max_line_bytes,
            long_line=self.room.long_line,
            skip_blank=True,
            on_block=tell_block,
        )
        for raw in reader:
            if not raw.fault and not raw.data.strip():
                continue
            lines += 1
            try:
                conversation = self._converted(raw)
            except BadLineError as fault:
                if step == "append" or self.bad_lines is None:
                    self._bad(raw, fault)
                continue
            count += 1
            if self.progress is not None and count % BATCH_CONVERSATIONS == 0:
                self.progress(ImportProgress(self.path, step, reader.bytes_read, reader.size, count))
            yield Read(raw, conversation)
        if self.progress is not None:
            self.progress(ImportProgress(self.path, step, reader.bytes_read, reader.size, count))
        if not lines and not self.tally.empty:
            self.tally.empty.append(str(self.path))

    def _bad(self, raw: RawLine, fault: BadLineError) -> None:
        if self.bad_lines is None:
            raise BadInputError(
                f"{self.path}:{raw.number}: {fault}; nothing of this file was imported "
                "(correct the line, or skip bad lines with --skip-bad FILE)"
            ) from fault
        self.bad_lines.add(self.path, raw.number, fault, raw.data)
        self.tally.skipped += 1

    def _append(self, batch: list[Read]) -> None:
        again = where_one_goes_on(batch)
        if again:  # what it goes on with must be there first
            self._append(batch[:again])
            self._append(batch[again:])
            return
        new = self._new_ones(batch)
        if not new:
            return
        self._register_tools(new)
        try:
            done = self.store.append_many((stream_batch(read) for read in new), validate=True)
        except (VersionConflict, Erased):
            # Another import was first with some of them: the same lines at its own time or of a file of another name. Or some were
            # erased since they were looked up.
            left = self._new_ones(new)
            if len(left) == len(new):
                raise
            self._append(left)
        except BadInputError as error:
            # Rare: something that only the store can refuse, such as an event that is too long as jsonb. The batch was
            # undone; one by one it shows which line it was.
            if len(new) == 1:
                self._bad(new[0].raw, BadLineError("$", str(error)))
                return
            for read in new:
                self._append([read])
        else:
            self._count(new, done)

    def _register_tools(self, new: list[Read]) -> None:
        """Append the lists of tools that conversations name and the store does not have; each is a stream of its own."""
        lists = {stream: event for read in new for stream, event in read.conversation.tools}
        for stream in known_streams(self.store, list(lists)) if lists else ():
            del lists[stream]
        for stream, event in lists.items():
            with suppress(VersionConflict):  # another import was first with the same list
                batch = StreamBatch(stream, TOOLS_TYPE, [event])
                self.tally.events += self.store.append_many([batch], validate=True).events

    def _count(self, reads: list[Read], done: AppendManyResult) -> None:
        """Count what was appended: another import of the same lines may have been first since they were looked up."""
        grown = sum(read.rest is not None for read in reads)
        self.tally.grown += grown
        self.tally.conversations += done.streams - done.duplicate_streams - grown
        self.tally.already_present += done.duplicate_streams
        self.tally.events += done.events
        if done.events:
            for read in reads:
                self.tally.months |= months_of(events_of(read))

    def _new_ones(self, batch: list[Read]) -> list[Read]:
        """The conversations of a batch that are neither in the store nor earlier in the batch."""
        known = known_streams(self.store, [read.conversation.stream_id for read in batch])
        new: dict[UUID, Read] = {}
        for read in batch:
            conversation, place = read.conversation, f"{self.path}:{read.raw.number}"
            stored, earlier = known.get(conversation.stream_id), new.get(conversation.stream_id)
            if stored is not None and stored.is_erased and stored.digest != conversation.digest:
                self.tally.erased += 1
                continue
            if stored is not None and stored.digest is None and not says_the_same(self.store, conversation):
                raise conflict_with_store(self.store, conversation, place, stored)
            if stored is not None and stored.digest not in (None, conversation.digest):
                rest = self._rest(read, stored, place)
                if rest.events:
                    new[conversation.stream_id] = replace(read, rest=rest)
                    continue
            if earlier is not None and earlier.conversation.digest != conversation.digest:
                earlier_place = f"{self.path}:{earlier.raw.number}"
                raise conflict(conversation, place, earlier.conversation.events, earlier_place)
            if stored is None and earlier is None:
                new[conversation.stream_id] = read
            else:
                self.tally.already_present += 1
        return list(new.values())

    def _rest(self, read: Read, known: Known, place: str) -> Rest:
        """What the store does not have yet of a conversation whose line is another now."""
        stored = list(self.store.read_stream(read.conversation.stream_id))
        at = f"{known.place} (stored as stream {read.conversation.stream_id})"
        rest = rest_of(stored, read.conversation, partial(self._converted, read.raw), place, at)
        return replace(rest, events=moved_out(rest.events, self.closed, self.now))

    def _converted(self, raw: RawLine, leading: int | None = None) -> Conversation:
        record = self.places[raw.number - 1] if raw.number <= len(self.places) else None
        place = Place(self.path.name, raw.number, record)
        if raw.fault is not None:
            raise BadLineError("$", raw.fault)
        self.room.refuse_dense(raw.data)
        parsed = (parse_written(raw.data) if self.is_made_here else None) or _parsed(raw)
        return conversation_of(
            parsed.value,
            place=place,
            at=self.at,
            default_source=self.source,
            days=self.days,
            inexact=parsed.inexact,
            leading=leading,
            is_plain=parsed.is_plain,
        )


def _parsed(raw: RawLine) -> Parsed:
    """What a line says."""
    try:
        return parse(raw.data.decode())
    except UnicodeDecodeError as error:
        before = raw.data[: error.start].decode()
        raise BadLineError(
            path_at(before, len(before)),
            f"byte {error.start + 1} of the line (0x{raw.data[error.start]:02x}) is not UTF-8",
        ) from None
