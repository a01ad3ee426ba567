"""The conversations of OTLP files: spans with the log records that belong to them, each once, in the order of their start.

A record's value is the span, its attributes plain, with `logs` (log records of that span, by time) and what its block says of it
(`resource`, `scope`), which only the first record of a conversation that has it is given. A span that was delivered again is a copy;
of copies that differ the one that ended last is the span, the others are its `other_copies`. Log records without a span of theirs in
the files are a record of the kind `logs`.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Group, Record
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otel.filling import NOT_OTLP, Chosen, fill, refuse_line, time_of
from pipelines.ingest.forms.otel.spool import RECORDS, Entry, Placed, Read, Records, Spool, in_order
from pipelines.ingest.forms.otel.values import NotOtlpError

_MOST_IN_PIECE = 400
"""Records: enough conversations that passing them on costs nothing, few enough that two processes end together."""
AMBIGUOUS = "session is ambiguous"
"""Marks the first record of a conversation of whose traces one names several; a mark of ours, and no leaf."""


def groups(
    files: Sequence[Path], options: Options, is_wanted: Callable[[Entry], bool] | None = None
) -> Iterator[Group]:
    """The conversations of all files, in the order in which they began.

    Args:
        files: The files.
        options: What was asked.
        is_wanted: Which records are read; None is all of them. A conversation is whole when all records of its traces are.

    Raises:
        BadInputError: A file cannot be read, or something in it is not OTLP; the error says where.
    """
    for rows, reader in _conversations(files, options, is_wanted):
        yield _group(reader, rows)


def _conversations(
    files: Sequence[Path], options: Options, is_wanted: Callable[[Entry], bool] | None = None
) -> Iterator[tuple[Iterator[Placed], _Reader]]:
    """The entries of each conversation, and what reads the records."""
    with closing(Spool(options.folder, options.memory_bytes)) as spool:
        for number, path in enumerate(files):
            fill(spool if is_wanted is None else Chosen(spool, is_wanted), path, number, options)
        reader: _Reader | None = None
        try:
            for rows in spool.conversations():
                reader = reader or _Reader(spool.records(), files, options)
                yield rows, reader
        finally:
            if reader is not None:
                reader.records.close()


def _group(reader: _Reader, rows: Iterator[Placed]) -> Group:
    first = next(rows)
    return Group(first.conversation_key, first.has_session, _records(reader, first, rows))


def pieces(files: Sequence[Path], options: Options) -> Iterator[Group | bytes]:
    """As `groups`, where short conversations come as bytes, some together, from which a `PieceReader` has them in any process.

    Raises:
        BadInputError: As `groups`.
    """
    held: list[Placed] = []
    for rows, reader in _conversations(files, options):
        few = [*islice(rows, _MOST_IN_PIECE + 1)]
        if held and len(held) + len(few) > _MOST_IN_PIECE:
            yield _piece(held, reader.records)
            held = []
        if len(few) > _MOST_IN_PIECE:
            yield _group(reader, chain(few, rows))
        else:
            held += few
        last = reader.records
    if held:
        yield _piece(held, last)


def _piece(rows: list[Placed], records: Records) -> bytes:
    around = {row.around: records.arounds[row.around] for row in rows}
    return marshal.dumps(([tuple(row) for row in rows], around))


class PieceReader:
    """Reads pieces while whoever made them is at it.

    Args:
        files: The files.
        options: The same.
    """

    def __init__(self, files: Sequence[Path], options: Options) -> None:
        self._files = files
        self._options = options

    def groups(self, piece: bytes) -> Iterator[Group]:
        """The conversations of a piece.

        Raises:
            BadInputError: As `groups`.
        """
        entries, around = marshal.loads(piece)  # noqa: S302 -- of `pieces`
        with closing(Records(self._options.folder / RECORDS, around)) as records:
            reader = _Reader(records, self._files, self._options)
            for _, rows in groupby(map(Placed._make, entries), key=attrgetter("conversation_key", "has_session")):
                yield _group(reader, rows)


def _records(reader: _Reader, first: Placed, rest: Iterator[Placed]) -> Iterator[Record]:
    """The records of a conversation; what its blocks say stands on the first record that has it."""
    seen: set[int] = set()
    known: set[str] = set()

    def chained() -> Iterator[Placed]:
        yield first
        yield from rest

    for _, tied in groupby(chained(), key=attrgetter("order_ns")):
        for rows in _spans_of([*tied], reader):
            record = _merged(reader, rows, _name(rows[0], known), seen)
            record.where = f"{reader.files[rows[0].file].name}:{rows[0].line}#{rows[0].ordinal}"
            if first.is_ambiguous:
                record.value[AMBIGUOUS] = True
                first = first._replace(is_ambiguous=False)
            yield record


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads records from the spool; of what turns out not to be as OTLP has it, its line is read again for what is wrong."""

    records: Records
    files: Sequence[Path]
    options: Options

    def read(self, row: Placed) -> Read:
        try:
            return self.records.read(row)
        except (NotOtlpError, RecursionError, *NOT_OTLP) as error:
            refuse_line(self.files[row.file], row.line, self.options)
            raise BadInputError(
                f"{self.files[row.file].name}:{row.line}: changed while it was read; import it again"
            ) from error

    def size(self, row: Placed) -> int:
        """Bytes of a record as it was read."""
        return len(self.read(row).written())


