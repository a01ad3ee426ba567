"""Columns that several datasets share, under one name and description."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa

from pipelines.lake.dataset import Column

_TYPES: dict[pa.DataType, str] = {
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}

MONTH = Column("month", "VARCHAR", "UTC calendar month, YYYY-MM; the partition.")
STREAM = Column("aggregate_id", "VARCHAR", "The stream's id, a UUID as text.")
STREAM_TYPE = Column("aggregate_type", "VARCHAR", "What the stream is about: conversation, call, customer, prompt …")
SOURCE = Column("source", "VARCHAR", "Where the stream was recorded; null when the writer did not say.")
EXPERIMENT = Column("experiment", "VARCHAR", "Name of the experiment; a partition.")
VERSION_ID = Column("version_id", "VARCHAR", "Hash of everything that determines the version; a partition.")
ARGUMENTS = "arguments VARCHAR, recorded VARCHAR, is_invalid_json BOOLEAN"
"""Fields of a tool call: JSON text of the arguments' value; the recorded text where it is another, else null; whether that is a
string that holds no JSON, so that the value is the string."""
TOOL_CALL = f'STRUCT(stream_version INTEGER, call_id VARCHAR, "name" VARCHAR, {ARGUMENTS})'


def columns_of(schema: pa.Schema, texts: Mapping[str, str], personal: Collection[str]) -> tuple[Column, ...]:
    """The columns of what the fold gives, described.

    Args:
        schema: The fold's own.
        texts: What each column means.
        personal: Those that can hold text or values of a person.
    """
    return tuple(Column(each.name, type_of(each.type), texts[each.name], each.name in personal) for each in schema)


def type_of(kind: pa.DataType) -> str:
    """The type of DuckDB whose values come as an Arrow type."""
    if isinstance(kind, pa.ListType):
        return f"{type_of(kind.value_type)}[]"
    if isinstance(kind, pa.StructType):
        return f"STRUCT({', '.join(f'{each.name} {type_of(each.type)}' for each in kind)})"
    if isinstance(kind, pa.Decimal128Type):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    return _TYPES[kind]
