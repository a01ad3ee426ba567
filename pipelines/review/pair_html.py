"""What `pair.html` shows of one pair: what was said before, both sides with their words compared, and their tool calls aligned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pipelines.diff.pair.patch import arguments_patch
from pipelines.diff.pair.wording import token_ops
from pipelines.review.conversation import Message
from pipelines.review.markup import fill_part
from pipelines.review.numbers import metric_name, number
from pipelines.review.pair import AlignedCall, ArgumentChange, Pair, Side
from pipelines.review.words import (
    ARGUMENT_CHANGES,
    FAILURES,
    PAIR_CLASSES,
    TEXT_CLASSES,
    UNIT_CLASSES,
    in_words,
    name_sides,
    pointer_steps,
)

TEXT_SHOWN = 20_000
"""Characters of a side's text that are compared and shown."""
TEXT_OPEN = 4_000
"""Characters of a side's text that are shown without opening anything."""
VALUE_SHOWN = 1_000
"""Characters of one argument that are shown."""
_OPEN = 4
"""Messages before a decision that are shown without opening anything."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is shown of a side's text.

    Attributes:
        parts: Its pieces in order, each with whether only this side has it.
        folded: Those beyond `TEXT_OPEN` characters, to open.
        left_out: Characters that are neither compared nor shown.
        note: What is shown instead of a text; None where there is one.
    """

    parts: Sequence[tuple[str, bool]] = ()
    folded: Sequence[tuple[str, bool]] = ()
    left_out: int = 0
    note: str | None = None

    @property
    def folded_count(self) -> int:
        """Characters that can be opened."""
        return sum(len(text) for text, _ in self.folded)


@dataclass(frozen=True, slots=True)
class Sides:
    """What the two sides of a pair are called.

    Attributes:
        a: The first, within a sentence.
        b: The second.
        title_a: Above the first.
        title_b: Above the second.
        column_a: Above a column of the first.
        column_b: Above a column of the second.
        mark_a: How what only the first has is marked: struck out (a), underlined (b), or as on the other side (one).
        mark_b: Likewise.
        is_blind: Whether nothing may tell which of them happened.
    """

    a: str = "A"
    b: str = "B"
    title_a: str = "A: what happened"
    title_b: str = "B: what was tried"
    column_a: str = "A"
    column_b: str = "B"
    mark_a: str = "a"
    mark_b: str = "b"
    is_blind: bool = False


KNOWN = Sides()
"""Sides by their names."""


def render_pair(pair: Pair, sides: Sides = KNOWN) -> str:
    """The whole pair, its sides called as given."""
    return fill_part("pair.html", "pair", view_pair(pair, sides))


def view_pair(pair: Pair, sides: Sides = KNOWN) -> dict[str, Any]:
    """The values of the template."""
    said_a, said_b = compare_words(pair.a.text, pair.b.text)
    if pair.status != "ok":
        what = "Nobody could be asked" if pair.status == "not_asked" else f"{sides.b} gave no answer"
        said_b = Said(note=f"{what}: {in_words(FAILURES, pair.reason)}.")
    return {
        "sides": sides,
        "title": _title(pair, sides),
        "labels": " · ".join(f"{name}: {value}" for name, value in pair.labels.items()),
        "unit_id": pair.unit_id,
        "unit": pair.unit,
        **_before(pair),
        "transcripts": [
            (letter, transcript)
            for letter, transcript in ((sides.a, pair.transcript_a), (sides.b, pair.transcript_b))
            if transcript is not None
        ],
        "a": {"said": said_a, "facts": _facts(pair.a, sides)},
        "b": {"said": said_b, "facts": _facts(pair.b, sides)},
        "call_count": f"{len(pair.calls)}{' and more' if pair.has_more_calls else ''}",
        "calls": [_call(call, sides) for call in pair.calls],
        "calls_note": _calls_note(pair, sides),
    }


def compare_words(a: str | None, b: str | None) -> tuple[Said, Said]:
    """Both texts with the words that only they have marked. None is said to be no text.

    Beyond `TEXT_SHOWN` characters a text is cut, and says so.
    """
    if a is None or b is None:
        return _said(a), _said(b)
    ops = token_ops(a[:TEXT_SHOWN], b[:TEXT_SHOWN])
    parts_a = [(op.text_a, op.op != "equal") for op in ops if op.op != "insert"]
    parts_b = [(op.text_b, op.op != "equal") for op in ops if op.op != "delete"]
    return _said(a, parts_a), _said(b, parts_b)


def _said(text: str | None, parts: Sequence[tuple[str, bool]] | None = None) -> Said:
    if not text:
        return Said(note="no text" if text is None else "an empty text")
    shown, folded = _folded(parts or [(text[:TEXT_SHOWN], False)])
    return Said(shown, folded, max(len(text) - TEXT_SHOWN, 0))


