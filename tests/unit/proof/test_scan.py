"""The scan of a month's files against a plain reading of the same rows, whatever the row groups and files."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.duck import scratch
from pipelines.proof.chain import NOTHING, START, digest, link
from pipelines.proof.inclusion import prove_inclusion
from pipelines.proof.merkle import ProofError
from pipelines.proof.parts import lay_out, read_part
from pipelines.proof.scan import HEADS, Scan, scan_month
from tests.oracles.merkle import tree

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BOUNDS = (1_767_225_600_000_000, 1_769_904_000_000_000)
"""January 2026."""
SCHEMA = pa.schema(
    [
        ("aggregate_id", pa.string()),
        ("aggregate_type", pa.string()),
        ("stream_version", pa.int32()),
        ("event_type", pa.string()),
        ("event_version", pa.int32()),
        ("payload", pa.string()),
        ("metadata", pa.string()),
        ("created_at", pa.timestamp("us", tz="UTC")),
        ("epoch", pa.int32()),
        ("xid", pa.int64()),
        ("position", pa.int64()),
        ("hash", pa.binary()),
        ("salt", pa.binary()),
        ("digest", pa.binary()),
    ]
)
Row = dict


def make_rows(lengths: list[int], first_version: int = 1) -> list[Row]:
    """Streams of these lengths with a right chain; `first_version` begins each, with `START` before it."""
    rows = []
    for n, length in enumerate(lengths):
        prev = START
        for version in range(first_version, first_version + length):
            row = {
                "aggregate_id": str(UUID(int=(n + 1) << 64)),
                "aggregate_type": "Gespräch",
                "stream_version": version,
                "event_type": "a.b.v1",
                "event_version": 1,
                "payload": f'{{"text": "é{"𝔘" * (version % 3)}\\n"}}',
                "metadata": "{}",
                "created_at": datetime(2026, 1, 10, tzinfo=UTC) + timedelta(microseconds=len(rows)),
                "epoch": 1 + version % 2,
                "xid": 100 - n,
                "position": len(rows) + 1,
                "salt": hashlib.sha256(str(len(rows)).encode()).digest()[:16],
                "digest": b"",
            }
            micros = (row["created_at"] - EPOCH) // timedelta(microseconds=1)
            prev = row["hash"] = link(prev, row | {"created_us": micros})
            rows.append(row)
    return rows


def write(folder: Path, rows: list[Row], cuts: list[int], group: int) -> list[str]:
    """The rows in files that begin at `cuts`, with row groups of `group` rows."""
    files = []
    for start, stop in pairwise([0, *cuts, len(rows)]):
        if start < stop:
            path = folder / f"{999 - len(files)}.parquet"  # names do not follow the rows
            pq.write_table(pa.Table.from_pylist(rows[start:stop], schema=SCHEMA), path, row_group_size=group)
            files.append(str(path))
    return files


def scan(files: list[str], entering: list[str] | None = None) -> tuple[Scan, list[tuple]]:
    with scratch() as connection:
        found = scan_month(lay_out(files), BOUNDS, entering or [], connection, memory_bytes=10**9)
        return found, connection.sql(f"SELECT * FROM {HEADS} ORDER BY aggregate_id").fetchall()


def root_of(rows: list[Row]) -> bytes:
    return tree(
        [
            hashlib.sha256(b"\x00" + r["hash"] + struct.pack(">iqq", r["epoch"], r["xid"], r["position"])).digest()
            for r in rows
        ]
    )


def flaws(found: Scan) -> list[tuple[str, int, int]]:
    """(Kind, number of the stream, version)."""
    return [(f.kind, UUID(f.aggregate_id).int >> 64, f.stream_version) for f in found.flaws]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 9), st.data())
def test_any_cut_gives_the_same_scan(tmp_path: Path, lengths: list[int], group: int, data: st.DataObject) -> None:
    """However rows are cut into files and row groups: no flaw, and root, order and heads are those of the rows."""
    rows = make_rows(lengths)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=2)))
    found, heads = scan(write(tmp_path, rows, cuts, group))
    assert (found.counts, found.unreadable) == ({}, {})
    assert (found.rows, found.streams, found.merkle_root) == (len(rows), len(lengths), root_of(rows))
    orders = [(r["epoch"], r["xid"], r["position"]) for r in rows]
    assert (found.first, found.last) == (min(orders), max(orders))
    lasts = {r["aggregate_id"]: r["hash"] for r in rows}
    assert heads == [(stream, 1, n, n, lasts[stream], 0) for stream, n in zip(lasts, lengths, strict=True)]


def erased(row: Row) -> Row:
    return row | {"payload": NOTHING, "metadata": NOTHING, "salt": b"", "digest": digest(row)}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 9), st.data())
def test_what_stays_of_erased_events_is_bound(
    tmp_path: Path, lengths: list[int], group: int, data: st.DataObject
) -> None:
    """Whichever events lose their content: chain, root and heads are those that they were, and how many are erased is counted by stream."""
    rows = make_rows(lengths)
    gone = data.draw(st.sets(st.integers(0, len(rows) - 1)))
    left = [erased(row) if at in gone else row for at, row in enumerate(rows)]
    found, heads = scan(write(tmp_path, left, [], group))
    assert (found.unreadable, found.merkle_root) == ({}, root_of(rows))
    assert found.counts == {}
    counted = Counter(row["aggregate_id"] for at, row in enumerate(rows) if at in gone)
    assert {stream: erased for stream, *_, erased in heads} == {
        row["aggregate_id"]: counted[row["aggregate_id"]] for row in rows
    }


PLACES = [(1, 6), (5, 3), (5, 4), (5, 5), (100, 8)]
"""Rows of a row group, and which of twelve rows: by itself, first of its stream, at the edges of a row group, last of its stream."""


@pytest.mark.parametrize(
    "forged",
    [
        {"payload": '{"text": "said by nobody"}'},
        {"metadata": '{"actor": "nobody"}'},
        {"salt": bytes(16)},
        {"salt": None},
        {"digest": b""},
        {"digest": bytes(32)},
        {"digest": None},
        {"digest": bytes(31)},
        {"event_type": "b.c.v1"},
    ],
    ids=str,
)
def test_an_erased_event_is_what_it_was_without_content(tmp_path: Path, forged: Row) -> None:
    """Content in its place, a salt, another digest or none, another header: the link does not hold."""
    rows = make_rows([3, 6, 3])
    for group, at in PLACES:
        left = [*rows[:at], erased(rows[at]) | forged, *rows[at + 1 :]]
        assert flaws(scan(write(tmp_path, left, [], group))[0]) == [("broken_link", 2, at - 2)]


@pytest.mark.parametrize(
    "forged", [{"salt": bytes(15)}, {"salt": b""}, {"digest": bytes(32)}, {"payload": None}], ids=str
)
def test_a_whole_event_has_salt_and_content_and_no_digest(tmp_path: Path, forged: Row) -> None:
    """Anything else is neither whole nor erased, and has no link."""
    rows = make_rows([3, 6, 3])
    for group, at in PLACES:
        left = [*rows[:at], rows[at] | forged, *rows[at + 1 :]]
        assert flaws(scan(write(tmp_path, left, [], group))[0]) == [("broken_link", 2, at - 2)]


@pytest.mark.parametrize("group", [1, 3, 100])
def test_flaws_are_found_wherever_parts_meet(tmp_path: Path, group: int) -> None:
    """One change of one row is found at that row, inside of a row group and at its edges alike."""
    rows = make_rows([3, 6, 3])

    def scanned(changed: list[Row]) -> list[tuple[str, int, int]]:
        return flaws(scan(write(tmp_path, changed, [], group))[0])

    def with_row(at: int, **values: object) -> list[Row]:
        return [*rows[:at], rows[at] | values, *rows[at + 1 :]]

    for at in range(3, 9):
        version = at - 2
        after = [("broken_link", 2, version + 1)] if version < 6 else []
        assert scanned(with_row(at, payload="{}")) == [("broken_link", 2, version)]
        assert sorted(scanned(with_row(at, hash=bytes(32)))) == [("broken_link", 2, version), *after]
        assert sorted(scanned(with_row(at, hash=b"short"))) == [("broken_link", 2, version), *after]
        assert scanned([*rows[: at + 1], *rows[at:]]) == [("repeated_version", 2, version)]
        dropped = scanned([*rows[:at], *rows[at + 1 :]])
        if version == 1:
            assert dropped == [("broken_link", 2, 2)]  # a stream that begins at 2 with no link known from before
        else:
            assert dropped == ([("missing_version", 2, version + 1)] if version < 6 else [])
        late = with_row(at, created_at=datetime(2026, 2, 1, tzinfo=UTC))
        assert set(scanned(late)) == {("broken_link", 2, version), ("wrong_month", 2, version)}
    swapped = [*rows[:5], rows[6], rows[5], *rows[7:]]
    assert ("out_of_order", 2, 3) in scanned(swapped)
    assert ("out_of_order", 1, 1) in scanned([*rows[3:9], *rows[:3], *rows[9:]])


def test_streams_from_before_the_month(tmp_path: Path) -> None:
    """The first link of a stream that began earlier is checked against what `stream_months` says of it."""
    rows = make_rows([4, 4], first_version=5)
    heads = pa.table(
        {
            "aggregate_id": [rows[0]["aggregate_id"], rows[4]["aggregate_id"]],
            "first_version": pa.array([5, 5], pa.int32()),
            "prev_hash": [START, b"x" * 32],
        }
    )
    entering = tmp_path / "heads"
    pq.write_table(heads, entering)
    for group in (1, 3, 100):
        files = write(tmp_path, rows, [], group)
        assert flaws(scan(files, [str(entering)])[0]) == [("broken_link", 2, 5)]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A damaged file and one with other columns are named; the others are scanned, and there is no root."""
    rows = make_rows([3, 3, 3, 3])
    files = write(tmp_path, rows, [3, 6], 2)
    Path(files[1]).write_bytes(b"PAR1 not parquet")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"n": [1]}), other)
    found, heads = scan([*files, str(other)])
    assert set(found.unreadable) == {files[1], str(other)}
    assert "it has no column aggregate_id" in found.unreadable[str(other)]
    assert (found.rows, found.merkle_root, len(heads)) == (9, None, 3)
    assert found.flaws == []


