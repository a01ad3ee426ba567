"""Records of OTLP files go into the spool, each with what the index says of it.

A line that is as the specification has it is looked through, and its records are kept as they are written (`raw`); any other is
read whole, record by record, and so is the one that an error is told of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import msgspec

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import said
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otel.files import documents
from pipelines.ingest.forms.otel.raw import Blocks, Head, RawBlock, joined
from pipelines.ingest.forms.otel.spool import Entry, Spool
from pipelines.ingest.forms.otel.tables import MAGIC, is_table, table_blocks
from pipelines.ingest.forms.otel.values import (
    Block,
    NotOtlpError,
    blocks_of,
    identifier,
    ids_of,
    nanoseconds,
    plain_log,
    plain_span,
)
from pipelines.ingest.reading.lines import RawLine

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
NOT_OTLP = (TypeError, KeyError, AttributeError, ValueError)
"""What reading a record may raise where it is not what OTLP has there."""


class Keeping(Protocol):
    """What takes the records of files: a `Spool`, or what only looks at their entries; its methods are as there."""

    def surround(self, value: dict[str, Any]) -> int:
        """Take what a block says of its records."""

    def add(self, entry: Entry, value: Any, around: tuple[int, ...], place: tuple[int, int, int]) -> None:
        """Take a record, or the log records that a block has of one span."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Passes on the records that are wanted."""

    spool: Spool
    is_wanted: Callable[[Entry], bool]

    def surround(self, value: dict[str, Any]) -> int:
        """As `Spool.surround`."""
        return self.spool.surround(value)

    def add(self, entry: Entry, value: Any, around: tuple[int, ...], place: tuple[int, int, int]) -> None:
        """As `Spool.add`."""
        if self.is_wanted(entry):
            self.spool.add(entry, value, around, place)

    def add_raw(
        self, entry: Entry, raw: bytes | msgspec.Raw, around: tuple[int, ...], place: tuple[int, int, int]
    ) -> None:
        """As `Spool.add_raw`."""
        if self.is_wanted(entry):
            self.spool.add_raw(entry, raw, around, place)


class _Nothing:
    """Takes records and keeps none."""

    def surround(self, value: dict[str, Any]) -> int:  # noqa: ARG002 -- as a spool has it
        return 0

    def add(self, entry: Entry, value: Any, around: tuple[int, ...], place: tuple[int, int, int]) -> None:
        pass


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
    fast = _Fast(spool, number, ranks) if isinstance(spool, (Spool, Chosen)) else None
    line, ordinal = 0, 0
    for at, inner, document in documents(path, fast.take if fast is not None else None):
        if at != line:
            line, ordinal = at, 0
        ordinal = _fill_document(spool, document, f"{path.name}:{line}: ${inner}", (number, line, ordinal), ranks)


def refuse_line(path: Path, number: int, options: Options) -> None:
    """Read one line whole, for the error that says what is wrong with it.

    Raises:
        BadInputError: As `groups.groups`; none where nothing is wrong.
    """
    others: Callable[[RawLine], bool] = lambda line: line.number != number  # noqa: E731
    for line, inner, document in documents(path, others):
        _fill_document(_Nothing(), document, f"{path.name}:{line}: ${inner}", (0, line, 0), session_ranks(options))


def _fill_document(spool: Keeping, document: Any, name: str, place: tuple[int, int, int], ranks: dict[str, int]) -> int:
    """Write the records of an export request, which errors call `name`; gives how many of the line's were written so far."""
    file, line, ordinal = place
    where = ""
    try:
        for block in blocks_of(document):
            where = block.path
            ordinal = _fill_block(spool, block, (file, line, ordinal), ranks)
    except RecordError as error:
        raise BadInputError(f"{name}{where}[{error.place}]: {error}") from error
    except NotOtlpError as error:
        raise BadInputError(f"{name}{where}: {error}") from error
    except NOT_OTLP as error:
        raise BadInputError(f"{name}{where}: not as OTLP has it ({type(error).__name__}: {error})") from error
    return ordinal


class _Fast:
    """Writes the records of a file's lines as they are written there, with what the index needs of each.

    Args:
        spool: Where to.
        file: Number of the file.
        ranks: As of `session_ranks`.
    """

    def __init__(self, spool: Spool | Chosen, file: int, ranks: dict[str, int]) -> None:
        self._spool = spool
        self._file = file
        self._ranks = ranks
        self._blocks = Blocks()
        self._said: dict[str, Any] | None = None
        self._places: tuple[int, ...] = ()

    def take(self, line: RawLine) -> bool:
        """Whether all of a line was written; where it was not, nothing of it was."""
        blocks = self._blocks.of(line.data)
        if blocks is None:
            return False
        try:
            found = [(block, [*self._entries(block)]) for block in blocks]
        except (NotOtlpError, *NOT_OTLP):
            return False
        begin = 1
        for block, entries in found:
            around = self._surround(block.around)
            for at, count, entry in entries:
                raw = joined(block.records[at : at + count]) if block.is_logs else block.records[at]
                self._spool.add_raw(entry, raw, around, (self._file, line.number, begin + at))
            begin += len(block.records)
        return True

    def _surround(self, around: dict[str, Any]) -> tuple[int, ...]:
        """Places of what is said of a block's records; the same object is looked up once while it is said again and again."""
        if around is not self._said:
            self._said, self._places = around, _surround(self._spool, around)
        return self._places

    def _entries(self, block: RawBlock) -> Iterator[tuple[int, int, Entry]]:
        """Of each span, and of log records of one span that follow on each other: its place, how many they are, and the entry."""
        if not block.is_logs:
            yield from ((at, 1, self._of_span(head, block)) for at, head in enumerate(block.heads))
            return
        at = 0
        for _, same in groupby(block.heads, key=_span_of_log):
            heads = [*same]
            entry = self._of_log(heads[0], block)
            if entry.span:
                yield at, len(heads), entry
            else:
                yield at, 1, entry
                yield from ((at + n, 1, self._of_log(head, block)) for n, head in enumerate(heads[1:], start=1))
            at += len(heads)

    def _of_span(self, head: Head, block: RawBlock) -> Entry:
        trace, span, parent = ids_of(head.trace_id, head.span_id, head.parent_span_id)
        start = nanoseconds(head.start_time_unix_nano, "startTimeUnixNano")
        end = nanoseconds(head.end_time_unix_nano, "endTimeUnixNano")
        session, rank = _session(head.named(self._ranks), block.around, self._ranks)
        return Entry(False, trace, span, parent, start, end, session, rank)

    def _of_log(self, head: Head, block: RawBlock) -> Entry:
        trace, span = identifier(head.trace_id, "traceId"), identifier(head.span_id, "spanId")
        time, observed = (nanoseconds(each, "a time") for each in (head.time_unix_nano, head.observed_time_unix_nano))
        at = time or observed
        session, rank = _session(head.named(self._ranks), block.around, self._ranks)
        return Entry(True, trace or session or _alone(at), span, "", at, at, session, rank)


def _span_of_log(head: Head) -> tuple[str | None, str | None]:
    return head.trace_id, head.span_id


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
        except NOT_OTLP as error:
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
    time = time_of(plain)
    return Entry(True, plain["traceId"] or session or _alone(time), plain["spanId"], "", time, time, session, rank)


def time_of(log: dict[str, Any]) -> int | None:
    """When a log record was written, else when it was observed; nanoseconds."""
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


def _alone(time: int | None) -> str:
    """What stands for the trace of a log record that has none and names no conversation."""
    return f"log-{time or 0}"
