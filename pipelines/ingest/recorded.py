"""Lines of streams that no import wrote become their events again: the reading side of `run_line`.

Such a line says in `messages`, `decision`, `outcome` and the other fields what it can, and the rest in `records.refold`:

- `stream`: `id`, `type`, and the `metadata` that all its events share. Without it the line is one that was imported, and its
  events are those that `convert` makes.
- `message_ids`: the id of each message's events; absent where none has one.
- `made`: by `version`, in what an event is otherwise than the line makes it: `event_type`, `created_at`, and members of payload
  and metadata that are more (`payload`, `metadata`) or fewer (`payload_without`, `metadata_without`).
- `events`: by `version`, whole events that no field of a line has a place for; `metadata` is what the stream's has not.
- `redactions`: what was redacted before the line was written, and how; here it is what it now is.

Events made fill the versions that `events` leaves free, in order: the start (where the line has `started_at`), those of the
messages, the end (where it has an `outcome`). Pure, as `convert` is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from pipelines.ingest import shape
from pipelines.ingest.canonical import digest
from pipelines.ingest.clock import Days, parse_time
from pipelines.ingest.convert import (
    Conversation,
    Place,
    convert,
    count_leading,
    ended_draft,
    identity_of,
    started_draft,
)
from pipelines.ingest.faults import BadLineError, json_path
from pipelines.ingest.messages import ACTORS, Draft, drafts_with_decision
from pipelines.log.redaction import HIDDEN
from pipelines.log.versions import DECISION, STARTED, name_of
from pipelines.store.events import NewEvent

PLACE: shape.Steps = ("records", "refold")
NOTES = ("source_sha256", "source_place", "source_redactions", "source_numbers")
"""Notes that importing such a line makes on its first event, beside what the line says of it."""


def own_records(line: Any) -> dict[str, Any] | None:
    """What `run_line` has written beside the fields of a line; None where it is somebody else's line."""
    records = line.get("records") if isinstance(line, dict) else None
    own = records.get("refold") if isinstance(records, dict) else None
    return own if isinstance(own, dict) else None


def conversation_of(
    line: Any,
    *,
    place: Place,
    at: datetime,
    default_source: str | None = None,
    days: Days | None = None,
    inexact: Sequence[tuple[str, str]] = (),
    leading: int | None = None,
    is_plain: bool = False,
) -> Conversation:
    """The events of one parsed line, whoever wrote it; arguments and errors as of `convert`, `is_plain` as of `strict_json.Parsed`."""
    own = own_records(line)
    if own is None:
        made = convert(
            line, place=place, at=at, default_source=default_source, days=days, inexact=inexact, leading=leading
        )
        return replace(made, is_plain=is_plain)
    common: dict[str, Any] = {}
    if "stream" in own:
        made = _recorded(line, own, default_source, days)
        common = shape.an_object(own["stream"].get("metadata", {}), (*PLACE, "stream", "metadata"))
    else:
        base = {key: value for key, value in line.items() if key != "records"}
        if others := {key: value for key, value in line["records"].items() if key != "refold"}:
            base["records"] = others
        made = convert(base, place=place, at=at, default_source=default_source, days=days, inexact=inexact)
    events = _with_whole(made.events, own, common, days)
    if not events:
        raise BadLineError(json_path(PLACE), "holds no event, and neither does the line")
    sha256 = digest({**line, "source": made.source}, inexact)
    notes: dict[str, Any] = {"source_sha256": sha256, "source_place": str(place)}
    if redactions := shape.a_list(own.get("redactions", []), (*PLACE, "redactions")):
        notes["source_redactions"] = redactions
        _check_starts(events)
    if inexact:
        notes["source_numbers"] = [list(pair) for pair in inexact]
    if "source_record" in events[0].metadata:  # it was an import's, which numbers its lines
        notes["source_ordinal"] = place.line
    events[0] = replace(events[0], metadata={**events[0].metadata, **notes})
    hidden = HIDDEN if redactions else None
    return replace(made, events=events, digest=sha256, hidden=hidden)


def _check_starts(events: Sequence[NewEvent]) -> None:
    """Hold what redactions left of a start to what they leave: the list, and an object for each message, as folds need them."""
    for version, event in enumerate(events, start=1):
        if name_of(event.event_type) == STARTED:
            steps = (*PLACE, "events", f"version {version}", "messages")
            for n, message in enumerate(shape.a_list(event.payload.get("messages"), steps)):
                shape.an_object(message, (*steps, n))


def made_of_message(message: dict[str, Any], index: int, message_id: str | None, days: Days | None) -> list[NewEvent]:
    """The events that one message makes, with what is known of their envelope from it alone."""
    steps = ("messages", index)
    role = shape.role_of(message, steps)
    at = parse_time(message.get("timestamp"), (*steps, "timestamp"), days)
    of_message = {} if message_id is None else {"message_id": message_id}
    events = []
    for draft in drafts_with_decision(message, role, steps):
        notes = {} if draft.name == DECISION else draft.notes
        metadata = {"actor": draft.actor or ACTORS[role], **of_message, **notes}
        events.append(NewEvent(draft.event_type, draft.payload, metadata, at))
    return events


