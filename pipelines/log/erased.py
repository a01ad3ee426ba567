"""Which events are erased: header, place and time are there, and payload and metadata are `{}`, which says nothing.

Whether such an event was rightly erased is the audit's to say; whoever reads the log asks whether it says anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IS_ERASED = "({0}digest IS NOT NULL AND {0}digest > ''::BLOB)"
"""Whether an event is, as SQL over `events`, to be formatted with what stands before the column: nothing, or `events.`.

Written so that files without an erased event are told by the bounds of the column.
"""


def is_erased(event: Mapping[str, Any]) -> bool:
    """Whether a row of `events` is."""
    return bool(event["digest"])
