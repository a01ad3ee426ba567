"""The diff of unit pairs, one after the other: the plain way that the fast one is held to.

Every pair is read, aligned and compared on its own in Python; nothing is settled in SQL, batched or shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.canonical.arguments import read_arguments
from pipelines.canonical.calls import Canonicaliser
from pipelines.canonical.jcs import canonical_text
from pipelines.canonical.rules import ToolRules
from pipelines.diff.pair.align import Alignment, CallPair, ToolCall, align
from pipelines.diff.pair.classify import PairCounts, classify, failed_unit
from pipelines.diff.pair.text import compare_texts

Row = dict[str, Any]

_COUNTS = PairCounts._fields
_NO_COUNTS = dict.fromkeys(_COUNTS)


def diff_plainly(row: Mapping[str, Any], rules: Mapping[str, ToolRules]) -> tuple[Row, list[Row]]:
    """Diff one unit pair.

    Args:
        row: `unit_id, status`, and `text, tool_calls` of each side with the suffix `_a` or `_b`.
        rules: The tools' rules.

    Returns:
        Its row of `ab_units` and its rows of `ab_tool_calls`, as far as they follow from texts and tool calls.
    """
    is_answered = row["status"] == "ok"
    text_b = row["text_b"] if is_answered else None
    text = compare_texts([row["text_a"]], [text_b]).to_pylist()[0]
    left = _tool_calls(row["tool_calls_a"])
    if not is_answered:
        diff, alignment = failed_unit(len(left)), Alignment((), len(left), 0)
    else:
        alignment = align(left, _tool_calls(row["tool_calls_b"]), Canonicaliser(rules))
        diff = classify(alignment)
    unit = {
        "unit_id": row["unit_id"],
        "unit_class": diff.unit_class,
        "is_same_names": diff.is_same_names,
        "is_same_calls": diff.is_same_calls,
        "calls_a": diff.calls_a,
        "calls_b": diff.calls_b,
        **({name: getattr(diff.counts, name) for name in _COUNTS} if diff.counts is not None else _NO_COUNTS),
        "text_a": row["text_a"],
        "text_b": text_b,
        "is_same_final": None if text["text_class"] is None else text["text_equal"],
        **{
            name: text[name]
            for name in ("text_class", "sim_tok", "sim_char", "len_chars_a", "len_chars_b", "len_ratio")
        },
        **{name: text[name] for name in ("is_code_changed", "is_list_changed", "is_links_changed", "numbers_jaccard")},
        "is_same_norm": text["text_equal_norm"],
        "is_text_cut": text["is_cut"],
        **{name: None if text["text_equal"] in (None, True) else text[name] for name in ("len_tok_a", "len_tok_b")},
    }
    return unit, [_pair(row["unit_id"], number, pair) for number, pair in enumerate(alignment.pairs, start=1)]


def _tool_calls(calls: Sequence[Mapping[str, Any]] | None) -> list[ToolCall]:
    return [
        ToolCall(place, call["block"], call["name"], call.get("recorded") or call["arguments"])
        for place, call in enumerate(calls or ())
    ]


def _pair(unit_id: str, number: int, pair: CallPair) -> Row:
    ops = [
        {
            "op": op.op,
            "path": op.path,
            "old": None if op.op == "arg_added" else canonical_text(op.old),
            "new": None if op.op == "arg_removed" else canonical_text(op.new),
        }
        for op in pair.arg_ops
    ]
    return {
        "unit_id": unit_id,
        "pair": number,
        "class": pair.pair_class,
        "equal_level": pair.equal_level,
        "similarity": pair.similarity,
        "is_moved": pair.is_moved if pair.a and pair.b else None,
        "position_a": pair.a.position if pair.a else None,
        "position_b": pair.b.position if pair.b else None,
        "name_a": pair.a.name if pair.a else None,
        "name_b": pair.b.name if pair.b else None,
        "arguments_a": read_arguments(pair.a.arguments).text if pair.a else None,
        "arguments_b": read_arguments(pair.b.arguments).text if pair.b else None,
        "arg_ops": ops,
        "flags_a": list(pair.flags_a) if pair.a else None,
        "flags_b": list(pair.flags_b) if pair.b else None,
    }
