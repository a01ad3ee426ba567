"""What the streams of a batch bring along from before it: where they stand, their counts, their unanswered calls.

Streams that are folded from their first event bring nothing: their rows are null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.fold.columns import Bools, Column, Ints, bools, encode, ints, one_array
from pipelines.fold.columns import compute as pc
from pipelines.fold.messages import CLOSED, ERASED, NEVER, ROLES, Standing
from pipelines.fold.schemas import LISTS, STANDING

_ROLE_NUMBERS = pa.array(ROLES[1:], pa.string())
ERASED_MESSAGE = "?"
"""The key of a message of which all that is there is erased."""


@dataclass(frozen=True, slots=True)
class Carry:
    """What streams bring along.

    Attributes:
        columns: `STANDING` of the snapshots, one row per stream of the batch.
        lists: `transcript`, `tool_calls` and `redactions` of the streams' states, one row per stream of the batch.
    """

    columns: pa.Table
    lists: pa.Table

    @classmethod
    def nothing(cls, streams: int) -> Carry:
        """Of streams that are folded from their first event."""
        return cls(_nulls(STANDING, streams), no_lists(streams))

    @classmethod
    def of(cls, ids: Column, standing: pa.Table, lists: pa.Table | None) -> Carry:
        """Of the streams `ids`, in their order, by rows of some of them.

        Args:
            ids: The streams of a batch.
            standing: `STANDING` of snapshots, in any order.
            lists: Lists of the states there, with `aggregate_id`; None if nobody asks for them.
        """
        nothing = cls.nothing(len(ids))
        columns = _of_ids(standing, ids).select(STANDING.names).cast(STANDING)
        found = nothing.lists if lists is None else _of_ids(lists, ids).select(LISTS.names).cast(LISTS)
        return cls(columns, found)

    def column(self, name: str) -> Column:
        """One value per stream."""
        return one_array(self.columns[name])

    def count(self, name: str) -> Ints:
        """A counter; 0 for streams that bring nothing."""
        return ints(pc.fill_null(self.columns[name], 0))

    def standing(self, messages: Column) -> tuple[Standing, Ints, Ints]:
        """Where the streams stand; the message numbers of `messages`; and those of the waiting calls."""
        keys = [self.columns[name] for name in ("open_message", "said_in", "user_message")]
        (open_message, said_in, user_message), numbers = number_messages(
            keys, [messages, self.waiting().field("message_id")]
        )
        roles = pc.fill_null(pc.index_in(self.columns["last_role"], _ROLE_NUMBERS), NEVER - 1)
        standing = Standing(
            open_message=open_message,
            is_asking=bools(self.column("is_asking")),
            said_in=said_in,
            user_message=user_message,
            last_role=ints(roles) + 1,
            groups=self.count("groups"),
            turns=self.count("turns"),
            inputs=self.count("inputs"),
        )
        return standing, numbers[0], numbers[1]

    def is_open(self) -> Bools:
        """Whose agent's message may go on."""
        return np.asarray(pc.fill_null(pc.not_equal(self.column("open_message"), ""), fill_value=False), bool)

    def waiting(self) -> Column:
        """The unanswered calls of all streams, in order."""
        return one_array(self.columns["waiting"]).flatten()

    def waiting_streams(self) -> Ints:
        """The stream of each of them."""
        lengths = ints(pc.fill_null(pc.list_value_length(self.columns["waiting"]), 0))
        return np.repeat(np.arange(len(lengths)), lengths)


def number_messages(keys: Sequence[Column], ids: Sequence[Column]) -> tuple[list[Ints], list[Ints]]:
    """Number messages alike, those of keys, which say where streams stand, and those of ids; 0 where no id was given."""
    numbers = encode(*(_message_of(key) for key in keys), *ids)
    standing = [_standing_number(key, number) for key, number in zip(keys, numbers, strict=False)]
    return standing, numbers[len(keys) :]


def no_lists(streams: int) -> pa.Table:
    """The lists of streams that bring nothing."""
    return _nulls(LISTS, streams)


def _of_ids(rows: pa.Table, ids: Column) -> pa.Table:
    """The rows of the given ids, nulls where there is none."""
    return rows.take(pc.index_in(ids, one_array(rows["aggregate_id"])))


def _nulls(schema: pa.Schema, rows: int) -> pa.Table:
    return pa.Table.from_arrays([pa.nulls(rows, field.type) for field in schema], schema=schema)


def _message_of(key: Column) -> Column:
    """The message id in a key: `=id`; null for `-` (a message without id), `?`, the empty key and null."""
    return pc.if_else(pc.starts_with(key, "="), pc.utf8_slice_codeunits(key, 1), pa.scalar(None, pa.string()))


def _standing_number(key: Column, number: Ints) -> Ints:
    found = number.copy()
    found[np.asarray(pc.fill_null(pc.equal(key, ""), fill_value=False), bool)] = CLOSED
    found[np.asarray(pc.fill_null(pc.equal(key, ERASED_MESSAGE), fill_value=False), bool)] = ERASED
    found[np.asarray(pc.is_null(key), bool)] = NEVER
    return found
