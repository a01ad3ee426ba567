"""Langfuse: what its API and its pages give as JSON, its exports to blob storage, and its older ingestion events.

A record is a trace, an observation or a score. A session and a user may stand on the trace alone, and exports are windows of time, so
files are read together. What a record says is `stores.observations`'.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.ingest.assemble.messages import read
from pipelines.ingest.assemble.rows import Group, Row
from pipelines.ingest.forms.fields import hand_down, nanoseconds
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.stores.observations import TYPES, rows_of
from pipelines.ingest.forms.stores.spool import Spooled, conversations
from pipelines.ingest.forms.stores.tables import column_names, read_objects, refuse
from pipelines.ingest.forms.stores.values import at_path, decode_fields, decoded, first_text

_RANKS = {"trace": 0, "observation": 1, "score": 2}
_EVENTS = {"span": "SPAN", "generation": "GENERATION", "event": "EVENT", "observation": None}
"""Older ingestion events are `NAME-create` and `NAME-update`; an observation's says its type itself."""
_IDS = {
    "trace": ("traceId", "trace_id"),
    "parent": ("parentObservationId", "parent_observation_id", "observationId", "observation_id"),
    "session": ("sessionId", "session_id"),
    "start": ("startTime", "start_time", "timestamp"),
    "updated": ("updatedAt", "updated_at"),
}
_HINTS = ("langfuse.session.id", "session.id", "gen_ai.conversation.id", "traceloop.association.properties.session_id")
"""OpenTelemetry attributes that name a conversation, where the SDK that sent it was one of OpenTelemetry's."""
_JSON = ("metadata", "modelParameters", "model_parameters", "usageDetails", "usage_details", "costDetails", "cost_details", "usage",
         "tags", "toolDefinitions", "tool_definitions", "toolCalls", "tool_calls", "toolCallNames", "tool_call_names")  # fmt: skip


class Langfuse:
    """The form `langfuse`."""

    name = "langfuse"

    def recognises(self, head: Head) -> bool:
        """Whether it is a trace with observations, a row of one of the exported tables, or an ingestion event."""
        first = head.first
        if isinstance(first.get("trace"), dict) and isinstance(first.get("observations"), list):
            return True
        if isinstance(first.get("batch"), list) or _event(first):
            return _event(first) or any(_event(each) for each in first.get("batch", ()))
        if not head.values:
            names = column_names(head)
            return "project_id" in names and bool(names & {"parent_observation_id", "trace_id", "bookmarked"})
        return bool(first) and _kind(first) is not None and ("project_id" in first or "projectId" in first)

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """The sessions of all files, and traces without one by themselves; see `Form.groups`."""
        return conversations(_records(files, options), opened, options.memory_bytes, options.folder)

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """The rows of one session; see `Form.adapt`."""
        yield from rows_of(group, options)


FORM = Langfuse()


def _records(files: Sequence[Path], options: Options) -> Iterator[Spooled]:
    for path in files:
        for place, value in read_objects(path, options):
            for inner, kind, record in _spread(place, value):
                yield _spooled(inner, kind, record, options)