def _folded(parts: Sequence[tuple[str, bool]]) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Pieces up to `TEXT_OPEN` characters, and the rest."""
    shown: list[tuple[str, bool]] = []
    folded: list[tuple[str, bool]] = []
    room = TEXT_OPEN
    for text, is_marked in parts:
        shown += [(text[:room], is_marked)] if room else []
        folded += [(text[room:], is_marked)] if len(text) > room else []
        room = max(room - len(text), 0)
    return shown, folded


def _title(pair: Pair, sides: Sides) -> str:
    number_of = pair.decision if pair.unit == "decision" else pair.turn
    place = pair.unit.capitalize() + (f" {number_of}" if number_of is not None else "")
    words = [name_sides(in_words(UNIT_CLASSES, pair.unit_class), sides.a, sides.b)]
    if pair.text_class is not None:
        words.append(in_words(TEXT_CLASSES, pair.text_class))
    return f"{place}: {'; '.join(words)}"


def _before(pair: Pair) -> dict[str, Any]:
    """The last messages before a decision or turn, and those before them, to open."""
    context = pair.context
    if pair.unit == "conversation" or context is None:
        return {"is_before_lost": pair.unit != "conversation", "shown_before": None, "earlier": None}
    shown: tuple[Message, ...] = (*context.first, *context.last)[-_OPEN:]
    of_last = min(len(context.last), len(shown))
    of_first = len(shown) - of_last
    earlier = replace(
        context,
        first=context.first[: len(context.first) - of_first],
        last=context.last[: len(context.last) - of_last],
    )
    return {"is_before_lost": False, "shown_before": shown, "earlier": earlier}


def _facts(side: Side, sides: Sides) -> str:
    """What is known of a side beside what it said and called, which often tells which side it is: a blind reviewer is told none of it."""
    if sides.is_blind:
        return ""
    facts = [
        ("tool calls", side.calls, ""),
        ("tokens written", side.output_tokens, ""),
        ("latency", side.latency_ms, " ms"),
        ("cost", side.cost_usd, " USD"),
    ]
    shown = [f"{name}: {number(value)}{unit}" for name, value, unit in facts if value is not None]
    shown += [f"{metric_name(name)}: {number(value)}" for name, value in sorted(side.metrics.items())]
    if side.outcome is not None:
        shown.append("good outcome" if side.outcome else "bad outcome")
    return " · ".join(shown)


def _calls_note(pair: Pair, sides: Sides) -> str | None:
    if pair.calls:
        return f"Only the first {len(pair.calls):,} are shown." if pair.has_more_calls else None
    return (
        "Neither side called a tool."
        if pair.status == "ok"
        else f"There is nothing to compare {sides.a}'s tool calls with."
    )


def _call(call: AlignedCall, sides: Sides) -> dict[str, Any]:
    changed = {step for change in call.changes for step in pointer_steps(change.path)[:1]}
    return {
        "words": name_sides(in_words(PAIR_CLASSES, call.pair_class), sides.a, sides.b),
        "is_same": call.pair_class == "same",
        "is_renamed": call.name_a != call.name_b,
        "a": _call_box(call.name_a, call.arguments_a, call.position_a, changed, is_sorted=sides.is_blind),
        "b": _call_box(call.name_b, call.arguments_b, call.position_b, changed, is_sorted=sides.is_blind),
        "changes": [_change(change, sides) for change in call.changes],
        "patch": _patch(call) if call.changes else [],
    }


def _call_box(
    name: str | None, arguments: str | None, position: int | None, changed: set[str], *, is_sorted: bool
) -> dict[str, Any] | None:
    """A call; `is_sorted`: its arguments by their names, since the order in which they are written is a side's own."""
    if name is None or position is None:
        return None
    lines = [(line, key in changed) for key, line in _argument_lines(arguments, is_sorted=is_sorted)]
    return {"name": name, "number": position + 1, "lines": lines}


def _argument_lines(arguments: str | None, *, is_sorted: bool) -> list[tuple[str | None, str]]:
    """(top-level name, line) of arguments, also where they were recorded as text; what is no object is one line as it is."""
    if arguments is None:
        return []
    value: Any = arguments
    with suppress(ValueError, RecursionError):
        while isinstance(value, str):
            value = json.loads(value)
    if not isinstance(value, dict):
        return [(None, _short(_shown(value, is_sorted=True) if is_sorted else arguments))]
    items = sorted(value.items()) if is_sorted else value.items()
    return [(name, f"{name}: {_short(_shown(item, is_sorted=is_sorted))}") for name, item in items]


def _shown(value: Any, *, is_sorted: bool) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=is_sorted)


def _short(value: str) -> str:
    left_out = len(value) - VALUE_SHOWN
    return f"{value[:VALUE_SHOWN]} … {left_out:,} more characters" if left_out > 0 else value


def _change(change: ArgumentChange, sides: Sides) -> dict[str, str | None]:
    return {
        "name": " › ".join(pointer_steps(change.path)) or "all arguments",
        "words": name_sides(in_words(ARGUMENT_CHANGES, change.kind), sides.a, sides.b),
        "old": None if change.kind == "arg_added" else _short(change.old),
        "new": None if change.kind == "arg_removed" else _short(change.new),
    }


def _patch(call: AlignedCall) -> list[str]:
    """The same for a program, an operation a line; none for arguments of which only the beginning is shown."""
    if max(len(call.arguments_a or ""), len(call.arguments_b or "")) > TEXT_SHOWN:
        return []
    patch = arguments_patch(call.arguments_a, call.arguments_b) or []
    return [json.dumps(op, ensure_ascii=False) for op in patch]
