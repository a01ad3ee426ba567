"""A month far larger than REFOLD_MEMORY is exported within it, measured where it counts: the process."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from pipelines.lake.lake import Lake

LIMIT = 400 * 10**6
EVENTS = 50_000
PAYLOAD_BYTES = 12_800
ROOT = Path(__file__).resolve().parents[2]
# Inserted by the server itself: large texts that it keeps small, so that the test does not wait for a disk.
_FILL = """
INSERT INTO refold.events (aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata, created_at, epoch, hash, salt)
SELECT
    md5(mod(n, 5000)::text)::uuid, 'conversation', 1 + n / 5000, 'user.utterance.v1', 1,
    jsonb_build_object('text', repeat(md5(n::text), %(times)s)), '{}', '2026-01-05', 1, sha256(n::text::bytea), uuid_send(gen_random_uuid())
FROM generate_series(0, %(events)s - 1) AS n
"""
_HEADS = """
INSERT INTO refold.streams (aggregate_id, aggregate_type, stream_version, hash, created_at, epoch, order_xid)
SELECT DISTINCT ON (aggregate_id) aggregate_id, aggregate_type, stream_version, hash, created_at, epoch, order_xid
FROM refold.events ORDER BY aggregate_id, stream_version DESC
"""
_EXPORT = """
import json, re, sys
from pathlib import Path
from pipelines.export.month import export_month
from pipelines.lake.lake import Lake

done = export_month(sys.argv[1], Lake(Path(sys.argv[2]), memory_bytes=int(sys.argv[3])), "2026-01")
mark = re.search(r"^VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
print(json.dumps({"rows": done.rows, "is_sorted": done.is_sorted, "peak_bytes": 1024 * int(mark[1])}))
"""


def test_a_month_larger_than_the_memory_is_exported_within_it(store, tmp_path):
    """640 MB of events pass through a process that is allowed 400 MB, a quarter of which Python and libraries take."""
    store.ensure_months([datetime(2026, 1, 5, tzinfo=UTC)])
    store.conn.execute(_FILL, {"times": PAYLOAD_BYTES // 32, "events": EVENTS})
    store.conn.execute(_HEADS)
    done = subprocess.run(
        [sys.executable, "-c", _EXPORT, store.dsn, str(tmp_path / "lake"), str(LIMIT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert (told["rows"], told["is_sorted"]) == (EVENTS, True)
    assert told["peak_bytes"] < LIMIT
    with Lake(tmp_path / "lake").connect() as connection:
        found = connection.sql("SELECT count(*), sum(length(payload)), count(DISTINCT position) FROM events").fetchall()
    in_store = store.conn.execute("SELECT count(*), sum(length(payload::text)), count(*) FROM refold.events").fetchone()
    assert found == [in_store]
