"""Completion in a shell, as bash asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REFOLD = Path(sys.executable).with_name("refold")


def ask(words: str, place: int, folder: Path) -> list[str]:
    """What may stand at a place of a line, as the shell's function reads it: `kind,value` a line."""
    given = {"_REFOLD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    done = subprocess.run([REFOLD], env=os.environ | given, cwd=folder, capture_output=True, text=True, check=True)
    return [line.split(",", 1)[1] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "place", "found"),
    [
        ("refold re", 1, {"receive", "review", "report", "replan", "redact"}),
        ("refold import chat --sh", 3, {"--shape"}),
        ("refold sql --format p", 3, {"parquet"}),
    ],
)
def test_verbs_options_and_choices_are_completed(words, place, found, tmp_path):
    """And nothing is made where the shell stands."""
    assert set(ask(words, place, tmp_path)) == found
    assert list(tmp_path.iterdir()) == []


def test_the_line_of_the_docs_is_a_script_that_bash_takes(tmp_path):
    """It defines the function and binds it."""
    script = 'eval "$(_REFOLD_COMPLETE=bash_source refold)"; complete -p refold'
    path = f"{REFOLD.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "refold" in done.stdout
