"""The address of the review page: which version, which pair, and which pairs were chosen. A page is opened, and sent to others, by it.

An address is written by anybody: what it names and is not there is left out, or told by who looks for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipelines.review.changes import CHANGED, MOVES, Filter

Params = MutableMapping[str, Any]
"""Names with a text or a list of texts; to set one changes the address."""
VIEWS = ("pairs", "judge")
"""What the page shows: all pairs with their sides named, or the queue, blind."""
_RANGE = re.compile(r"(\d{1,3})-(\d{1,3})")
_FOLLOW = {
    "experiment": ("version", "unit"),
    **dict.fromkeys(("version", "class", "segment", "tool", "similar", "moved", "all", "order"), ("unit",)),
}
"""What a new value of one makes meaningless."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an address asks for.

    Attributes:
        experiment: Name; None when not said.
        version_id: Version; None when not said.
        unit_id: Pair; None when not said.
        view: One of `VIEWS`; a pair that is named alone is judged.
        chosen: Which pairs.
        moved: The metric and its move among them, as they are written; None when not said.
        order: Order of pairs; None when not said.
    """

    experiment: str | None
    version_id: str | None
    unit_id: str | None
    view: str
    chosen: Filter
    moved: str | None
    order: str | None


class Location:
    """The address as it is now.

    Args:
        params: The page's own.
    """

    def __init__(self, params: Params) -> None:
        self._params = params

    @property
    def wanted(self) -> Wanted:
        """What it asks for."""
        unit_id = self._one("unit")
        view = self._one("view")
        low, high = self._similarity()
        move, _, metric = (self._one("moved") or "").partition(":")
        return Wanted(
            experiment=self._one("experiment"),
            version_id=self._one("version"),
            unit_id=unit_id,
            view=view if view in VIEWS else "judge" if unit_id else "pairs",
            chosen=Filter(
                classes=self._list("class"),
                segments=self._list("segment"),
                tools=self._list("tool"),
                similarity=(low, high),
                metric=metric if move in MOVES else None,
                move=move if move in MOVES else "any",
                is_all=self._one("all") == "1",
            ),
            moved=self._one("moved"),
            order=self._one("order"),
        )

    def keeping(self, name: str) -> Callable[[Any], None]:
        """A function that keeps a widget's value in the address, as what `wanted` reads under a name."""
        return partial(self.keep, name)

    def keep(self, name: str, value: Any) -> None:
        """Keep one value: None, False or nothing takes it out."""
        for each in _FOLLOW.get(name, ()):
            self._put(each, None)
        self._put(name, _written(value))

    def _put(self, name: str, written: str | None) -> None:
        if written:
            if self._params.get(name) != written:
                self._params[name] = written
        elif name in self._params:
            del self._params[name]

    def _one(self, name: str) -> str | None:
        return next(iter(self._all(name)), None)

    def _all(self, name: str) -> tuple[str, ...]:
        value = self._params.get(name)
        values = [] if value is None else value if isinstance(value, list) else [value]
        return tuple(text for text in values if text)

    def _list(self, name: str) -> tuple[str, ...]:
        return tuple(_unescaped(each) for text in self._all(name) for each in text.split(",") if each)

    def _similarity(self) -> tuple[float, float]:
        found = _RANGE.fullmatch(self._one("similar") or "")
        if found is None:
            return CHANGED.similarity
        low, high = sorted(min(int(each), 100) / 100 for each in found.groups())
        return low, high


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace(",", "%2C")


def _unescaped(text: str) -> str:
    return text.replace("%2C", ",").replace("%25", "%")


def chosen(
    classes: Sequence[str],
    segments: Sequence[str],
    tools: Sequence[str],
    per_cent: Sequence[float],
    moved: str | None,
    *,
    is_all: bool,
) -> Filter:
    """What widgets choose: their values, similarity in per cent, a metric's move as an address has it."""
    move, _, metric = (moved or "").partition(":")
    low, high = per_cent
    return Filter(
        tuple(classes),
        tuple(segments),
        tuple(tools),
        (low / 100, high / 100),
        metric or None,
        move or CHANGED.move,
        is_all,
    )


def _written(value: Any) -> str | None:
    """A widget's value as an address has it; a pair of per cent is a range, and a list one text: the notebook hears of each name once."""
    if isinstance(value, bool):
        return "1" if value else None
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, (int, float)) for each in value):
        low, high = value
        return None if (low, high) == (0, 100) else f"{low:.0f}-{high:.0f}"
    if isinstance(value, (list, tuple)):
        return ",".join(_escaped(str(each)) for each in value) or None
    return None if value is None else str(value)
