"""Read the events of a month into columns, one range of streams after the other.

The next ranges are read, each on a connection of its own, while the caller works with the one before: reading takes longer
than folding, and a range is mostly one row group, which one thread reads. What is held is bounded by the ranges.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import duckdb
import pyarrow as pa

from pipelines.canonical.arguments import NONE_GIVEN, read_arguments
from pipelines.folds.batch import overlay
from pipelines.folds.columns import Column, take
from pipelines.folds.columns import compute as pc
from pipelines.folds.plan import Span
from pipelines.folds.readable import in_order
from pipelines.folds.resume import WANTED
from pipelines.lake.ladder import Ladder
from pipelines.lake.table import quote_literal
from pipelines.sqlfiles import read_expression, read_sql

AHEAD = 2
"""Ranges that are read at a time, where memory has room for them."""

_LEAST = 2_048
"""Rows of a piece, at least: what DuckDB hands over at a time."""

_SPOKEN = (
    "aggregate_id",
    "stream_version",
    "aggregate_type",
    "position",
    "created_at",
    "is_in_month",
    "event_name",
    "message_id",
    "is_by_user",
    "source",
    "source_id",
    "source_ordinal",
    "subject_id",
    "text",
    "opens_turn",
    "is_refusal",
    "call_id",
    "name",
    "arguments",
    "output",
    "error",
    "rendered",
)
_STATED = (
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "agent",
    "variant",
    "task",
    "channel",
    "vertical",
    "outcome",
    "target_version",
    "path",
    "method",
    "reason",
)


@contextmanager
def sharing_threads(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Share DuckDB's threads between the ranges that a `Reader` reads: more of them than cores cost a fold 7 % of its CPU."""
    (threads,) = connection.sql("SELECT current_setting('threads')").fetchall()[0]
    connection.execute(f"SET threads = {max(threads // AHEAD, 1)}")
    try:
        yield
    finally:
        connection.execute(f"SET threads = {threads}")


