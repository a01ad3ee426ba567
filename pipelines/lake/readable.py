"""The view `readable_events`: every event as it may be read, redactions applied, payloads at their latest version.

An event that a redaction names is shown as the table `redacted_events` has it. While that table does not know all of the
event's redactions yet, because a fold is still to come, the payload is withheld: the view never shows what is hidden.
"""

from __future__ import annotations

from pipelines.lake.dataset import Column
from pipelines.lake.datasets import EVENTS
from pipelines.lake.ladder import Ladder

NAME = "readable_events"
GRAIN = "one event as it may be read: redactions applied, payload at the latest version of its type"
_REPLACED = {
    "event_type": "noun.verb.vN; N is the latest version for known types, else as recorded.",
    "event_version": "N of event_type.",
    "payload": "JSON text, lifted to that version, redactions applied; null while a redaction waits for its fold.",
}
SHOWN = """
SELECT
    events.* REPLACE (CASE WHEN named.aggregate_id IS NULL THEN events.payload ELSE named.payload END AS payload)
FROM events
LEFT JOIN (
    SELECT
        applied.aggregate_id, applied.stream_version,
        any_value(hidden.payload) FILTER (WHERE len(hidden.redaction_versions) = applied.redactions) AS payload
    FROM (
        SELECT
            aggregate_id, TRY_CAST(json_extract_string(payload, '$.target.stream_version') AS INTEGER) AS stream_version,
            count(*) AS redactions
        FROM events
        WHERE event_type LIKE 'redaction.applied.v%'
        GROUP BY ALL
    ) AS applied
    LEFT JOIN redacted_events AS hidden
        ON applied.aggregate_id = hidden.aggregate_id AND applied.stream_version = hidden.stream_version
    GROUP BY applied.aggregate_id, applied.stream_version
) AS named
    ON events.aggregate_id = named.aggregate_id AND events.stream_version = named.stream_version
"""
"""Every event as stored, redactions applied."""


def readable_query(ladder: Ladder) -> str:
    """The SELECT of the view."""
    return ladder.readable_query(f"({SHOWN})")


def readable_columns() -> tuple[Column, ...]:
    """Its columns: those of `events`, and the name of the type."""
    columns = [
        Column(column.name, column.type, _REPLACED.get(column.name, column.description), column.is_personal)
        for column in EVENTS.columns
    ]
    named = Column("event_name", "VARCHAR", "noun.verb, without the version; null for a type that is not known.")
    return (*columns, named)
