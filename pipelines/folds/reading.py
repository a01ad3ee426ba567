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

from pipelines.duck import quote_literal
from pipelines.fold.batch import overlay
from pipelines.folds.event_columns import columns_query, with_values
from pipelines.folds.plan import Span
from pipelines.folds.resume import WANTED
from pipelines.log.upcasters import Upcasters

AHEAD = 2
"""Ranges that are read at a time, where memory has room for them."""

_LEAST = 2_048
"""Rows of a piece, at least: what DuckDB hands over at a time."""


@contextmanager
def sharing_threads(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Share DuckDB's threads between the ranges that a `Reader` reads: more of them than cores cost a fold 7 % of its CPU."""
    (threads,) = connection.execute("SELECT current_setting('threads')").fetchall()[0]
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
        upcasters: Known types and upcasters.
        is_partial: Whether only the streams of `fold_touched` are read, and of those only what `fold_within` does not hold.
        with_states: Whether to read what states are made of.
        with_models: Whether to read the payloads of model decisions.
        left_out: Streams that are not read.
        readers: Ranges that are read at a time.

    Attributes:
        reads_large: Whether events are so large that one range is read at a time.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        month: str,
        upcasters: Upcasters,
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
        self.reads_large = readers == 1
        self._columns = columns_query(with_states=with_states, with_models=with_models)
        self._stored = f"SELECT stored.* FROM ({upcasters.query('events')}) AS stored"
        self._touched = None
        if is_partial:
            # a join, though it leaves no order: of EXISTS with a comparison, DuckDB 2.0 makes a plan that keeps every payload
            # (of the kind of duckdb/duckdb#19213)
            self._stored += (
                " INNER JOIN fold_read AS wanted "
                "ON stored.aggregate_id = wanted.aggregate_id AND stored.stream_version > wanted.after"
            )
            self._touched = connection.sql(WANTED).to_arrow_table()
        self._stored += f" WHERE stored.month = '{month}'"
        if left_out:
            self._stored += f" AND stored.aggregate_id NOT IN ({', '.join(map(quote_literal, left_out))})"
        hidden = connection.execute("SELECT count(*) FROM fold_redacted WHERE month = $month", {"month": month})
        self._is_hidden = bool(hidden.fetchall()[0][0])

    def months(self, spans: Iterable[Span]) -> Iterator[tuple[Span, pa.Table]]:
        """The month's events of every range, in order wherever files are."""
        upcoming: deque[tuple[Span, Future[pa.Table]]] = deque()
        with ExitStack() as connections, ThreadPoolExecutor(self._readers) as pool:
            free: list[duckdb.DuckDBPyConnection] = []

            def read(span: Span) -> pa.Table:
                connection = free.pop()
                try:
                    return self._read(connection, self._stored, span)
                finally:
                    free.append(connection)

            for number, span in enumerate(spans):
                if number < self._readers:
                    free.append(connections.enter_context(self._connect()))
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
        return overlay(
            self._read_from("upcast_recorded_events", earlier, span), self._read_from("fold_hidden", earlier, span)
        )

    def _read_from(self, relation: str, condition: str, span: Span) -> pa.Table:
        return self._read(self._connection, f"SELECT * FROM {relation} WHERE {condition}", span)

    def _read(self, connection: duckdb.DuckDBPyConnection, source: str, span: Span) -> pa.Table:
        # no view: to make one plans what it shows once more
        query = f"WITH fold_source AS NOT MATERIALIZED ({source}) {self._columns}"
        params = {"month": self._month, "low": span.low, "high": span.high}
        if span.stream is not None:
            query += f" WHERE read.stream_version > {span.after} AND read.stream_version <= {span.until}"
        # Read as they come: as a result, DuckDB would hold them all once more.
        reader = connection.sql(query, params=params).to_arrow_reader(max(span.events, _LEAST))
        return with_values(reader.read_all())
