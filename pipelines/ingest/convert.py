"""One recorded conversation in chat-completions shape becomes the events of one stream.

Pure: no file, no database, no clock of its own. `restore` is the inverse, and everything that a payload does not say
is kept for it in the events' metadata. On the first event:

- `source_record`: fields of the line that no payload holds, verbatim; explicit nulls too.
- `source_sha256`: digest of the whole line, its source filled in; `source_place`: the file and line it came from.
- `source_messages`: for each leading system message what its entry in the payload does not say, its time included.
- `source_key`: `id` when that field named the conversation; `source_default`: the source was given at import.
- `source_numbers`: path and literal of decimals whose digits a double does not hold.

On the events of a message: `source_time`, its timestamp as recorded, and the notes of `messages`. On all: `subject_id`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pipelines.canonical.tools import tools_sha256
from pipelines.ingest import beside, facts, shape
from pipelines.ingest.canonical import canonical_json, digest_of
from pipelines.ingest.clock import Clock, Days, Moment, parse_time, utc_text
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.growth import LINK, links
from pipelines.ingest.messages import ACTORS, Draft, drafts_with_decision, system_leftovers
from pipelines.log.context import Context
from pipelines.log.versions import COMPACTED, DECISION, ENDED, STARTED
from pipelines.store.events import NewEvent, stream_id

TOOLS_TYPE = "tools"
"""Type of the streams that register tools, and part of their names."""

_PLACED = frozenset(
    {"source", "conversation_id", "task_id", "variant", "agent", "channel", "vertical", "outcome", "messages"}
)
"""Fields of a line that have a place in a payload or in the envelope."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands.

    Attributes:
        file: The file's name without its folders, so that the record does not depend on who imported it from where.
        line: 1-based line number.
        record: Where the line's first record was read, of a line that was made of records of another form.
    """

    file: str
    line: int
    record: str | None = None

    def __str__(self) -> str:
        return self.record or f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Conversation:
    """The events of one imported conversation.

    Attributes:
        stream_id: UUIDv5 of (source, conversation id).
        aggregate_type: `conversation`, or `call` where the line says so (`kind`); a recorded line says its own (`recorded`).
        events: In order; the first is `conversation.started.v1` and becomes version 1.
        digest: SHA-256 (hex) of the whole line's canonical JSON, with the source where that was given at import.
        source: Where it was recorded.
        conversation_id: Its id there, as text.
        tools: What registers the lists of tools that its decisions name: (stream, event) each, known by the list's hash.
        hidden: What stands in payloads where a redaction hid something before the line was written; None if none did.
        is_recorded: The line is of a stream that no import wrote, and has its events as they were.
        links: Of its messages; see `growth.links`.
        is_plain: Whether all that the events say is, as of `strict_json.Parsed`.
    """

    stream_id: UUID
    aggregate_type: str
    events: list[NewEvent]
    digest: str
    source: str
    conversation_id: str
    tools: tuple[tuple[UUID, NewEvent], ...] = ()
    hidden: str | None = None
    is_recorded: bool = False
    links: tuple[str, ...] = ()
    is_plain: bool = False


@dataclass(frozen=True, slots=True)
class ToolList:
    """Tool schemas that an agent was offered, in chat-completions shape, and their hash."""

    tools: list[dict[str, Any]]
    sha256: str

    def event(self, source: str, at: Moment) -> tuple[UUID, NewEvent]:
        """The stream that registers the list, and its event."""
        metadata = {"actor": "system", "source": source, "source_id": self.sha256, "time_source": at.time_source}
        payload = {"sha256": self.sha256, "tools": self.tools}
        stream = stream_id(f"{source}/{TOOLS_TYPE}", self.sha256)
        return stream, NewEvent("tools.registered.v1", payload, metadata, at.created_at)


def convert(
    line: Any,
    *,
    place: Place,
    at: datetime,
    default_source: str | None = None,
    days: Days | None = None,
    inexact: Sequence[tuple[str, str]] = (),
    leading: int | None = None,
) -> Conversation:
    """The events of one parsed line.

    `source_ordinal` is the message's 0-based index; on the first event the line number, so that runs of one file have
    an order; on the outcome one past the last message.

    Args:
        line: The JSON value of the line.
        place: Where it was read.
        at: UTC time for what has no recorded time.
        default_source: Source of lines that name none.
        days: Recorded times outside are refused; None takes all.
        inexact: `(json_path, literal)` of decimals that a double does not hold, as `strict_json.parse` reports them.
        leading: How many messages are in the start; None for all system messages that the line begins with.

    Raises:
        BadLineError: The line does not have the shape of a conversation; the error has the JSON path.
    """
    record = shape.an_object(line, ())
    source, conversation_id = identity_of(record, default_source)
    messages = _messages_of(record)
    times = [
        parse_time(message.get("timestamp"), ("messages", index, "timestamp"), days)
        for index, message in enumerate(messages)
    ]
    started_at = parse_time(record.get("started_at"), ("started_at",), days)
    first_time = next((time for time in times if time is not None), None)
    ended_at = parse_time(record.get("ended_at"), ("ended_at",), days)
    scores = _scores_of(record, len(messages), days)
    times_known = (started_at, first_time, ended_at, *(time for _, time in scores))
    known = next((time for time in times_known if time is not None), None)
    clock = Clock(known, at)
    leading = count_leading(messages) if leading is None else leading
    texts = [canonical_json(message) for message in messages]
    sha256 = digest_of({**record, "source": source}, {"messages": texts}, inexact)
    linked = links(texts, inexact)

    stream = _Stream(source, conversation_id, _subject(record), [])
    # Without a start of its own, a conversation began, as far as anyone knows, with its first timed message.
    began = clock.moment(started_at, "conversation") if started_at else clock.moment(first_time)
    notes = {
        "source_record": _record(record, len(messages)),
        "source_sha256": sha256,
        "source_place": str(place),
        **_notes(record, messages[:leading], inexact),
        **({LINK: linked[leading - 1]} if leading else {}),
    }
    stream.add(started_draft(record, messages[:leading]), began, "system", place.line, notes)
    moments = {
        n: clock.moment(times[n], shape.time_source_of(messages[n]) or "message") for n in range(leading, len(messages))
    }
    lists = stream.say_all(record, messages, moments, linked)
    last = moments[len(messages) - 1] if moments else began
    for index, (score, time) in enumerate(scores):
        last = clock.moment(time) if time else Moment(last.created_at, last.time_source, None)
        stream.add(score, last, score.actor or "system", index, {})
    if facts.is_over(record):
        # Where nothing says when it was over, the end has the time of what came last, and tells whose time that is.
        last = clock.moment(ended_at, "conversation") if ended_at else Moment(last.created_at, last.time_source, None)
        noted = {"source_time": record["ended_at"]} if ended_at else {}
        stream.add(ended_draft(record), last, "system", len(messages), noted)
    return Conversation(
        stream_id(source, conversation_id),
        facts.kind(record),
        stream.events,
        sha256,
        source,
        conversation_id,
        tuple(offered.event(source, began) for offered in lists.values()),
        links=tuple(linked),
    )


def _messages_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a line, each an object with a role."""
    messages = [
        shape.an_object(message, ("messages", index))
        for index, message in enumerate(shape.a_list(record.get("messages"), ("messages",)))
    ]
    for index, message in enumerate(messages):
        shape.role_of(message, ("messages", index))
    return messages


