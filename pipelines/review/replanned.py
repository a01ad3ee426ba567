"""One re-planned decision as a person reads it: the context in short, both actions side by side, and what differs.

Reads what `pipelines.replay.replan` brings; asks nobody.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any

from pipelines.canonical.calls import Canonicaliser
from pipelines.canonical.jcs import canonical_text
from pipelines.diff.pair.align import Alignment, CallPair, ToolCall, align
from pipelines.diff.pair.classify import classify
from pipelines.diff.pair.text import compare_texts
from pipelines.diff.pair.wording import token_ops
from pipelines.replay.replan import Action, Replanned
from pipelines.review.words import ARGUMENT_CHANGES, PAIR_CLASSES, TEXT_CLASSES, UNIT_CLASSES, in_words

FIRST, LAST = 2, 6
"""Messages of the context that are shown from its beginning and its end."""
_WIDTH = 100
_ROLE = 11
_MESSAGE_LINES = 4
_COLUMN = (_WIDTH - 3) // 2
_EQUAL_KEPT = 60
"""Characters kept on each side of an unchanged stretch of text."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A draw beside what was recorded.

    Attributes:
        unit_class: What changed in the tool calls, as a code.
        alignment: The calls of both sides, paired.
        text_class: How the texts differ, as a code; None when a side has none.
        sim_tok: Share of words in common, 0 to 1; None likewise.
    """

    unit_class: str
    alignment: Alignment
    text_class: str | None
    sim_tok: float | None


def compare_draws(replanned: Replanned) -> tuple[Compared | None, ...]:
    """Compare every draw with the recorded action; None for a draw that failed."""
    reader = Canonicaliser()
    recorded = replanned.recorded
    texts = compare_texts([recorded.text] * len(replanned.draws), [draw.text for draw in replanned.draws]).to_pylist()
    compared: list[Compared | None] = []
    for draw, text in zip(replanned.draws, texts, strict=True):
        if draw.status != "ok":
            compared.append(None)
            continue
        alignment = align(_calls(recorded), _calls(draw), reader)
        compared.append(Compared(classify(alignment).unit_class, alignment, text["text_class"], text["sim_tok"]))
    return tuple(compared)


def describe_replan(replanned: Replanned) -> dict[str, Any]:
    """The decision and its comparison as JSON values."""
    described = asdict(replanned)
    described["draws"] = [
        {**draw, "compared": None if compared is None else _plain(compared)}
        for draw, compared in zip(described["draws"], compare_draws(replanned), strict=True)
    ]
    return described


def render_replan(replanned: Replanned) -> str:
    """The decision as lines of at most about 100 characters."""
    compared = compare_draws(replanned)
    verified = {True: "as sent (verified)", False: "not as sent", None: "not verifiable: its hash was not recorded"}
    lines = [
        f"{replanned.aggregate_id}  decision {replanned.decision}, turn {replanned.turn}",
        f"A  recorded{f', {replanned.model}' if replanned.model else ''}",
        f"B  {replanned.candidate}",
        f"context  {len(replanned.context):,} messages, {verified[replanned.context_verified]}",
        "",
        *_context(replanned),
        "",
        *_side_by_side(replanned),
        "",
        *_differences(replanned.recorded, replanned.draws[0], compared[0]),
    ]
    if len(replanned.draws) > 1:
        lines += ["", *_spread(replanned, compared)]
    return "\n".join(line.rstrip() for line in lines)


def _calls(action: Action) -> list[ToolCall]:
    return [ToolCall(place, 0, name, arguments) for place, (name, arguments) in enumerate(action.tool_calls)]


def _context(replanned: Replanned) -> list[str]:
    messages = replanned.context
    cut = max(len(messages) - FIRST - LAST, 0)
    lines = [line for message in messages[:FIRST] for line in _message(message)]
    if cut:
        lines.append(f"{'':<{_ROLE}}… {cut:,} messages left out …")
    return lines + [line for message in messages[max(FIRST, len(messages) - LAST) :] for line in _message(message)]


def _message(message: Mapping[str, Any]) -> list[str]:
    content = message.get("content")
    text = content if isinstance(content, str) else "" if content is None else json.dumps(content, ensure_ascii=False)
    parts = [text] if text else []
    parts += [f"→ {call['function']['name']} {call['function']['arguments']}" for call in message.get("tool_calls", ())]
    lines = [line for part in parts for line in _short(part, _WIDTH - _ROLE)]
    return [f"{message['role'] if number == 0 else '':<{_ROLE}}{line}" for number, line in enumerate(lines or [""])]


def _short(text: str, width: int, most: int = _MESSAGE_LINES) -> list[str]:
    """The beginning of a text, in lines; what is left out is counted."""
    lines = [piece for line in text[: width * (most + 1)].splitlines() for piece in wrap(line, width) or [""]]
    if len(lines) <= most and len(text) <= width * (most + 1):
        return lines
    shown = lines[:most]
    left = len(text) - sum(map(len, shown))
    return [*shown, f"… {left:,} characters more"]


def _side_by_side(replanned: Replanned) -> list[str]:
    draw = replanned.draws[0]
    title = "B would do" if len(replanned.draws) == 1 else f"B would do (draw 1 of {len(replanned.draws)})"
    left = ["A did", *_action(replanned.recorded)]
    right = [title, *_action(draw)]
    height = max(len(left), len(right))
    left += [""] * (height - len(left))
    right += [""] * (height - len(right))
    lines = [f"{a:<{_COLUMN}} │ {b}" for a, b in zip(left, right, strict=True)]
    return [lines[0], f"{'─' * _COLUMN}─┼─{'─' * _COLUMN}", *lines[1:]]


def _action(action: Action) -> list[str]:
    if action.status != "ok":
        return _short(f"no answer: {action.reason}. {action.detail or ''}", _COLUMN)
    lines = _short(action.text, _COLUMN, most=12) if action.text else []
    for name, arguments in action.tool_calls:
        lines += _short(f"→ {name} {arguments}", _COLUMN, most=6)
    spent = [f"{action.output_tokens:,} tokens"] if action.output_tokens is not None else []
    spent += [f"{action.latency_ms:,.0f} ms"] if action.latency_ms is not None else []
    spent += [f"{action.cost_usd:.6g} USD"] if action.cost_usd is not None else []
    return [*(lines or ["(says and calls nothing)"]), *([", ".join(spent)] if spent else [])]


def _differences(recorded: Action, draw: Action, compared: Compared | None) -> list[str]:
    if compared is None:
        return ["nothing to compare: B gave no answer"]
    lines = [f"tool calls: {in_words(UNIT_CLASSES, compared.unit_class)}"]
    for pair in compared.alignment.pairs:
        lines += _pair(pair)
    if compared.text_class is None:
        who = "both" if recorded.text is None and draw.text is None else "A" if recorded.text is None else "B"
        return [*lines, "text: neither side says anything" if who == "both" else f"text: {who} says nothing"]
    share = f", {compared.sim_tok:.0%} of the words in common" if compared.sim_tok is not None else ""
    lines.append(f"text: {in_words(TEXT_CLASSES, compared.text_class)}{share}")
    if compared.text_class != "identical":
        lines += [f"  {line}" for line in wrap(_marked(recorded.text or "", draw.text or ""), _WIDTH - 2)]
    return lines


def _pair(pair: CallPair) -> list[str]:
    call = pair.a or pair.b
    assert call is not None
    names = (
        call.name
        if pair.a is None or pair.b is None or pair.a.name == pair.b.name
        else f"{pair.a.name} → {pair.b.name}"
    )
    lines = [f"  {in_words(PAIR_CLASSES, pair.pair_class):<28}{names}"]
    for op in pair.arg_ops:
        old = "" if op.op == "arg_added" else canonical_text(op.old)
        new = "" if op.op == "arg_removed" else canonical_text(op.new)
        change = f"{old} → {new}" if old and new else old or new
        lines += _short(f"    {in_words(ARGUMENT_CHANGES, op.op):<14}{op.path or '(all)'}  {change}", _WIDTH, most=2)
    return lines


def _marked(a: str, b: str) -> str:
    """Both texts in one: [-only A-] {+only B+}, long stretches that both share cut short."""
    parts = []
    for op in token_ops(a, b):
        if op.op == "delete":
            parts.append(f"[-{op.text_a.rstrip()}-] ")
        elif op.op == "insert":
            parts.append(f"{{+{op.text_b.rstrip()}+}} ")
        elif len(op.text_a) > 2 * _EQUAL_KEPT + 3:
            parts.append(f"{op.text_a[:_EQUAL_KEPT]} … {op.text_a[-_EQUAL_KEPT:]}")
        else:
            parts.append(op.text_a)
    return "".join(parts)


def _spread(replanned: Replanned, compared: tuple[Compared | None, ...]) -> list[str]:
    """How often each different action came, the most frequent first."""
    counted: Counter[str] = Counter()
    for draw, each in zip(replanned.draws, compared, strict=True):
        if each is None:
            counted[f"no answer: {draw.reason}"] += 1
        else:
            calls = ", ".join(name for name, _ in draw.tool_calls) or "text alone"
            counted[f"{in_words(UNIT_CLASSES, each.unit_class)}: {calls}"] += 1
    texts = len({draw.text for draw in replanned.draws if draw.status == "ok" and draw.text is not None})
    costs = [draw.cost_usd for draw in replanned.draws if draw.cost_usd is not None]
    lines = [
        f"{len(replanned.draws)} draws of B, against A",
        *(f"  {n:>3} ×  {what}" for what, n in counted.most_common()),
    ]
    lines.append(f"  {texts} different text{'' if texts == 1 else 's'}")
    return [*lines, f"  {sum(costs):.6g} USD in all"] if costs else lines


def _plain(compared: Compared) -> dict[str, Any]:
    return {
        "unit_class": compared.unit_class,
        "text_class": compared.text_class,
        "sim_tok": compared.sim_tok,
        "calls": [
            {
                "class": pair.pair_class,
                "name_a": pair.a.name if pair.a else None,
                "name_b": pair.b.name if pair.b else None,
                "arguments_a": pair.a.arguments if pair.a else None,
                "arguments_b": pair.b.arguments if pair.b else None,
                "changes": [
                    {
                        "op": op.op,
                        "path": op.path,
                        "old": None if op.op == "arg_added" else canonical_text(op.old),
                        "new": None if op.op == "arg_removed" else canonical_text(op.new),
                    }
                    for op in pair.arg_ops
                ],
            }
            for pair in compared.alignment.pairs
        ],
    }
