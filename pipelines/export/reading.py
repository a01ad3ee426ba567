"""Read events of the store as Arrow, at one snapshot that several readers share.

Rows travel by binary COPY (ADBC) as the server holds them: ids as 16 bytes, jsonb as its text, transaction ids as 8
bytes. Casts on the server would cost more than everything that is done to the rows here. ADBC's COPY binds no
parameters: the queries are built of numbers and times that are computed here, never of a user's text.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import numpy as np
import pyarrow as pa

from pipelines.duck import is_out_of_memory
from pipelines.export.arrays import integers
from pipelines.store import StoreUnavailable
from pipelines.store.session import ARROW_OPTIONS, session_query

_COLUMNS = (
    "aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata, created_at, epoch, xid, "
    "position, hash, salt, digest"
)
_FIELDS: list[tuple[str, pa.DataType]] = [
    ("aggregate_id", pa.binary(16)),
    ("aggregate_type", pa.string()),
    ("stream_version", pa.int32()),
    ("event_type", pa.string()),
    ("event_version", pa.int32()),
    ("payload", pa.string()),
    ("metadata", pa.string()),
    ("created_at", pa.timestamp("us", tz="UTC")),
    ("epoch", pa.int32()),
    ("xid", pa.int64()),
    ("position", pa.int64()),
    ("hash", pa.binary()),
    ("salt", pa.binary()),
    ("digest", pa.binary()),
]
SCHEMA = pa.schema(_FIELDS)
"""An event between the store and its file."""
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BATCH_BYTES = adbc_driver_postgresql.StatementOptions.BATCH_SIZE_HINT_BYTES.value


class SnapshotReader:
    """One connection that sees an exported snapshot."""

    def __init__(self, dsn: str, token: str) -> None:
        with _told_as_store_errors():
            self._database = adbc_driver_postgresql.connect(dsn, ARROW_OPTIONS)
            self._connection = adbc.AdbcConnection(self._database)
            for command in (session_query(), _BEGIN, f"SET TRANSACTION SNAPSHOT '{token}'"):
                with adbc.AdbcStatement(self._connection) as statement:
                    statement.set_sql_query(command)
                    statement.execute_update()

    def read_events(self, where: str, batch_bytes: int) -> Generator[pa.RecordBatch, None, None]:
        """The events that meet a condition, in batches of about `batch_bytes`, in `SCHEMA`, in no order; to be closed.

        Raises:
            StoreUnavailable: The server went away, or would not answer.
        """
        with _told_as_store_errors(), adbc.AdbcStatement(self._connection) as statement:
            statement.set_options(**{_BATCH_BYTES: str(batch_bytes)})
            statement.set_sql_query(f"SELECT {_COLUMNS} FROM refold.events WHERE {where}")
            handle, _rows = statement.execute_query()
            with pa.RecordBatchReader.from_stream(handle) as batches:
                for batch in batches:
                    yield _plain(batch)

    @contextmanager
    def query(self, query: str) -> Iterator[pa.RecordBatchReader]:
        """The result of a query, as a stream.

        Raises:
            StoreUnavailable: The server would not answer.
        """
        with _told_as_store_errors(), adbc.AdbcStatement(self._connection) as statement:
            statement.set_sql_query(query)
            handle, _rows = statement.execute_query()
            with pa.RecordBatchReader.from_stream(handle) as batches:
                yield batches

    def close(self) -> None:
        """Leave; the transaction ends."""
        self._connection.close()
        self._database.close()


@contextmanager
def _told_as_store_errors() -> Iterator[None]:
    try:
        yield
    except (adbc.Error, pa.ArrowException, OSError) as error:
        if is_out_of_memory(error):
            raise
        raise StoreUnavailable(
            f"the store could not be read to its end, and the lake was left as it is: {error}"
        ) from error


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in `SCHEMA`: extension types as what they are stored as, transaction ids as numbers."""
    columns: list[pa.Array[Any]] = []
    for field, column in zip(SCHEMA, batch.columns, strict=True):
        stored = column.storage if isinstance(column, pa.ExtensionArray) else column
        columns.append(_from_big_endian(stored) if field.name == "xid" else stored)
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _from_big_endian(column: pa.Array[Any]) -> pa.Array[Any]:
    """Numbers from binary values of 8 bytes each, as PostgreSQL sends an xid8; the array is whole and has no null."""
    data: Any = column.buffers()[2]
    return integers(np.frombuffer(data, dtype=">i8", count=len(column)).astype(np.int64))
