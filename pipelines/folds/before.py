"""What the streams of a batch bring along from before it: where they stand, their counts, their unanswered calls.

Streams that are folded from their first event bring nothing: their rows are null.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from pipelines.folds.columns import Column, Ints, encode, ints, one_array
from pipelines.folds.columns import compute as pc
from pipelines.folds.places import CLOSED, NEVER, ROLES, Standing
from pipelines.lake.datasets.folds import SNAPSHOTS, STATE_LISTS

_ROLE_NUMBERS = pa.array(ROLES[1:], pa.string())


STANDING = tuple(
    column.name
    for column in SNAPSHOTS.data_columns
    if column.name not in (*STATE_LISTS, "lists_since", "last_hash", "redactions_hash", "code_hash")
)
"""The columns of a snapshot that say where a stream stands; the others say what was new, and what was folded."""


@cache
def _schema() -> pa.Schema:
    return pa.schema([SNAPSHOTS.arrow_schema().field(name) for name in STANDING])


@dataclass(frozen=True, slots=True)
class Before:
    """What streams bring along.

    Attributes:
        columns: `STANDING` of the snapshots, one row per stream of the batch.
        lists: `transcript`, `tool_calls` and `redactions` of the streams' states, one row per stream of the batch.
    """

    columns: pa.Table
    lists: pa.Table

    @classmethod
    def nothing(cls, streams: int) -> Before:
        """Of streams that are folded from their first event."""
        columns = [pa.nulls(streams, field.type) for field in _schema()]
        return cls(pa.Table.from_arrays(columns, schema=_schema()), no_lists(streams))

    def column(self, name: str) -> Column:
        """One value per stream."""
        return one_array(self.columns[name])

    def count(self, name: str) -> Ints:
        """A counter; 0 for streams that bring nothing."""
        return ints(pc.fill_null(self.columns[name], 0))

    def standing(self, messages: Column) -> tuple[Standing, Ints, Ints]:
        """Where the streams stand; the message numbers of `messages`; and those of the waiting calls."""
        keys = [self.columns[name] for name in ("open_message", "said_in", "user_message")]
        asked = self.waiting().field("message_id")
        numbers = encode(*(_message_of(key) for key in keys), messages, asked)
        open_message, said_in, user_message = (
            _standing_number(key, number) for key, number in zip(keys, numbers[:3], strict=True)
        )
        roles = pc.fill_null(pc.index_in(self.columns["last_role"], _ROLE_NUMBERS), NEVER - 1)
        standing = Standing(
            open_message=open_message,
            said_in=said_in,
            user_message=user_message,
            last_role=ints(roles) + 1,
            groups=self.count("groups"),
            turns=self.count("turns"),
            inputs=self.count("inputs"),
        )
        return standing, numbers[3], numbers[4]

    def waiting(self) -> Column:
        """The unanswered calls of all streams, in order."""
        return one_array(self.columns["waiting"]).flatten()

    def waiting_streams(self) -> Ints:
        """The stream of each of them."""
        lengths = ints(pc.fill_null(pc.list_value_length(self.columns["waiting"]), 0))
        return np.repeat(np.arange(len(lengths)), lengths)


def no_lists(streams: int) -> pa.Table:
    """The lists of streams that bring nothing."""
    schema = pa.schema([(name, lists_schema().field(name).type) for name in STATE_LISTS])
    return pa.Table.from_arrays([pa.nulls(streams, field.type) for field in schema], schema=schema)


def lists_schema() -> pa.Schema:
    """The schema of states, which holds their lists."""
    from pipelines.lake.datasets.folds import CONVERSATION_MONTHS  # noqa: PLC0415

    return CONVERSATION_MONTHS.arrow_schema()


def _message_of(key: Column) -> Column:
    """The message id in a key: `=id`; null for `-` (a message without id), the empty key and null."""
    return pc.if_else(pc.starts_with(key, "="), pc.utf8_slice_codeunits(key, 1), pa.scalar(None, pa.string()))


def _standing_number(key: Column, number: Ints) -> Ints:
    found = number.copy()
    found[np.asarray(pc.fill_null(pc.equal(key, ""), fill_value=False), bool)] = CLOSED
    found[np.asarray(pc.is_null(key), bool)] = NEVER
    return found
