"""What spans that only hold others say once more: the state of a graph before and after each node, the input of the whole trace.

Such copies are most of what a trace store exports. One of them is left out where another record of the conversation says all of it;
what says anything of its own is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Record
from pipelines.ingest.forms.stores.values import decoded

_TELLING = 12
"""Characters from which a text is hardly said twice by chance."""


class Said:
    """The scalars that records of one conversation have said."""

    def __init__(self) -> None:
        self._scalars: set[Any] = set()

    def add(self, value: Any) -> None:
        """Take what a record says, before anything of it is taken out."""
        self._scalars.update(_scalars(value))

    def leave_out(self, record: Record, *fields: str) -> None:
        """Take copies out of these fields of a record, and count them as repeated."""
        for field in fields:
            given = record.value.get(field)
            if given is None:
                continue
            left = self._without(given)
            record.repeated += leaves(given) - leaves(left)
            if left is None:
                del record.value[field]
            else:
                record.value[field] = left

    def _without(self, value: Any) -> Any:
        """A value without its copies; an element of a list that is one leaves null, so that the others keep their places."""
        if isinstance(value, str) or (isinstance(value, dict) and self._is_copy(value)):
            return None if self._is_copy(value) else value
        if isinstance(value, dict):
            left = {key: self._without(inner) for key, inner in value.items() if inner is not None}
            return {key: inner for key, inner in left.items() if inner is not None} or None
        if isinstance(value, list):
            listed = [self._without(inner) for inner in value]
            return listed if any(inner is not None for inner in listed) else None
        return value

    def _is_copy(self, value: str | dict[str, Any]) -> bool:
        """Whether it is said already: a text that is long enough, or an object of which all is said and that has such a text itself.

        What stands beside a copy, as the number of a step, may be said elsewhere by chance.
        """
        texts = [value] if isinstance(value, str) else value.values()
        if not any(isinstance(each, str) and len(each) >= _TELLING for each in texts):
            return False
        return all(scalar in self._scalars for scalar in _scalars(value))


def _scalars(value: Any) -> Iterator[Any]:
    """Every scalar but null, those inside of JSON texts included; true is another than 1."""
    waiting = [value]
    while waiting:
        outer = waiting.pop()
        if isinstance(outer, str) and outer[:1] in ("{", "["):
            outer = decoded(outer)
        if isinstance(outer, dict):
            waiting += outer.values()
        elif isinstance(outer, list):
            waiting += outer
        elif outer is not None:
            yield (outer,) if isinstance(outer, bool) else outer
