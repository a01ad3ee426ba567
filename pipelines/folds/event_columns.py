"""Events as the columns that the fold reads: JSON is read once, by DuckDB, and arguments of tool calls become values."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from pipelines.canonical.arguments import NONE_GIVEN, read_many
from pipelines.canonical.content import is_input
from pipelines.fold.columns import Bools, Column, bools, take
from pipelines.fold.columns import compute as pc
from pipelines.sqlfiles import read_expression, read_sql

_SPOKEN = (
    "aggregate_id",
    "stream_version",
    "aggregate_type",
    "position",
    "created_at",
    "is_in_month",
    "event_name",
    "is_erased",
    "message_id",
    "is_by_user",
    "source",
    "source_id",
    "source_ordinal",
    "subject_id",
    "text",
    "content",
    "is_refusal",
    "call_id",
    "name",
    "arguments",
    "output",
    "error",
    "rendered",
    "from_message",
    "to_message",
    "time_source",
    "has_nested_calls",
)
_STATED = (
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "agent",
    "variant",
    "task",
    "channel",
    "vertical",
    "outcome",
    "parent_id",
    "parent_call_id",
    "tags",
    "metadata",
    "fidelity",
    "user_talk_ms",
    "agent_talk_ms",
    "is_interrupted",
    "is_truncated",
    "is_content_missing",
    "is_compacted",
    "reasoning_tokens",
    "target_version",
    "path",
    "method",
    "reason",
)


def columns_query(*, with_states: bool, with_models: bool) -> str:
    """A SELECT of the columns of the events in the relation `fold_source`, see `sql/folds/steps/events.sql`.

    Args:
        with_states: Whether to read what states are made of.
        with_models: Whether to read the payloads of model decisions.
    """
    columns = _SPOKEN + (_STATED if with_states else ()) + (("model",) if with_models else ())
    events = read_with_content("folds/steps/events.sql").strip().rstrip(";")
    return f"SELECT {', '.join(columns)} FROM ({events}) AS read"


def read_with_content(name: str) -> str:
    """A query of `sql/` that asks for the content of utterances, which `find_inputs` reads."""
    return read_sql(name).replace("$content", read_expression("folds/steps/content.sql"))


def find_inputs(has_text: Bools, contents: Column) -> Bools:
    """Which utterances of the user say something, by whether they have text and, where not, by what `content.sql` gives."""
    found = has_text.copy()
    if contents.null_count < len(contents):
        rows = np.flatnonzero(~has_text & np.asarray(pc.is_valid(contents), bool))
        found[rows] = [is_input(None, json.loads(text)) for text in take(contents, rows).to_pylist()]
    return found


def with_values(events: pa.Table) -> pa.Table:
    """The events as the fold takes them.

    The arguments of tool calls are JSON values, with `recorded` where the recorded text is another, and `is_invalid_json`;
    instead of content there is `is_input`: whether it is an utterance of the user that says something, or, erased, did.
    """
    is_users = bools(pc.equal(events["event_name"], "user.utterance"))
    has_text = is_users & (bools(pc.greater(pc.binary_length(events["text"]), 0)) | bools(events["is_erased"]))
    place = events.column_names.index("content")
    inputs = pa.array(find_inputs(has_text, events["content"]))
    events = events.set_column(place, "is_input", inputs)
    place = events.column_names.index("arguments")
    given = [events[name].chunks for name in ("arguments", "event_name", "is_erased")]
    columns = [_values(*chunks) for chunks in zip(*given, strict=True)]
    made: list[Column] = [pa.chunked_array(list(each)) for each in zip(*columns, strict=True)]
    if not columns:
        made = [pa.chunked_array([], kind) for kind in (pa.string(), pa.string(), pa.bool_())]
    values, recorded, is_invalid = made
    events = events.set_column(place, "arguments", values)
    return events.append_column("recorded", recorded).append_column("is_invalid_json", is_invalid)


def _values(arguments: Column, event_names: Column, is_erased: Column) -> tuple[Column, Column, Column]:
    """What is said of the arguments in one piece; null for what is no tool call, or an erased one."""
    is_given = bools(pc.is_valid(arguments))
    texts, flags = read_many(arguments.drop_null().to_pylist())
    places = pa.array(np.cumsum(is_given) - 1, mask=~is_given)
    values = take(pa.array(texts, pa.string()), places)
    is_invalid = take(pa.array(flags, pa.bool_()), places)
    others = pc.if_else(pc.equal(values, arguments), pa.scalar(None, pa.string()), arguments)
    if arguments.null_count:
        is_call = pc.and_not(pc.fill_null(pc.equal(event_names, "tool.call"), fill_value=False), is_erased)
        is_bare = pc.and_(pc.is_null(arguments), is_call)
        values = pc.if_else(is_bare, NONE_GIVEN, values)
        is_invalid = pc.if_else(is_bare, pa.scalar(value=False), is_invalid)
    return values, others, is_invalid
