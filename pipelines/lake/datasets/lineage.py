"""From which columns of the log each column of a fold comes: what may change it.

A column that an event has under the same name is that event's. Everything else is read out of payloads, some of it out of envelopes; what is
of times, places and lengths besides is named here. Of the types of events nothing is said: on them everything depends. A test changes
columns of a log, and sees that nothing else moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pipelines.lake.datasets import EVENTS, find_dataset

_ENVELOPE = ("source", "source_id", "source_ordinal", "subject_id", "message_id", "actor", "subjects")
"""Columns that are read out of an event's envelope."""
_BESIDES: Mapping[str, tuple[str, ...]] = {
    "started_at": ("created_at",),
    "ended_at": ("created_at",),
    "last_at": ("created_at",),
    "first_at": ("created_at",),
    "duration_seconds": ("created_at",),
    "answered_at": ("created_at",),
    "transcript": ("created_at", "stream_version"),
    "tool_calls": ("stream_version",),
    "redactions": ("stream_version",),
    "first_version": ("stream_version",),
    "last_version": ("stream_version",),
    "result_version": ("stream_version",),
    "last_position": ("position",),
    "event_count": ("stream_version",),
    "waiting": ("created_at", "position", "stream_version"),
    "said_in": ("metadata",),
    "open_message": ("metadata",),
    "user_message": ("metadata",),
    "last_hash": ("hash",),
    "redactions_hash": ("hash",),
}
"""What else a column comes from, by its name: times, places and lengths."""

_OTHERS = {"metadata"}
"""Names under which a fold has something else than an event has."""


@cache
def find_lineage(name: str) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """Column of a dataset of months → dataset and column of each that it comes from; empty where it is not known.

    Raises:
        BadInputError: There is no such dataset.
    """
    dataset = find_dataset(name)
    if dataset.layer != "fold" or dataset.is_own:
        return {}
    known = {column.name for column in EVENTS.columns} - _OTHERS
    return {
        column.name: tuple((EVENTS.name, each) for each in _sources(column.name, known)) for column in dataset.columns
    }


def _sources(column: str, known: set[str]) -> tuple[str, ...]:
    if column in known:
        return (column,)
    return ("metadata" if column in _ENVELOPE else "payload", *_BESIDES.get(column, ()))
