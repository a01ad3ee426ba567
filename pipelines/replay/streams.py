"""Read the events of a plan's conversations from the lake, stream by stream, as a replay wants them.

Streams are read in chunks of bounded size: each is a range of ids, which the files' sort order turns into few row groups. A chunk
is bounded in events, and in the bytes of their payloads where some row group holds larger ones than usual.
Redactions are applied and payloads are at their latest version. What the events mean is `Context`'s matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import duckdb
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.fold.columns import compute as pc
from pipelines.lake.lake import Lake
from pipelines.lake.sizes import RANGE_SHARE, Range, cut_ranges, prepare_for_large
from pipelines.log.erased import IS_ERASED

CHUNK_EVENTS = 40_000
"""Events that are sorted together, at least one stream. What a file holds at the ends of a range is read twice."""
_STREAM_SHARE = 0.07
"""Of the memory bound: payloads of one conversation, at most, which is held whole, with what its candidate is shown and says.

Measured with 75 MB in 40 events and a bound of 1 GB: a Python candidate took 1,098 MB, 430 MB of them libraries, the echo 972."""
_AHEAD = 5
"""Batches of a chunk, and how many are read ahead: the next chunk is being sorted while one is used."""
_STEP = 50 * 10**6
"""What a bound that would do is rounded up to."""
SEGMENTS = ("source", "agent", "vertical", "channel", "task", "variant")

_ITEMS = """
SELECT plan_streams.aggregate_id AS id, plan_streams.last_version AS rows, coalesce(sized.bytes, 0) AS bytes
FROM plan_streams
LEFT JOIN stream_sizes AS sized ON plan_streams.aggregate_id = sized.aggregate_id
"""
_SIZES = """
CREATE OR REPLACE TEMP TABLE stream_sizes AS
SELECT aggregate_id, sum(strlen(payload) + strlen(metadata))::BIGINT AS bytes
FROM events
SEMI JOIN plan_streams USING (aggregate_id)
WHERE $is_large
GROUP BY aggregate_id
"""
_EVENTS = """
SELECT
    aggregate_id, stream_version, event_name, payload, envelope[1] AS message_id, envelope[2] AS actor, arguments,
    -- what a redaction hides may be told once more beside the payload: of such a conversation nothing of that goes out
    CASE
        WHEN event_name IN ('agent.utterance', 'tool.call') AND aggregate_id NOT IN (SELECT aggregate_id FROM fold_redacted)
            THEN envelope[3]
        WHEN event_name = 'agent.reasoning' AND aggregate_id NOT IN (SELECT aggregate_id FROM fold_redacted)
            THEN json_object('thought', payload::JSON, 'field', envelope[4])::VARCHAR
    END AS beside
FROM (
    SELECT
        events.aggregate_id,
        events.stream_version,
        events.event_name,
        CASE WHEN events.event_name <> 'model.decision' THEN events.payload END AS payload,
        json_extract_string(events.metadata, [
            '$.message_id', '$.actor', '$.source_fields', '$.source_form.reasoning.field'
        ]) AS envelope,
        {arguments} AS arguments
    FROM upcast_events AS events
    SEMI JOIN plan_streams ON plan_streams.aggregate_id = events.aggregate_id
    LEFT JOIN erased_from AS erased ON events.aggregate_id = erased.aggregate_id
    WHERE
        events.aggregate_id BETWEEN $first AND $last
        AND (erased.aggregate_id IS NULL OR events.stream_version < erased.first_version)
        AND events.event_name IN (
            'conversation.started', 'context.supplied', 'user.utterance', 'agent.utterance', 'tool.call', 'tool.result',
            'model.decision', 'agent.reasoning', 'context.compacted'
        )
)
ORDER BY aggregate_id, stream_version
"""
_ARGUMENTS = "CASE WHEN events.event_name = 'tool.call' THEN json_extract(events.payload, '$.arguments')::VARCHAR END"
_ERASED_FROM = f"""
CREATE OR REPLACE TEMP TABLE erased_from AS
SELECT aggregate_id, min(stream_version) AS first_version
FROM events
SEMI JOIN plan_streams USING (aggregate_id)
WHERE aggregate_id BETWEEN $first AND $last AND {IS_ERASED.format("")}
GROUP BY aggregate_id
"""
_ALL_DECIDED = """
CREATE OR REPLACE TEMP TABLE plan_decisions AS
SELECT
    aggregate_id, first_version, decision, turn, model, tools_sha256, epoch_us(created_at) AS created_us,
    context_messages IS DISTINCT FROM 0 AS has_context, coalesce(is_erased OR is_context_erased, FALSE) AS is_erased
