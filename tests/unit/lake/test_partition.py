"""A partition's writer: what files its rows become, whatever their sizes and however they come, and what is left after an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.duck import scratch
from pipelines.lake import partition
from pipelines.lake.datasets import UTTERANCES
from pipelines.lake.lake import Lake
from pipelines.lake.partition import PartitionWriter

MONTH = {"month": "2026-01"}
MEMORY = 10**6
"""So that a row group has some 10,000 bytes, and a row of more than 30,000 a file of its own."""


def utterances(sizes: list[int], first: int = 1) -> pa.Table:
    """One utterance per size of its text, numbered from `first`, with the least of the other columns."""
    given_columns = {
        "aggregate_id": pa.array(["s"] * len(sizes), pa.string()),
        "stream_version": pa.array(range(first, first + len(sizes)), pa.int32()),
        "text": pa.array(["é" * (size // 2) for size in sizes], pa.string()),
    }
    columns = [given_columns.get(f.name, pa.nulls(len(sizes), f.type)) for f in UTTERANCES.data_schema()]
    return pa.Table.from_arrays(columns, schema=UTTERANCES.data_schema())


def by_rows(writer: PartitionWriter, rows: list[pa.Table]) -> None:
    for each in rows:
        writer.write(each)


def by_queries(writer: PartitionWriter, rows: list[pa.Table]) -> None:
    with scratch() as connection:
        for each in rows:
            connection.register("given", each)
            writer.write_query(connection, "SELECT * FROM given")
            connection.unregister("given")


@pytest.mark.parametrize("write", [by_rows, by_queries])
@settings(max_examples=30, deadline=None)
@given(batches=st.lists(st.lists(st.sampled_from([0, 100, 9_000, 50_000, 120_000]), max_size=12), max_size=4))
def test_row_groups_have_bounded_bytes_and_large_rows_files_of_their_own(
    write: Callable[[PartitionWriter, list[pa.Table]], None],
    batches: list[list[int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """All rows are there in their order; no group waits for more bytes than it may have; statistics are those of the rows."""
    lake = Lake(tmp_path_factory.mktemp("lake"), memory_bytes=MEMORY)
    given_rows, number = [], 1
    for sizes in batches:
        given_rows.append(utterances(sizes, number))
        number += len(sizes)
    with lake.replacing(UTTERANCES, MONTH) as writer:
        write(writer, given_rows)
        commit = writer.commit(input_hash="h")
    texts = [text for rows in given_rows for text in rows["text"].to_pylist()]
    found: list[tuple[int, str]] = []
    for path, file in zip(lake.files("utterances", MONTH), commit.files, strict=True):
        rows = pq.read_table(path, columns=["stream_version", "text"])
        held = list(zip(*rows.to_pydict().values(), strict=True))
        found += held
        stats = json.loads(file.stats)
        low, high = stats["minValues"]["stream_version"], stats["maxValues"]["stream_version"]
        assert (low, high, stats["numRecords"]) == (held[0][0], held[-1][0], len(held) == file.row_count and len(held))
        contents = pq.read_metadata(path)
        if max(len(text.encode()) for _, text in held) > partition.LARGE_SHARE * MEMORY:
            assert min(len(text.encode()) for _, text in held) > partition.LARGE_SHARE * MEMORY
            assert contents.num_row_groups == len(held)
            assert not any(contents.row_group(0).column(n).has_dictionary_page for n in range(contents.num_columns))
        else:
            for group in range(contents.num_row_groups):
                size = sum(
                    len(text.encode()) for text in pq.ParquetFile(path).read_row_group(group)["text"].to_pylist()
                )
                assert size <= (partition.LARGE_SHARE + 0.01) * MEMORY
    assert found == list(enumerate(texts, start=1))


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("SELECT 's' AS aggregate_id, CAST(if(i = 9000, 'x', i::VARCHAR) AS INTEGER) AS stream_version, {nulls} FROM range(9001) r(i)", duckdb.ConversionException),
        ("SELECT md5(i::VARCHAR) AS aggregate_id, 1 AS stream_version, {nulls} FROM range(5000000) r(i)", duckdb.OutOfMemoryException),
    ],
)  # fmt: skip
def test_a_query_that_fails_leaves_nothing(query: str, error: type[Exception], tmp_path: Path) -> None:
    """DuckDB's own error is raised; the rows written before it are in no file any more."""
    others = [c.name for c in UTTERANCES.data_columns if c.name not in ("aggregate_id", "stream_version")]
    filled = query.format(nulls=", ".join(f'NULL AS "{name}"' for name in others))
    lake = Lake(tmp_path, memory_bytes=MEMORY)
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '40MB'; SET temp_directory = ''; SET threads = 1")
        with lake.replacing(UTTERANCES, MONTH) as writer:
            writer.write(utterances([50_000]))
            assert list(tmp_path.rglob("*.parquet"))
            with pytest.raises(error):
                writer.write_query(connection, filled)
    assert not list(tmp_path.rglob("*.parquet"))


def test_an_error_in_the_middle_of_a_query_is_duckdbs_own(tmp_path: Path) -> None:
    """Rows were given already: what comes then is no error of the system, and want of memory is told as such."""
    with duckdb.connect() as connection:
        batches = partition.read_batches(
            connection, "SELECT if(i = 90000, error('Out of Memory'), i) FROM range(100000) r(i)", None, 2_048
        )
        with pytest.raises(duckdb.Error, match="Out of Memory"):
            list(batches)


def test_what_was_not_offered_to_a_commit_is_removed(tmp_path: Path) -> None:
    """Whoever leaves without a commit leaves no file, and the partition as it was."""
    lake = Lake(tmp_path, memory_bytes=MEMORY)
    with lake.replacing(UTTERANCES, MONTH) as writer:
        writer.write(utterances([9_000] * 5))
        writer.commit(input_hash="h")
    before = set(tmp_path.rglob("*.parquet"))
    with lake.replacing(UTTERANCES, MONTH) as writer:
        writer.write(utterances([9_000, 50_000, 9_000]))
        writer.new_file().write(utterances([1]), 1)
        assert set(tmp_path.rglob("*.parquet")) > before
    assert set(tmp_path.rglob("*.parquet")) == before
    assert lake.table("utterances").number(MONTH) == 1
