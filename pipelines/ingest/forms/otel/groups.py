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
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import leaves, said
from pipelines.ingest.assemble.rows import Group, Record
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otel.files import documents
from pipelines.ingest.forms.otel.spool import Entry, Placed, Read, Spool, in_order
from pipelines.ingest.forms.otel.tables import MAGIC, is_table, table_blocks
from pipelines.ingest.forms.otel.values import Block, NotOtlpError, blocks_of, plain_log, plain_span

SESSION_KEYS = (
    "gen_ai.conversation.id",
    "session.id",
    "langfuse.session.id",
    "ai.telemetry.metadata.sessionId",
    "traceloop.association.properties.session_id",
    "traceloop.association.properties.chat_id",
    "traceloop.association.properties.thread_id",
    "traceloop.association.properties.conversation_id",
    "conversation.id",
)
"""Attributes that name a conversation; an earlier one counts more."""
AMBIGUOUS = "session is ambiguous"
"""Marks the first record of a conversation of whose traces one names several; a mark of ours, and no leaf."""


class Keeping(Protocol):
    """What takes the records of files: a `Spool`, or what only looks at their entries; its methods are as there."""

    def surround(self, value: dict[str, Any]) -> int:
        """Take what a block says of its records."""

    def add(self, entry: Entry, value: Any, around: tuple[int, ...], place: tuple[int, int, int]) -> None:
        """Take a record, or the log records that a block has of one span."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Passes on the records that are wanted."""

    spool: Spool
    is_wanted: Callable[[Entry], bool]

    def surround(self, value: dict[str, Any]) -> int:
        return self.spool.surround(value)

    def add(self, entry: Entry, value: Any, around: tuple[int, ...], place: tuple[int, int, int]) -> None:
        if self.is_wanted(entry):
            self.spool.add(entry, value, around, place)


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
    with closing(Spool(options.folder, options.memory_bytes)) as spool:
        for number, path in enumerate(files):
            fill(spool if is_wanted is None else _Chosen(spool, is_wanted), path, number, options)
        names = [path.name for path in files]
        for rows in spool.conversations():
            first = next(rows)
            yield Group(first.conversation_key, first.has_session, _records(spool, names, first, rows))


def fill(spool: Keeping, path: Path, number: int, options: Options) -> None:
    """Give the records of a file to the spool.

    Raises:
        BadInputError: As `groups`.
    """
    ranks = session_ranks(options)
    with path.open("rb") as file:
        is_parquet = is_table(file.read(len(MAGIC)))
    if is_parquet:
        for line, block in table_blocks(path):
            _fill_block(spool, block, (number, line, 0), ranks, is_plain=True)
        return
    line, ordinal = 0, 0
    for at, inner, document in documents(path):
        if at != line:
            line, ordinal = at, 0
        where = ""
        try:
            for block in blocks_of(document):
                where = block.path
                ordinal = _fill_block(spool, block, (number, line, ordinal), ranks)
        except RecordError as error:
            raise BadInputError(f"{path.name}:{line}: ${inner}{where}[{error.place}]: {error}") from error
        except NotOtlpError as error:
            raise BadInputError(f"{path.name}:{line}: ${inner}{where}: {error}") from error
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise BadInputError(
                f"{path.name}:{line}: ${inner}{where}: not as OTLP has it ({type(error).__name__}: {error})"
            ) from error


class RecordError(ValueError):
    """A record of a block is not what OTLP has there; `place` is its place in the block."""

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(reason)
        self.place = place


def _fill_block(
    spool: Keeping, block: Block, place: tuple[int, int, int], ranks: dict[str, int], *, is_plain: bool = False
) -> int:
    """Write the records of a block; gives how many of the line's were written so far."""
    file, line, ordinal = place
    around = _surround(spool, block.around)
    of_spans: dict[tuple[str, str], tuple[Entry, list[dict[str, Any]], int]] = {}
    for n, record in enumerate(block.records):
        ordinal += 1
        try:
            plain = record if is_plain else plain_log(record) if block.is_logs else plain_span(record)
        except NotOtlpError as error:
            raise RecordError(n, str(error)) from error
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise RecordError(n, f"not as OTLP has it ({type(error).__name__}: {error})") from error
        if not block.is_logs:
            spool.add(_entry_of_span(plain, block.around, ranks), plain, around, (file, line, ordinal))
            continue
        entry = _entry_of_log(plain, block.around, ranks)
        of_spans.setdefault((entry.trace, entry.span or f"#{n}"), (entry, [], ordinal))[1].append(plain)
    for entry, logs, first in of_spans.values():
        spool.add(entry, logs, around, (file, line, first))
    return ordinal


