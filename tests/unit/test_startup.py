"""What a process of the command line begins without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BEGUN = """
import gc, os
from pipelines.startup import begin
begin()
import numpy
print(len(os.listdir("/proc/self/task")), os.environ.get("OPENBLAS_NUM_THREADS"), gc.get_threshold()[0])
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: NumPy starts no threads anyhow")
@pytest.mark.parametrize(("chosen", "threads"), [(None, "1"), ("2", "2")])
def test_numpy_starts_one_thread_unless_somebody_chose(chosen, threads):
    """NumPy has no threads of its own where nobody asked for them, and no child of the process hears of that."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {} if chosen is None else {"OPENBLAS_NUM_THREADS": chosen}
    command = [sys.executable, "-c", _BEGUN]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [threads, str(chosen), "5000"]
