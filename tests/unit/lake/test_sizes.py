"""How large rows are, and the ranges that they are cut into."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.lake.sizes import SAID_BYTES, cut_ranges

ITEMS = "SELECT unnest($ids) AS id, unnest($rows) AS rows, unnest($bytes) AS bytes"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 10**12)), max_size=30),
    st.integers(1, 60),
    st.integers(1, 10**12),
    st.integers(1, 60),
)
def test_ranges_hold_every_item_once_and_less_than_one_item_too_much(
    sizes: list[tuple[int, int]], rows: int, size: int, first_rows: int
) -> None:
    """Without its last item, a range has neither more rows nor more bytes than one may have; the first has fewer, if asked."""
    ids = [f"{number:02}" for number in range(len(sizes))]
    given_items = {"ids": ids, "rows": [each[0] for each in sizes], "bytes": [each[1] for each in sizes]}
    with duckdb.connect() as connection:
        ranges = cut_ranges(connection, ITEMS, given_items, rows=rows, size=size, first_rows=min(first_rows, rows))
    held = [range(int(each.first), int(each.last) + 1) for each in ranges]
    assert [number for each in held for number in each] == list(range(len(sizes)))
    for place, (each, numbers) in enumerate(zip(ranges, held, strict=True)):
        assert each.rows == sum(sizes[number][0] for number in numbers)
        whole = list(numbers)[:-1]
        assert sum(sizes[number][0] for number in whole) <= (min(first_rows, rows) if place == 0 else rows)
        assert sum(sizes[number][1] for number in whole) <= size + len(whole) * size / rows


@pytest.mark.parametrize(
    ("text", "arguments", "size"),
    [("four", [], 4), (None, ["{}", '{"a":"ü"}'], 12), ("é", None, 2), ("a", ["{}"], 3), (None, None, 0)],
)
def test_what_a_row_says_is_counted_without_a_text_and_without_calls(
    text: str | None, arguments: list[str] | None, size: int
) -> None:
    """In bytes, not characters."""
    row: dict[str, Any] = {"text": text, "arguments": arguments}
    query = """
        SELECT $text::VARCHAR AS text, list_transform($arguments::VARCHAR[], LAMBDA a: {'arguments': a}) AS tool_calls
    """
    assert duckdb.sql(f"SELECT {SAID_BYTES} FROM ({query})", params=row).fetchall() == [(size,)]
