"""Render one pair as HTML: what was said before, both sides with their words compared, and their tool calls aligned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pipelines.diff.pair.patch import arguments_patch
from pipelines.diff.pair.wording import token_ops
from pipelines.review.conversation import Conversation, Message
from pipelines.review.markup import Content, Markup, cut, details, join, tag, text
from pipelines.review.numbers import metric_name, number
from pipelines.review.pair import AlignedCall, ArgumentChange, Pair, Side
from pipelines.review.words import (
    ARGUMENT_CHANGES,
    FAILURES,
    PAIR_CLASSES,
    TEXT_CLASSES,
    UNIT_CLASSES,
    in_words,
    pointer_steps,
)

TEXT_SHOWN = 20_000
"""Characters of a side's text that are compared and shown."""
VALUE_SHOWN = 1_000
"""Characters of one argument that are shown."""
_OPEN = 4
"""Messages before a decision that are shown without opening anything."""
_ROLES = {"system": "Instructions", "user": "User", "assistant": "Agent", "tool": "Tool answer"}


def render_pair(pair: Pair) -> Markup:
    """The whole pair."""
    return tag(
        "section",
        _title(pair),
        _before(pair),
        _transcripts(pair),
        tag("h3", "What the two sides said"),
        _sides(pair),
        tag("h3", f"Tool calls, side by side ({len(pair.calls)}{' and more' if pair.has_more_calls else ''})"),
        _calls(pair),
        css="rf rf-pair",
    )


def _title(pair: Pair) -> Markup:
    number_of = pair.decision if pair.unit == "decision" else pair.turn
    place = pair.unit.capitalize() + (f" {number_of}" if number_of is not None else "")
    words = [in_words(UNIT_CLASSES, pair.unit_class)]
    if pair.text_class is not None:
        words.append(in_words(TEXT_CLASSES, pair.text_class))
    labels = [f"{name}: {value}" for name, value in pair.labels.items()]
    return join(
        [
            tag("h2", f"{place}: {'; '.join(words)}"),
            tag("p", " · ".join(labels), css="rf-note"),
            tag("p", tag("code", pair.unit_id), css="rf-note"),
        ]
    )


def _before(pair: Pair) -> Markup | None:
    if pair.unit == "conversation":
        return None
    if pair.context is None:
        return tag("p", f"What was said before this {pair.unit} is not in the lake any more.", css="rf-note")
    messages = [*pair.context.first, *pair.context.last]
    shown = messages[-_OPEN:]
    earlier = pair.context.count - len(shown)
    parts: list[Content] = [tag("h3", "What was said before")]
    if earlier:
        parts.append(details(f"{earlier:,} earlier messages", _messages(pair.context, skip_last=len(shown))))
    return join([*parts, *(_message(message) for message in shown)])


def _messages(conversation: Conversation, *, skip_last: int = 0) -> Markup:
    gap = tag("p", f"… {conversation.left_out:,} messages are not shown …", css="rf-note")
    messages = [*map(_message, conversation.first)]
    if conversation.left_out:
        messages.append(gap)
    messages += map(_message, conversation.last)
    return join(messages[: len(messages) - skip_last])


def _message(message: Message) -> Markup:
    role = _ROLES.get(message.role, message.role)
    more = tag("p", f"… {message.left_out:,} more characters", css="rf-note") if message.left_out else None
    calls = [
        tag("div", tag("b", name), " ", tag("span", arguments), css="rf-asked") for name, arguments in message.calls
    ]
    said = tag("div", message.text, css="rf-text") if message.text else None
    body = tag("div", said, *calls, more, css="rf-said", tabindex="0")
    return tag(
        "div",
        tag("div", role, css="rf-role"),
        body,
        css=f"rf-message rf-{'user' if message.role == 'user' else 'other'}",
    )


def _sides(pair: Pair) -> Markup:
    text_a, text_b = compare_words(pair.a.text, pair.b.text)
    if pair.status != "ok":
        what = "Nobody could be asked" if pair.status == "not_asked" else "B gave no answer"
        text_b = tag("p", f"{what}: {in_words(FAILURES, pair.reason)}.", css="rf-note")
    return tag(
        "div",
        _side("A: what happened", text_a, pair.a, "a"),
        _side("B: what was tried", text_b, pair.b, "b"),
        css="rf-sides",
    )


def _side(title: str, said: Markup, side: Side, name: str) -> Markup:
    return tag("div", tag("h4", title), said, _facts(side), css=f"rf-side rf-side-{name}")


def _facts(side: Side) -> Markup | None:
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
    return tag("p", " · ".join(shown), css="rf-note") if shown else None


def compare_words(a: str | None, b: str | None) -> tuple[Markup, Markup]:
    """Both texts with the words that only they have marked: `del` in A, `ins` in B. None is said to be no text.

    Beyond `TEXT_SHOWN` characters a text is cut, and says so.
    """
    if a is None or b is None:
        return _said(None if a is None else [text(a)], a), _said(None if b is None else [text(b)], b)
    ops = token_ops(a[:TEXT_SHOWN], b[:TEXT_SHOWN])
    marked_a = [text(op.text_a) if op.op == "equal" else tag("del", op.text_a) for op in ops if op.op != "insert"]
    marked_b = [text(op.text_b) if op.op == "equal" else tag("ins", op.text_b) for op in ops if op.op != "delete"]
    return _said(marked_a, a), _said(marked_b, b)


