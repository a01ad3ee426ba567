"""Fold a month into a projection of one's own, or try a file on a sample of the lake.

A SELECT runs on a locked connection that holds the month's rows of what it reads; a Polars function runs in a child process
that is given them as files, twice: what it makes may not depend on their order. A month is a function of the file and of those
rows, so it is written again when either changes and left alone otherwise.
"""

from __future__ import annotations

import hashlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipelines.duck import quote_identifier
from pipelines.errors import BadInputError
from pipelines.fold.identity import fold_hash, projection_hash
from pipelines.lake.dataset import Column
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Commit, Lake
from pipelines.lake.locked import Locked, StoppedError, frame_session, spill_folder
from pipelines.lake.own_upcasters import load_own_upcasters
from pipelines.lake.sql_errors import without_values
from pipelines.projections.faults import FileFaultError
from pipelines.projections.function import OUTPUT, Function, run_function
from pipelines.projections.projection import Projection, ProjectionError, left_over, read_projection
from pipelines.projections.relations import RELATIONS, empty_relations, month_relations, projection_memory, write_files
from pipelines.projections.select import Select, run_select

SAMPLE_STREAMS = 1_000
"""Streams that `check_projection` takes; enough to see columns and faults, quick on any lake."""
_MADE, _MADE_AGAIN = "refold_made", "refold_made_again"
_CLOSE = {"DOUBLE": 1e-9, "FLOAT": 1e-4}
"""How much two sums of the same numbers may differ, as a share of the column's largest value."""
_BATCH = 50_000
_HEADS = """
SELECT aggregate_id, last_version, hex(last_hash), coalesce(erased_events, 0)
FROM stream_months
WHERE month = $month
ORDER BY aggregate_id
"""
_SAMPLE = """
CREATE OR REPLACE TEMP TABLE own_sample AS
SELECT aggregate_id FROM stream_months WHERE month = $month ORDER BY md5(aggregate_id) LIMIT $streams
"""
_SAMPLED = {name: " AND aggregate_id IN (FROM own_sample)" for name in RELATIONS if name != "customers"} | {
    "customers": " AND subject_id IN (SELECT subject_id FROM conversations SEMI JOIN own_sample USING (aggregate_id))"
}


class ProjectionKeyError(ProjectionError):
    """Rows share a key, or have none; nothing was written."""


@dataclass(frozen=True, slots=True)
class OwnFold:
    """One month of a projection.

    Attributes:
        dataset: Its name.
        month: YYYY-MM.
        is_written: False when the month was up to date.
        rows: Rows of the month.
        size_bytes: Bytes of its files.
        redactions: Redactions in what it reads; they only ever grow in number.
        input_hash: What the month was computed from.
        seconds: Time taken.
    """

    dataset: str
    month: str
    is_written: bool
    rows: int
    size_bytes: int
    redactions: int
    input_hash: str
    seconds: float