def _scores_of(record: Mapping[str, Any], count: int, days: Days | None) -> list[tuple[Draft, datetime | None]]:
    """The scores of a line, and when each was given; `count`: how many messages it has."""
    return [
        (score, parse_time(score.payload.get("recorded_at"), ("scores", index, "recorded_at"), days))
        for index, score in enumerate(facts.scores(record, count))
    ]


@dataclass(frozen=True, slots=True)
class _Stream:
    """Collects the events of one conversation and writes their envelopes."""

    source: str
    conversation_id: str
    subject_id: str | None
    events: list[NewEvent]

    def say_all(
        self,
        record: Mapping[str, Any],
        messages: Sequence[dict[str, Any]],
        moments: Mapping[int, Moment],
        linked: Sequence[str],
    ) -> dict[str, ToolList]:
        """The events of the messages that have a moment, the first of each with its link; the tools that they were offered."""
        tools = _tools_of(record)
        roles = [str(message["role"]) for message in messages]
        usage = record.get("usage") if roles.count("assistant") == 1 else None
        lists: dict[str, ToolList] = {}
        for index, moment in moments.items():
            message, role = messages[index], roles[index]
            offered = (_tools_of(message) or tools) if role == "assistant" else None
            if offered is not None:
                lists[offered.sha256] = offered
            self.say(message, role, index, moment, None if offered is None else offered.sha256, usage, linked[index])
        return lists

    def say(
        self,
        message: dict[str, Any],
        role: str,
        index: int,
        moment: Moment,
        tools_sha256: str | None,
        usage: Any,
        link: str,
    ) -> None:
        """The events of one message, the first with its link, after the model call that led to it."""
        notes: dict[str, Any] = {"message_id": f"m{index}"}
        timed = notes
        if message.get("timestamp") is not None:
            timed = {**notes, "source_time": message["timestamp"]}
        first = {LINK: link}
        for draft in drafts_with_decision(message, role, ("messages", index), tools_sha256, usage):
            if draft.name == COMPACTED:
                self._complete(draft)
            is_told = draft.notes or draft.name != DECISION  # by the message itself, not by what stands beside it
            told = timed if is_told else notes
            self.add(draft, moment, draft.actor or ACTORS[role], index, told | first)
            first = {}

    def _complete(self, draft: Draft) -> None:
        """Give a compaction without a range the whole context but for the system messages that it begins with."""
        if None not in (draft.payload["from_message"], draft.payload["to_message"]):
            return
        context = Context()
        for event in self.events:
            context.apply(event.event_type, event.payload, event.metadata)
        shown = context.messages
        leading = next((n for n, message in enumerate(shown) if message["role"] != "system"), len(shown))
        for name, known in (("from_message", leading), ("to_message", len(shown))):
            if draft.payload[name] is None:
                draft.payload[name] = known

    def add(self, draft: Draft, moment: Moment, actor: str, ordinal: int, notes: Mapping[str, Any]) -> None:
        metadata: dict[str, Any] = {
            "actor": actor,
            "source": self.source,
            "source_id": self.conversation_id,
            "source_ordinal": ordinal,
            "time_source": moment.time_source,
            **notes,
            **draft.notes,
        }
        if self.subject_id is not None:
            metadata["subject_id"] = self.subject_id
        if moment.occurred_at is not None:
            metadata["occurred_at"] = utc_text(moment.occurred_at)
        self.events.append(NewEvent(draft.event_type, draft.payload, metadata, moment.created_at))


