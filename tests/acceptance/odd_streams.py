"""Fold months that hold one odd stream beside ordinary ones, each in a process of its own, and say what it took.

    python tests/acceptance/odd_streams.py [KIND…] [--size 300000] [--memory 1GB] [--ordinary 200]

Kinds: `calls` (as many tool calls without results), `parallel` (of one message), `texts` (the user's, in a row), `late` (calls that
are answered a month later), `payload` (one text of 600 × SIZE bytes), `redacted` (the same, with a word of it redacted), `deep`
(arguments nested SIZE / 10 levels), each among ORDINARY conversations of four small events. Every kind must end
with the ordinary streams folded and the odd one folded or named as set aside, within a quarter more than the memory bound.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipelines.folds.run import fold_month
from pipelines.lake.datasets import EVENTS, STREAM_MONTHS
from pipelines.lake.lake import Lake
from pipelines.settings import parse_size

MONTHS = ("2026-01", "2026-02")
_CALL = (
    """json_object('call_id', 'c' || n, 'name', 'find', 'arguments', json_object('order', n, 'note', 'look for it'))"""
)
_ODD = {
    "calls": ("$size", "'tool.call.v1'", _CALL, "'m' || n"),
    "parallel": ("$size", "'tool.call.v1'", _CALL, "'m'"),
    "texts": ("$size", "'user.utterance.v1'", "json_object('text', 'and another thing, number ' || n)", "'m' || n"),
    "late": ("$size", "'tool.call.v1'", _CALL, "'m' || n"),
    "payload": ("1", "'user.utterance.v1'", "json_object('text', repeat('word ', $size * 120))", "'m'"),
    "redacted": (
        "2",
        "['user.utterance.v1', 'redaction.applied.v1'][1 + n]",
        """CASE n
            WHEN 0 THEN json_object('text', repeat('word ', $size * 120))
            ELSE json_object(
                'target', json_object('stream_version', 1), 'method', 'mask',
                'span', json_object('path', '/text', 'start', 5, 'end', 9)
            )
        END""",
        "'m' || n",
    ),
    "deep": (
        "1",
        "'tool.call.v1'",
        '\'{"call_id": "c", "name": "find", "arguments": \' || repeat(\'[\', $size // 10) || repeat(\']\', $size // 10) || \'}\'',
        "'m'",
    ),
}
_RESULTS = (
    "$size",
    "'tool.result.v1'",
    "json_object('call_id', 'c' || n, 'output', 'found', 'error', NULL)",
    "'r' || n",
)
_EVENTS = """
SELECT
    '00000000-0000-0000-0000-000000000000' AS aggregate_id, 'conversation' AS aggregate_type,
    ({first} + n)::INTEGER AS stream_version, {kind} AS event_type, 1 AS event_version, ({payload})::VARCHAR AS payload,
    json_object('message_id', {message}, 'actor', 'agent', 'source', 'shop')::VARCHAR AS metadata,
    TIMESTAMPTZ '{month}-02 00:00:00+00' + to_milliseconds(n) AS created_at,
    1 AS epoch, n AS xid, {first} + n AS position, unhex(sha256('odd' || {first} + n)) AS hash,
    unhex(md5('odd' || {first} + n)) AS salt, ''::BLOB AS digest
FROM range({count}) AS numbers (n)
UNION ALL
SELECT
    md5('{month}' || s)::UUID::VARCHAR, 'conversation', (1 + v)::INTEGER,
    ['user.utterance.v1', 'agent.utterance.v1'][1 + v % 2], 1, json_object('text', 'so ' || v)::VARCHAR,
    json_object('message_id', 'm' || v, 'source', 'shop')::VARCHAR, TIMESTAMPTZ '{month}-03 00:00:00+00' + to_milliseconds(s + v),
    1, s, 1000000000 + s * 10 + v, unhex(sha256(s || '/' || v)), unhex(md5(s || '/' || v)), ''::BLOB
FROM range({ordinary}) AS streams (s), range(4) AS events (v)
"""
_HEADS = """
SELECT
    aggregate_id, any_value(aggregate_type) AS aggregate_type, min(stream_version) AS first_version,
    max(stream_version) AS last_version, count(*) AS event_count, 0 AS erased_events, NULL AS prev_hash, arg_max(hash, stream_version) AS last_hash
FROM events WHERE month = '{month}' GROUP BY aggregate_id
"""


def write_odd(root: Path, kind: str, size: int, ordinary: int) -> None:
    """A lake of one odd stream and so many ordinary ones; of `late` two months."""
    lake = Lake(root, memory_bytes=16 * 10**9)
    parts = [(MONTHS[0], 1, _ODD[kind])] + ([(MONTHS[1], size + 1, _RESULTS)] if kind == "late" else [])
    for month, first, (count, event, payload, message) in parts:
        query = _EVENTS.format(
            month=month, first=first, count=count, kind=event, payload=payload, message=message, ordinary=ordinary
        ).replace("$size", str(size))
        with lake.connect() as connection:
            lake.write_partition(
                EVENTS,
                {"month": month},
                connection,
                f"{query} ORDER BY aggregate_id, stream_version",
                input_hash="made",
            )
        with lake.connect() as connection:
            lake.write_partition(
                STREAM_MONTHS, {"month": month}, connection, _HEADS.format(month=month), input_hash="made"
            )


def fold_odd(root: Path, memory: int) -> dict[str, Any]:
    """Fold every month here; what was set aside, how many conversations there are, and the peak of memory."""
    lake = Lake(root, memory_bytes=memory)
    aside = {month: fold_month(lake, month)[0].set_aside for month in lake.months("events")}
    with lake.connect() as connection:
        states = connection.sql("SELECT month, count(*) FROM conversation_months GROUP BY 1 ORDER BY 1").fetchall()
    mark = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert mark is not None
    return {"set_aside": aside, "states": dict(states), "peak_bytes": 1024 * int(mark[1])}


def measure(kind: str, size: int, memory: int, ordinary: int) -> dict[str, Any]:
    """One kind, folded in a process of its own.

    Raises:
        AssertionError: The ordinary streams are not all folded, or the odd one is neither folded nor named, or took too much.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "lake"
        write_odd(root, kind, size, ordinary)
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, __file__, "--fold", str(root), "--memory", str(memory)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found: dict[str, Any] = json.loads(done.stdout) | {
            "kind": kind,
            "seconds": round(time.monotonic() - started, 1),
        }
    for month, aside in found["set_aside"].items():
        assert found["states"].get(month) == ordinary + 1 - len(aside), found
    assert found["peak_bytes"] <= 1.25 * memory, found
    return found


def main() -> None:
    """Measure what is named, or everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(_ODD))
    parser.add_argument("--size", type=int, default=300_000)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--ordinary", type=int, default=200)
    parser.add_argument("--fold")
    given = parser.parse_args()
    memory = parse_size("--memory", given.memory)
    if given.fold:
        sys.stdout.write(json.dumps(fold_odd(Path(given.fold), memory)))
        return
    for kind in given.kinds:
        sys.stdout.write(json.dumps(measure(kind, given.size, memory, given.ordinary)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
