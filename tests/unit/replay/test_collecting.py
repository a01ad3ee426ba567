"""The garbage collector during a replay."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from pipelines.collecting import collecting_seldom
from tests.support.freezing import freeze, thaw


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def nothing_frozen() -> Iterator[None]:
    """As in a process of its own: the tests' own freeze what was collected."""
    thaw()
    yield
    freeze()


@pytest.mark.usefixtures("nothing_frozen")
def test_the_collector_is_as_before_and_cycles_are_still_found():
    """Inside the block, cycles are collected in the end; outside, the thresholds are those of before, after an error too."""
    usual = gc.get_threshold()
    with collecting_seldom():
        first = weakref.ref(Knot())
        kept = [Knot() for _ in range(2 * gc.get_threshold()[0])]
        assert first() is None
        del kept
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() == 0
    with pytest.raises(ZeroDivisionError), collecting_seldom():
        1 / 0  # noqa: B018 -- an error
    assert gc.get_threshold() == usual
