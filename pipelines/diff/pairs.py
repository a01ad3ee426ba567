"""Diff unit pairs: rows of `ab_units` and `ab_tool_calls` from rows that hold both sides.

A pure function of its rows, batch by batch: no row looks at another, so batches, order and shards change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from pipelines.canonical.calls import Canonicaliser
from pipelines.canonical.jcs import canonical_text
from pipelines.diff.align import Alignment, CallPair, ToolCall, align
from pipelines.diff.classify import PairCounts, classify, failed_unit
from pipelines.diff.metrics import Values, evaluate_metrics
from pipelines.diff.text import compare_texts
from pipelines.replay.experiment import Metric

Row = dict[str, Any]

_COPIED = (
    "unit_id",
    "unit",
    "aggregate_id",
    "recorded_aggregate_id",
    "decision",
    "cluster",
    "source",
    "agent",
    "vertical",
    "channel",
    "task",
    "status",
    "reason",
    "outcome_a",
    "outcome_b",
    "started_at",
    "last_version",
    "last_hash",
)
_BOTH_SIDES = ("cost_usd", "latency_ms", "output_tokens")
_COUNTS = tuple(field.name for field in fields(PairCounts))
_NO_COUNTS = dict.fromkeys(_COUNTS)


def diff_pairs(
    rows: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Metric],
    canonicaliser: Canonicaliser,
    *,
    memory_bytes: int,
) -> tuple[list[Row], list[Row]]:
    """Diff a batch of unit pairs.

    Args:
        rows: One per pair: the columns copied to `ab_units`, and `text, tool_calls, call_count, output_tokens, latency_ms,
            cost_usd` of each side with the suffix `_a` or `_b`.
        metrics: The experiment's own metrics.
        canonicaliser: Remembers tool calls over batches.
        memory_bytes: Bound on the memory of the metrics' SQL.

    Returns:
        Rows of `ab_units` and of `ab_tool_calls`, in the order of `rows`.
    """
    answered = [row["status"] == "ok" for row in rows]
    texts = compare_texts(
        [row["text_a"] for row in rows],
        [row["text_b"] if ok else None for row, ok in zip(rows, answered, strict=True)],
    ).to_pylist()
    metrics_a = evaluate_metrics(metrics, [_side(row, "a") for row in rows], memory_bytes=memory_bytes)
    metrics_b = _answered_metrics(rows, answered, metrics, memory_bytes)
    units: list[Row] = []
    calls: list[Row] = []
    for index, row in enumerate(rows):
        unit, pairs = _diff_calls(row, canonicaliser)
        unit |= {name: row[name] for name in _COPIED}
        unit |= {f"{name}_{side}": row[f"{name}_{side}"] for name in _BOTH_SIDES for side in "ab"}
        unit |= _final_texts(row, texts[index])
        unit |= {"metrics_a": metrics_a[index], "metrics_b": metrics_b[index]}
        units.append(unit)
        calls += pairs
    return units, calls


def _side(row: Mapping[str, Any], side: str) -> Row:
    names = ("text", "tool_calls", "call_count", *_BOTH_SIDES)
    return {name: row[f"{name}_{side}"] for name in names}


def _answered_metrics(
    rows: Sequence[Mapping[str, Any]], answered: Sequence[bool], metrics: Mapping[str, Metric], memory_bytes: int
) -> list[Values]:
    """Side B's metrics; none for a unit that B did not answer."""
    given = [_side(row, "b") for row, ok in zip(rows, answered, strict=True) if ok]
    found = iter(evaluate_metrics(metrics, given, memory_bytes=memory_bytes))
    return [next(found) if ok else [] for ok in answered]


def _diff_calls(row: Mapping[str, Any], canonicaliser: Canonicaliser) -> tuple[Row, list[Row]]:
    left = _tool_calls(row["tool_calls_a"])
    if row["status"] != "ok":
        diff, alignment = failed_unit(len(left)), Alignment((), len(left), 0)
    else:
        alignment = align(left, _tool_calls(row["tool_calls_b"]), canonicaliser)
        diff = classify(alignment)
    unit = {
        "unit_class": diff.unit_class,
        "is_same_names": diff.is_same_names,
        "is_same_calls": diff.is_same_calls,
        "calls_a": diff.calls_a,
        "calls_b": diff.calls_b,
        **({name: getattr(diff.counts, name) for name in _COUNTS} if diff.counts is not None else _NO_COUNTS),
    }
    return unit, [_pair(row, number, pair) for number, pair in enumerate(alignment.pairs, start=1)]


def _tool_calls(calls: Sequence[Mapping[str, Any]] | None) -> list[ToolCall]:
    return [ToolCall(place, call["block"], call["name"], call["arguments"]) for place, call in enumerate(calls or ())]


def _pair(row: Mapping[str, Any], number: int, pair: CallPair) -> Row:
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
        "unit_id": row["unit_id"],
        "aggregate_id": row["aggregate_id"],
        "pair": number,
        "class": pair.pair_class,
        "equal_level": pair.equal_level,
        "similarity": pair.similarity,
        "position_a": pair.a.position if pair.a else None,
        "position_b": pair.b.position if pair.b else None,
        "name_a": pair.a.name if pair.a else None,
        "name_b": pair.b.name if pair.b else None,
        "arguments_a": pair.a.arguments if pair.a else None,
        "arguments_b": pair.b.arguments if pair.b else None,
        "arg_ops": ops,
    }


def _final_texts(row: Mapping[str, Any], text: Mapping[str, Any]) -> Row:
    """The texts and how they differ. Two sides without text have nothing to be the same."""
    is_compared = text["text_class"] is not None
    return {
        "text_a": row["text_a"],
        "text_b": row["text_b"] if row["status"] == "ok" else None,
        "is_same_final": text["text_equal"] if is_compared else None,
        "text_class": text["text_class"],
        "sim_tok": text["sim_tok"],
        "sim_char": text["sim_char"],
    }