FROM decisions
SEMI JOIN plan_streams USING (aggregate_id)
WHERE aggregate_id BETWEEN $first AND $last
ORDER BY aggregate_id, first_version
"""
_DECIDED = "SELECT * FROM plan_decisions WHERE aggregate_id BETWEEN $first AND $last"
_STREAMS = f"""
SELECT aggregate_id, {", ".join(SEGMENTS)}
FROM plan_streams
WHERE aggregate_id BETWEEN $first AND $last
ORDER BY aggregate_id
"""


EventRow: TypeAlias = tuple[int, str, str | None, str | None, str | None, str | None, str | None]
"""One event that an agent's context is made of: `stream_version`, `event_name`, `payload`, `message_id`, `actor`, `arguments`,
and as JSON text the fields of the agent's message that its payload does not say.

`payload` is None for a `model.decision`, of which a context needs the place alone; `arguments` is the JSON text of a tool
call's arguments as recorded, where it was asked for. There are so many of them that names for the places would cost a
fifth of the time to render them.
"""


class Decided(NamedTuple):
    """One recorded decision, as `lake/decisions` has it.

    `created_us` is when its last event happened, in microseconds since 1970, UTC. `has_context` is whether anything was said
    before it: if not, there is nothing to put before anybody, whoever it is and whatever prompt they have. `is_erased` is whether
    an event of it, or before it, is erased: what is left is not what the agent had.
    """

    decision: int
    turn: int
    model: str | None
    tools_sha256: str | None
    created_us: int
    has_context: bool
    is_erased: bool = False


_as_decided = partial(tuple.__new__, Decided)
"""A tuple of the right length under its name, without counting again."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One conversation.

    Attributes:
        aggregate_id: Its id.
        metadata: `source`, `agent`, `vertical`, `channel`, `task` and `variant`.
        rows: Its events in order, those that the agent's context is made of, up to the first erased one.
        decided: Its decisions, by the `stream_version` at which each begins.
    """

    aggregate_id: str
    metadata: Mapping[str, Any]
    rows: list[EventRow]
    decided: Mapping[int, Decided]

    @property
    def erased(self) -> list[Decided]:
        """The decisions that are erased, or follow what is, in order."""
        return sorted(each for each in self.decided.values() if each.is_erased)


def list_chunks(connection: duckdb.DuckDBPyConnection, lake: Lake, processes: int = 1) -> list[Range]:
    """Ranges of about `CHUNK_EVENTS`, or of fewer that are as much as memory has room for, that hold all streams of `plan_streams`.

    They are in order of the ids. The first is one batch, so that there is something to do while the next is read.

    Args:
        connection: Has `plan_streams` and `events`.
        lake: Which the connection is of; payloads are summed only where its files hold larger ones than usual.
        processes: Among how many processes the memory bound is shared.

    Raises:
        BadInputError: One conversation is larger than the memory bound has room for.
    """
    memory = lake.memory_bytes // processes
    most = int(memory * RANGE_SHARE)
    files, columns = lake.files("events"), ("payload", "metadata")
    is_large = prepare_for_large(connection, files, columns, rows=CHUNK_EVENTS, size=most)
    connection.execute(_SIZES, {"is_large": is_large})
    _refuse_large(connection, memory, processes)
    return cut_ranges(connection, _ITEMS, rows=CHUNK_EVENTS, size=most, first_rows=_batch_rows(CHUNK_EVENTS))


def _batch_rows(events: int) -> int:
    """Of a chunk of so many events: those that become Python objects together."""
    return max(-(-events // _AHEAD), 1)


def _refuse_large(connection: duckdb.DuckDBPyConnection, memory: int, processes: int) -> None:
    """Refuse conversations that do not fit, before anybody is asked."""
    params = {"most": int(memory * _STREAM_SHARE)}
    count, stream, size = connection.execute(
        "SELECT count(*), arg_max(aggregate_id, bytes), max(bytes) FROM stream_sizes WHERE bytes > $most", params
    ).fetchall()[0]
    if count:
        enough = -(-int(size / _STREAM_SHARE) * processes // _STEP) * _STEP // 10**6
        among = f" of {processes:,} processes" if processes > 1 else ""
        raise BadInputError(
            f"{count:,} of the selected conversations are too large to be replayed within REFOLD_MEMORY{among} (the largest, {stream}, "
            f"holds {size:,} bytes of payloads); REFOLD_MEMORY={enough}MB would do, or leave them out with `where`"
        )


def read_streams(
    connection: duckdb.DuckDBPyConnection, chunks: Iterable[Range], *, with_arguments: bool = True
) -> Generator[Stream]:
    """The conversations of `plan_streams` in the given ranges, in order, those too of which nothing was ever shown to an agent.

    While one batch of events is used the next ones are read by a thread of its own; there they are columns.

    Args:
        connection: Has `plan_streams`, `upcast_events` and `fold_redacted`; nobody else uses it until the last stream was taken.
        chunks: As `list_chunks` cuts them, in order.
        with_arguments: Whether the recorded text of arguments is read; a context alone does not need it.
    """
    ranges = list(chunks)
    if not ranges:
        return
    bounds = {"first": ranges[0].first, "last": ranges[-1].last}
    connection.execute(_ALL_DECIDED, bounds)
    connection.execute(_ERASED_FROM, bounds)
    events = _EVENTS.format(arguments=_ARGUMENTS if with_arguments else "NULL::VARCHAR")
    stream: Stream | None = None
    silent: deque[Stream] = deque()  # streams of the current range that no event was read of yet
    with (
        closing(_read_pieces(connection, ranges, events)) as pieces,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="replay-reader") as reader,
    ):
        ahead = deque(reader.submit(next, pieces, None) for _ in range(_AHEAD))
        while (piece := ahead.popleft().result()) is not None:
            ahead.append(reader.submit(next, pieces, None))
            if isinstance(piece, list):  # another range begins
                if stream is not None:
                    yield stream
                yield from silent
                stream, silent = None, deque(piece)
                continue
            rows = _rows_of(piece)
            begin = 0
            for aggregate_id, end in _runs(piece.column(0)):
                if stream is None or stream.aggregate_id != aggregate_id:
                    if stream is not None:
                        yield stream
                    stream = silent.popleft()
                    while stream.aggregate_id != aggregate_id:
                        yield stream
                        stream = silent.popleft()
                stream.rows.extend(rows[begin:end])
                begin = end
    if stream is not None:
        yield stream
    yield from silent


def _read_pieces(
    connection: duckdb.DuckDBPyConnection, chunks: Iterable[Range], events: str
) -> Generator[list[Stream] | pa.RecordBatch]:
    """Of each range its streams, in order and without their events, and then the events, in order, some at a time."""
    for chunk in chunks:
        params = {"first": chunk.first, "last": chunk.last}
        decided: dict[str, dict[int, Decided]] = {}
        for aggregate_id, version, *rest in _rows(connection, _DECIDED, params):
            decided.setdefault(aggregate_id, {})[version] = _as_decided(rest)
        yield [
            Stream(aggregate_id, dict(zip(SEGMENTS, known, strict=True)), [], decided.get(aggregate_id, {}))
            for aggregate_id, *known in _rows(connection, _STREAMS, params)
        ]
        # read as they come: as a result, DuckDB would hold them all once more
        yield from connection.sql(events, params=params).to_arrow_reader(_batch_rows(chunk.rows))


def _rows(connection: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, str]) -> Iterator[tuple[Any, ...]]:
    """Rows of a small result; its columns become Python values faster than its rows."""
    columns = connection.sql(query, params=params).to_arrow_table().columns
    return zip(*(column.to_pylist() for column in columns), strict=True)


def _rows_of(events: pa.RecordBatch) -> list[EventRow]:
    _, version, name, payload, message_id, actor, arguments, beside = events.columns
    columns = (
        version.to_pylist(),
        _shared(name),
        payload.to_pylist(),
        message_id.to_pylist(),
        _shared(actor),
        arguments.to_pylist(),
        beside.to_pylist(),
    )
    return list(zip(*columns, strict=True))


def _shared(column: pa.Array[Any]) -> list[Any]:
    """The values of a column with few different ones, each of which is one object."""
    encoded = pc.dictionary_encode(column)
    values = [*encoded.dictionary.to_pylist(), None]
    return [values[-1 if place is None else place] for place in encoded.indices.to_pylist()]


def _runs(column: pa.Array[Any]) -> Iterator[tuple[str, int]]:
    """Every run of equal values: the value, and the place after its last."""
    runs = pc.run_end_encode(column)
    return zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True)
