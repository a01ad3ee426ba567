"""Where long streams stand within a month: a snapshot after every so many events, and what was said between two of them.

A stream is cut at the first place at or after every multiple of the interval where no message of the agent goes on and no
more calls wait than events are in an interval: a function of its events alone. The pieces are folded one after the other, those of all streams of the batch together,
by what folds months: a piece goes on from the snapshot of the piece before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipelines.folds.batch import Batch, make_batch
from pipelines.folds.before import STANDING, Before, lists_schema, no_lists
from pipelines.folds.columns import Bools, Column, Ints, bools, ends, firsts, ints, previous, running
from pipelines.folds.columns import compute as pc
from pipelines.folds.pairing import NOBODY
from pipelines.folds.places import AGENT, MODEL_CALL, START
from pipelines.folds.relations import Folded, build
from pipelines.folds.snapshots import build_snapshots
from pipelines.folds.states import build_states
from pipelines.lake.datasets.folds import STATE_LISTS

_TYPES = pa.array(["conversation", "call"])
"""The types of streams that have states."""

_LINKS: list[tuple[str, pa.DataType]] = [
    ("aggregate_id", pa.string()),
    ("stream_version", pa.int32()),
    ("last_hash", pa.binary()),
    ("redactions_hash", pa.string()),
]
NO_LINKS = pa.table({name: pa.array([], kind) for name, kind in _LINKS})
"""What `sql/folds/steps/links.sql` gives of a batch without a long stream."""


def add_long(folded: Folded, snapshots: pa.Table, every: int) -> pa.Table:
    """The batch's snapshots, in order, with those within the month, and lists in all that belong to long streams.

    Args:
        folded: The batch.
        snapshots: One row per stream, as `build_snapshots` gives them, without the columns of `STATE_LISTS`.
        every: Events between two snapshots; a stream with as many is long.
    """
    batch = folded.batch
    versions = ints(batch.column("stream_version"))
    newest = ends(batch.starts, len(versions))
    is_long = _keeps_lists(batch, versions[newest], every)
    short = np.flatnonzero(~is_long)
    rows, streams = [_with_lists(snapshots, no_lists(batch.streams), pa.nulls(batch.streams)).take(short)], [short]
    for piece, made in _fold_pieces(batch, _pieces(folded, versions, every), is_long, every):
        rows.append(made)
        streams.append(piece)
    if len(rows) == 1:
        return rows[0]
    together = pa.concat_tables(rows)
    return together.take(np.lexsort((ints(together["stream_version"]), np.concatenate(streams))))


def _pieces(folded: Folded, versions: Ints, every: int) -> Ints:
    """The piece of its stream, from 0, that each event belongs to; an event after which a stream is cut ends its piece."""
    batch = folded.batch
    first = batch.starts[batch.owners]
    in_month = bools(batch.column("is_in_month"))
    can_cut = ~_message_goes_on(folded)
    can_cut[ends(batch.starts, len(versions))] = False
    begins = in_month & (firsts(batch.owners) | ~np.roll(in_month, 1))
    before_month = np.zeros(batch.streams, np.int64)
    before_month[batch.owners[begins]] = versions[begins] - 1
    # where the month before ends, whose snapshot other folds go on from, and then at every multiple of the interval
    ends_month = (
        np.append(begins[1:], False)[: len(begins)]
        & ~in_month
        & can_cut
        & _keeps_lists(batch, versions, every, batch.owners)
    )
    can_cut &= in_month & (_waiting(folded) <= every)
    reached = versions // every
    reached_before = previous(reached, can_cut, first, (before_month // every)[batch.owners])
    is_cut = ends_month | (can_cut & (reached > reached_before))
    pieces: Ints = running(is_cut, first) - is_cut
    return pieces


def _message_goes_on(folded: Folded) -> Bools:
    """After which events the next one that has a place, other than a start, goes on with a message of the agent."""
    batch, places = folded.batch, folded.places
    placed = np.flatnonzero(places.roles != START)
    goes_on = (np.isin(places.roles, (AGENT, MODEL_CALL)) & ~places.is_group_start)[placed]
    following = np.searchsorted(places.rows[placed], np.arange(len(batch.owners)), side="right")
    owners = np.append(places.streams[placed], -1)[following]
    found: Bools = np.append(goes_on, False)[following] & (owners == batch.owners)
    return found


def _waiting(folded: Folded) -> Ints:
    """How many calls of its stream a result can still answer after each event; a snapshot holds all of them."""
    batch, calls = folded.batch, folded.calls
    change = np.zeros(len(batch.owners), np.int64)
    carried = len(batch.before.waiting())
    np.add.at(change, calls.rows[calls.is_new] - carried, 1)
    over = np.where(calls.answers == NOBODY, calls.hidden_by, calls.answers)
    both = (calls.answers != NOBODY) & (calls.hidden_by != NOBODY)
    over[both] = np.minimum(calls.answers, calls.hidden_by)[both]
    np.add.at(change, over[over != NOBODY], -1)
    brought = np.bincount(calls.owners[~calls.is_new], minlength=batch.streams)
    waiting: Ints = running(change, batch.starts[batch.owners]) + brought[batch.owners]
    return waiting


def _fold_pieces(batch: Batch, pieces: Ints, is_long: Bools, every: int) -> Iterator[tuple[Ints, pa.Table]]:
    """Fold the first pieces of all long streams, then the second ones, and so on: (streams, their snapshots in the month)."""
    rows = np.flatnonzero(is_long[batch.owners])
    rows = rows[np.argsort(pieces[rows], kind="stable")]
    bounds = np.searchsorted(pieces[rows], np.arange(pieces[rows[-1]] + 2)) if len(rows) else np.zeros(1, np.int64)
    in_month = bools(batch.column("is_in_month"))
    streams: Ints = np.empty(0, np.int64)
    made: pa.Table | None = None
    for low, high in pairwise(bounds):
        here = rows[low:high]
        before_streams, streams = streams, np.unique(batch.owners[here])
        if made is None:
            before, since = _at_first(batch, streams, every)
        else:
            columns = made.take(np.searchsorted(before_streams, streams)).select(list(STANDING))
            before = Before(columns.cast(batch.before.columns.schema), no_lists(len(streams)))
            since = before.column("stream_version")
        piece = build(replace(make_batch(batch.events.take(here), 0), before=before))
        states = build_states(piece)
        made = _with_lists(build_snapshots(piece, states), states, since)
        is_shown = in_month[here[ends(piece.batch.starts, len(here))]]
        yield streams[is_shown], made.take(np.flatnonzero(is_shown))


def _keeps_lists(batch: Batch, versions: Ints, every: int, owners: Ints | slice = slice(None)) -> Bools:
    """Which snapshots have lists: those of long streams, and of streams that have no states from which to take them."""
    has_states: Bools = np.asarray(pc.is_in(batch.types(), value_set=_TYPES), bool)
    return (versions >= every) | ~has_states[owners]


def _at_first(batch: Batch, streams: Ints, every: int) -> tuple[Before, Column]:
    """What the first pieces bring along, lists only as long as no snapshot has them; and the version of that snapshot."""
    columns = batch.before.columns.take(streams)
    lists = batch.before.lists.take(streams)
    versions = ints(pc.fill_null(columns["stream_version"], 0))
    has_lists = (versions > 0) & _keeps_lists(batch, versions, every, streams)
    kept: Column = pa.array(np.arange(len(streams)), mask=has_lists)
    return Before(columns, lists.take(kept)), pa.array(np.where(has_lists, versions, 0), pa.int32())


def _with_lists(snapshots: pa.Table, lists: pa.Table, since: Column) -> pa.Table:
    for name in STATE_LISTS:
        snapshots = snapshots.append_column(name, lists[name].cast(lists_schema().field(name).type))
    return snapshots.append_column("lists_since", since.cast(pa.int32()))
