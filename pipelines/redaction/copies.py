"""Copies of what a conversation said, in the rows of old comparisons: what is hidden is cut out of them, and the rows stay.

The pairs were measured, and their numbers, classes and hashes stay as they were; texts, arguments, names and segments are what is looked
at. A text that a redaction hides is cut out wherever it stands in them; of a conversation of which something coarse is hidden
(`pipelines.redaction.hidden`) the words of both sides are hidden as a whole. Pure: rows in, rows out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.erasure.tables import ROWS
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import VERSIONS
from pipelines.log.redaction import HIDDEN
from pipelines.redaction.hidden import Hidden

SEGMENTS = frozenset({"source", "agent", "vertical", "channel", "task", "variant", "cluster", "segment_value", "tools"})
"""Columns that are not personal by themselves and tell what events said: names of groups, and the tools on offer."""
_NAMES = frozenset({"name_a", "name_b"})
_JSON = frozenset({"arguments", "arguments_a", "arguments_b", "recorded", "old", "new", "tools"})
"""Columns and fields that hold JSON."""
_CODES = frozenset(
    {"op", "result_source", "miss", "aggregate_id", "recorded_aggregate_id", "last_hash", "recorded_last_hash"}
)
"""Fields that hold what the code says of a copy, and nothing of it."""
_WHOLE = json.dumps(HIDDEN)


@dataclass(frozen=True, slots=True)
class Copies:
    """What is hidden of the conversations of one version.

    Attributes:
        by_stream: Of conversations, by side A's stream, what is hidden of it and of the run that it is paired with.
        everywhere: What is hidden of all: prompts and tools are no conversations.
    """

    by_stream: Mapping[str, Hidden]
    everywhere: Hidden

    def change(self, dataset: Dataset, rows: pa.Table) -> pa.Table:
        """Rows of a table without what is hidden; the same object where nothing of it stands in them."""
        if dataset not in ROWS:
            hidden = self.everywhere
            for each in self.by_stream.values():
                hidden |= Hidden(each.values)
            per_row = [hidden] * rows.num_rows
        else:
            per_row = self._per_row(rows)
        if not any(each.values or each.is_coarse for each in per_row):
            return rows
        changed = rows
        for column in dataset.data_columns:
            if column.name in rows.schema.names and _is_looked_at(dataset, column.name, column.is_personal):
                changed = _changed(changed, column.name, per_row)
        return changed

    def _per_row(self, rows: pa.Table) -> list[Hidden]:
        ids = rows.column("aggregate_id")
        if (
            not self.everywhere.values
            and not pc.any(pc.is_in(ids, pa.array(sorted(self.by_stream), pa.string()))).as_py()
        ):
            return []
        joined = {stream: each | self.everywhere for stream, each in self.by_stream.items()}
        return [joined.get(str(stream), self.everywhere) for stream in ids.to_pylist()]


def _is_looked_at(dataset: Dataset, name: str, is_personal: bool) -> bool:
    return is_personal or name in SEGMENTS or name in _NAMES or (dataset is VERSIONS and name == "streams")


def _changed(rows: pa.Table, name: str, per_row: list[Hidden]) -> pa.Table:
    place = rows.schema.get_field_index(name)
    before = rows.column(place).to_pylist()
    is_words = name not in SEGMENTS and name not in _NAMES and name != "streams"
    after = [_hide(value, name, hidden, is_words) for value, hidden in zip(before, per_row, strict=True)]
    if after == before:
        return rows
    field = rows.schema.field(place)
    return rows.set_column(place, field, pa.array(after, field.type))


def _hide(value: Any, name: str, hidden: Hidden, is_words: bool) -> Any:
    """A cell, or a part of one, without what is hidden; `is_words` where something coarse hides all of it."""
    if isinstance(value, list):
        return [_hide(each, name, hidden, is_words) for each in value]
    if isinstance(value, Mapping):
        return {
            field: each if field in _CODES else _hide(each, field, hidden, is_words and field != "name")
            for field, each in value.items()
        }
    if not isinstance(value, str) or value in ("", HIDDEN, _WHOLE):
        return value
    if hidden.is_coarse and is_words:
        return _WHOLE if name in _JSON else HIDDEN
    return _cut_json(value, hidden) if name in _JSON else hidden.cut(value)


def _cut_json(text: str, hidden: Hidden) -> str:
    """JSON text without what is hidden, still JSON where it was."""
    if hidden.cut(text) == text:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return hidden.cut(text)
    return json.dumps(_cut_value(value, hidden), ensure_ascii=False, separators=(",", ":"))


def _cut_value(value: Any, hidden: Hidden) -> Any:
    if isinstance(value, Mapping):
        return {hidden.cut(name): _cut_value(inner, hidden) for name, inner in value.items()}
    if isinstance(value, list):
        return [_cut_value(inner, hidden) for inner in value]
    if isinstance(value, str):
        return hidden.cut(value)
    if value is None or isinstance(value, bool):
        return value
    digits = json.dumps(value)
    return HIDDEN if hidden.cut(digits) != digits else value