@dataclass(frozen=True, slots=True)
class OwnCheck:
    """What a file would make of a sample.

    Attributes:
        name: Of the dataset.
        grain: What one row is.
        key: Columns that identify a row within a month.
        columns: Without the month.
        reads: The relations that it reads.
        month: The month tried; None when the lake is empty.
        streams: Streams in the sample.
        streams_of_month: Streams of the month.
        rows: Rows made of the sample.
        seconds: Time that the SELECT took.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    reads: tuple[str, ...]
    month: str | None
    streams: int
    streams_of_month: int
    rows: int
    seconds: float


def fold_projection(lake: Lake, projection: Projection, month: str) -> OwnFold:
    """Fold one month, unless it is up to date.

    Raises:
        ProjectionError: The SELECT fails on the month's rows, or they break the key; nothing was written.
        BadInputError: What it reads is not folded for the month.
        CommitLostError: Another writer committed the same month meanwhile.
    """
    started = time.monotonic()
    dataset = projection.dataset
    partition = {"month": month}
    with lake.connect() as connection:
        wanted, hides = _inputs(lake, connection, projection, month)
        commit = _current(lake, projection, month, wanted)
        is_written = commit is None
        if commit is None:
            with _make(lake, connection, projection, month) as made:
                lake.begin(dataset)
                made.show()
                commit = lake.write_partition(
                    dataset,
                    partition,
                    connection,
                    f"SELECT * FROM {_MADE}",
                    input_hash=wanted,
                    provenance=hides,
                )
    seconds = time.monotonic() - started
    rows, size = commit.row_count, commit.size_bytes
    return OwnFold(dataset.name, month, is_written, rows, size, hides["redactions"], wanted, seconds)


def find_projected(lake: Lake, projection: Projection, months: Sequence[str]) -> dict[str, OwnFold]:
    """What `fold_projection` would say of those of the months that are up to date; nothing is run or written.

    What the projection reads is taken as it is: ask of it first.
    """
    found = {}
    with lake.connect() as connection:
        for month in months:
            try:
                wanted, hides = _inputs(lake, connection, projection, month)
            except BadInputError:  # what it reads is not there yet
                continue
            commit = _current(lake, projection, month, wanted)
            if commit is not None:
                rows, size = commit.row_count, commit.size_bytes
                found[month] = OwnFold(projection.name, month, False, rows, size, hides["redactions"], wanted, 0.0)
    return found


def drop_projections(lake: Lake, home: Path, names: Iterable[str]) -> list[str]:
    """Remove the tables of own projections whose files are gone; what they held can be folded again from the log.

    Raises:
        BadInputError: No name is given, or one is not the name of such a table; nothing was removed.
    """
    there = left_over(lake, home)
    chosen = sorted(set(names))
    wrong = [name for name in chosen if name not in there]
    if wrong or not chosen:
        what = f"{wrong[0]!r} is not one" if wrong else "name one"
        raise BadInputError(
            f"only tables of your own projections whose file is gone are dropped; {what}: {', '.join(there) or 'there is none'}"
        )
    for name in chosen:
        # out of sight in one step, so that no reader meets half a table
        hidden = lake.root / f".dropped-{name}-{uuid.uuid4().hex}"
        (lake.root / name).rename(hidden)
        shutil.rmtree(hidden)
    return chosen


def check_projection(lake: Lake, path: Path, month: str | None = None) -> OwnCheck:
    """Try a file on streams of one month, by default the newest that is folded; nothing is written.

    Raises:
        ProjectionError: The file cannot be used; the message has file, line and reason.
        BadInputError: The month is not in the lake, or what the file reads is not folded for it.
    """
    projection = read_projection(path)
    with lake.connect() as connection:
        chosen = _month_to_try(lake, projection, month)
        taken = of_month = rows = 0
        seconds = 0.0
        if chosen is not None:
            connection.execute(_SAMPLE, {"month": chosen, "streams": SAMPLE_STREAMS})
            count = "SELECT (SELECT count(*) FROM own_sample), count(*) FROM stream_months WHERE month = $month"
            taken, of_month = connection.sql(count, params={"month": chosen}).fetchall()[0]
            with _make(lake, connection, projection, chosen, _SAMPLED) as made:
                rows, seconds = made.rows, made.seconds
    dataset = projection.dataset
    columns, key = dataset.data_columns, dataset.sort_by
    return OwnCheck(dataset.name, dataset.grain, key, columns, projection.reads, chosen, taken, of_month, rows, seconds)


@dataclass(frozen=True, slots=True)
class _Made:
    """What a file made of a month, held to the key.

    Attributes:
        rows: How many.
        seconds: Time that making them took, without handing over what is read.
        show: Makes them the relation `refold_made` of the lake's connection.
    """

    rows: int
    seconds: float
    show: Callable[[], object]


@contextmanager
def _make(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    projection: Projection,
    month: str,
    conditions: Mapping[str, str] | None = None,
) -> Iterator[_Made]:
    """Run a file on a month's rows, of which `conditions` on the relations choose.

    Raises:
        ProjectionError: It fails, takes too long or too much, breaks the key, or depends on more than its rows.
    """
    given = month_relations(
        connection,
        month,
        projection.reads,
        memory_bytes=lake.memory_bytes,
        spill=lake.spill,
        seconds=lake.sql_seconds,
        upcasters=load_own_upcasters(lake.home),
        conditions=conditions,
    )
    body = projection.body
    if isinstance(body, Select):
        with given as locked:
            yield _select(locked, connection, projection, body, month)
    else:
        yield _call(given, lake, connection, projection, body, month)


@contextmanager
def _told(projection: Projection) -> Iterator[None]:
    """What the file does wrong, with file and line."""
    try:
        yield
    except FileFaultError as failure:
        raise ProjectionError(projection.path, failure.line, failure.reason) from None
    except StoppedError as failure:
        raise ProjectionError(projection.path, projection.body.line, str(failure)) from None


def _select(
    locked: Locked, connection: duckdb.DuckDBPyConnection, projection: Projection, select: Select, month: str
) -> _Made:
    """A SELECT's rows stay where it ran until they are shown."""
    started = time.monotonic()
    with _told(projection):
        locked.call("the query", run_select, projection.text, select, _types(projection), month, _MADE)
    rows = _hold_to_key(locked.fetch, projection, month)
    seconds = time.monotonic() - started
    return _Made(rows, seconds, lambda: connection.register(_MADE, locked.read(f"SELECT * FROM {_MADE}")))


