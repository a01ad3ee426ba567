"""Columns that several datasets share, under one name and description."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pipelines.fold.shapes import Shape
from pipelines.lake.dataset import Column

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


def columns_of(shapes: Mapping[str, Shape], texts: Mapping[str, str], personal: Collection[str]) -> tuple[Column, ...]:
    """The columns of what the fold gives, described.

    Args:
        shapes: The fold's own, by name.
        texts: What each column means.
        personal: Those that can hold text or values of a person.
    """
    return tuple(Column(name, type_of(shape), texts[name], name in personal) for name, shape in shapes.items())


def type_of(shape: Shape) -> str:
    """A shape as DuckDB's type."""
    if isinstance(shape, list):
        return f"{type_of(shape[0])}[]"
    if isinstance(shape, dict):
        return f"STRUCT({', '.join(f'{name} {type_of(each)}' for name, each in shape.items())})"
    return shape
