"""The external sort of an export, against Python's own sort: order, buckets, row groups, and what it holds at a time."""

from __future__ import annotations

import random
from dataclasses import replace
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.export import files
from pipelines.export.files import HEADS, EventFile
from pipelines.export.reading import SCHEMA
from pipelines.export.sorting import Sorter, plan_buckets, read_bucket
from pipelines.export.spool import Spool
from pipelines.lake.datasets import EVENTS
from pipelines.lake.partition import PartitionWriter
from pipelines.lake.table import Table


def batch_of(rows: list[tuple[bytes, int, str]]) -> pa.RecordBatch:
    """Events of (stream id, version, text)."""
    columns = {
        "aggregate_id": [row[0] for row in rows],
        "aggregate_type": ["conversation"] * len(rows),
        "stream_version": [row[1] for row in rows],
        "event_type": ["user.utterance.v1"] * len(rows),
        "event_version": [1] * len(rows),
        "payload": [row[2] for row in rows],
        "metadata": ["{}"] * len(rows),
        "created_at": [0] * len(rows),
        "epoch": [1] * len(rows),
        "xid": [7] * len(rows),
        "position": list(range(len(rows))),
        "hash": [row[0] + row[1].to_bytes(16, "big") for row in rows],
        "salt": [row[0] for row in rows],
        "digest": [b""] * len(rows),
    }
    arrays = [pa.array(values, SCHEMA.field(name).type) for name, values in columns.items()]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def write(folder, rows, *, run_bytes=20_000, max_rows=50, max_bytes=10**9, readers=2, batch_rows=37, group_rows=20):
    """Sort rows as an export does; answers the file, the heads, and the rows of each bucket."""
    with Spool(folder) as spool:
        sorters = [Sorter(spool, run_bytes) for _ in range(readers)]
        for number, start in enumerate(range(0, len(rows), batch_rows)):
            sorters[number % readers].add(batch_of(rows[start : start + batch_rows]))
        for sorter in sorters:
            sorter.flush()
        runs = [run for sorter in sorters for run in sorter.runs]
        buckets = plan_buckets(runs, max_rows, max_bytes)
        heads, sizes = [], []
        table = Table(folder, replace(EVENTS, row_group_size=group_rows))
        file = EventFile(PartitionWriter(table, {"month": "2026-01"}, number=1, memory_bytes=10**9, commit=None))
        for bucket in buckets:
            found = read_bucket(spool, runs, SCHEMA, bucket)
            if found is not None:
                sizes.append(found[0].num_rows)
                heads += file.write(*found).to_pylist()
        assert file.close() == len(rows)
        (path,) = table.path.rglob("*.parquet")
        return path, heads, sizes


def keys_of(path) -> list[tuple[str, int]]:
    table = pq.read_table(path, columns=["aggregate_id", "stream_version"])
    return list(zip(table["aggregate_id"].to_pylist(), table["stream_version"].to_pylist(), strict=True))


IDS = {
    "random": lambda draw: draw.randbytes(16),
    "one prefix": lambda draw: bytes(8) + draw.randbytes(8),  # told apart by their second half only
    "by time": lambda draw: draw.randrange(10**6).to_bytes(8, "big") + b"\xff" * 7 + draw.randbytes(1),
}


@pytest.mark.parametrize("ids", IDS)
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32), streams=st.integers(1, 60), longest=st.sampled_from([1, 4, 90]))
def test_rows_come_out_as_python_sorts_them(ids, seed, streams, longest, tmp_path_factory):
    """Whatever ids look like, however long streams are and in whatever order rows come: sorted, all there, none twice."""
    draw = random.Random(seed)
    made = sorted({IDS[ids](draw) for _ in range(streams)})
    rows = [(each, v, "x" * draw.randrange(40)) for each in made for v in range(1, draw.randint(1, longest) + 1)]
    shuffled = draw.sample(rows, len(rows))
    folder = tmp_path_factory.mktemp("sort")
    path, heads, _sizes = write(folder, shuffled)
    wanted = sorted((str(UUID(bytes=each)), version) for each, version, _text in rows)
    assert keys_of(path) == wanted
    told: dict[str, list[int]] = {}
    for each, version in wanted:
        told.setdefault(each, []).append(version)
    folded: dict[str, list[int]] = {}
    for head in heads:
        low, high, count = folded.get(head["aggregate_id"], [2**31, 0, 0])
        low, high = min(low, head["first_version"]), max(high, head["last_version"])
        folded[head["aggregate_id"]] = [low, high, count + head["event_count"]]
        assert head["last_hash"][16:] == head["last_version"].to_bytes(16, "big")
    assert folded == {each: [min(vs), max(vs), len(vs)] for each, vs in told.items()}