def _tools_of(holder: Mapping[str, Any]) -> ToolList | None:
    """The tool schemas of a line or a message; None when it has none, or names tools without describing them."""
    tools, functions = holder.get("tools"), holder.get("functions")
    if not tools and isinstance(functions, list):
        tools = [{"type": "function", "function": function} for function in functions if isinstance(function, dict)]
    if not isinstance(tools, list) or not tools or not all(isinstance(tool, dict) for tool in tools):
        return None
    return ToolList(tools, tools_sha256(tools))


def _subject(record: Mapping[str, Any]) -> str | None:
    """Whom the conversation is about; what is no text, or an empty one, stays a field that nobody knows."""
    subject = record.get("subject_id")
    return subject if isinstance(subject, str) and subject else None


def identity_of(record: Mapping[str, Any], default_source: str | None) -> tuple[str, str]:
    """Source and id of a line's conversation."""
    source = record.get("source")
    if source is None:
        if default_source is None:
            raise BadLineError("$.source", "is absent; name the source in the line, or for the whole import (--source)")
        source = default_source
    key = _identity_key(record)
    identity = shape.id_text(record.get(key), (key,))
    if not identity:
        raise BadLineError("$.conversation_id", "is absent or empty; every conversation needs an id")
    return shape.required_text(source, ("source",)), identity


def _identity_key(record: Mapping[str, Any]) -> str:
    return "id" if record.get("conversation_id") is None else "conversation_id"


def count_leading(messages: Sequence[Mapping[str, Any]]) -> int:
    """How many messages are the system messages that a conversation begins with."""
    is_other = (
        message.get("role") not in shape.SYSTEM_ROLES or beside.event_in(message) is not None for message in messages
    )
    return next((index for index, other in enumerate(is_other) if other), len(messages))


def started_draft(record: Mapping[str, Any], system: Sequence[dict[str, Any]]) -> Draft:
    """The event that begins a line's conversation, with the system messages that it begins with."""
    payload: dict[str, Any] = {
        key: shape.text_or_none(record.get(key), (key,)) for key in ("agent", "variant", "channel", "vertical")
    }
    payload["task"] = shape.id_text(record.get("task_id"), ("task_id",))
    payload["messages"] = [
        {"role": "system", "content": shape.checked_content(message.get("content"), ("messages", index, "content"))}
        for index, message in enumerate(system)
    ]
    return Draft(STARTED, payload | facts.of_start(record))


def ended_draft(record: Mapping[str, Any]) -> Draft:
    """The event that ends a line's conversation."""
    payload = {"outcome": record.get("outcome")}
    if facts.has_reason(record):
        payload["reason"] = record["ended_reason"]
    return Draft(ENDED, payload)


def _record(record: Mapping[str, Any], messages: int) -> dict[str, Any]:
    """Fields of the line that no payload and no other envelope field says exactly."""
    placed = _PLACED | facts.placed(record, messages) | (set() if _subject(record) is None else {"subject_id"})
    return {
        key: value
        for key, value in record.items()
        if key not in placed
        or value is None
        or (key in ("conversation_id", "task_id") and isinstance(value, int))  # text in the payload
    }


def _notes(
    record: Mapping[str, Any], system: Sequence[dict[str, Any]], inexact: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """What `restore` needs to know of the line besides its fields."""
    notes: dict[str, Any] = {}
    if _identity_key(record) == "id":
        notes["source_key"] = "id"
    if "source" not in record:
        notes["source_default"] = True
    if inexact:
        notes["source_numbers"] = [list(pair) for pair in inexact]
    of_messages = [_system_note(message) for message in system]
    if any(of_messages):
        notes["source_messages"] = of_messages
    return notes


def _system_note(message: dict[str, Any]) -> dict[str, Any]:
    left = system_leftovers(message)
    fields = dict(left.fields)
    if message["role"] != "system":
        fields["role"] = message["role"]
    note: dict[str, Any] = {}
    if fields:
        note["fields"] = fields
    if left.absent:
        note["absent"] = left.absent
    if message.get("timestamp") is not None:
        note["time"] = message["timestamp"]
    return note
