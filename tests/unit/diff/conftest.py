"""What the tests on real conversations share."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def conversations(shared_data: Path) -> list[dict]:
    """All real conversations, in file order."""
    with gzip.open(shared_data / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
