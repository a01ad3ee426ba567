"""Killed and started again: what was paid for is kept, and at most what was under way is paid for twice.

`REFOLD_TEST_REPLAY_REQUESTS=10000` runs the long form.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.support.asking_child import request_of
from tests.support.model_server import ModelServer, echo_answer, serving

REQUESTS = int(os.environ.get("REFOLD_TEST_REPLAY_REQUESTS", "100"))
CONCURRENCY = 16
TIMEOUT = 0.8 if REQUESTS <= 1_000 else 3.0
"""Seconds. In a long run on a busy machine an answer can be there and not be read in time: it would be asked for again,
which is as it must be, and is not what is counted here."""
KILLS = (0.2, 0.5, 0.8)
"""After these shares of the answers were paid for."""
LIMIT = 60 + REQUESTS


def start(server: ModelServer, store: Path) -> subprocess.Popen[str]:
    arguments = [server.base_url, str(store), str(REQUESTS), str(CONCURRENCY), str(TIMEOUT)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.asking_child", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def stored(path: Path) -> set[str]:
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as connection:
        return {key for (key,) in connection.execute("SELECT lower(hex(key)) FROM responses")}


def kill_when(process: subprocess.Popen[str], server: ModelServer, paid: int) -> None:
    deadline = time.monotonic() + LIMIT
    while len(server.paid) < paid and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL, "the kill came too late"


def test_three_kills_lose_what_was_under_way_and_nothing_else(tmp_path):
    """Over three `kill -9` and 5 % of each fault: every unit is answered as without faults; nothing is answered twice but
    what was under way at a kill, and an endpoint that honours the idempotency key charges for nothing twice."""
    path = tmp_path / "responses.sqlite"
    lost: set[str] = set()
    with serving(fault_share=0.05, hang=2 * TIMEOUT, latency=0.01, is_deduplicating=True) as server:
        for share in KILLS:
            kill_when(start(server, path), server, int(REQUESTS * share))
            time.sleep(0.1)  # answers on their way to nobody are sent out, and charged
            lost_now = set(server.answered) - stored(path)
            assert len(lost_now) <= 2 * CONCURRENCY
            lost |= lost_now
        output, _ = start(server, path).communicate(timeout=LIMIT)
        answered = json.loads(output)
    wanted = {}
    for number in range(REQUESTS):
        body = json.loads(request_of(number).body())
        message = echo_answer(body)
        calls = [
            [call["function"]["name"], json.loads(call["function"]["arguments"])] for call in message["tool_calls"]
        ]
        wanted[f"unit-{number}"] = [None, calls]
    assert answered == wanted
    twice = {key for key, count in server.answered.items() if count > 1}
    print(
        f"{REQUESTS:,} requests, {server.calls.total():,} calls, {len(lost)} under way at {len(KILLS)} kills, "
        f"{len(twice)} answered twice; faults: {dict(Counter(server.seen))}"
    )
    assert len(stored(path)) == len(server.paid) == REQUESTS
    assert set(server.paid.values()) == {1}
    assert twice <= lost
