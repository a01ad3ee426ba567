"""Columns that several datasets share, under one name and description."""

from __future__ import annotations

from pipelines.lake.dataset import Column as C

MONTH = C("month", "VARCHAR", "UTC calendar month, YYYY-MM; the partition.")
STREAM = C("aggregate_id", "VARCHAR", "The stream's id, a UUID as text.")
STREAM_TYPE = C("aggregate_type", "VARCHAR", "What the stream is about: conversation, call, customer, prompt …")
SOURCE = C("source", "VARCHAR", "Where the stream was recorded; null when the writer did not say.")
EXPERIMENT = C("experiment", "VARCHAR", "Name of the experiment; a partition.")
VERSION_ID = C("version_id", "VARCHAR", "Hash of everything that determines the version; a partition.")
TOOL_CALL = 'STRUCT(stream_version INTEGER, call_id VARCHAR, "name" VARCHAR, arguments VARCHAR)'
