"""Which conversations a person's own SQL means: `where`, as an experiment has it and as `refold lines` takes it.

It runs in the locked child on a copy of what it may speak of: every conversation and call, without their lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.lake.locked import locked_session
from pipelines.sqlfiles import read_sql

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.lake.lake import Lake


def matching_streams(lake: Lake, where: str) -> list[str]:
    """Ids of the streams that `where`, a condition over the columns of `conversations`, holds for.

    Raises:
        BadInputError: It is not one expression, or fails; values are not told.
        StoppedError: It took too long or too much.
    """
    query = read_sql("diffs/selectable_streams.sql")
    with lake.connect(query) as connection:
        found = select_streams(lake, connection.sql(query).to_arrow_table(), where)
    return [str(each) for each in found["aggregate_id"].to_pylist()]


def select_streams(lake: Lake, rows: pa.Table, where: str) -> pa.Table:
    """Likewise, of the rows of `selectable_streams` that are given: a table of `aggregate_id`."""
    memory_bytes = lake.memory_bytes // 2
    with locked_session({"conversations": rows}, memory_bytes=memory_bytes, seconds=lake.sql_seconds) as locked:
        query = f"SELECT aggregate_id FROM conversations WHERE (\n{where}\n)"
        return locked.select(query, "where", where, rows.num_rows)