def _call(
    given: AbstractContextManager[Locked],
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    projection: Projection,
    function: Function,
    month: str,
) -> _Made:
    """A function is called in two processes, the second time with its rows in another order; what differs is a fault."""
    with spill_folder(lake.spill) as made:
        folders = [made / order for order in ("stored", "shuffled")]
        with given as locked:
            for folder in folders:
                folder.mkdir()
                write_files(locked, projection.reads, folder, is_shuffled=folder is folders[1])
        rows, seconds = [], []
        for folder, table in zip(folders, (_MADE, _MADE_AGAIN), strict=True):
            started = time.monotonic()
            memory = projection_memory(lake.memory_bytes)
            with (
                _told(projection),
                frame_session((projection.text, table), memory_bytes=memory, seconds=lake.sql_seconds) as session,
            ):
                relations = {name: empty_relations()[name] for name in projection.reads}
                path, text = str(projection.path), projection.text
                session.call("the function", run_function, text, path, relations, str(folder), month)
            seconds.append(time.monotonic() - started)
            with _told(projection):
                _take(connection, projection, function, str(folder / OUTPUT), table)
            rows.append(_hold_to_key(lambda query: connection.sql(query).fetchall(), projection, month, table))
    with _told(projection):
        _hold_to_its_rows(connection, projection, rows)
    return _Made(rows[0], seconds[0], lambda: None)


def _take(
    connection: duckdb.DuckDBPyConnection, projection: Projection, function: Function, file: str, table: str
) -> None:
    """Make the table of what a function wrote, in the types that are kept."""
    types = _types(projection)
    casts = ", ".join(
        f"CAST({quote_identifier(name)} AS {kind}) AS {quote_identifier(name)}" for name, kind in types.items()
    )
    try:
        there = connection.sql("FROM read_parquet($file)", params={"file": file}).columns
        if there != list(types):
            raise FileFaultError(
                function.line, f"with rows it gives the columns {', '.join(there)}, without them {', '.join(types)}"
            )
        query = f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {casts} FROM read_parquet($file)"
        connection.execute(query, {"file": file})
    except duckdb.OutOfMemoryException:
        raise  # not the function's fault: the caller says what to set
    except duckdb.Error as error:
        raise FileFaultError(function.line, without_values(error)) from None


def _hold_to_its_rows(connection: duckdb.DuckDBPyConnection, projection: Projection, rows: Sequence[int]) -> None:
    """Refuse what another order of the same rows changed; sums of floats may differ in their last digits."""
    differs = []
    for column in projection.dataset.data_columns:
        name = quote_identifier(column.name)
        differ = f"one.{name} IS DISTINCT FROM two.{name}"
        if column.type in _CLOSE:
            largest = f"(SELECT max(abs({name})) FILTER (isfinite({name})) FROM {_MADE})"
            differ += f" AND NOT coalesce(abs(one.{name} - two.{name}) <= {_CLOSE[column.type]} * {largest}, false)"
        differs.append(f"count(*) FILTER ({differ})")
    key = ", ".join(map(quote_identifier, projection.dataset.sort_by))
    query = f"SELECT count(*), {', '.join(differs)} FROM {_MADE} AS one INNER JOIN {_MADE_AGAIN} AS two USING ({key})"
    same_keys, *counts = connection.sql(query).fetchall()[0]
    named = [column.name for column, count in zip(projection.dataset.data_columns, counts, strict=True) if count]
    if rows[0] != same_keys or rows[1] != same_keys:
        named = list(projection.dataset.sort_by)
    if named:
        raise FileFaultError(
            projection.body.line,
            f"the same rows in another order give another {', '.join(named)}; a month must be a function of its rows: sort "
            "before taking a first, a last or a list, and use no clock and no chance",
        )