def test_an_empty_month(tmp_path: Path) -> None:
    """No file is no event, and the root of the empty tree."""
    found, heads = scan([])
    assert (found.rows, found.merkle_root, found.first, heads) == (0, hashlib.sha256().digest(), None, [])


@pytest.mark.parametrize(("lengths", "cuts", "group"), [([3, 5, 1], [4], 2), ([200, 56, 1, 300, 511], [300, 700], 90)])
def test_every_event_has_a_proof(tmp_path: Path, lengths: list[int], cuts: list[int], group: int) -> None:
    """Each event's proof is the definition's, holds under the month's root and under no other; none of an event that is not there."""
    rows = make_rows(lengths)
    layout = lay_out(write(tmp_path, rows, cuts, group))
    root, other = root_of(rows), root_of(rows[::-1])
    with scratch() as connection:
        nodes = scan_month(layout, BOUNDS, [], connection, memory_bytes=10**9).nodes
    assert len(nodes) == len(rows) // 256
    for at in {*range(min(len(rows), 20)), *range(240, len(rows), 23), *range(len(rows) - 20, len(rows))} - {
        *range(-20, 0)
    }:
        row = rows[at]
        proof = prove_inclusion(layout, nodes, row["aggregate_id"], row["stream_version"])
        assert (proof.index, proof.size, proof.hash) == (at, len(rows), row["hash"])
        assert proof.holds(root)
        assert not proof.holds(other)
    with pytest.raises(ProofError, match="does not hold version 4"):
        prove_inclusion(layout, nodes, rows[0]["aggregate_id"] if lengths[0] < 4 else str(UUID(int=3 << 64)), 4)
    if nodes:
        forged = prove_inclusion(layout, [node._replace(hash=bytes(32)) for node in nodes], rows[0]["aggregate_id"], 1)
        assert not forged.holds(root)
        with pytest.raises(ProofError, match="was not kept"):
            prove_inclusion(layout, nodes[1:], rows[-1]["aggregate_id"], 1)


