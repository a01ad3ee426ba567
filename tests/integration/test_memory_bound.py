"""Homes of large messages and of large events go through the verbs within the memory bound; a stream too large to fold is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.replayed_lake import texts, write_log

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("kind", "memory", "scale"), [("messages", "600MB", "0.2"), ("events", "750MB", "0.05"), ("line", "500MB", "0.15")]
)
def test_verbs_hold_within_the_bound(kind: str, memory: str, scale: str):
    """Import, export, fold and verify end well, none of them above the bound by more than a tenth, each in a process of its own.

    A few messages that are large beside the bound are set aside, with the one that would do, and it does.
    """
    words = ["--memory", memory, "--scale", scale, "--without-ab"]
    # what this process holds would count as theirs; the script's own does not
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "acceptance" / "memory_bound.py", kind, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    verbs = ["export", "fold", "verify"] if kind == "events" else ["import", "export", "fold", "verify"]
    codes = [(row["verb"], row["code"]) for row in rows]
    if kind == "line":
        assert codes.pop(2) == ("fold", 3), done.stdout
    assert codes == [(verb, 0) for verb in verbs], done.stderr
    assert done.returncode == 0, {row["verb"]: row["peak_bytes"] for row in rows}


def test_a_fold_names_what_it_set_aside_and_ends_with_3(tmp_path: Path):
    """Each time, also when nothing is folded any more, with the bound that would do; with that it ends with 0."""
    log = [event for number, count in ((1, 4), (2, 400), (3, 4)) for event in texts(number, count, 40_000)]
    write_log(tmp_path / "lake", [{**event, "position": place} for place, event in enumerate(log, start=1)])
    (tmp_path / "lake" / "commits").rename(tmp_path / "forgotten")

    def fold(memory: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "REFOLD_HOME": str(tmp_path), "REFOLD_MEMORY": memory}
        env.pop("REFOLD_LAKE", None)
        words = [sys.executable, "-m", "pipelines.cli", "fold"]
        return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    for _ in range(2):
        done = fold("256MB")
        assert done.returncode == 3, done.stderr
        assert f"({log[4]['aggregate_id']}, REFOLD_MEMORY=500MB would do); the others are folded" in done.stderr
    done = fold("500MB")
    assert done.returncode == 0, done.stderr