def _types(projection: Projection) -> dict[str, str]:
    return {column.name: column.type for column in projection.dataset.data_columns}


def _hold_to_key(
    fetch: Callable[[str], list[tuple[Any, ...]]], projection: Projection, month: str, table: str = _MADE
) -> int:
    """The number of rows of a table that was made.

    Raises:
        ProjectionKeyError: Rows share a key, or have none.
    """
    dataset = projection.dataset
    key = ", ".join(map(quote_identifier, dataset.sort_by))
    missing = " OR ".join(f"{quote_identifier(name)} IS NULL" for name in dataset.sort_by)
    query = (
        "SELECT coalesce(sum(refold_n), 0)::BIGINT, coalesce(sum(refold_n) FILTER (refold_n > 1), 0)::BIGINT, "
        f"coalesce(sum(refold_n) FILTER ({missing}), 0)::BIGINT "
        f"FROM (SELECT {key}, count(*) AS refold_n FROM {table} GROUP BY ALL)"
    )
    rows, shared, without = fetch(query)[0]
    if shared or without:
        raise ProjectionKeyError(
            projection.path,
            projection.key_line,
            f"key {', '.join(dataset.sort_by)}: of {rows:,} rows of {month}, {shared:,} share their key with another "
            f"and {without:,} have null in it; one row is to be {dataset.grain}",
        )
    return int(rows)


def _current(lake: Lake, projection: Projection, month: str, wanted: str) -> Commit | None:
    """The month's last commit if it is what would be written now, and is still there."""
    name, partition = projection.name, {"month": month}
    if lake.datasets().get(name) != projection.dataset:
        return None
    commit = lake.last_commit(name, partition)
    # a table that was begun anew has lost its months, and its old commits are remembered all the same
    is_there = commit is not None and (not commit.row_count or partition in lake.partitions(name))
    return commit if is_there and commit is not None and commit.input_hash == wanted else None


def _inputs(
    lake: Lake, connection: duckdb.DuckDBPyConnection, projection: Projection, month: str
) -> tuple[str, dict[str, int]]:
    """SHA-256 (hex) of the file, of what runs it and of what it reads; and how much of that is redacted and erased."""
    hides = {"redactions": 0, "erased": 0}
    digest = hashlib.sha256()
    parts = [projection_hash(), projection.name, month, projection.text]
    for dataset in _needed(projection):
        commit = lake.last_commit(dataset, {"month": month})
        if commit is None:
            verb = "refold export" if dataset == EVENTS.name else f"refold fold {dataset}"
            raise BadInputError(f"{projection.name} reads {dataset}, and {month} is not there; run `{verb}`")
        parts.append(_log_hash(lake, connection, month) if dataset == EVENTS.name else commit.input_hash)
        for name in hides:
            hides[name] += int(commit.provenance.get(name, 0))
    for part in parts:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest(), hides


def _log_hash(lake: Lake, connection: duckdb.DuckDBPyConnection, month: str) -> str:
    """What a month's events are a function of but for redactions: its chains, what of them is erased, and what reads them."""
    digest = hashlib.sha256(f"{fold_hash()} {load_own_upcasters(lake.home).fingerprint()}".encode())
    for batch in connection.sql(_HEADS, params={"month": month}).to_arrow_reader(_BATCH):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(f"{row}\n".encode())
    return digest.hexdigest()


def _needed(projection: Projection) -> list[str]:
    """Names of the datasets that a projection reads, sorted."""
    return sorted({dataset.name for name in projection.reads for dataset in RELATIONS[name].datasets})


def _month_to_try(lake: Lake, projection: Projection, month: str | None) -> str | None:
    """The given month, or the newest for which everything that is read is there."""
    needed = _needed(projection) or [EVENTS.name]
    known = [each for each in lake.months("events") if _is_folded(lake, needed, each)]
    if month is not None and month not in known:
        wanted = ", ".join(needed)
        raise BadInputError(f"month {month}: not in the lake with {wanted}; there are {', '.join(known) or 'none'}")
    return month or (known[-1] if known else None)


def _is_folded(lake: Lake, needed: Iterable[str], month: str) -> bool:
    return all(lake.last_commit(name, {"month": month}) is not None for name in needed)
