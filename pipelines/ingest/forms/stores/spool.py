"""Records of a trace store, put in order on disk: a conversation after the other, copies of one record made one.

A trace store exports records as they come: a session's traces, and a trace's spans, lie scattered over lines and files, and a record
that went on in the next window of an export comes again. What needs all of the files is here, in DuckDB and within its bound of
memory; what a record is and says is its form's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from pipelines.duck import quote_literal
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Group, Record
from pipelines.sqlfiles import read_sql

_SHARE = 0.4
"""Of the memory for the import; the rest is Python's, the store's, and that of the conversation in hand."""
_LEAST = 50_000_000
_BATCH_BYTES = 8_000_000
_FETCHED = 256
SUPERSEDED = "superseded"
"""Field of a record with what its older copies said otherwise, by their places."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """One record as it was read.

    Attributes:
        place: Where.
        kind: What the form calls it.
        rank: 0 where it says something of the whole trace, 1 where it happened, 2 where it was found later.
        id: Its name; records of one rank and id are copies.
        parent: Id of the record that it hangs under.
        trace: What it belongs to.
        session: What names its conversation, where it says so.
        hint: What names it where no record of the trace has a session.
        start_ns: When it began.
        updated_ns: When the store last changed it: of copies, the last one is believed.
        order_key: Order among those that began at once.
        body: The record as JSON text.
    """

    place: str
    kind: str
    rank: int
    id: str
    parent: str | None
    trace: str | None
    session: str | None
    hint: str | None
    start_ns: int | None
    updated_ns: int | None
    order_key: str | None
    body: str


_TYPES = {each.name: "BIGINT" if str(each.type).startswith("int") else "VARCHAR" for each in fields(Spooled)}
_TIMES = ("start_ns", "updated_ns")
_BOUND = 2**63 - 1
_COLUMNS = ", ".join(f"{name} {kind}" for name, kind in _TYPES.items())


def conversations(
    records: Iterable[Spooled], opened: Callable[[dict[str, Any]], dict[str, Any]], memory_bytes: int, folder: Path
) -> Iterator[Group]:
    """The conversations that records belong to, each whole.

    Args:
        records: In any order.
        opened: Decodes the JSON texts of a record, before its leaves are counted.
        memory_bytes: Bound on the memory of the import.
        folder: Where there is room for what does not fit; what is put there is removed.
    """
    with TemporaryDirectory(prefix="records-", dir=folder) as spill, _database(Path(spill), memory_bytes) as connection:
        _fill(connection, records)
        for (key, is_named), members in groupby(_sorted(connection), key=lambda row: (row[0], row[1])):
            yield Group(str(key), bool(is_named), _records(members, opened))


def _database(folder: Path, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(folder / "records.duckdb"))
    connection.execute(f"SET memory_limit = '{max(int(memory_bytes * _SHARE), _LEAST)}B'")
    connection.execute(f"SET temp_directory = {quote_literal(str(folder))}")
    connection.execute("SET threads = 2; SET preserve_insertion_order = false")
    connection.execute(f"CREATE TABLE spooled (seq BIGINT, {_COLUMNS})")
    return connection


def _fill(connection: duckdb.DuckDBPyConnection, records: Iterable[Spooled]) -> None:
    batch: list[dict[str, Any]] = []
    size = 0
    for seq, record in enumerate(records):
        row = {"seq": seq, **asdict(record)}
        batch.append(row | {name: _bounded(row[name]) for name in _TIMES})
        size += len(record.body)
        if size > _BATCH_BYTES:
            _insert(connection, batch)
            batch, size = [], 0
    if batch:
        _insert(connection, batch)


def _bounded(time_ns: int | None) -> int | None:
    """A time to sort by; one that 64 bits do not hold (after the year 2262) is the last, and the record itself is told of as it is."""
    return None if time_ns is None else max(-_BOUND, min(time_ns, _BOUND))


def _insert(connection: duckdb.DuckDBPyConnection, batch: list[dict[str, Any]]) -> None:
    import pyarrow as pa  # noqa: PLC0415 -- a quarter of a second that other forms need not take

    types = {
        "seq": pa.int64(),
        **{name: pa.int64() if kind == "BIGINT" else pa.string() for name, kind in _TYPES.items()},
    }
    connection.register("batch", pa.Table.from_pylist(batch, pa.schema([pa.field(*each) for each in types.items()])))
    connection.execute("INSERT INTO spooled BY NAME SELECT * FROM batch")
    connection.unregister("batch")


def _sorted(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    result = connection.execute(read_sql("forms/conversations.sql"))
    while rows := result.fetchmany(_FETCHED):
        yield from rows


def _records(rows: Iterable[tuple[Any, ...]], opened: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[Record]:
    """The records of one conversation, copies made one; of those that began at once, parents first."""
    for _, at_once in groupby(_whole(rows, opened), key=lambda each: each[0]):
        together = list(at_once)
        yield from (record for *_, record in (together if len(together) == 1 else _parents_first(together)))


_Whole = tuple[tuple[int, int | None], str, str | None, Record]
"""Rank and start, id and parent, and the record."""


def _whole(rows: Iterable[tuple[Any, ...]], opened: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[_Whole]:
    for (rank, start_ns, name), copies in groupby(rows, key=lambda row: (row[2], row[3], row[4])):
        made: Record | None = None
        parent: str | None = None
        for *_, parent_of_copy, place, kind, body in copies:
            value = opened(json.loads(body))
            newer = Record(place, value, leaves(value), kind)
            made = newer if made is None else one_record(made, newer)
            parent = parent_of_copy or parent
        if made is not None:
            yield (rank, start_ns), name, parent, made


def _parents_first(together: list[_Whole]) -> list[_Whole]:
    parents = {name: parent for _, name, parent, _ in together}

    def depth(name: str) -> int:
        seen: set[str] = set()
        up: str | None = name
        while up in parents and up not in seen:
            seen.add(up)
            up = parents[up]
        return len(seen)

    return sorted(together, key=lambda each: depth(each[1]))


def one_record(older: Record, newer: Record) -> Record:
    """Two copies of one record as one: what the newer says, what only the older says, and what the older said otherwise, apart."""
    value, other = _merged(older.value, newer.value)
    if other:
        value[SUPERSEDED] = {**value.get(SUPERSEDED, {}), older.place: other}
    total = older.leaves + newer.leaves
    return Record(newer.place, value, total, newer.kind, older.copies + newer.copies + 1, total - leaves(value))


def _merged(older: dict[str, Any], newer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both as one object, and what of the older one is not in it."""
    value, other = dict(newer), {}
    for key, said in older.items():
        if not leaves(value.get(key)):
            value[key] = said
        elif isinstance(said, dict) and isinstance(value[key], dict):
            value[key], inner = _merged(said, value[key])
            if inner:
                other[key] = inner
        elif leaves(said) and said != value[key]:
            other[key] = said
    return value, other
