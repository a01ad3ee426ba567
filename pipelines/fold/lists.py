"""Snapshots of long streams, at the end of every piece: what was said, called and redacted since the one before.

A snapshot's lists begin where those of the one before end, so that together they are the stream's.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.fold.batch import Batch
from pipelines.fold.carry import no_lists
from pipelines.fold.columns import Bools, Column, Ints, bools, ints, lists, nullable, take
from pipelines.fold.fold import Folded
from pipelines.fold.pieces import Pieces, keeps_lists
from pipelines.fold.schemas import LISTS
from pipelines.fold.shapes import STATE_LISTS
from pipelines.fold.snapshots import tool_calls_in
from pipelines.fold.states import joined, redactions, tool_call_fields, transcript

_LINKS: list[tuple[str, pa.DataType]] = [
    ("aggregate_id", pa.string()),
    ("stream_version", pa.int32()),
    ("last_hash", pa.binary()),
    ("redactions_hash", pa.string()),
]
NO_LINKS = pa.table({name: pa.array([], kind) for name, kind in _LINKS})
"""What `sql/folds/steps/links.sql` gives of a batch without a long stream."""


def add_lists(folded: Folded, pieces: Pieces, snapshots: pa.Table, every: int) -> pa.Table:
    """The same rows with `lists_since` and the columns of `STATE_LISTS`; those of short streams have none.

    Args:
        folded: The batch.
        pieces: Its pieces.
        snapshots: One row per piece, as `build_snapshots` gives them.
        every: Events between two snapshots; a stream with as many is long.
    """
    batch = folded.batch
    versions = ints(snapshots["stream_version"])
    is_listed = keeps_lists(batch, versions, every, pieces.streams) | ~pieces.is_complete
    if not is_listed.any():
        return _with_lists(snapshots, no_lists(len(versions)), pa.nulls(len(versions), pa.int32()))
    brought, since_before = unlisted(batch, every)
    since = np.where(pieces.first == np.arange(len(versions)), since_before[pieces.streams], np.roll(versions, 1))
    begins = np.full(len(versions), -1)
    begins[pieces.begins()] = np.arange(batch.streams)
    made = {
        name: joined(take(brought[name], begins), name, new) for name, new in _lists(folded, pieces, is_listed).items()
    }
    rows = pa.table(made)
    if not is_listed.all():
        rows = rows.take(nullable(np.arange(len(versions)), is_listed))
    return _with_lists(snapshots, rows, pa.array(since, pa.int32(), mask=~is_listed))


def shown(pieces: Pieces) -> Ints:
    """The pieces at whose ends the month has a snapshot."""
    in_month = bools(pieces.batch.column("is_in_month"))
    return np.flatnonzero(pieces.is_complete & in_month[pieces.lasts])


def _lists(folded: Folded, pieces: Pieces, is_listed: Bools) -> dict[str, Column]:
    """What was said, called and redacted in each piece, short streams left out; calls that wait are stated in every piece."""
    batch, count = folded.batch, len(pieces.streams)
    which, owners, answers = tool_calls_in(folded.tool_calls, pieces, is_over_in=True)
    is_wanted = is_listed[owners]
    which, owners, answers = which[is_wanted], owners[is_wanted], answers[is_wanted]
    return {
        "transcript": transcript(batch, pieces.owners, count, is_listed[pieces.owners]),
        "tool_calls": lists(owners, count, tool_call_fields(folded.tool_calls, which, answers)),
        "redactions": redactions(batch, pieces.owners, count),
    }


def unlisted(batch: Batch, every: int) -> tuple[pa.Table, Ints]:
    """Of each stream: what it brings along that no snapshot lists; and the version of the newest snapshot that has lists."""
    if batch.part is not None and batch.part.unlisted is not None:
        return batch.part.unlisted, np.array([batch.part.since])
    versions = batch.carry.count("stream_version")
    has_lists = (versions > 0) & keeps_lists(batch, versions, every)
    kept: Column = nullable(np.arange(batch.streams), ~has_lists)
    return batch.carry.lists.take(kept), np.where(has_lists, versions, 0)


def _with_lists(snapshots: pa.Table, rows: pa.Table, since: Column) -> pa.Table:
    for name in STATE_LISTS:
        snapshots = snapshots.append_column(name, rows[name].cast(LISTS.field(name).type))
    return snapshots.append_column("lists_since", since)
