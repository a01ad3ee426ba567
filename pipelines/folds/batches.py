"""The batches of a month, in the order of their streams' ids: what is read, and what its streams bring along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from pipelines.duck import create_table
from pipelines.fold.batch import Batch, make_batch
from pipelines.fold.columns import take
from pipelines.fold.fold import place
from pipelines.fold.messages import continuing
from pipelines.folds.parts import LongStream
from pipelines.folds.plan import LAST_VERSION, Plan, RangeSize, Span
from pipelines.folds.reading import Reader
from pipelines.folds.resume import bring
from pipelines.lake.memory import give_back


class Batches:
    """Makes batches of what a reader reads.

    Args:
        plan: Of the month; what its streams go on from is planned, too.
        reader: Reads the month.
        size: Of a batch.
        resumes: Whether any stream goes on from a snapshot.
        with_lists: Whether states or snapshots are made of the batches.
        memory_bytes: Bound on the memory of the process.
    """

    def __init__(
        self,
        plan: Plan,
        reader: Reader,
        *,
        size: RangeSize,
        resumes: bool,
        with_lists: bool,
        memory_bytes: int,
    ) -> None:
        self._plan = plan
        self._connection = plan.connection
        self._reader = reader
        self._size = size
        self._resumes = resumes
        self._with_lists = with_lists
        self._memory_bytes = memory_bytes
        self._is_behind = plan.is_behind()

    def read(self, spans: Iterable[Span]) -> Iterator[tuple[Span, Batch, LongStream | None]]:
        """The batches of all ranges; and the stream that a batch is a part of, which must `carry` it on."""
        first_no, long = 1, None
        for span, events in self._reader.months(spans):
            if span.stream is None:
                batch = self._whole(span, events, first_no)
                first_no += batch.streams
                del events  # the batch may have them in another order, or in one piece
                yield span, batch, None
                if self._reader.reads_large:
                    del batch
                    give_back(self._connection)
                continue
            long = long or LongStream(
                self._plan,
                self._reader,
                span,
                first_no=first_no,
                size=self._size,
                with_lists=self._with_lists,
                memory_bytes=self._memory_bytes,
            )
            for part in long.parts(span, events):
                yield span, part, long
                give_back(self._connection)
            if span.until == LAST_VERSION:
                first_no, long = first_no + 1, None

    def _whole(self, span: Span, events: pa.Table, first_no: int) -> Batch:
        """A batch of whole streams."""
        if self._is_behind:
            events = pa.concat_tables([events, self._reader.history(span, "SELECT aggregate_id FROM fold_behind")])
        batch = make_batch(events, first_no)
        if not self._resumes:
            return batch
        brought = bring(self._plan, span, with_lists=self._with_lists)
        batch = batch.going_on_from(brought.align)
        again = continuing(place(batch)[0])
        if not len(again):
            return batch
        # their open message began before: they are folded from their first event
        ids = take(batch.ids(), again)
        create_table(self._connection, "fold_continuing", pa.table({"aggregate_id": ids}))
        history = self._reader.history(span, "SELECT aggregate_id FROM fold_continuing")
        batch = make_batch(pa.concat_tables([batch.events, history]), first_no)
        return batch.going_on_from(brought.without(ids).align)
