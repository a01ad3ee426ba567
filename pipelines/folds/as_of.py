"""Time travel: conversations, calls and customers as of a time or a position.

The same fold as that of a month, fed less: the month's events up to the time, carried from the months before. Streams that
have no later event in it stand as its states say. Positions do not follow months (history is imported late), so that up to a
position all is folded from the first month on that has a later one. Redactions apply as of today: what is hidden now is hidden
in states of before, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.duck import quote_literal
from pipelines.errors import BadInputError
from pipelines.folds.current import RESUMED_FROM, current_months, customers_go_on, is_of_one_log
from pipelines.folds.inputs import Inputs
from pipelines.folds.limits import limit_readers, plan_batches
from pipelines.folds.plan import ALL, EVENT_HEADS, HEADS, RangeSize
from pipelines.folds.reading import AHEAD, sharing_threads
from pipelines.folds.redacted import find_kept
from pipelines.folds.shipped import projection_query
from pipelines.folds.steps import fold_batches, start_month
from pipelines.lake.datasets import CALL_MONTHS, CONVERSATION_MONTHS, CUSTOMER_MONTHS, find_dataset
from pipelines.lake.lake import Lake
from pipelines.log.upcasters import load_upcasters
from pipelines.settings import SNAPSHOT_EVENTS

STATES = {
    CONVERSATION_MONTHS.name: "aggregate_id",
    CALL_MONTHS.name: "aggregate_id",
    CUSTOMER_MONTHS.name: "subject_id",
}
"""What there is as of a time, and whose states they are."""
_BY_STREAM = (CONVERSATION_MONTHS.name, CALL_MONTHS.name)
WHOLE = "unchanged"
"""Instead of a table's name: streams that have no event of after the point."""
_LOG = "refold_log"
_MONTH = "strftime(make_timestamp(epoch_us(last_at)), '%Y-%m')"  # UTC, whatever the zone of the reader's session
_IDS = pa.schema([("aggregate_id", pa.string())])


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the log: a time or a position, included.

    Attributes:
        at: The time, UTC; None if a position is given.
        position: The position of the store.
    """

    at: datetime | None = None
    position: int | None = None

    def within(self) -> str:
        """Which events are up to it, as SQL."""
        if self.at is None:
            return f"position <= {self.position}"
        return f"created_at <= TIMESTAMPTZ '{self.at.isoformat()}'"


def read_point(at: datetime | None, position: int | None) -> Point:
    """The one point that is meant; a naive time is UTC.

    Raises:
        BadInputError: Both or neither are given.
    """
    if (at is None) == (position is None):
        raise BadInputError("give a time (--at) or a position (--position), one of them")
    return Point(at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC), position)


@dataclass(frozen=True, slots=True)
class Current:
    """What of the lake is what a fold would write today.

    Attributes:
        months: Earlier months from whose snapshots and states streams go on.
        is_customers: Whether all that customers go on from is.
        is_month: Whether the states and snapshots of the month itself are of this code.
        redacted: Months of which `redacted_events` is what it is today, see `create_readable`.
    """

    months: Sequence[str] = ()
    is_customers: bool = False
    is_month: bool = False
    redacted: Mapping[str, int] = field(default_factory=dict)


@contextmanager
def connect_at(lake: Lake, point: Point) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection like `Lake.connect`'s whose `conversations`, `calls` and `customers`, and their months, are as of a point.

    Everything else is as it is now.
    """
    folder = lake.spill if lake.root.is_dir() and os.access(lake.root, os.W_OK) else None
    if folder is not None:
        folder.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="as-of-", dir=folder) as name:
        with lake.connect() as connection:
            month = month_of(connection, point)
            if month is not None:
                _write(Path(name), _fold_of_lake(lake, connection, point, month))
        with lake.connect() as connection:
            if month is not None:
                files = {path.stem: quote_literal(str(path)) for path in Path(name).glob("*.parquet")}
                relations = {stem: f"read_parquet({file}, hive_partitioning = false)" for stem, file in files.items()}
                show_as_of(connection, month, relations)
            yield connection


def month_of(connection: duckdb.DuckDBPyConnection, point: Point) -> str | None:
    """The month that is folded up to the point: that of the time; the first with an event of after the position, None if none."""
    if point.at is not None:
        return f"{point.at.astimezone(UTC):%Y-%m}"
    found = connection.execute(f"SELECT min(month) FROM events WHERE NOT ({point.within()})").fetchall()[0][0]
    return None if found is None else str(found)


