"""LangSmith: runs as its client and its API give them, bulk exports as Parquet, bodies that an SDK sent, rows of feedback.

A run is a record; a body's `patch` completes the run that its `post` began. `session_id` is the tracing project; what names a
conversation stands in the metadata. What a run says is `stores.runs`'.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.ingest.assemble.rows import Group, Row
from pipelines.ingest.forms.fields import hand_down, nanoseconds
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.stores.runs import rows_of
from pipelines.ingest.forms.stores.spool import Spooled, conversations
from pipelines.ingest.forms.stores.tables import column_names, read_objects, refuse
from pipelines.ingest.forms.stores.values import at_path, decode_fields, decoded, first_text

SESSIONS = ("thread_id", "session_id", "conversation_id")
_JSON = ("inputs", "outputs", "extra", "events", "serialized", "feedback_stats", "tags", "attachments", "inputs_s3_urls",
         "outputs_s3_urls", "feedback_source", "source_info")  # fmt: skip
_UUID_LENGTH = 36


class LangSmith:
    """The form `langsmith`."""

    name = "langsmith"

    def recognises(self, head: Head) -> bool:
        """Whether it is a run, a page or a body of runs, or a table of them."""
        if not head.values:
            return {"run_type", "trace_id", "inputs"} <= column_names(head)
        first = head.first
        lists = [first[name] for name in ("runs", "post", "patch") if isinstance(first.get(name), list)]
        runs = [each for listed in lists for each in listed if isinstance(each, dict)] or [first]
        return any("run_type" in each and ("dotted_order" in each or "trace_id" in each) for each in runs)

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """The threads of all files, and traces without one by themselves; see `Form.groups`."""
        return conversations(_records(files, options), opened, options.memory_bytes, options.folder)

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """The rows of one thread; see `Form.adapt`."""
        yield from rows_of(group, options)


FORM = LangSmith()


def _records(files: Sequence[Path], options: Options) -> Iterator[Spooled]:
    for path in files:
        for place, value in read_objects(path, options):
            for inner, record in _spread(place, value):
                yield _spooled(inner, record, options)


def _spread(place: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The runs and rows of feedback of one JSON value, with their places."""
    if not isinstance(value, dict):
        raise refuse(place, "not an object; a run of LangSmith is one")
    lists = [name for name in ("runs", "post", "patch") if isinstance(value.get(name), list)]
    at = place if "#" in place else f"{place}#"
    dot = "" if at.endswith("#") else "."
    if lists and "run_type" not in value:
        hand_down(value, *lists)
        posted = value["post"] if isinstance(value.get("post"), list) else []
        for name in lists:
            for n, each in enumerate(value[name]):
                where = f"{at}{dot}{name}[{n}]"
                yield from [(where, _patch(each, posted, where))] if name == "patch" else _spread(where, each)
        return
    if "run_type" not in value and "dotted_order" not in value and not _is_feedback(value):
        raise refuse(place, f"neither a run of LangSmith nor feedback on one: it has {', '.join(sorted(value)[:8])}")
    children = value.pop("child_runs", None) or []
    if not isinstance(children, list):
        raise refuse(place, "child_runs must be an array")
    yield place, value
    for n, each in enumerate(children):
        yield from _spread(f"{at}{dot}child_runs[{n}]", each)


def _patch(value: Any, posted: list[Any], place: str) -> dict[str, Any]:
    """What a body says later of a run: it may name the run, or its place in the trace, or be of the only one that was begun."""
    if not isinstance(value, dict):
        raise refuse(place, "not an object; a patch of a run is one")
    if any(isinstance(value.get(name), str) for name in ("id", "dotted_order")):
        return value
    begun = posted[0] if len(posted) == 1 and isinstance(posted[0], dict) else {}
    if not isinstance(begun.get("id"), str):
        raise refuse(place, "a patch that names no run, by id or dotted_order, where more than one was begun or none")
    return {**value, "id": begun["id"]}


def _is_feedback(value: dict[str, Any]) -> bool:
    return "run_id" in value and "key" in value


def _spooled(place: str, run: dict[str, Any], options: Options) -> Spooled:
    body = json.dumps(run, ensure_ascii=False)
    if _is_feedback(run):
        known, trace = first_text(run, "id"), first_text(run, "trace_id")
        parent = first_text(run, "run_id")
        return Spooled(
            place,
            "feedback",
            2,
            known or place,
            parent,
            trace,
            None,
            None,
            None,
            nanoseconds(run.get("modified_at"), "ms"),
            None,
            body,
        )
    order = first_text(run, "dotted_order")
    known = first_text(run, "id") or (order or "")[-_UUID_LENGTH:] or None
    extra = decoded(run.get("extra"))
    metadata = extra.get("metadata") if isinstance(extra, dict) else None
    metadata = metadata if isinstance(metadata, dict) else {}
    session = first_text(metadata, *SESSIONS)
    if options.conversation_key is not None:
        own = at_path(metadata, options.conversation_key) or at_path({**run, "extra": extra}, options.conversation_key)
        session = str(own) if own is not None else session
    return Spooled(
        place=place,
        kind="run",
        rank=1,
        id=known or place,
        parent=first_text(run, "parent_run_id"),
        trace=first_text(run, "trace_id"),
        session=session,
        hint=None,
        start_ns=nanoseconds(run.get("start_time"), "ms"),
        updated_ns=nanoseconds(run.get("end_time"), "ms"),
        order_key=order,
        body=body,
    )


def opened(run: dict[str, Any]) -> dict[str, Any]:
    """A run with the JSON texts of its fields decoded, as bulk exports write them."""
    return decode_fields(run, *_JSON)
