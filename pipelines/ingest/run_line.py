"""A stream becomes one run line: the inverse of importing it.

A conversation that was imported becomes the line that it was, by `restore`. Any other becomes messages with their decisions
and, in `records.refold`, what these do not say; the form is told in `recorded`, which reads it. Both are held to that reading
before they are given: what a line would not bring back exactly is written as whole events, so nothing here can lose anything.
Pure: events in, line out; redactions are applied here, so that no caller can forget them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pipelines.errors import BadInputError
from pipelines.ingest import beside
from pipelines.ingest.clock import utc_text
from pipelines.ingest.convert import Place, convert
from pipelines.ingest.growth import LINK
from pipelines.ingest.recorded import NOTES, made_of_end, made_of_message, made_of_start
from pipelines.ingest.restore import message_of, restore
from pipelines.ingest.shape import SYSTEM_ROLES
from pipelines.log.redaction import HIDDEN, Redaction, redact, target_version
from pipelines.log.versions import (
    AGENT_SAID,
    DECISION,
    ENDED,
    REASONING,
    STARTED,
    STARTED_FIELDS,
    SUPPLIED,
    TOOL_CALL,
    TOOL_RESULT,
    USER_SAID,
    name_of,
)
from pipelines.store.events import NewEvent

SOURCE = "refold"
"""Source on the line of a stream whose events name none; its id there is the stream's."""
_REDACTION = "redaction.applied.v"
_NOWHERE, _EPOCH = Place("", 0), datetime(1970, 1, 1, tzinfo=UTC)
_LABELS = ("agent", "variant", "channel", "vertical")
_ACTORS = {AGENT_SAID: "agent", USER_SAID: "user", TOOL_RESULT: "service", REASONING: "agent"}
_FOLLOWED_BY = {
    DECISION: (REASONING, AGENT_SAID, TOOL_CALL),
    REASONING: (REASONING, AGENT_SAID, TOOL_CALL),
    AGENT_SAID: (TOOL_CALL,),
    USER_SAID: (TOOL_CALL,),
    TOOL_CALL: (TOOL_CALL,),
    TOOL_RESULT: (),
}
"""What may follow in the same message, by type."""
_SAID = _FOLLOWED_BY.keys() | beside.EVENTS.keys()
"""What stands among the messages of a line, if it is not a document or row that was supplied."""
_KEPT_BESIDE = frozenset(
    {
        "type",
        "role",
        "id",
        "tool_call_id",
        "tool_use_id",
        "conversation_id",
        "task_id",
        "tools",
        "functions",
        "started_at",
    }
)
"""Fields beside a payload that pair events, or say how it is written, and nothing of what was said."""
_STRANGE = (LookupError, TypeError, ValueError, AttributeError, BadInputError)
"""What metadata that no import wrote may come to where notes of one are looked for."""
_dumps = json.JSONEncoder(sort_keys=True).encode


@dataclass(frozen=True, slots=True)
class RunLine:
    """One stream as a line.

    Attributes:
        line: The JSON object; numbers may be `float`s with a `literal`, which is then what was recorded.
        events: Events that it brings back.
        redacted: Redactions that were applied, and are told in `records.refold.redactions`.
        numbers: JSON path → literal, of decimals that the recorded line had and a double does not hold.
    """

    line: dict[str, Any]
    events: int
    redacted: int
    numbers: dict[str, str]


def run_line(stream: UUID, aggregate_type: str, recorded: Mapping[int, NewEvent]) -> RunLine | None:
    """The line of one stream; None when nothing of it is left to be told.

    Args:
        stream: The stream.
        aggregate_type: The kind of thing it is about.
        recorded: Its events by version, ascending, as stored; those whose content is gone are left out.
    """
    shown, redactions = _as_read(recorded)
    if not shown:
        return None
    events = list(shown.values())
    notes = events[0].metadata
    versions = {old: new for new, old in enumerate(shown, start=1)}
    told = [_told(redaction, versions) for redaction in (*_earlier(notes), *redactions)]
    numbers = _numbers(notes)
    line = _imported(events, told)
    if line is None:
        dropped = {*NOTES, "source_ordinal"} if "source_record" in notes else set(NOTES)
        events[0] = replace(events[0], metadata={k: v for k, v in notes.items() if k not in dropped})
        line = _Recorded(stream, aggregate_type, events).line()
        if told:
            line["records"]["refold"]["redactions"] = told
    return RunLine(line, len(events), len(redactions), numbers)


