"""What a person's projection may read of a month: relations with fixed columns, redactions applied.

They are the stable side of the lake: tables inside may change, these names and columns do not. Rows are handed over, not
files: a projection runs where there is nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets import (
    CALL_MONTHS,
    CONVERSATION_MONTHS,
    CUSTOMER_MONTHS,
    DECISIONS,
    EVENTS,
    REDACTED_EVENTS,
    TOOL_CALLS,
    UTTERANCES,
)
from pipelines.lake.locked import Locked, locked_session
from pipelines.lake.locked_child import UserCodeError
from pipelines.lake.sql_errors import without_values
from pipelines.log.erased import IS_ERASED
from pipelines.log.readable import SHOWN
from pipelines.log.upcasters import Upcasters, load_upcasters
from pipelines.settings import MIN_MEMORY_BYTES

if TYPE_CHECKING:
    import pyarrow as pa

_STORED = "stored_events"
_BATCH = 50_000  # rows; bounds what is in Python at once
_FILE_BATCH, _GROUP_BYTES = 2_048, 4_000_000
"""Rows, and bytes of a row group, of a file that a function reads: a few groups are held at once."""
_SHARE = 0.3
"""Share of the process's memory for the handed rows; the lake's own connection has most of the rest."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation that a projection may read.

    Attributes:
        name: Name in SQL.
        datasets: The datasets that its rows come from, the one whose grain it has first.
        source: Where they are read; `events` are read with redactions applied and at the latest version of their type.
        rows: What one row is.
        columns: In order.
    """

    name: str
    datasets: tuple[Dataset, ...]
    source: str
    rows: str
    columns: tuple[Column, ...]

    def select(self, condition: str = "") -> str:
        """A SELECT of the month's rows, `$month` to be bound."""
        names = ", ".join(f'"{column.name}"' for column in self.columns)
        return f"SELECT {names} FROM {self.source} WHERE month = $month{condition}"


def _events() -> Relation:
    columns = {column.name: column for column in EVENTS.columns}
    shown = ("aggregate_id", "aggregate_type", "stream_version", "position")
    described = (
        *(columns[name] for name in shown),
        Column("event_name", "VARCHAR", "noun.verb, without the version; null for a type that is not known."),
        Column("event_type", "VARCHAR", "noun.verb.vN; N is the latest version for known types, else as recorded."),
        Column("event_version", "INTEGER", "N of event_type."),
        Column("payload", "VARCHAR", "JSON text, upcast to that version, redactions applied.", is_personal=True),
        columns["metadata"],
        columns["created_at"],
    )
    return Relation("events", (EVENTS, REDACTED_EVENTS), "readable_events", "one event of the month", described)


def _rows_of(name: str, dataset: Dataset, rows: str) -> Relation:
    return Relation(name, (dataset,), dataset.relation, rows, dataset.data_columns)


RELATIONS: dict[str, Relation] = {
    relation.name: relation
    for relation in (
        _events(),
        _rows_of("utterances", UTTERANCES, "one utterance of the month"),
        _rows_of("tool_calls", TOOL_CALLS, "one tool call that was asked or answered in the month, with its result"),
        _rows_of("decisions", DECISIONS, "one decision whose last event is in the month"),
        _rows_of(
            "conversations", CONVERSATION_MONTHS, "the state, at the month's end, of a conversation with an event in it"
        ),
        _rows_of("calls", CALL_MONTHS, "the state, at the month's end, of a voice call with an event in it"),
        _rows_of("customers", CUSTOMER_MONTHS, "the state, at the month's end, of a customer with an event in it"),
    )
}


