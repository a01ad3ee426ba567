"""One history of the demo, written once and only read by the tests."""

from __future__ import annotations

import pytest

from pipelines.demo.desk import generate
from pipelines.store.events import StreamBatch


@pytest.fixture(scope="session")
def history() -> tuple[StreamBatch, ...]:
    """The default history with 8,000 events."""
    return tuple(generate(8_000))


@pytest.fixture(scope="session")
def talks(history: tuple[StreamBatch, ...]) -> tuple[StreamBatch, ...]:
    """Its conversations and calls."""
    return tuple(batch for batch in history if batch.aggregate_type in ("conversation", "call"))
