"""Folds of more than one batch: their rows do not depend on how files hold the events; one stream may be larger than a batch.

`REFOLD_TEST_STREAM_EVENTS=1000000 pytest -n 0 tests/integration/test_folds_large.py` is the long form.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.fold.fold import Folded
from pipelines.folds import limits
from pipelines.folds.parts import LongStream
from pipelines.folds.run import fold_month
from pipelines.folds.shipped import FOLDS
from pipelines.lake import partition
from pipelines.lake.datasets import EVENTS, STREAM_MONTHS
from pipelines.lake.lake import Lake
from tests.support.lake_rows import content

MONTH = "2026-01"
STREAM_EVENTS = int(os.environ.get("REFOLD_TEST_STREAM_EVENTS", "50000")) // 4 * 4
LIMIT = 10**9
ROOT = Path(__file__).resolve().parents[2]
# Turns of four events; a tool's answer comes before the next message, and every call is answered.
_LOG = """
SELECT
    '2026-01' AS month, md5((n % $streams)::VARCHAR)::UUID::VARCHAR AS aggregate_id, 'conversation' AS aggregate_type,
    (1 + n // $streams)::INTEGER AS stream_version,
    ['user.utterance.v1', 'tool.call.v1', 'tool.result.v1', 'agent.utterance.v1'][1 + (n // $streams) % 4] AS event_type,
    1 AS event_version,
    [
        json_object('text', 'question ' || n),
        json_object('call_id', 'c' || n % 3, 'name', 'find', 'arguments', json_object('n', n, 'a', 'x' || n)),
        json_object('call_id', 'c' || (n - $streams) % 3, 'output', json_object('found', n), 'error', NULL),
        json_object('text', 'answer ' || n)
    ][1 + (n // $streams) % 4]::VARCHAR AS payload,
    json_object('message_id', 'm' || n, 'subject_id', 'p' || n % $streams, 'source', 'shop')::VARCHAR AS metadata,
    TIMESTAMPTZ '2026-01-02 00:00:00+00' + to_milliseconds(n) AS created_at,
    1 AS epoch, n AS xid, n AS position, unhex(sha256(n::VARCHAR)) AS hash,
    unhex(md5(n::VARCHAR)) AS salt, ''::BLOB AS digest
FROM range($events) AS numbers (n)
"""
_HEADS = """
SELECT
    aggregate_id, any_value(aggregate_type) AS aggregate_type, min(stream_version) AS first_version,
    max(stream_version) AS last_version, count(*) AS event_count, 0 AS erased_events, NULL AS prev_hash,
    arg_max(hash, stream_version) AS last_hash
FROM events WHERE month = '2026-01' GROUP BY aggregate_id
"""
_FOLD = """
import json, re, sys
from pathlib import Path
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake

fold_month(Lake(Path(sys.argv[1]), memory_bytes=int(sys.argv[2])), "2026-01")
mark = re.search(r"^VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
print(json.dumps({"peak_bytes": 1024 * int(mark[1])}))
"""


def write_events(root: Path, streams: int, events: int, *, parts: int = 1, row_group_size: int = 122_880) -> Lake:
    """A lake whose month consists of `parts` files, each with every so many-th event."""
    lake = Lake(root, memory_bytes=LIMIT)
    january = {"month": MONTH}
    params = {"streams": streams, "events": events}
    with lake.connect() as connection, lake.replacing(EVENTS, january) as writer:
        for part in range(parts):
            query = f"SELECT * FROM ({_LOG}) WHERE position % {parts} = {part}"
            rows = connection.sql(query, params=params).to_arrow_table()
            writer.new_file().write(EVENTS.sort(rows), row_group_size)
        writer.commit(input_hash="made")
    with lake.connect() as connection:
        lake.write_partition(STREAM_MONTHS, january, connection, _HEADS, input_hash="made")
    return lake


def test_rows_do_not_depend_on_files_row_groups_or_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sorted file folded at once, or three that each have events of every stream, in batches cut across row groups."""
    one = write_events(tmp_path / "one", 600, 24_000)
    many = write_events(tmp_path / "many", 600, 24_000, parts=3, row_group_size=2_048)
    fold_month(one, MONTH)
    monkeypatch.setattr(limits, "_MOST_EVENTS", 5_000)
    fold_month(many, MONTH)
    for name in FOLDS:
        assert content(one, name) == content(many, name), name
    assert content(one, "conversation_months")[0] == 600


def test_streams_larger_than_a_batch_are_folded_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long streams folded at once, or part after part from three files that each have some of every part."""
    one = write_events(tmp_path / "one", 2, 6_000)
    many = write_events(tmp_path / "many", 2, 6_000, parts=3, row_group_size=2_048)
    fold_month(one, MONTH)
    parts: list[int] = []
    carry = LongStream.carry

    def spy(self: LongStream, folded: Folded, *rest: Any) -> Any:
        parts.append(len(folded.batch.owners))
        return carry(self, folded, *rest)

    monkeypatch.setattr(LongStream, "carry", spy)
    monkeypatch.setattr(limits, "_MOST_EVENTS", 2_400)
    monkeypatch.setattr(partition, "_MOST_BYTES", 50_000)
    fold_month(many, MONTH)
    (states,) = many.files("conversation_months", {"month": MONTH})
    assert pq.read_metadata(states).num_row_groups == 2  # the state of one long stream does not wait for others
    assert sum(parts) == 6_000
    assert max(parts) < 1_000
    for name in FOLDS:
        assert content(one, name) == content(many, name), name


def test_one_stream_larger_than_a_batch_folds_within_the_memory(tmp_path: Path) -> None:
    """All of the month is one conversation: its state is right, and folding everything stays within REFOLD_MEMORY."""
    lake = write_events(tmp_path / "lake", 1, STREAM_EVENTS)
    done = subprocess.run(
        [sys.executable, "-c", _FOLD, str(tmp_path / "lake"), str(LIMIT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["peak_bytes"] < LIMIT
    with lake.connect() as connection:
        counts = connection.sql(
            "SELECT event_count, turns, agent_messages, tool_call_count, unanswered_tool_calls, len(transcript), "
            "len(tool_calls), final_text FROM conversations"
        ).fetchall()
    turns = STREAM_EVENTS // 4
    answer = f"answer {STREAM_EVENTS - 1}"
    assert counts == [(STREAM_EVENTS, turns, 2 * turns, turns, 0, 2 * turns, turns, answer)]
