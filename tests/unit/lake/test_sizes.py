"""How large rows are, and the ranges that they are cut into."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.lake.sizes import SAID_BYTES, cut_at_large, cut_ranges, most_bytes

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


@given(
    st.lists(st.sampled_from([0, 1, 30, 90, 200]), max_size=40), st.integers(40, 250), st.integers(20, 60) | st.none()
)
def test_large_rows_are_cut_out(sizes: list[int], size: int, mean: int | None) -> None:
    """The pieces are the table, in order; one that is large is a row, and none of the others has too many bytes."""
    rows = pa.table({"text": ["x" * each for each in sizes]})
    parts = list(cut_at_large(rows, size, mean))
    assert [text for part, _ in parts for text in part["text"].to_pylist()] == rows["text"].to_pylist()
    for part, is_large in parts:
        fits = part.nbytes <= min(size, size if mean is None else mean * part.num_rows)
        assert fits != is_large
        assert part.num_rows == 1 or not is_large


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 3_000)), min_size=1, max_size=8),
    rows=st.integers(1, 100),
)
def test_the_most_that_neighbouring_rows_hold(
    groups: list[tuple[int, int]], rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever the stretch begins: no other of so many rows holds more, as groups tell it; short files are taken to go on."""
    path = tmp_path_factory.mktemp("files") / "events.parquet"
    sizes = [size for count, size in groups for _ in range(count)]
    with pq.ParquetWriter(
        path, pa.schema([("payload", pa.string())]), use_dictionary=False, write_statistics=False
    ) as writer:
        for count, size in groups:
            writer.write_table(pa.table({"payload": ["x" * size] * count}))
    stretches = [sum(sizes[start : start + rows]) for start in range(max(len(sizes) - rows, 0) + 1)]
    times = max(rows / len(sizes), 1)
    found = most_bytes([str(path)], ("payload",), rows)
    # pages and lengths have bytes of their own
    assert max(stretches) * times <= found <= (max(stretches) + 200 * (len(groups) + rows)) * times
