"""What of a payload must be hidden so that something stands in it no more: pure, payload and redactions in, redactions out.

The texts of a payload are its strings and the digits of its numbers. A part of a string is hidden by a span, in the recorded string,
JSON in it or not; all of a string, and a number, by its path. The name of a member that holds something is hidden with the value
above it. What is hidden already is not hidden again; and what is found is tried: where something would still stand, because two
redactions leave it between them, more is hidden.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipelines.detect import Span
from pipelines.log.redaction import HIDDEN, Redaction, redact

_TRIES = 8
"""How often more is hidden before it is said that something stands where no redaction reaches."""
_PLACING = frozenset({"target", "path", "span", "method"})
"""Members of a redaction's own payload that say where it hides, and nothing else."""


Find = Callable[[str, str | None], Iterable[Span]]
"""Finds things in a text, which may stand under a member of this name."""
Steps = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing to hide in a payload.

    Attributes:
        redaction: What hides it.
        kind: What it is.
        score: How sure that is.
        before: The sentence before it, as it may be shown.
        found: What is hidden.
        after: The sentence after it.
    """

    redaction: Redaction
    kind: str
    score: float
    before: str
    found: str
    after: str


@dataclass(frozen=True, slots=True)
class Hits:
    """What was found in a payload.

    Attributes:
        hits: What is to be hidden, by path and place.
        is_left: Something stands where no redaction reaches: in the name of a member of the payload itself.
    """

    hits: tuple[Hit, ...] = ()
    is_left: bool = False


def find_hits(
    event_type: str, payload: Mapping[str, Any], applied: Sequence[Redaction], find: Find, *, is_exact: bool = True
) -> Hits:
    """What has to be hidden of a payload so that nothing of what `find` finds stands in it any more.

    Args:
        event_type: Type of the event.
        payload: As recorded.
        applied: Redactions of the event that there are.
        find: Finds in a text.
        is_exact: What `find` finds must not be left in any text; else only what it finds in recorded texts is hidden.
    """
    skipped = _PLACING if event_type.startswith("redaction.applied.") else frozenset[str]()
    shown = redact(payload, applied).payload
    if is_exact and not any(_standing(shown, find, skipped)):
        return Hits()
    hits: dict[Redaction, Hit] = {}
    for steps, value in _leaves(payload, skipped):
        for hit in _hits_of(steps, value, _at(shown, steps), applied, find):
            hits.setdefault(hit.redaction, hit)
    hits = _without_twins(payload, hits)
    if not is_exact:
        return Hits(tuple(hits.values()))
    for _ in range(_TRIES):
        shown = redact(payload, [*applied, *hits]).payload
        more = {steps for steps in _standing(shown, find, skipped) if steps}
        if not more:
            break
        for steps in sorted(more):
            redaction = Redaction(_pointer(steps))
            # what is hidden as a whole and still says it says it in the name: what is above goes
            while redaction in hits and len(steps) > 1:
                steps = steps[:-1]  # noqa: PLW2901 - it is the same search, one level up
                redaction = Redaction(_pointer(steps))
            hits.setdefault(redaction, Hit(redaction, "value", 1.0, "", text_of(_at(payload, steps)), ""))
    shown = redact(payload, [*applied, *hits]).payload
    return Hits(tuple(hits.values()), is_left=any(True for _ in _standing(shown, find, skipped)))


def text_of(value: Any) -> str:
    """A value of a payload as a text: a string as it is, another as JSON."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def read(text: str) -> dict[str, Any]:
    """A payload from its JSON text; numbers with a fraction keep the digits with which they were recorded."""
    payload: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return payload


def sentence(text: str, start: int, end: int, hidden: Iterable[tuple[int, int]], around: int = 60) -> tuple[str, str]:
    """What stands before and after a part of a text, so many code points at most, without what is hidden of it."""
    first, last = max(start - around, 0), min(end + around, len(text))
    covered = list(hidden)
    return _shown(text, first, start, covered), _shown(text, end, last, covered)


def _shown(text: str, first: int, last: int, hidden: Sequence[tuple[int, int]]) -> str:
    pieces = []
    place = first
    for start, end in sorted(hidden):
        if end > place and start < last:
            pieces += [text[place : max(start, place)], HIDDEN]
            place = max(place, end)
    return "".join([*pieces, text[place:last]])


def _hits_of(steps: Steps, value: Any, shown: Any, applied: Sequence[Redaction], find: Find) -> Iterator[Hit]:
    """What is to be hidden of one string, number or name of a member."""
    path = _pointer(steps)
    if isinstance(value, _Name):
        if not steps or isinstance(shown, str):  # no redaction reaches it, or one does
            return
        for each in find(value.text, None):
            yield Hit(Redaction(path), each.kind, each.score, "", value.text, "")
    elif not isinstance(value, str):
        for each in (
            () if isinstance(shown, str) else find(text_of(value), _key(steps))
        ):  # where a text is shown, it is hidden
            yield Hit(Redaction(path), each.kind, each.score, "", text_of(value), "")
    elif shown != HIDDEN or value == HIDDEN:
        covered = [
            (each.start, each.end)
            for each in applied
            if each.path == path and each.start is not None and each.end is not None
        ]
        for each in find(value, _key(steps)):
            if any(start <= each.start and each.end <= end for start, end in covered):
                continue
            before, after = sentence(value, each.start, each.end, covered)
            is_all = (each.start, each.end) == (0, len(value))
            redaction = Redaction(path) if is_all else Redaction(path, each.start, each.end)
            yield Hit(redaction, each.kind, each.score, before, value[each.start : each.end], after)


def _without_twins(payload: Mapping[str, Any], hits: dict[Redaction, Hit]) -> dict[Redaction, Hit]:
    """Without what is hidden with its twin: a part of an utterance's text hides all of its content."""
    if "text" not in payload or "content" not in payload or not any(_top(each) == "text" for each in hits):
        return hits
    return {each: hit for each, hit in hits.items() if _top(each) != "content"}


def _top(redaction: Redaction) -> str:
    return redaction.path.split("/", 2)[1] if redaction.path else ""


def _standing(payload: Mapping[str, Any], find: Find, skipped: frozenset[str]) -> Iterator[Steps]:
    """The places in which something still stands; () where it is the name of a member of the payload itself."""
    for steps, value in _leaves(payload, skipped):
        found = find(value.text, None) if isinstance(value, _Name) else find(text_of(value), _key(steps))
        if any(True for _ in found):
            yield steps


@dataclass(frozen=True, slots=True)
class _Name:
    """The name of a member of what is at some place."""

    text: str


def _leaves(value: Any, skipped: frozenset[str] = frozenset(), steps: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Every string and number with its place, and every name with the place that it is in."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if steps or name not in skipped:
                yield steps, _Name(name)
                yield from _leaves(inner, skipped, (*steps, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(inner, skipped, (*steps, str(place)))
    elif isinstance(value, str | int | float | Decimal) and not isinstance(value, bool):
        yield steps, value


def leaves(value: Any) -> Iterator[tuple[str, str | None]]:
    """Every string and number of a value as a text, and the name of the member that it stands under."""
    return ((text_of(inner), _key(steps)) for steps, inner in _leaves(value) if not isinstance(inner, _Name))


def _key(steps: Steps) -> str | None:
    return next((step for step in reversed(steps) if not step.isdecimal()), None)


def _at(value: Any, steps: Steps) -> Any:
    for step in steps:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return HIDDEN
    return value


def _pointer(steps: Steps) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
