"""Ctrl-C ends a query, however deep in the library it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import sys
from pipelines.interrupt import heard
import duckdb
with heard():
    print("begun", flush=True)
    duckdb.sql(sys.argv[1]).fetchall()
"""


@pytest.mark.parametrize(
    "query",
    [
        "SELECT sum(range) FROM range(100000000000000)",
        "SELECT levenshtein(repeat('a', 3000000 + range::INTEGER), repeat('b', 3000000)) FROM range(1)",
    ],
)
def test_ctrl_c_ends_a_query(query: str):
    """One that looks up now and then, and one that is a single call of a function."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, query], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"begun\n"
        time.sleep(0.5)
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(timeout=120) in (1, 130, -signal.SIGINT)


def test_nothing_is_left_behind():
    """Afterwards an interrupt is what it was."""
    program = (
        "import os, signal\nfrom pipelines.interrupt import heard\n"
        "with heard(): pass\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    import time; time.sleep(5)\n"
        "except KeyboardInterrupt:\n    raise SystemExit(42)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 42
