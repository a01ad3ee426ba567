"""What a detector is, and how the spans of several become one list without overlaps.

Nothing here knows a class of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A value that was found in a text.

    Attributes:
        start: Its first code point.
        end: The code point after its last.
        kind: Its class, such as `email`.
        score: How sure the detector is, above 0 and at most 1: 0.9 and more where the value proves itself (a check digit, a named form),
            0.5 to 0.9 where its surroundings speak for it.
    """

    start: int
    end: int
    kind: str
    score: float


class Detector(Protocol):
    """Finds the values of one class, or of several.

    Attributes:
        name: What it is called where detectors are chosen; a detector of one class is called as the class.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 -- an attribute, described above

    def find(self, text: str, key: str | None = None) -> Iterable[Span]:
        """Spans of the text, in any order.

        Args:
            text: Any text; it may be hostile.
            key: Name of the JSON member under which the text stands, where it stands under one: `phone` of `{"phone": "5551234567"}`.
        """
        ...


def find_spans(text: str, detectors: Sequence[Detector], key: str | None = None) -> list[Span]:
    """What the detectors find in a text.

    Args:
        text: Any text.
        detectors: Who looks.
        key: Name of the JSON member under which the text stands, or None.

    Returns:
        Spans in the order of the text, none of which overlaps another. Spans that overlapped are one, from the first code point of any to
        the last, so that nothing that was found is left out; class and score are those of the surest, then of the longest.
    """
    found = list(chain.from_iterable(detector.find(text, key) for detector in detectors))
    if len(found) < 2:
        return found
    found.sort(key=lambda span: (span.start, -span.end))
    merged: list[Span] = []
    best = found[0]
    start, end = best.start, best.end
    for span in found[1:]:
        if span.start < end:
            best = max(best, span, key=lambda each: (each.score, each.end - each.start))
            end = max(end, span.end)
            continue
        merged.append(Span(start, end, best.kind, best.score))
        best, start, end = span, span.start, span.end
    merged.append(Span(start, end, best.kind, best.score))
    return merged
