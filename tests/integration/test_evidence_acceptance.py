"""Evidence of twenty real conversations, and of refunds of the demo: made in one process, checked by a bare Python, bits flipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store
from tests.acceptance import evidence


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake(settings.lake)


def test_evidence_of_real_conversations_verifies(store: Store, lake: Lake, shared_data: Path, tmp_path: Path):
    """Every bundle verifies under a bare Python, some as an outsider does it; each of forty bits flipped is found."""
    some = evidence.first_lines(shared_data / "conversations.jsonl.gz", 20, tmp_path / "some.jsonl")
    (tmp_path / "bundles").mkdir()
    found = evidence.real(store, lake, tmp_path / "bundles", some, count=40, commands=1)
    assert found.wrong == []
    assert (found.bundles, found.sealed, found.flips) == (20, 20, 40)


def test_evidence_of_refunds_verifies(store: Store, lake: Lake, tmp_path: Path):
    """So does that of the demo's refunds, of sealed months and of the open one."""
    (tmp_path / "bundles").mkdir()
    found = evidence.refunds(store, lake, tmp_path / "bundles", 2_000, count=12, commands=1)
    assert found.wrong == []
    assert 0 < found.sealed < found.bundles