class Reader:
    """Reads the month's events, and what happened before them.

    Args:
        connection: `start_month` has run on it.
        month: YYYY-MM.
        ladder: Known types and upcasters.
        is_partial: Whether only the streams of `fold_touched` are read, and of those only what `fold_within` does not hold.
        with_states: Whether to read what states are made of.
        with_models: Whether to read the payloads of model decisions.
        left_out: Streams that are not read.
        readers: Ranges that are read at a time.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        month: str,
        ladder: Ladder,
        *,
        is_partial: bool,
        with_states: bool,
        with_models: bool,
        left_out: Sequence[str] = (),
        readers: int = AHEAD,
    ) -> None:
        self._connection = connection
        self._month = month
        self._readers = readers
        columns = _SPOKEN + (_STATED if with_states else ()) + (("model",) if with_models else ())
        events = (
            read_sql("folds/steps/events.sql")
            .replace("$opens_turn", read_expression("folds/steps/opens_turn.sql"))
            .strip()
            .rstrip(";")
        )
        self._query = f"SELECT {', '.join(columns)} FROM ({events}) AS read"
        self._stored = f"SELECT stored.* FROM ({in_order(ladder, 'events')}) AS stored"
        self._touched = None
        if is_partial:
            # a join, though it leaves no order: of EXISTS with a comparison, DuckDB makes a plan that keeps every payload
            self._stored += (
                " INNER JOIN fold_read AS wanted "
                "ON stored.aggregate_id = wanted.aggregate_id AND stored.stream_version > wanted.after"
            )
            self._touched = connection.sql(WANTED).to_arrow_table()
        self._stored += f" WHERE stored.month = '{month}'"
        if left_out:
            self._stored += f" AND stored.aggregate_id NOT IN ({', '.join(map(quote_literal, left_out))})"
        hidden = connection.sql(f"SELECT count(*) FROM fold_hidden WHERE month = '{month}'")
        self._is_hidden = bool(hidden.fetchall()[0][0])

    def months(self, spans: Iterable[Span]) -> Iterator[tuple[Span, pa.Table]]:
        """The month's events of every range, in order wherever files are."""
        upcoming: deque[tuple[Span, Future[pa.Table]]] = deque()
        with ExitStack() as connections, ThreadPoolExecutor(self._readers) as pool:
            free = [connections.enter_context(self._connect()) for _ in range(self._readers)]

            def read(span: Span) -> pa.Table:
                connection = free.pop()
                try:
                    return self._read(connection, span)
                finally:
                    free.append(connection)

            for span in spans:
                upcoming.append((span, pool.submit(read, span)))
                if len(upcoming) > self._readers:
                    yield self._overlaid(*upcoming.popleft())
            while upcoming:
                yield self._overlaid(*upcoming.popleft())

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = self._connection.cursor()
        connection.execute("SET TimeZone = 'UTC'")
        if self._touched is not None:
            connection.register("fold_read", self._touched)
        connection.execute(f"CREATE TEMP VIEW fold_source AS {self._stored}")
        return connection

    def _overlaid(self, span: Span, upcoming: Future[pa.Table]) -> tuple[Span, pa.Table]:
        """A range with redacted payloads in the place of the recorded ones."""
        events = upcoming.result()
        if self._is_hidden:
            events = overlay(events, self._read_from("fold_hidden", f"month = '{self._month}'", span))
        return span, events

    def history(self, span: Span, streams: str) -> pa.Table:
        """What happened before the month in those of a range's streams that the SELECT `streams` gives."""
        earlier = f"month < '{self._month}' AND aggregate_id IN ({streams})"
        return overlay(self._read_from("fold_stored", earlier, span), self._read_from("fold_hidden", earlier, span))

    def _read_from(self, source: str, condition: str, span: Span) -> pa.Table:
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW fold_source AS SELECT * FROM {source} WHERE {condition}")
        return self._read(self._connection, span)

    def _read(self, connection: duckdb.DuckDBPyConnection, span: Span) -> pa.Table:
        query, params = self._query, {"month": self._month, "low": span.low, "high": span.high}
        if span.stream is not None:
            query += f" WHERE read.stream_version > {span.after} AND read.stream_version <= {span.until}"
        # Read as they come: as a result, DuckDB would hold them all once more.
        reader = connection.sql(query, params=params).to_arrow_reader(max(span.events, _LEAST))
        return with_values(reader.read_all())


def with_values(events: pa.Table) -> pa.Table:
    """The events with the arguments of tool calls as JSON values, `recorded` where the recorded text is another, and `is_invalid_json`."""
    place = events.column_names.index("arguments")
    columns = [_values(*chunks) for chunks in zip(events["arguments"].chunks, events["event_name"].chunks, strict=True)]
    made: list[Column] = [pa.chunked_array(list(each)) for each in zip(*columns, strict=True)]
    if not columns:
        made = [pa.chunked_array([], kind) for kind in (pa.string(), pa.string(), pa.bool_())]
    values, recorded, is_invalid = made
    events = events.set_column(place, "arguments", values)
    return events.append_column("recorded", recorded).append_column("is_invalid_json", is_invalid)


def _values(arguments: Column, event_names: Column) -> tuple[Column, Column, Column]:
    """What is said of the arguments in one piece; null for what is no tool call. Equal texts are read once."""
    encoded = arguments.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    read = [read_arguments(text) for text in texts]
    others = [None if found.text == text else text for found, text in zip(read, texts, strict=True)]
    values = take(pa.array([found.text for found in read], pa.string()), encoded.indices)
    is_invalid = take(pa.array([found.is_invalid_json for found in read], pa.bool_()), encoded.indices)
    if arguments.null_count:
        is_bare = pc.and_(pc.is_null(arguments), pc.fill_null(pc.equal(event_names, "tool.call"), fill_value=False))
        values = pc.if_else(is_bare, NONE_GIVEN, values)
        is_invalid = pc.if_else(is_bare, pa.scalar(value=False), is_invalid)
    return values, take(pa.array(others, pa.string()), encoded.indices), is_invalid
