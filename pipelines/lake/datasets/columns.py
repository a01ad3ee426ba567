"""Columns that several datasets share, under one name and description."""

from __future__ import annotations

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
