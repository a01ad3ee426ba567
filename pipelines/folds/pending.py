"""What is held back of a stream that is folded in parts: rows that a later part can still change, and the lists of its state.

Columns are kept as they were made, in pieces that held rows and the state share; texts are copied once, when the state is
put together, one column after the other.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from pipelines.fold.columns import Bools, Column, Ints, ints, one_array, take
from pipelines.fold.fold import Folded
from pipelines.fold.schemas import LISTS
from pipelines.fold.shapes import STATE_LISTS
from pipelines.fold.states import redactions, transcript
from pipelines.folds.aside import StreamTooLargeError, enough_for
from pipelines.lake.partition import LARGE_SHARE

_MOST_BYTES = 2**31 - 1
"""Bytes of text in one column of a list: Arrow counts them in 32 bits."""


def split_tool_calls(folded: Folded, calls: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Of the relation of a part: the calls that were asked in it, and those of before that were answered in it."""
    is_new: Bools = folded.tool_calls.is_new
    if is_new.all():
        return calls, calls.slice(0, 0)
    return calls.filter(pa.array(is_new)), calls.filter(pa.array(~is_new & (folded.tool_calls.answers >= 0)))


class PendingToolCalls:
    """The rows of tool calls that are not written yet: from the first on that a result can still answer."""

    def __init__(self) -> None:
        self._asked: list[pa.Table] = []
        self._answered: list[pa.Table] = []

    def release(self, asked: pa.Table, answered: pa.Table, first_waiting: int | None) -> pa.Table:
        """Add a part's calls, see `split_tool_calls`, and take off those that are final, in order.

        Args:
            asked: Rows of calls that are not held.
            answered: Rows in the place of earlier ones.
            first_waiting: Version of the first call that waits at the part's end; None for none.
        """
        rows, others = pa.concat_tables([*self._asked, asked]), pa.concat_tables([*self._answered, answered])
        if first_waiting is None:
            self._asked, self._answered = [], []
            return _restated(rows, others)
        count = int(np.searchsorted(ints(rows["stream_version"]), first_waiting))
        is_final = ints(others["stream_version"]) < first_waiting
        # an empty slice would keep what it is cut from
        self._asked = [rows.slice(count)] if count < rows.num_rows else []
        self._answered = [] if is_final.all() else [others.filter(pa.array(~is_final))]
        return _restated(rows.slice(0, count), others.filter(pa.array(is_final)))


class LongLists:
    """The lists of one stream's state.

    Args:
        stream: Whose.
        memory_bytes: Bound on the memory of the process.
    """

    def __init__(self, stream: str, memory_bytes: int) -> None:
        self._stream = stream
        self._memory_bytes = memory_bytes
        self._columns: dict[tuple[str, str], list[Column]] = {}
        self._sizes: Counter[tuple[str, str]] = Counter()
        self._answered: list[pa.Table] = []

    def begin(self, lists: pa.Table) -> None:
        """Begin with what the stream brings along, one row."""
        for name in STATE_LISTS:
            self._add(name, one_array(lists[name]).flatten())

    def add(self, folded: Folded, asked: pa.Table, answered: pa.Table) -> None:
        """Add what was said and redacted in a part, and its calls, see `split_tool_calls`."""
        batch = folded.batch
        self._add("transcript", transcript(batch, batch.owners, 1).values)
        self._add("redactions", redactions(batch, batch.owners, 1).values)
        self._add("tool_calls", asked)
        if answered.num_rows:
            self._answered.append(answered)

    def build(self) -> pa.Table:
        """The lists, in one row; nothing is kept.

        Raises:
            StreamTooLargeError: A column has more text than a list can hold, or than there is memory for.
        """
        if self._is_too_large():
            size = self._sizes.total()
            raise StreamTooLargeError(
                self._stream,
                f"its state holds {size:,} bytes of lists, for which there is no memory",
                self._enough_bytes(),
            )
        built = {}
        for name in STATE_LISTS:
            kind = LISTS.field(name).type
            order = None
            if name == "tool_calls" and self._answered:
                answered = pa.concat_tables(self._answered)
                versions = [*self._columns[name, "stream_version"], *answered["stream_version"].chunks]
                order = _newest(np.concatenate([ints(each) for each in versions]))
            fields = []
            for field in kind.value_type:
                chunks = self._columns.pop((name, field.name))
                if order is not None:
                    chunks += answered[field.name].chunks
                if sum(chunk.nbytes for chunk in chunks) > _MOST_BYTES:
                    raise StreamTooLargeError(
                        self._stream,
                        f"{field.name!r} of its {name} is more than 2 GB of text, which no state can hold; end such a stream and "
                        "begin another",
                    )
                values = pa.concat_arrays([chunk.cast(field.type) for chunk in chunks])
                fields.append(values if order is None else take(values, order))
            rows = pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
            built[name] = pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows, type=kind)
        return pa.table(built)

    def _enough_bytes(self) -> int:
        return enough_for(self._sizes.total(), max(self._sizes.values(), default=0))

    def _is_too_large(self) -> bool:
        """Whether the lists cannot be put together and written within the memory bound; never if they are a small share of it."""
        longest = max(self._sizes.values(), default=0)
        return longest > LARGE_SHARE * self._memory_bytes and self._enough_bytes() > self._memory_bytes

    def _add(self, name: str, rows: pa.Table | Column) -> None:
        for field in LISTS.field(name).type.value_type:
            column = rows[field.name].chunks if isinstance(rows, pa.Table) else [rows.field(field.name)]
            self._columns.setdefault((name, field.name), []).extend(column)
            self._sizes[name, field.name] += sum(chunk.nbytes for chunk in column)
        if self._is_too_large():  # what is more is only counted, so that the bound that would do can be told
            self._columns.clear()


def _restated(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows, `others` in the place of those of the same version."""
    if not others.num_rows:
        return rows
    both = pa.concat_tables([rows, others])
    for place, field in enumerate(both.schema):
        # each part has its own, and pyarrow 26 refuses to put those with nulls together (apache/arrow#8984 left them out)
        if pa.types.is_dictionary(field.type):
            both = both.set_column(place, field.name, both[field.name].cast(field.type.value_type))
    return both.take(_newest(ints(both["stream_version"])))


def _newest(versions: Ints) -> Ints:
    """Rows in the order of their versions, of those of the same version the last."""
    order = np.argsort(versions, kind="stable")
    is_last = np.append(np.diff(versions[order]) != 0, [True] * bool(len(order)))
    newest: Ints = order[is_last]
    return newest
