"""The view `readable_events`: its columns, and what they mean; what it shows is `pipelines.log.readable`'s matter."""

from __future__ import annotations

from pipelines.lake.dataset import Column
from pipelines.lake.datasets import EVENTS, REDACTED_EVENTS

NAME = "readable_events"
IS_ERASED = Column("is_erased", "BOOLEAN", "Whether its payload and metadata are gone: both are {}, then.")
GRAIN = "one event as it may be read: redactions applied, payload at the latest version of its type"
READS = (EVENTS.name, REDACTED_EVENTS.name)
_REPLACED = {
    "event_type": "noun.verb.vN; N is the latest version for known types, else as recorded.",
    "event_version": "N of event_type.",
    "payload": "JSON text, lifted to that version, redactions applied; null while a redaction waits for its fold.",
}


def readable_columns() -> tuple[Column, ...]:
    """Its columns: those of `events`, and the name of the type."""
    columns = [
        Column(column.name, column.type, _REPLACED.get(column.name, column.description), column.is_personal)
        for column in EVENTS.columns
    ]
    named = Column("event_name", "VARCHAR", "noun.verb, without the version; null for a type that is not known.")
    return (*columns, named, IS_ERASED)
