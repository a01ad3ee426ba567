"""Erasing people and killing it, as `tests/acceptance/erasure.py` does at full size: fewer of both, by the same code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acceptance import erasure

pytestmark = pytest.mark.slow


def test_people_are_gone_from_every_file(open_folder: Path) -> None:
    """A marked person and one of the demo, erased and scrubbed by command: no value in any file, others as they were."""
    assert erasure.people(open_folder, 1, 0, None) == []


def test_killed_anywhere_one_more_run_ends_the_same(open_folder: Path) -> None:
    """An erasure and a redaction's fold, killed at a random moment each."""
    told: list[str] = []
    assert erasure.killed(open_folder, 1, 7, told.append) == []
    assert [bool(re.search("the same$", each)) for each in told] == [True] * 2
