"""Batches that are full, of a bound that is small: `tests/acceptance/full_batches.py` fills them as large as providers take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.replay.batch.providers import PROVIDERS
from tests.acceptance import full_batches


def test_more_than_one_batch_holds_is_sent_in_full_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch but the last is full; every unit has the answer to its own request, paid for once; nothing stays behind."""
    monkeypatch.setattr(PROVIDERS["chat"], "most_requests", 40)
    found = full_batches.submit(tmp_path, "chat", 100, 300)
    assert full_batches.faults_of(found, "chat", 100, most_mb=250.0) == []
    assert found.requests == [40, 40, 20]