def _as_read(recorded: Mapping[int, NewEvent]) -> tuple[dict[int, NewEvent], list[dict[str, Any]]]:
    """The events as they may be read, by version, without redactions; and these, which are applied once and for all."""
    of_target: dict[int | None, list[Redaction]] = {}
    for event in recorded.values():
        if event.event_type.startswith(_REDACTION):
            of_target.setdefault(target_version(event.payload), []).append(Redaction.from_payload(event.payload))
    shown: dict[int, NewEvent] = {}
    redactions: list[dict[str, Any]] = []
    for version, event in recorded.items():
        hiding = of_target.get(version)
        if event.event_type.startswith(_REDACTION):
            payload = event.payload if hiding is None else redact(event.payload, hiding).payload
            redactions.append({**payload, "target": {"stream_version": target_version(event.payload)}})
        elif hiding is None:
            shown[version] = event
        else:
            payload = redact(event.payload, hiding).payload
            shown[version] = replace(event, payload=payload, metadata=_without_words(event.metadata))
    return shown, redactions


def _without_words(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The envelope of an event of which something is hidden: fields kept beside its payload may say it again."""
    kept = dict(metadata)
    for name in ("source_fields", "source_record"):
        if isinstance(kept.get(name), dict):
            kept[name] = _hide_fields(kept[name], levels=name == "source_fields")
    if isinstance(kept.get("source_messages"), list):
        kept["source_messages"] = [
            {**note, "fields": _hide_fields(note["fields"])} if isinstance(note, dict) and "fields" in note else note
            for note in kept["source_messages"]
        ]
    return kept


def _hide_fields(fields: Any, *, levels: bool = False) -> Any:
    """Fields without what they say; what is null or empty says nothing."""
    if not isinstance(fields, dict):
        return fields
    if levels:
        return {level: _hide_fields(inner) for level, inner in fields.items()}
    return {
        key: value if key in _KEPT_BESIDE or value in (None, "", [], {}) else HIDDEN for key, value in fields.items()
    }


def _numbers(notes: Mapping[str, Any]) -> dict[str, str]:
    """Literals of decimals that a double does not hold, by their path in the line that was imported."""
    noted = notes.get("source_numbers")
    try:
        return {path: literal for path, literal in noted or () if math.isfinite(float(literal)) and str(path) == path}
    except _STRANGE:
        return {}


def _earlier(notes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Redactions that were applied before the line was imported."""
    earlier = notes.get("source_redactions")
    return [each for each in earlier if isinstance(each, dict)] if isinstance(earlier, list) else []


def _told(redaction: Mapping[str, Any], versions: Mapping[int, int]) -> dict[str, Any]:
    """A redaction, with the version that its target has in the line."""
    version = target_version(redaction)
    new = None if version is None else versions.get(version)
    return {**redaction, "target": {"stream_version": new}}


def _imported(events: Sequence[NewEvent], told: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The line that was imported, and beside it what others appended; None where that would not be these events."""
    try:
        envelope = events[0].metadata
        if "source_record" not in envelope:
            return None
        count = next((n for n, event in enumerate(events) if not _is_of(event, envelope)), len(events))
        line = {"source": envelope["source"], **restore(events[:count])}
        line["source"] = envelope["source"]
        made = convert(line, place=_NOWHERE, at=_EPOCH, inexact=list(_numbers(envelope).items())).events
        if len(made) != count or not all(map(_is_made, events[:count], made)):
            return None
    except _STRANGE:
        return None
    own: dict[str, Any] = {}
    if count < len(events):
        own["events"] = [_whole(n, event, {}) for n, event in enumerate(events[count:], start=count + 1)]
    if told:
        own["redactions"] = told
    others = line.get("records")
    if own and "records" in line and (not isinstance(others, dict) or not others or "refold" in others):
        return None
    return {**line, "records": {**(others or {}), "refold": own}} if own else line


def _is_of(event: NewEvent, envelope: Mapping[str, Any]) -> bool:
    """Whether an event came with the conversation, or was appended by others."""
    names = ("source", "source_id")
    return "source_ordinal" in event.metadata and all(event.metadata.get(n) == envelope[n] for n in names)


def _is_made(event: NewEvent, made: NewEvent) -> bool:
    """Whether importing the line makes this event; the time of the import is none of the line's."""
    ours, theirs = dict(event.metadata), dict(made.metadata)
    if "source_record" in theirs:  # the first event, which has notes of the import too; the line has its source now
        for notes in (ours, theirs):
            for name in (*NOTES[:3], "source_ordinal", "source_default"):
                notes.pop(name, None)
            notes["source_record"] = {k: v for k, v in notes["source_record"].items() if k != "source"}
    if LINK not in ours:  # it was imported before messages had links
        theirs.pop(LINK, None)
    is_timed = made.metadata["time_source"] != "import"
    return (
        event.event_type == made.event_type
        and (event.created_at == made.created_at or not is_timed)
        and _is_same(event.payload, made.payload)
        and _is_same(ours, theirs)
    )


@dataclass(slots=True)
class _Recorded:
    """The line of a stream that was not imported, while it is written."""

    stream: UUID
    aggregate_type: str
    events: list[NewEvent]
    fields: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    message_ids: list[str | None] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    whole: list[dict[str, Any]] = field(default_factory=list)
    common: dict[str, Any] = field(default_factory=dict)
    last: datetime | None = None

    def line(self) -> dict[str, Any]:
        self.common = _common(self.events)
        said = [n for n, event in enumerate(self.events) if _is_said(event)]
        end = next((n for n in range(max(said, default=-1) + 1, len(self.events)) if _is_end(self.events[n])), None)
        for start, stop in _groups(self.events):
            is_written = (
                self._start()
                if start == 0 and name_of(self.events[0].event_type) == STARTED
                else self._end(start)
                if start == end
                else self._message(start, stop)
            )
            if not is_written:
                self.whole += [_whole(n + 1, self.events[n], self.common) for n in range(start, stop)]
        own: dict[str, Any] = {"stream": {"id": str(self.stream), "type": self.aggregate_type, "metadata": self.common}}
        if any(each is not None for each in self.message_ids):
            own["message_ids"] = self.message_ids
        own |= {name: value for name, value in (("made", self.changes), ("events", self.whole)) if value}
        outcome = {"outcome": self.fields.pop("outcome")} if "outcome" in self.fields else {}
        return {**self._identity(), **self.fields, "messages": self.messages, **outcome, "records": {"refold": own}}

    def _identity(self) -> dict[str, Any]:
        metadata = self.events[0].metadata
        source, name, subject = (metadata.get(each) for each in ("source", "source_id", "subject_id"))
        identity = {"source": SOURCE, "conversation_id": str(self.stream)}
        if isinstance(source, str) and source and isinstance(name, str) and name:
            identity = {"source": source, "conversation_id": name}
        if isinstance(subject, str) and subject:
            identity["subject_id"] = subject
        return identity

    def _start(self) -> bool:
        event = self.events[0]
        payload = event.payload
        messages = payload.get("messages")
        if event.created_at is None or not isinstance(messages, list):
            return False
        line = {name: payload[name] for name in _LABELS if isinstance(payload.get(name), str)}
        line |= {name: payload[name] for name in STARTED_FIELDS if name in payload}
        if isinstance(payload.get("task"), str):
            line["task_id"] = payload["task"]
        line["started_at"] = utc_text(event.created_at)
        try:
            made, leading = made_of_start({**line, "messages": messages}, None)
        except _STRANGE:
            return False
        if leading != len(messages) or not self._take([made], 0):
            return False
        self.fields |= line
        self.messages += messages
        self.message_ids += [None] * leading
        return True

    def _end(self, place: int) -> bool:
        event = self.events[place]
        if "outcome" not in event.payload:
            return False
        said = {"outcome": event.payload["outcome"]}
        if isinstance(event.payload.get("reason"), str):
            said["ended_reason"] = event.payload["reason"]
        made = made_of_end(said, self.last)
        if not self._take([made], place):
            return False
        self.fields |= said
        return True

    def _message(self, start: int, stop: int) -> bool:
        events = self.events[start:stop]
        first = events[0]
        if not _is_said(first):
            return False
        message_id = first.metadata.get("message_id")
        message_id = message_id if isinstance(message_id, str) else None
        try:
            message = message_of([_as_spoken(event, first) for event in events])
            if first.created_at is not None:
                message["timestamp"] = utc_text(first.created_at)
            made = made_of_message(message, len(self.messages), message_id, None)
        except _STRANGE:
            return False
        if self._begins_as_system(message) or not self._take(made, start, stop):
            return False
        self.messages.append(message)
        self.message_ids.append(message_id)
        return True

    def _begins_as_system(self, message: Mapping[str, Any]) -> bool:
        """Whether it would be taken for one of the messages that the conversation began with."""
        return (
            "started_at" in self.fields
            and message["role"] in SYSTEM_ROLES
            and all(each["role"] in SYSTEM_ROLES for each in self.messages)
        )

    def _take(self, made: Sequence[NewEvent], start: int, stop: int | None = None) -> bool:
        """Note in what the events are otherwise than the line makes them; false when they are other events."""
        events = self.events[start : start + 1 if stop is None else stop]
        if len(made) != len(events):
            return False
        changes = []
        for version, (event, one) in enumerate(zip(events, made, strict=True), start=start + 1):
            change = _change(event, replace(one, metadata={**one.metadata, **self.common}))
            if change is None:
                return False
            changes += [{"version": version, **change}] if change else []
        self.changes += changes
        self.last = made[-1].created_at
        return True


def _groups(events: Sequence[NewEvent]) -> Iterator[tuple[int, int]]:
    """Runs of events that one message may say, as half-open ranges."""
    start = 0
    for n in range(1, len(events) + 1):
        if n == len(events) or not _continues(events[n - 1], events[n]):
            yield start, n
            start = n


def _continues(before: NewEvent, event: NewEvent) -> bool:
    follows = _FOLLOWED_BY.get(name_of(before.event_type), ())
    if _is_part(before):
        follows = (AGENT_SAID, USER_SAID, TOOL_CALL, TOOL_RESULT)
    return name_of(event.event_type) in follows and before.metadata.get("message_id") == event.metadata.get(
        "message_id"
    )


def _is_part(event: NewEvent) -> bool:
    """Whether it was said as a part of a message's content."""
    form = event.metadata.get("source_form")
    call = form.get("call") if isinstance(form, dict) else None
    return isinstance(call, dict) and "part" in call


def _is_said(event: NewEvent) -> bool:
    """Whether it stands among the messages."""
    name = name_of(event.event_type)
    return name in _SAID and (name != SUPPLIED or event.payload.get("kind") == "system_message")


def _is_end(event: NewEvent) -> bool:
    return name_of(event.event_type) == ENDED


def _as_spoken(event: NewEvent, first: NewEvent) -> NewEvent:
    """The event with the actor that its type and message have, whatever its envelope says."""
    name, said = name_of(event.event_type), name_of(first.event_type)
    actor = _ACTORS.get(name)
    if name == TOOL_CALL:
        is_users = said == USER_SAID or first.metadata.get("actor") == "user"
        actor = "user" if is_users and said != DECISION else "agent"
    if _is_part(first):
        actor = {TOOL_RESULT: "user", TOOL_CALL: "agent"}.get(name, actor)
    return replace(event, metadata={**event.metadata, "actor": actor or "system"})


def _common(events: Sequence[NewEvent]) -> dict[str, Any]:
    """Metadata that all events have."""
    common = dict(events[0].metadata)
    for event in events[1:]:
        for key in [k for k, v in common.items() if k not in event.metadata or not _is_same(v, event.metadata[k])]:
            del common[key]
        if not common:
            break
    return common


def _change(event: NewEvent, made: NewEvent) -> dict[str, Any] | None:
    """In what an event is otherwise than the one made; None when it says something else."""
    if name_of(event.event_type) != name_of(made.event_type):
        return None
    payload, payload_without = _difference(event.payload, made.payload)
    if payload.keys() & made.payload.keys() or any(made.payload[key] is not None for key in payload_without):
        return None
    metadata, metadata_without = _difference(event.metadata, made.metadata)
    change = {
        "event_type": event.event_type if event.event_type != made.event_type else None,
        "payload": payload,
        "payload_without": payload_without,
        "metadata": metadata,
        "metadata_without": metadata_without,
    }
    told = {name: value for name, value in change.items() if value}
    if event.created_at != made.created_at and event.created_at is not None:
        told["created_at"] = utc_text(event.created_at)
    return told


def _difference(has: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    more = {key: value for key, value in has.items() if key not in made or not _is_same(value, made[key])}
    return more, [key for key in made if key not in has]


def _is_same(left: Any, right: Any) -> bool:
    """Whether two values are written alike, key order aside; `1.0` is not `1` here, for it would not come back as it was."""
    return left is right or (left == right and _dumps(left) == _dumps(right))


def _whole(version: int, event: NewEvent, common: Mapping[str, Any]) -> dict[str, Any]:
    """An event that no field says; its metadata without what is the stream's."""
    told: dict[str, Any] = {"version": version, "event_type": event.event_type, "payload": event.payload}
    if metadata := {key: value for key, value in event.metadata.items() if key not in common}:
        told["metadata"] = metadata
    return told if event.created_at is None else {**told, "created_at": utc_text(event.created_at)}