@cache
def empty_relations() -> Mapping[str, pa.Table]:
    """Every relation without rows."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return {name: _empty(connection, relation) for name, relation in RELATIONS.items()}


def _empty(connection: duckdb.DuckDBPyConnection, relation: Relation) -> pa.Table:
    items = ", ".join(f'CAST(NULL AS {column.type}) AS "{column.name}"' for column in relation.columns)
    table: pa.Table = connection.sql(f"SELECT {items} WHERE false").to_arrow_table()
    return table


@contextmanager
def month_relations(
    connection: duckdb.DuckDBPyConnection,
    month: str,
    names: Collection[str],
    *,
    memory_bytes: int,
    spill: Path,
    seconds: float,
    upcasters: Upcasters,
    conditions: Mapping[str, str] | None = None,
) -> Iterator[Locked]:
    """A locked session that sees the month's rows of the relations `names`, and the others empty.

    Args:
        connection: Sees the lake.
        month: YYYY-MM.
        names: Relations to fill.
        memory_bytes: The process's memory, of which a share is used.
        spill: Folder for what does not fit.
        seconds: Bound on the time of a statement.
        upcasters: What lifts events; steps of the user's own run in the session, where they are bounded.
        conditions: SQL to add to the condition of a relation.

    Raises:
        BadInputError: An upcaster of the user's own fails, takes too long or too much; it is named.
    """
    own_steps = upcasters.own_steps if "events" in names else ()

    def reader(name: str) -> pa.RecordBatchReader:
        query = _stored() if name == _STORED else RELATIONS[name].select()
        query += (conditions or {}).get("events" if name == _STORED else name, "")
        rows: pa.RecordBatchReader = connection.sql(query, params={"month": month}).to_arrow_reader(_BATCH)
        return rows

    # read when their turn comes: a connection has one open result
    tables: dict[str, pa.Table | Callable[[], pa.RecordBatchReader]] = dict(empty_relations())
    tables |= {name: partial(reader, name) for name in names}
    if own_steps:
        del tables["events"]
        tables[_STORED] = partial(reader, _STORED)
    with locked_session(
        tables, memory_bytes=projection_memory(memory_bytes), seconds=seconds, spill=spill, locates_errors=True
    ) as locked:
        if own_steps:
            _lift(locked, upcasters)
        yield locked


def projection_memory(memory_bytes: int) -> int:
    """Bytes that a projection may use, of all that there are."""
    return max(int(memory_bytes * _SHARE), MIN_MEMORY_BYTES // 4)


def write_files(locked: Locked, names: Iterable[str], folder: Path, *, is_shuffled: bool) -> dict[str, Path]:
    """Write relations of a session as Parquet files into a folder.

    Args:
        locked: Has their rows.
        names: Relations.
        folder: Is there.
        is_shuffled: Whether the rows are put in an order that says nothing, the same each time.
    """
    import pyarrow as pa  # noqa: PLC0415 - see `pipelines.arrow`
    import pyarrow.parquet as pq  # noqa: PLC0415

    files = {}
    for name in names:
        files[name] = folder / f"{name}.parquet"
        order = "ORDER BY hash(given)" if is_shuffled else ""
        rows = locked.read(f"SELECT given.* FROM {name} AS given {order}", _FILE_BATCH)
        with pq.ParquetWriter(files[name], rows.schema, compression="lz4") as writer:
            for batch in rows:
                fit = _GROUP_BYTES * batch.num_rows // max(batch.nbytes, 1)
                writer.write_table(pa.Table.from_batches([batch]), row_group_size=max(fit, 1))
    return files


def _stored() -> str:
    """A SELECT of what `events` of the month is made of: redactions applied, nothing lifted."""
    made = {"event_name"}
    names = ", ".join(f'"{column.name}"' for column in RELATIONS["events"].columns if column.name not in made)
    return f"SELECT {names}, digest FROM ({SHOWN}) WHERE month = $month"


def _lift(locked: Locked, upcasters: Upcasters) -> None:
    """Make the table `events` of the stored ones, step by step."""
    for step in upcasters.own_steps:
        stored = ", ".join(f"'{step.name}.v{version}'" for version in range(1, step.version + 1))
        lifted = f"event_type IN ({stored}) AND NOT {IS_ERASED.format('')}"
        update = f"UPDATE {_STORED} SET payload = (\n{step.expression}\n) WHERE {lifted}"
        locked.call(f"upcaster {step.name}.v{step.version}", lift, update)
    shipped = Upcasters(upcasters.latest, load_upcasters().steps)
    names = ", ".join(f'"{column.name}"' for column in RELATIONS["events"].columns)
    locked.execute(f"CREATE TABLE events AS SELECT {names} FROM ({shipped.query(_STORED)})")
    locked.execute(f"DROP TABLE {_STORED}")


def lift(connection: duckdb.DuckDBPyConnection, update: str) -> None:
    """Run one upcaster of the user's on the events that it is for; asked of the child.

    Raises:
        UserCodeError: It fails on one of them; the payload is not told.
    """
    try:
        connection.execute(update)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise UserCodeError(f"{without_values(error)} (`refold events upcast --check` says on which event)") from None