def fold_up_to(
    connection: duckdb.DuckDBPyConnection,
    point: Point,
    month: str,
    current: Current,
    *,
    heads: str = EVENT_HEADS,
    size: RangeSize = ALL,
    cuts: Sequence[str] = (),
    snapshot_events: int = SNAPSHOT_EVENTS,
    left_out: Sequence[str] = (),
    readers: int = AHEAD,
    memory_bytes: int = 2**62,
) -> Iterator[tuple[str, pa.Table]]:
    """Fold what happened from the beginning of `month` up to the point; `events` is a view of that afterwards.

    Args:
        connection: Has a view `events` of the log; and `snapshots`, states and customers, if any of them is current.
        point: Up to where.
        month: `month_of`.
        current: What may be gone on from.
        heads: A SELECT of `aggregate_id, month, first_version, last_version, event_count, last_hash, erased_events` of the months before.
        size: Of a batch; by default all streams are one.
        cuts: Stream ids before which a batch had best begin.
        snapshot_events: Events between two snapshots of a stream.
        left_out: Streams that are not folded.
        readers: Ranges that are read at a time.
        memory_bytes: Bound on the memory of the process; a stream of which a state would pass it is refused.

    Yields:
        Some of the rows of a table of `STATES`, by its name; and under `WHOLE` the ids of streams whose state is the month's.
    """
    is_current = current.is_month and point.position is None
    connection.execute(f"ALTER VIEW events RENAME TO {_LOG}")
    label = f"* REPLACE (least(month, {quote_literal(month)}) AS month)" if point.at is None else "*"
    connection.execute(f"CREATE VIEW events AS SELECT {label} FROM {_LOG} WHERE {point.within()}")
    here = f"month = {quote_literal(month)}"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE fold_log_heads AS SELECT * FROM ({heads}) WHERE month < {quote_literal(month)} "
        f"UNION ALL BY NAME SELECT * FROM ({EVENT_HEADS}) WHERE {here}"
    )
    plan = start_month(
        connection,
        month,
        STATES,
        heads="SELECT * FROM fold_log_heads",
        customers_go_on=current.is_customers,
        log=_LOG,
        kept=current.redacted,
    ).plan
    if is_current:
        plan.leave_out_unchanged()
    yield WHOLE, plan.others()
    plan.leave_out(left_out)
    batches = fold_batches(
        plan,
        _BY_STREAM,
        size=size,
        cuts=cuts,
        resumable=current.months,
        is_partial=is_current,
        snapshot_events=snapshot_events,
        left_out=left_out,
        readers=readers,
        memory_bytes=memory_bytes,
    )
    for rows in batches:
        yield from rows.items()
    yield CUSTOMER_MONTHS.name, connection.sql(projection_query(CUSTOMER_MONTHS.name)).to_arrow_table()


def show_as_of(connection: duckdb.DuckDBPyConnection, month: str, folded: Mapping[str, str]) -> None:
    """Let the monthly states, and so the views of them, end where a fold up to a point ended.

    Args:
        connection: Has views of the monthly states.
        month: The month that was folded.
        folded: What `fold_up_to` gave, by its name there: a relation, as SQL.
    """
    for name, key in STATES.items():
        stored = f"refold_{name}"
        connection.execute(f"ALTER VIEW {name} RENAME TO {stored}")
        query = f"SELECT * FROM {stored} WHERE month < {quote_literal(month)}"
        if key == "aggregate_id":
            whole = f"SELECT aggregate_id FROM {folded[WHOLE]}"
            query += (
                f" UNION ALL SELECT * FROM {stored} WHERE month = {quote_literal(month)} AND aggregate_id IN ({whole})"
            )
        query += f" UNION ALL BY NAME SELECT {_MONTH} AS month, * FROM {folded[name]}"
        connection.execute(f"CREATE VIEW {name} AS {query}")


def _fold_of_lake(
    lake: Lake, connection: duckdb.DuckDBPyConnection, point: Point, month: str
) -> Iterator[tuple[str, pa.Table]]:
    inputs = Inputs(connection, month, load_upcasters(), lake.snapshot_events)
    last = lake.last_commit(CONVERSATION_MONTHS.name, {"month": month})
    current = Current(
        months=current_months(lake, inputs, RESUMED_FROM, [each for each in inputs.months if each < month]),
        is_customers=customers_go_on(lake, inputs, month),
        is_month=is_of_one_log(lake, inputs, month, list(RESUMED_FROM)),
        redacted=find_kept(lake, connection, inputs.months),
    )
    size, cuts = plan_batches(lake, month, list(_BY_STREAM))
    with sharing_threads(connection):
        yield from fold_up_to(
            connection,
            point,
            month,
            current,
            heads=HEADS,
            size=size,
            cuts=cuts,
            snapshot_events=lake.snapshot_events,
            left_out=[] if last is None else list(last.provenance.get("set_aside", {})),
            memory_bytes=lake.memory_bytes,
            readers=limit_readers(lake, connection),
        )


def _write(folder: Path, tables: Iterable[tuple[str, pa.Table]]) -> None:
    """Write the rows of each table to a file named after it; every table of `STATES` has one."""
    schemas = {WHOLE: _IDS}
    for name in STATES:
        schemas[name] = find_dataset(name).data_schema()
    with ExitStack() as opened:
        writers = {
            name: opened.enter_context(pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd"))
            for name, schema in schemas.items()
        }
        for name, rows in tables:
            writers[name].write_table(rows.select(schemas[name].names).cast(schemas[name]))
