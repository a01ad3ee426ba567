"""How often Python looks for garbage in cycles while much is read or replayed.

A replay makes hundreds of thousands of rows, messages and requests, and an import as many values, nearly all of which are freed as
soon as nobody refers to them. Looking through them again and again for cycles took as long as the replay itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = (50_000, 20, 20)
"""New objects until the young ones are looked through, and how often that until the older ones are: what is under way at
once, not what is there in all."""


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Leave alone what is there already, and look seldom through what comes; as before when the block ends."""
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        if not frozen:
            gc.unfreeze()