def test_the_root_over_heads_is_that_of_its_definition(tmp_path: Path) -> None:
    """A leaf a stream, in order: stream, LF, last version, LF, last link; another last link is another root."""
    rows = make_rows([3, 1, 5])
    found, _ = scan(write(tmp_path, rows, [], 100))
    lasts = {row["aggregate_id"]: row for row in rows}
    leaves = [
        hashlib.sha256(f"\0{stream}\n{row['stream_version']}\n".encode() + row["hash"]).digest()
        for stream, row in sorted(lasts.items())
    ]
    assert found.heads_root == tree(leaves)
    assert scan(write(tmp_path, rows[:-1], [], 100))[0].heads_root != found.heads_root


def test_a_part_is_read_without_keeping_the_row_groups_before(tmp_path: Path):
    """However many row groups of large payloads a part has (here 96 MB), what is held is some batches, not their sum."""
    payloads = [np.random.default_rng(n).bytes(2**20).hex() for n in range(48)]
    rows = [row | {"payload": text} for row, text in zip(make_rows([48]), payloads, strict=True)]
    (part,) = lay_out(write(tmp_path, rows, [], 1)).parts
    del rows, payloads
    before, most = pa.total_allocated_bytes(), 0
    for batch in read_part(part):
        assert batch.num_rows >= 1
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 48 * 2**20