def _said(parts: Sequence[Markup] | None, whole: str | None) -> Markup:
    if parts is None or whole is None:
        return tag("p", "no text", css="rf-note")
    if not whole:
        return tag("p", "an empty text", css="rf-note")
    left_out = max(len(whole) - TEXT_SHOWN, 0)
    shown = [text(whole[:TEXT_SHOWN])] if left_out and len(parts) == 1 else parts
    more = (
        tag("p", f"… {left_out:,} more characters are neither compared nor shown", css="rf-note") if left_out else None
    )
    return join([tag("div", *shown, css="rf-text"), more])


def _calls(pair: Pair) -> Markup:
    if not pair.calls:
        same = (
            "Neither side called a tool." if pair.status == "ok" else "There is nothing to compare A's tool calls with."
        )
        return tag("p", same, css="rf-note")
    more = tag("p", f"Only the first {len(pair.calls):,} are shown.", css="rf-note") if pair.has_more_calls else None
    return join([*(_call(call) for call in pair.calls), more])


def _call(call: AlignedCall) -> Markup:
    changed = {pointer_steps(change.path)[0] for change in call.changes if change.path}
    is_whole = any(not change.path for change in call.changes)
    is_renamed = call.name_a != call.name_b
    mark_a, mark_b = (name if is_renamed or is_whole else None for name in ("del", "ins"))
    box_a = _call_box(call.name_a, call.arguments_a, call.position_a, "del", changed, mark_a if is_renamed else None)
    box_b = _call_box(call.name_b, call.arguments_b, call.position_b, "ins", changed, mark_b if is_renamed else None)
    kind = "same" if call.pair_class == "same" else "changed"
    return tag(
        "div",
        tag("div", in_words(PAIR_CLASSES, call.pair_class), css=f"rf-class rf-class-{kind}"),
        tag(
            "div",
            tag("div", box_a, css="rf-side rf-side-a"),
            tag("div", box_b, css="rf-side rf-side-b"),
            css="rf-sides",
        ),
        _changes(call.changes),
        _patch(call) if call.changes else None,
        css="rf-call",
    )


def _call_box(
    name: str | None, arguments: str | None, position: int | None, mark: str, changed: set[str], name_mark: str | None
) -> Markup:
    if name is None or position is None:
        return tag("p", "no call", css="rf-note")
    title = tag(name_mark, name) if name_mark else text(name)
    lines = [
        tag("div", tag(mark, line) if key in changed else line, css="rf-argument")
        for key, line in _argument_lines(arguments)
    ]
    return join([tag("div", tag("b", title), tag("small", f"call {position + 1}"), css="rf-tool"), *lines])


def _argument_lines(arguments: str | None) -> list[tuple[str | None, str]]:
    """(top-level name, line) of arguments, also where they were recorded as text; what is no object is one line as it is."""
    if arguments is None:
        return []
    value: Any = arguments
    with suppress(ValueError, RecursionError):
        while isinstance(value, str):
            value = json.loads(value)
    if not isinstance(value, dict):
        return [(None, _short(arguments))]
    return [(name, f"{name}: {_short(_shown(item))}") for name, item in value.items()]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(value: str) -> str:
    shown, left_out = cut(value, VALUE_SHOWN)
    return f"{shown} … {left_out:,} more characters" if left_out else shown


def _changes(changes: Sequence[ArgumentChange]) -> Markup | None:
    if not changes:
        return None
    rows = [
        tag(
            "tr",
            tag("th", " › ".join(pointer_steps(change.path)) or "all arguments", scope="row"),
            tag("td", in_words(ARGUMENT_CHANGES, change.kind)),
            tag("td", tag("del", _short(change.old)) if change.kind != "arg_added" else None),
            tag("td", tag("ins", _short(change.new)) if change.kind != "arg_removed" else None),
        )
        for change in changes
    ]
    head = tag("tr", *(tag("th", name, scope="col") for name in ("Argument", "", "A", "B")))
    return tag("table", tag("thead", head), tag("tbody", *rows), css="rf-changes")


def _patch(call: AlignedCall) -> Markup | None:
    """The same for a program, to open; not for arguments of which only the beginning is shown."""
    if max(len(call.arguments_a or ""), len(call.arguments_b or "")) > TEXT_SHOWN:
        return None
    patch = arguments_patch(call.arguments_a, call.arguments_b)
    if not patch:
        return None
    lines = (tag("div", json.dumps(op, ensure_ascii=False), css="rf-argument") for op in patch)
    return details("As a JSON Patch (RFC 6902) of the arguments", *lines)


def _transcripts(pair: Pair) -> Markup | None:
    """The whole conversations, to open."""
    parts = []
    if pair.transcript_a is not None:
        parts.append(
            details(f"All of A's conversation ({pair.transcript_a.count:,} messages)", _messages(pair.transcript_a))
        )
    if pair.transcript_b is not None:
        parts.append(
            details(f"All of B's conversation ({pair.transcript_b.count:,} messages)", _messages(pair.transcript_b))
        )
    return join(parts) if parts else None