def made_of_start(line: Mapping[str, Any], days: Days | None) -> tuple[NewEvent, int]:
    """The event that begins a line with `started_at`, and how many of its messages are in it."""
    messages = [message for message in line["messages"] if isinstance(message, dict)]
    leading = count_leading(messages)
    at = parse_time(line["started_at"], ("started_at",), days)
    return _envelope(started_draft(line, messages[:leading]), at), leading


def made_of_end(line: Mapping[str, Any], at: datetime | None) -> NewEvent:
    """The event that ends a line with an `outcome`."""
    return _envelope(ended_draft(line), at)


def _envelope(draft: Draft, at: datetime | None) -> NewEvent:
    return NewEvent(draft.event_type, draft.payload, {"actor": "system"}, at)


def _recorded(line: dict[str, Any], own: dict[str, Any], default_source: str | None, days: Days | None) -> Conversation:
    """The stream, and the events that its line makes; whole ones and changes are still to come."""
    steps = (*PLACE, "stream")
    stream = shape.an_object(own["stream"], steps)
    try:
        identity = UUID(shape.required_text(stream.get("id"), (*steps, "id")))
    except ValueError:
        raise BadLineError(json_path((*steps, "id")), f"is {stream['id']!r}; it must be a UUID") from None
    kind = shape.required_text(stream.get("type"), (*steps, "type"))
    messages = [
        shape.an_object(message, ("messages", n))
        for n, message in enumerate(shape.a_list(line.get("messages"), ("messages",)))
    ]
    ids = shape.a_list(own.get("message_ids", []), (*PLACE, "message_ids"))
    made: list[NewEvent] = []
    leading = 0
    if "started_at" in line:
        start, leading = made_of_start(line, days)
        made.append(start)
    for n in range(leading, len(messages)):
        message_id = shape.text_or_none(ids[n], (*PLACE, "message_ids", n)) if n < len(ids) else None
        made += made_of_message(messages[n], n, message_id, days)
    if "outcome" in line:
        made.append(made_of_end(line, made[-1].created_at if made else None))
    source, conversation_id = identity_of(line, default_source)
    return Conversation(identity, kind, made, "", source, conversation_id, is_recorded=True)


def _with_whole(made: list[NewEvent], own: dict[str, Any], common: dict[str, Any], days: Days | None) -> list[NewEvent]:
    """The stream: events made, changed where `made` says so, and the whole ones at their versions."""
    whole = _by_version(own, "events")
    changes = _by_version(own, "made")
    count = len(made) + len(whole)
    for name, entries in (("events", whole), ("made", changes)):
        if wrong := [version for version in entries if version > count or (name == "made" and version in whole)]:
            raise BadLineError(
                json_path((*PLACE, name)),
                f"names version {wrong[0]}; the line has {count} events, and that is none of them",
            )
    waiting = iter(made)
    events = []
    for version in range(1, count + 1):
        if version in whole:
            steps, entry = whole[version]
            events.append(_whole(entry, steps, common, days))
        else:
            event = next(waiting)
            event = replace(event, metadata={**event.metadata, **common})
            events.append(_changed(event, *changes[version], days) if version in changes else event)
        if events[-1].created_at is None:
            raise BadLineError(
                "$.messages", f"version {version} of the stream has no time; give its message a timestamp"
            )
    return events


def _by_version(own: dict[str, Any], name: str) -> dict[int, tuple[shape.Steps, dict[str, Any]]]:
    found: dict[int, tuple[shape.Steps, dict[str, Any]]] = {}
    for n, value in enumerate(shape.a_list(own.get(name, []), (*PLACE, name))):
        steps = (*PLACE, name, n)
        entry = shape.an_object(value, steps)
        version = entry.get("version")
        if type(version) is not int or version < 1 or version in found:
            raise BadLineError(json_path((*steps, "version")), f"is {version!r}; it must be a version, each once")
        found[version] = (steps, entry)
    return found


def _whole(entry: dict[str, Any], steps: shape.Steps, common: dict[str, Any], days: Days | None) -> NewEvent:
    return NewEvent(
        shape.required_text(entry.get("event_type"), (*steps, "event_type")),
        shape.an_object(entry.get("payload"), (*steps, "payload")),
        {**shape.an_object(entry.get("metadata", {}), (*steps, "metadata")), **common},
        parse_time(entry.get("created_at"), (*steps, "created_at"), days),
    )


def _changed(event: NewEvent, steps: shape.Steps, change: dict[str, Any], days: Days | None) -> NewEvent:
    changed = {}
    for name, before in (("payload", event.payload), ("metadata", event.metadata)):
        without = shape.a_list(change.get(f"{name}_without", []), (*steps, f"{name}_without"))
        more = shape.an_object(change.get(name, {}), (*steps, name))
        changed[name] = {key: value for key, value in before.items() if key not in without} | more
    at = parse_time(change.get("created_at"), (*steps, "created_at"), days)
    return NewEvent(
        shape.required_text(change.get("event_type", event.event_type), (*steps, "event_type")),
        changed["payload"],
        changed["metadata"],
        event.created_at if at is None else at,
    )
