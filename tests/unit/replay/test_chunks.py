"""Chunks of a replay: every conversation in one, in order, none of more events or bytes than memory has room for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.lake.sizes import Range, most_bytes
from pipelines.replay import streams
from pipelines.replay.streams import CHUNK_EVENTS, list_chunks

MEMORY = 10**7
MOST = 500_000
"""Bytes of a chunk at that bound."""
LARGEST = 700_000
"""Bytes of a conversation at that bound."""


def cut(sizes: list[tuple[int, int]], memory: int = MEMORY, processes: int = 1) -> list[Range]:
    """The chunks of conversations of so many events of so many bytes; files do not tell how large events are."""
    lake: Any = SimpleNamespace(memory_bytes=memory, files=lambda _name: ["not there"])
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE plan_streams (aggregate_id VARCHAR, last_version INTEGER)")
        connection.execute("CREATE TABLE events (aggregate_id VARCHAR, payload VARCHAR, metadata VARCHAR)")
        rows = [(f"{number:04}", events) for number, (events, _) in enumerate(sizes)]
        connection.executemany("INSERT INTO plan_streams VALUES (?, ?)", rows)
        texts = [(f"{number:04}", size) for number, (_, size) in enumerate(sizes)]
        connection.executemany("INSERT INTO events VALUES (?, repeat('x', ?), '')", texts)
        return list_chunks(connection, lake, processes)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60_000), st.integers(0, LARGEST)), min_size=1, max_size=12))
def test_chunks_hold_every_conversation_once_and_no_more_than_fits(sizes: list[tuple[int, int]]) -> None:
    """Without its last conversation, a chunk has neither more events nor more bytes than one may have."""
    chunks = cut(sizes)
    held = [range(int(chunk.first), int(chunk.last) + 1) for chunk in chunks]
    assert [number for each in held for number in each] == list(range(len(sizes)))
    for chunk, numbers in zip(chunks, held, strict=True):
        assert chunk.rows == sum(sizes[number][0] for number in numbers)
        whole = list(numbers)[:-1]
        assert sum(sizes[number][0] for number in whole) <= CHUNK_EVENTS
        assert sum(sizes[number][1] for number in whole) <= MOST


def test_a_conversation_larger_than_the_memory_is_refused_with_the_bound_that_would_do() -> None:
    """The largest is named; with the bound of the refusal it is cut like any other, in one process and in three."""
    with pytest.raises(
        BadInputError, match=r"2 of the selected .* 0002, holds 900,001 bytes .*REFOLD_MEMORY=50MB would do"
    ):
        cut([(1, 10), (2, 850_000), (1, 900_001)])
    with pytest.raises(BadInputError, match=r"3 processes .*REFOLD_MEMORY=50MB would do"):
        cut([(1, 10), (1, 700_000)], processes=3)
    assert len(cut([(1, 10), (2, 850_000), (1, 900_001)], memory=50 * 10**6, processes=3)) >= 1


def test_ordinary_payloads_are_not_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What files say of themselves is what the texts have that were written, in the group where they are the largest."""
    path = str(tmp_path / "events.parquet")
    query = (
        "SELECT CASE WHEN i < 4096 THEN md5(i::VARCHAR) ELSE sha256(i::VARCHAR) END AS payload FROM range(8192) t(i)"
    )
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 4096)")
    assert 64_000 <= most_bytes([path], ("payload",), 1000) < 72_000
    assert most_bytes([path, "not there"], ("payload",), 1000) == float("inf")
    assert most_bytes([], ("payload",), 1000) == 0.0
    monkeypatch.setattr(streams, "prepare_for_large", lambda *_given, **_bounds: False)
    assert len(cut([(1, LARGEST + 1)] * 3)) == 1
