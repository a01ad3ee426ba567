"""What the fold gives and the lake's tables of the same names have the same columns."""

from __future__ import annotations

import pyarrow as pa

from pipelines.fold.schemas import LISTS, STANDING, STATE
from pipelines.lake.datasets import CALL_MONTHS, CONVERSATION_MONTHS, SNAPSHOTS


def data_columns(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in schema if field.name != "month"]


def test_states_are_the_rows_of_their_months():
    """Names, types and order."""
    for dataset in (CONVERSATION_MONTHS, CALL_MONTHS):
        assert data_columns(STATE) == data_columns(dataset.arrow_schema())


def test_a_snapshot_is_where_a_stream_stands_what_was_new_and_what_was_folded():
    """Names, types and order."""
    folded = [("lists_since", pa.int32()), ("last_hash", pa.binary())]
    folded += [("redactions_hash", pa.string()), ("code_hash", pa.string())]
    assert data_columns(SNAPSHOTS.arrow_schema()) == [*data_columns(STANDING), *data_columns(LISTS), *folded]