def test_a_large_payload_has_a_row_group_of_its_own(tmp_path, monkeypatch):
    """So that files tell of it; the rows between are cut as ever, and all are there once."""
    monkeypatch.setattr(files, "_LARGE_BYTES", 1000)
    draw = random.Random(2)
    rows = [
        (n.to_bytes(2, "big") * 8, v, "x" * draw.choice([9] * 30 + [1001])) for n in range(300) for v in range(1, 9)
    ]
    path, _heads, _sizes = write(tmp_path, draw.sample(rows, len(rows)), run_bytes=500_000, max_rows=900, group_rows=70)
    assert keys_of(path) == [(str(UUID(bytes=each)), version) for each, version, _text in rows]
    found = pq.ParquetFile(path)
    groups = [found.read_row_group(n, ["payload"])["payload"].to_pylist() for n in range(found.num_row_groups)]
    large = [group for group in groups if any(len(text) > 1000 for text in group)]
    assert len(large) > 20
    assert all(len(group) == 1 for group in large)
    assert max(map(len, groups)) <= 70


def test_a_stream_is_in_one_row_group_unless_it_alone_fills_one(tmp_path):
    """Row groups end between two streams; only a stream larger than a row group is in several."""
    draw = random.Random(1)
    lengths = [*(draw.randint(1, 30) for _ in range(4000)), 9000]
    rows = [(n.to_bytes(2, "big") * 8, v, "text") for n, length in enumerate(lengths) for v in range(1, length + 1)]
    draw.shuffle(rows)
    path, _heads, sizes = write(tmp_path, rows, run_bytes=500_000, max_rows=4000, batch_rows=5000, group_rows=700)
    found = pq.ParquetFile(path)
    groups: dict[str, set[int]] = {}
    for number in range(found.num_row_groups):
        for each in found.read_row_group(number, ["aggregate_id"])["aggregate_id"].unique().to_pylist():
            groups.setdefault(each, set()).add(number)
    assert max(found.metadata.row_group(number).num_rows for number in range(found.num_row_groups)) == 700
    largest = str(UUID(bytes=(4000).to_bytes(2, "big") * 8))
    assert {each for each, numbers in groups.items() if len(numbers) > 1} == {largest}
    assert len(sizes) > 10
    # a bucket is cut by a sample: one chunk of every run more or less
    assert max(sizes) <= 4000 + 1024 * 8


def test_a_bucket_is_bounded_by_bytes(tmp_path):
    """Large events make buckets of few rows: what is held at a time is bytes, not rows."""
    draw = random.Random(2)
    rows = [(draw.randbytes(16), 1, "x" * 20_000) for _ in range(1000)]
    path, _heads, sizes = write(tmp_path, rows, run_bytes=2_000_000, max_rows=10**6, max_bytes=1_000_000, readers=1)
    assert len(keys_of(path)) == 1000
    assert max(sizes) * 20_000 < 4_000_000


def test_nothing_makes_no_bucket():
    """Without rows there is nothing to read."""
    assert plan_buckets([], 10, 10) == []


def test_the_spool_gives_back_what_was_put(tmp_path):
    """Batches are read back in any order, and the file has no name that a crash could leave behind."""
    with Spool(tmp_path / "spill") as spool:
        places = [spool.put(batch_of([(bytes(15) + bytes([n]), n + 1, "x" * n)])) for n in range(20)]
        assert list((tmp_path / "spill").iterdir()) == []
        for n in reversed(range(20)):
            assert spool.get(places[n], SCHEMA).column("payload").to_pylist() == ["x" * n]


def test_heads_are_what_stream_months_needs():
    """The columns that are noted for each stream, in their order."""
    assert HEADS.names == [
        "aggregate_id",
        "aggregate_type",
        "first_version",
        "last_version",
        "event_count",
        "last_hash",
        "erased_events",
    ]
