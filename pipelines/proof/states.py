"""The state of a month, by what the home log says happened to it. Pure: who reads the log, and where, is none of its business."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

AFTER = {"opened": "open", "unsealed": "open", "closing": "closing", "sealed": "sealed", "files": "sealed"}
"""A month's state after an entry of each kind."""


class MonthEntry(Protocol):
    """What an entry of the home log says of a month."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def month(self) -> str | None:
        """To which month, YYYY-MM; None for what is of no month."""

    @property
    def generation(self) -> int | None:
        """Which opening of the month; None likewise."""


def final_states(entries: Iterable[MonthEntry]) -> dict[str, tuple[str, int]]:
    """State and generation of each month that the entries, in order, speak of, after all of them."""
    return {each.month: (AFTER[each.kind], each.generation or 0) for each in entries if each.month is not None}