def _spans_of(tied: list[Placed], reader: _Reader) -> Iterator[list[Placed]]:
    """The rows of each span among those that began at the same instant."""
    if len(tied) == 1:
        yield tied
    else:
        yield from ([*same] for _, same in groupby(in_order(tied, reader.size), key=_of_one_span))


def _name(row: Placed, known: set[str]) -> str:
    """What names a record among those of its conversation, however the files were written: its span, with its trace where needed."""
    name = row.span or f"log {row.end_ns or 0}"
    if name in known:
        name = f"{row.trace}:{name}"
    while name in known:
        name += "'"
    known.add(name)
    return name


def _of_one_span(row: Placed) -> tuple[str, str, int]:
    return row.trace, row.span, 0 if row.span else row.position


def _merged(reader: _Reader, rows: Sequence[Placed], place: str, seen: set[int]) -> Record:
    """One record of a span's copies and log records."""
    spans = [reader.read(row) for row in rows if not row.is_log]
    logs = [reader.read(row) for row in rows if row.is_log]
    record = Record(place, {}) if not spans else _of_copies(spans, place)
    if logs:
        _add_logs(record, logs)
    if not spans:
        record.kind = "logs"
    for read in (*spans, *logs):
        for each in read.around:
            said, count = reader.records.surroundings(each)
            record.leaves += count
            if each in seen:
                record.repeated += count
            else:
                seen.add(each)
                _attach(record, said)
    return record


def _attach(record: Record, said: dict[str, Any]) -> None:
    for key, value in said.items():
        if key in record.value:
            record.value.setdefault("further", []).append({key: value})
        else:
            record.value[key] = dict(value) if isinstance(value, dict) else value


def _of_copies(spans: Sequence[Read], place: str) -> Record:
    """The copy that ended last; those that say the same are counted, the others are kept beside it."""
    best = spans[0]
    if len(spans) > 1:
        best = max(spans, key=_lateness)
    record = Record(place, best.value, leaves(best.value))
    others: list[dict[str, Any]] = []
    for read in spans:
        if read is best:
            continue
        count = leaves(read.value)
        record.leaves += count
        if read.value == best.value or read.value in others:
            record.copies += 1
            record.repeated += count
        else:
            others.append(read.value)
    if others:
        record.value["other_copies"] = sorted(others, key=repr)
    return record


def _lateness(read: Read) -> tuple[int, int, bytes]:
    """Among copies of a span, which one counts: the one that ended last, of these the one that says most."""
    written = read.written()
    return read.value["endTimeUnixNano"] or 0, len(written), written


def _add_logs(record: Record, logs: Iterable[Read]) -> None:
    """The log records of a span in the order of their time, each once, without its ids."""
    seen: set[bytes] = set()
    kept: list[dict[str, Any]] = []
    for log in sorted((log for read in logs for log in read.value), key=lambda log: time_of(log) or 0):
        count = leaves(log)
        record.leaves += count
        raw = marshal.dumps(log, 2)
        if raw in seen:
            record.copies += 1
            record.repeated += count
            continue
        seen.add(raw)
        for name in ("traceId", "spanId"):
            value = log.pop(name)
            if value and name in record.value:
                record.repeated += 1
            record.value.setdefault(name, value)
        kept.append(log)
    record.value["logs"] = kept
    record.value.setdefault("attributes", {})
