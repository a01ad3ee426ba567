"""The pieces of a batch's streams: from one snapshot to the next. A short stream is one piece.

A stream is cut at the first place at or after every multiple of the interval where no message of the agent goes on and no
more calls wait than events are in an interval: a function of its events alone. What is counted of pieces is counted from
the stream's first event on, so that every piece says where its stream stands at its end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.fold.batch import Batch
from pipelines.fold.columns import Bools, Column, Ints, bools, ends, first_rows, firsts, ints, previous, running, take
from pipelines.fold.columns import compute as pc
from pipelines.fold.fold import Folded
from pipelines.fold.messages import goes_on_after
from pipelines.fold.pairing import NOBODY

_TYPES = pa.array(["conversation", "call"])
"""The types of streams that have states."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of a batch, in order; one value per piece.

    Attributes:
        batch: What was cut.
        owners: The piece of each event of the batch.
        streams: Stream.
        lasts: Last event row.
        first: The first piece of the same stream.
        is_complete: Whether it ends where a snapshot is, or where its stream does.
        reached: Of each stream: how many intervals had passed where it could last be cut; -1 before the month.
    """

    batch: Batch
    owners: Ints
    streams: Ints
    lasts: Ints
    first: Ints
    is_complete: Bools
    reached: Ints

    @property
    def is_whole(self) -> bool:
        """Whether every stream is one piece."""
        return len(self.streams) == self.batch.streams

    def count(self, rows: Ints) -> Ints:
        """How many of the events `rows`, in any order, are in the stream up to the piece's end, those brought left out."""
        counts = np.bincount(self.owners[rows], minlength=len(self.streams))
        return counts if self.is_whole else running(counts, self.first)

    def total(self, name: str, counts: Ints) -> Column:
        """What was counted, and what the streams bring along of it."""
        before = self.batch.carry.count(name)
        return pa.array(counts + (before if self.is_whole else before[self.streams]), pa.int32())

    def newest(self, rows: Ints) -> Ints:
        """The last of the events `rows`, which ascend, of the stream up to the piece's end; `NOBODY` for none."""
        found = np.append(rows, NOBODY)[np.searchsorted(rows, self.lasts, side="right") - 1]
        return np.where(found >= self.batch.starts[self.streams], found, NOBODY)

    def carried(self, name: str) -> Column:
        """What the piece's stream brings along."""
        return self.of_streams(self.batch.carry.column(name))

    def of_streams(self, column: Column) -> Column:
        """A column of streams, for every piece."""
        return column if self.is_whole else take(column, self.streams)

    def begins(self) -> Ints:
        """The first piece of each stream."""
        return np.flatnonzero(firsts(self.streams))

    def finals(self) -> Ints:
        """The last piece of each stream."""
        return np.flatnonzero(np.append(firsts(self.streams)[1:], [True] * bool(len(self.streams))))


def whole(batch: Batch) -> Pieces:
    """Every stream in one piece."""
    every = np.arange(batch.streams)
    lasts = ends(batch.starts, len(batch.owners))
    return Pieces(batch, batch.owners, every, lasts, every, np.ones(batch.streams, bool), np.full(batch.streams, -1))


def cut(folded: Folded, every: int) -> Pieces:
    """Cut long streams where snapshots are.

    Args:
        folded: The batch.
        every: Events between two snapshots; a stream with as many is long.
    """
    batch = folded.batch
    versions = ints(batch.column("stream_version"))
    lasts = ends(batch.starts, len(versions))
    if batch.part is None and not keeps_lists(batch, versions[lasts], every).any():
        return whole(batch)
    first = batch.starts[batch.owners]
    in_month = bools(batch.column("is_in_month"))
    can_cut = ~goes_on_after(folded.places, batch.owners)
    can_cut[lasts] = batch.part is not None and not batch.part.is_last
    begins = in_month & (firsts(batch.owners) | ~np.roll(in_month, 1))
    month_follows = np.append(begins[1:], [False])[: len(begins)]
    month_follows[lasts] = batch.part is not None and batch.part.month_follows
    # where the month before ends, whose snapshot other folds go on from, and then at every multiple of the interval
    ends_month = month_follows & ~in_month & can_cut & keeps_lists(batch, versions, every, batch.owners)
    can_cut &= in_month & (_waiting(folded) <= every)
    reached = versions // every
    before = _reached_before(batch, versions, begins, every)
    is_cut = ends_month | (can_cut & (reached > previous(reached, can_cut, first, before[batch.owners])))
    newest = np.where(can_cut, np.arange(len(versions)), NOBODY)
    newest = np.maximum.reduceat(newest, batch.starts) if batch.streams else newest
    starts_piece = firsts(batch.owners)
    starts_piece[1:] |= is_cut[:-1]
    owners: Ints = np.cumsum(starts_piece, dtype=np.int64) - 1
    piece_starts = np.flatnonzero(starts_piece)
    streams = batch.owners[piece_starts]
    is_complete = np.ones(len(streams), bool)
    if batch.part is not None and not batch.part.is_last:
        is_complete[-1] = is_cut[-1]
    return Pieces(
        batch=batch,
        owners=owners,
        streams=streams,
        lasts=ends(piece_starts, len(versions)),
        first=first_rows(streams),
        is_complete=is_complete,
        reached=np.where(newest >= 0, reached[newest], before),
    )


def keeps_lists(batch: Batch, versions: Ints, every: int, streams: Ints | slice = slice(None)) -> Bools:
    """Which snapshots of `streams` have lists: those of long streams, and of streams without states to take them from."""
    has_states: Bools = np.asarray(pc.is_in(batch.types(), value_set=_TYPES), bool)
    return (versions >= every) | ~has_states[streams]


def _reached_before(batch: Batch, versions: Ints, begins: Bools, every: int) -> Ints:
    """Of each stream: how many intervals had passed when the month began, or where the part before could last be cut."""
    if batch.part is not None and batch.part.reached >= 0:
        return np.array([batch.part.reached])
    before = np.full(batch.streams, -1)
    before[batch.owners[begins]] = (versions[begins] - 1) // every
    return before


def _waiting(folded: Folded) -> Ints:
    """How many calls of its stream a result can still answer after each event; a snapshot holds all of them."""
    batch, calls = folded.batch, folded.tool_calls
    change = np.zeros(len(batch.owners), np.int64)
    np.add.at(change, calls.event_rows()[calls.is_new], 1)
    over = calls.over()
    np.add.at(change, over[over != NOBODY], -1)
    brought = np.bincount(calls.owners[~calls.is_new], minlength=batch.streams)
    waiting: Ints = running(change, batch.starts[batch.owners]) + brought[batch.owners]
    return waiting
