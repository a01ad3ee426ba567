"""What redactions leave of the events that they name."""

from __future__ import annotations

from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets.columns import MONTH, STREAM

REDACTED_EVENTS = Dataset(
    name="redacted_events",
    grain="one event of which redactions hide a part",
    key=("aggregate_id", "stream_version"),
    partition_by=("month",),
    sort_by=("aggregate_id", "stream_version"),
    layer="fold",
    columns=(
        MONTH,
        STREAM,
        Column("stream_version", "INTEGER", "The event's place in the stream."),
        Column("payload", "VARCHAR", "JSON text of the payload as recorded, without what is hidden.", is_personal=True),
        Column("redaction_versions", "INTEGER[]", "Places of the redactions in the stream, ascending."),
    ),
)
