"""The small lake, written once and only read by the tests."""

from __future__ import annotations

import pytest

from tests.support.small_lake import Small, write_small


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A home with two experiments, one of them in two versions; its texts are hostile."""
    return write_small(tmp_path_factory.mktemp("review-home"))
