"""Diff the tool calls of many units: Arrow in, Arrow out.

Between the lists of both sides that a table holds and the columns of `ab_units` and `ab_tool_calls`. A unit's rows depend
on that unit alone, so batches, order and shards change nothing. How two lists are aligned is `align`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa

from pipelines.canonical.jcs import canonical_text, string_bytes
from pipelines.diff.pair.align import Aligner, ToolCall
from pipelines.diff.pair.classify import PairCounts, classify
from pipelines.diff.pair.rules import Flagger

_SAFE = 2**53
COUNTS = PairCounts._fields

_UNIT_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("unit_row", pa.int64()),
    ("unit_class", pa.string()),
    ("is_same_names", pa.bool_()),
    ("is_same_calls", pa.bool_()),
    *((name, pa.int32()) for name in COUNTS),
]
UNIT_SCHEMA = pa.schema(_UNIT_COLUMNS)
"""One row per unit; columns as in `ab_units`."""

_OP = pa.struct([("op", pa.string()), ("path", pa.string()), ("old", pa.string()), ("new", pa.string())])
_PAIR_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("unit_row", pa.int64()),
    ("pair", pa.int32()),
    ("class", pa.string()),
    ("equal_level", pa.string()),
    ("similarity", pa.float64()),
    ("is_moved", pa.bool_()),
    ("position_a", pa.int32()),
    ("position_b", pa.int32()),
    ("arg_ops", pa.list_(_OP)),
]
PAIR_SCHEMA = pa.schema(_PAIR_COLUMNS)
"""One row per aligned pair; columns as in `ab_tool_calls`, whose names and arguments the positions point at."""

_FLAG_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("name", pa.string()),
    ("arguments", pa.string()),
    ("flags", pa.list_(pa.string())),
]
FLAG_SCHEMA = pa.schema(_FLAG_COLUMNS)
"""One row per different call; flags are sorted."""


def diff_calls(units: pa.Table, aligner: Aligner) -> tuple[pa.Table, pa.Table]:
    """Align both sides' tool calls, unit by unit.

    Args:
        units: `unit_row, tool_calls_a, tool_calls_b`; calls are `block, name, arguments`, JSON text as recorded or given.
        aligner: Knows the tools' rules, and remembers what it read.

    Returns:
        Tables of `UNIT_SCHEMA` and `PAIR_SCHEMA`, in the order of the units.
    """
    found: list[tuple[object, ...]] = []
    pairs: list[tuple[object, ...]] = []
    rows = units.column("unit_row").to_pylist()
    sides = (_lists(units.column("tool_calls_a")), _lists(units.column("tool_calls_b")))
    for row, left, right in zip(rows, *sides, strict=True):
        alignment = aligner.align(left, right)
        diff = classify(alignment)
        assert diff.counts is not None
        found.append((row, diff.unit_class, diff.is_same_names, diff.is_same_calls, *diff.counts))
        for number, pair in enumerate(alignment.pairs, start=1):
            ops = [
                (
                    op.op,
                    op.path,
                    None if op.op == "arg_added" else _text(op.old),
                    None if op.op == "arg_removed" else _text(op.new),
                )
                for op in pair.arg_ops
            ]
            one_sided = pair.a is None or pair.b is None
            pairs.append(
                (
                    row,
                    number,
                    pair.pair_class,
                    pair.equal_level,
                    pair.similarity,
                    None if one_sided else pair.is_moved,
                    None if pair.a is None else pair.a.position,
                    None if pair.b is None else pair.b.position,
                    ops,
                )
            )
    return _table(found, UNIT_SCHEMA), _pair_table(pairs)


def flag_calls(calls: pa.Table, flagger: Flagger) -> pa.Table:
    """Say what is odd about tool calls, one by one.

    Args:
        calls: `name, arguments`.
        flagger: Knows the tools' schemas.

    Returns:
        A table of `FLAG_SCHEMA`, in their order.
    """
    names, arguments = (calls.column(name).to_pylist() for name in ("name", "arguments"))
    flags = [flagger.flags(name or "", text) for name, text in zip(names, arguments, strict=True)]
    return pa.table([names, arguments, flags], schema=FLAG_SCHEMA)


def _text(value: Any) -> str:
    """Canonical JSON text; strings and small integers, which most are, in a shorter way."""
    if type(value) is str:
        return string_bytes(value).decode()
    return str(value) if type(value) is int and abs(value) < _SAFE else canonical_text(value)


def _lists(column: pa.ChunkedArray[Any]) -> list[list[ToolCall]]:
    """The lists of a column; read field by field, which is several times faster than call by call."""
    lists: list[list[ToolCall]] = []
    chunk: Any
    for chunk in column.chunks:
        calls = chunk.flatten()
        blocks, names, arguments = (calls.field(name).to_pylist() for name in ("block", "name", "arguments"))
        offsets = chunk.offsets.to_pylist()
        first = offsets[0] if offsets else 0
        for start, stop in pairwise(offsets):
            lists.append(
                [
                    ToolCall(at - start, blocks[at - first], names[at - first], arguments[at - first])
                    for at in range(start, stop)
                ]
            )
    return lists


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def _pair_table(rows: Sequence[tuple[object, ...]]) -> pa.Table:
    plain = pa.schema([field for field in PAIR_SCHEMA if field.name != "arg_ops"])
    table = _table([row[:-1] for row in rows], plain)
    offsets, flat = [0], []
    for row in rows:
        ops = row[-1]
        assert isinstance(ops, list)
        flat += ops
        offsets.append(len(flat))
    columns = zip(*flat, strict=True) if flat else ((),) * 4
    parts = [pa.array(column, pa.string()) for column in columns]
    ops_array = pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(parts, fields=list(_OP))
    )
    return table.append_column(PAIR_SCHEMA.field("arg_ops"), ops_array)
