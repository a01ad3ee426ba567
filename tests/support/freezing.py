"""What was imported and collected stays until the end of a run: nobody looks for garbage in it.

How many objects are frozen is asked by everything that reads much; Python counts a million of them each time, which takes 0.1 s. So
it is counted once.
"""

from __future__ import annotations

import gc

_count = gc.get_freeze_count


def freeze() -> None:
    """Freeze what is there."""
    gc.freeze()
    frozen = _count()
    gc.get_freeze_count = lambda: frozen


def thaw() -> None:
    """Give it back; what is frozen is counted again."""
    gc.unfreeze()
    gc.get_freeze_count = _count
