"""How long a test waits for what must come: one patience, far beyond what a machine at full load needs.

It ends a test whose cause is broken, and measures nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 120.0
"""Seconds after which what is waited for is not coming."""
_T = TypeVar("_T")


def wait_until(found: Callable[[], _T], otherwise: Callable[[], str] = lambda: "it did not happen") -> _T:
    """Ask again and again until the answer is true, and give it.

    Raises:
        AssertionError: It was not within `PATIENCE`, with what `otherwise` says then.
    """
    end = time.monotonic() + PATIENCE
    while not (answer := found()):
        assert time.monotonic() < end, otherwise()
        time.sleep(0.02)
    return answer