def _spread(place: str, value: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The records of one JSON value, with their places and kinds."""
    if not isinstance(value, dict):
        raise refuse(place, "not an object; a record of Langfuse is one")
    at = place if "#" in place else f"{place}#"
    dot = "" if at.endswith("#") else "."
    if isinstance(value.get("trace"), dict) and isinstance(value.get("observations"), list):
        # rows inside of the trace are the same as those beside it, with less in them
        both = {**value, "trace": [value["trace"]]}
        hand_down(both, "trace", "observations")
        yield from _spread(f"{at}{dot}trace", both["trace"][0])
        yield from _listed(f"{at}{dot}observations", value["observations"])
    elif isinstance(value.get("batch"), list) or isinstance(value.get("data"), list):
        name = "batch" if isinstance(value.get("batch"), list) else "data"
        hand_down(value, name)
        yield from _listed(f"{at}{dot}{name}", value[name])
    elif isinstance(value.get("traces"), list) and "trace_id" not in value:
        hand_down(value, "traces")
        yield from _listed(f"{at}{dot}traces", value["traces"])
    elif _event(value):
        yield _of_event(place, value)
    else:
        kind = _kind(value)
        if kind is None:
            raise refuse(
                place, f"neither a trace, an observation nor a score of Langfuse: it has {', '.join(sorted(value)[:8])}"
            )
        inner = {
            name: value.pop(name)
            for name in ("observations", "scores")
            if kind == "trace" and _are_rows(value.get(name))
        }
        yield place, kind, value
        for name, rows in inner.items():
            yield from _listed(f"{at}{dot}{name}", rows)


def _listed(at: str, values: list[Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for n, each in enumerate(values):
        yield from _spread(f"{at}[{n}]", each)


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _event(value: Any) -> bool:
    kind = value.get("type") if isinstance(value, dict) else None
    return isinstance(kind, str) and kind.endswith(("-create", "-update")) and isinstance(value.get("body"), dict)


def _of_event(place: str, value: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """The record of an ingestion event: its body, of which later events of the same id say more."""
    event, body = dict(value), dict(value["body"])
    del event["body"]
    name = event["type"].rsplit("-", 1)[0]
    if name not in (*_EVENTS, "trace", "score"):
        raise refuse(place, f"an ingestion event of the type {event['type']!r}, which is not known")
    if _EVENTS.get(name):
        body.setdefault("type", _EVENTS[name])
    body.setdefault("updatedAt", event.get("timestamp"))
    return place, name if name in _RANKS else "observation", {**body, "events": [event]}


def _kind(value: dict[str, Any]) -> str | None:
    """What a row is, by the fields that only such rows have."""
    if value.get("type") in TYPES or "parentObservationId" in value or "parent_observation_id" in value:
        return "observation"
    if "name" in value and "value" in value and any(name in value for name in ("dataType", "data_type", "source")):
        return "score"
    return "trace" if "id" in value and "timestamp" in value else None


def _spooled(place: str, kind: str, record: dict[str, Any], options: Options) -> Spooled:
    names = {key: first_text(record, *spellings) for key, spellings in _IDS.items()}
    known = first_text(record, "id")
    metadata = decoded(record.get("metadata"))
    attributes = decoded(metadata.get("attributes")) if isinstance(metadata, dict) else None
    attributes = attributes if isinstance(attributes, dict) else {}
    session = names["session"]
    if options.conversation_key is not None:
        own = at_path(record | {"metadata": metadata}, options.conversation_key) or attributes.get(
            options.conversation_key
        )
        session = str(own) if own is not None else session
    hint = first_text(attributes, *_HINTS) or first_text(metadata if isinstance(metadata, dict) else {}, "thread_id")
    return Spooled(
        place=place,
        kind=kind,
        rank=_RANKS[kind],
        id=known or place,
        parent=names["parent"],
        trace=known if kind == "trace" else names["trace"],
        session=session,
        hint=hint,
        start_ns=nanoseconds(names["start"], "ms") if kind == "observation" else None,
        updated_ns=nanoseconds(names["updated"], "ms"),
        order_key=None,
        body=json.dumps(record, ensure_ascii=False),
    )


def opened(record: dict[str, Any]) -> dict[str, Any]:
    """A record with the JSON texts of its fields decoded; a text that somebody said stays text, even where it is JSON."""
    decode_fields(record, *_JSON)
    metadata = record.get("metadata")
    if isinstance(metadata, dict):
        decode_fields(metadata, *metadata)
    parameters = record.get("modelParameters")
    if isinstance(parameters, dict):
        decode_fields(parameters, *parameters)
    record["input"] = decoded(record.get("input"), literals=True)
    output = decoded(record.get("output"), literals=True)
    if isinstance(output, str) or (record.get("type") != "TOOL" and _is_answer(output)):
        record["output"] = output
    return record


def _is_answer(output: Any) -> bool:
    return isinstance(output, dict | list) and bool(read(output, "assistant").messages)