def entry_of(block: Block, record: dict[str, Any], ranks: dict[str, int]) -> Entry:
    """What the index would say of a record of a block, which is as its document has it.

    Raises:
        NotOtlpError: The record is not what OTLP has there.
    """
    if block.is_logs:
        return _entry_of_log(plain_log(record), block.around, ranks)
    return _entry_of_span(plain_span(record), block.around, ranks)


def session_ranks(options: Options) -> dict[str, int]:
    """Attributes that name a conversation, each with its rank; the one that was asked for comes first."""
    asked = (options.conversation_key,) if options.conversation_key else ()
    return {key: rank for rank, key in enumerate(dict.fromkeys((*asked, *SESSION_KEYS)))}


def _surround(spool: Keeping, described: dict[str, Any]) -> tuple[int, ...]:
    around = said(described).items()
    outer = {key: value for key, value in around if key.startswith("resource")}
    inner = {key: value for key, value in around if key.startswith("scope")}
    return tuple([spool.surround(each) for each in (outer, inner) if each])


def _entry_of_span(plain: dict[str, Any], around: dict[str, Any], ranks: dict[str, int]) -> Entry:
    session, rank = _session(plain["attributes"], around, ranks)
    start, end = plain["startTimeUnixNano"], plain["endTimeUnixNano"]
    parent = plain.get("parentSpanId") or ""
    return Entry(False, plain["traceId"], plain["spanId"], parent, start, end, session, rank)


def _entry_of_log(plain: dict[str, Any], around: dict[str, Any], ranks: dict[str, int]) -> Entry:
    session, rank = _session(plain["attributes"], around, ranks)
    time = _time(plain)
    return Entry(True, plain["traceId"] or session or _alone(plain), plain["spanId"], "", time, time, session, rank)


def _time(log: dict[str, Any]) -> int | None:
    time: int | None = log["timeUnixNano"] or log["observedTimeUnixNano"]
    return time


def _session(attributes: dict[str, Any], around: dict[str, Any], ranks: dict[str, int]) -> tuple[str | None, int]:
    """What names the conversation: of a record itself, else of its resource, which counts less."""
    own = around["resource"].get("attributes") or {}
    for named, less in ((attributes, 0), (own, len(ranks))):
        if named.keys().isdisjoint(ranks):
            continue
        for key, rank in ranks.items():
            value = named.get(key)
            if value is not None and value != "" and not isinstance(value, (dict, list)):
                return str(value), rank + less
    return None, 0


def _alone(plain: dict[str, Any]) -> str:
    """What stands for the trace of a log record that has none and names no conversation."""
    return f"log-{_time(plain) or 0}"


def _records(spool: Spool, names: Sequence[str], first: Placed, rest: Iterator[Placed]) -> Iterator[Record]:
    """The records of a conversation; what its blocks say stands on the first record that has it."""
    seen: set[int] = set()
    known: set[str] = set()

    def chained() -> Iterator[Placed]:
        yield first
        yield from rest

    for _, tied in groupby(chained(), key=attrgetter("order_ns")):
        for rows in _spans_of([*tied]):
            record = _merged(spool, rows, _name(rows[0], known), seen)
            record.where = f"{names[rows[0].file]}:{rows[0].line}#{rows[0].ordinal}"
            if first.is_ambiguous:
                record.value[AMBIGUOUS] = True
                first = first._replace(is_ambiguous=False)
            yield record


def _spans_of(tied: list[Placed]) -> Iterator[list[Placed]]:
    """The rows of each span among those that began at the same instant."""
    if len(tied) == 1:
        yield tied
    else:
        yield from ([*same] for _, same in groupby(in_order(tied), key=_of_one_span))


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


def _merged(spool: Spool, rows: Sequence[Placed], place: str, seen: set[int]) -> Record:
    """One record of a span's copies and log records."""
    spans = [spool.read(row) for row in rows if not row.is_log]
    logs = [spool.read(row) for row in rows if row.is_log]
    record = Record(place, {}) if not spans else _of_copies(spans, place)
    if logs:
        _add_logs(record, logs)
    if not spans:
        record.kind = "logs"
    for read in (*spans, *logs):
        for each in read.around:
            said, count = spool.surroundings(each)
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
        best = max(spans, key=lambda read: (read.value["endTimeUnixNano"] or 0, len(read.raw), read.raw))
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


def _add_logs(record: Record, logs: Iterable[Read]) -> None:
    """The log records of a span in the order of their time, each once, without its ids."""
    seen: set[bytes] = set()
    kept: list[dict[str, Any]] = []
    for log in sorted((log for read in logs for log in read.value), key=lambda log: _time(log) or 0):
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
