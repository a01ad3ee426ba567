"""A value that is to be hidden, or looked for: the one rule of where it stands in a text.

Letters are the same in capitals and in small, composed or not; a value of fewer than four code points is too short for that: it stands
only as a word of its own, in its own case. A value stands in a text in whatever way the text spells it (`spelling.readings`), and not in
one that is cut in two.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.errors import BadInputError
from pipelines.log.redaction import HIDDEN
from pipelines.redaction.spelling import Spelled, compose, fold, mapped, mapped_readings

SHORT, LEAST = 4, 2
"""Code points: below the first a value is a word of its own, below the second it is none."""


class Value:
    """A value.

    Args:
        text: As somebody wrote it.

    Raises:
        BadInputError: It stands everywhere (nothing, spaces, one character), or in what stands for hidden values.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._is_word = len(text) < SHORT
        self._form = compose if self._is_word else fold
        self._wanted = self._form(text)
        if len(text.strip()) < LEAST:
            raise BadInputError("the value has fewer than two characters: it would be found everywhere")
        if self.stands_in(HIDDEN):
            raise BadInputError(f"the value is a part of {HIDDEN!r}, which stands for what is hidden")

    def stands_in(self, text: str | Spelled) -> bool:
        """Whether it stands in a text, in any spelling."""
        spelled = Spelled(text) if isinstance(text, str) else text
        formed = spelled.composed if self._is_word else spelled.folded
        return any(True for each in formed for _ in self._places(each))

    def find(self, text: str) -> list[tuple[int, int]]:
        """Where in a text: half-open ranges of its code points, ascending, each once; they may overlap."""
        if not self.stands_in(text):
            return []
        found = set()
        for reading in mapped_readings(text):
            formed = mapped(reading.text, self._form)
            for place in self._places(formed.text):
                first, last = formed.starts[place], formed.ends[place + len(self._wanted) - 1] - 1
                found.add((reading.starts[first], reading.ends[last]))
        return sorted(found)

    def _places(self, formed: str) -> Iterator[int]:
        place = formed.find(self._wanted)
        while place >= 0:
            end = place + len(self._wanted)
            if not self._is_word or not (formed[place - 1 : place].isalnum() or formed[end : end + 1].isalnum()):
                yield place
            place = formed.find(self._wanted, place + 1)


def can_be_found(text: str) -> bool:
    """Whether a text is long enough to be looked for, and no part of what stands for hidden values."""
    try:
        Value(text)
    except BadInputError:
        return False
    return True
