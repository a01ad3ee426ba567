"""Locks between processes: who holds one, who waits, and what becomes of it when its process is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from pipelines.locks import holding, is_held, open_lock, try_lock

_HOLD = """
import sys, time
from pathlib import Path
from pipelines.locks import holding
with holding(Path(sys.argv[1]), lambda: print("waits", flush=True)):
    print("holds", flush=True)
    time.sleep(60)
"""


def _holder(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True)


def test_a_lock_is_held_until_its_process_ends_however_it_ends(tmp_path: Path):
    """A killed process frees its lock; looking at a lock takes it from nobody and leaves no file behind."""
    path = tmp_path / "a.lock"
    assert not is_held(path)
    assert not path.exists()
    with _holder(path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        assert is_held(path)
        assert not try_lock(open_lock(path))
        process.send_signal(signal.SIGKILL)
    assert not is_held(path)


def test_who_has_to_wait_is_told_once_and_goes_on(tmp_path: Path):
    """The second waits until the first has ended."""
    path = tmp_path / "a.lock"
    told: list[str] = []
    with holding(path, lambda: told.append("waits")):
        process = _holder(path)
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
    assert process.stdout.readline() == "holds\n"
    process.kill()
    process.communicate()
    assert told == []
