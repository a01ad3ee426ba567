"""Redacting values of real conversations and killing it, as `tests/acceptance/redaction.py` does at full size: fewer of both, by the same code."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path

import pytest

from tests.acceptance import redaction
from tests.support.verbs import run_in_home

pytestmark = pytest.mark.slow


def test_values_of_real_conversations_are_nowhere_derived(
    shared_data: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One value of four conversations, redacted after a comparison and killed once: in no place, all numbers as they were."""
    monkeypatch.setattr(redaction, "refold", run_in_home)  # all but the one that is killed
    with gzip.open(shared_data / "conversations.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = list(islice(file, 4))
    assert redaction.redacted(open_folder, lines, 1, 1, 3, lambda _line: None) == []
