"""Which events something stands in, as the store has them: those that no export has seen, too. Nothing is changed here.

Events come stream by stream, in order, and a batch at a time. What cannot hold a value is left on the server: its letters and digits
must be there, or a spelling in which they may look otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from pipelines.detect import Detector, Span, find_spans
from pipelines.erasure.named import find_event
from pipelines.errors import BadInputError
from pipelines.log.redaction import Redaction, find_fault, hidden_part, redact
from pipelines.redaction.hidden import applied_redactions
from pipelines.redaction.payload import Find, Hit, Hits, find_hits, leaves, read, sentence, text_of
from pipelines.redaction.spelling import compose
from pipelines.redaction.value import Value, can_be_found
from pipelines.store import Store
from pipelines.store.sqlstate import typed_errors

_BATCH = 200
"""Events that are fetched together: one may have 64 MB."""
_ALIKE = (
    "\u00df\u0149\u01f0\u0130\u017f\u1e96\u1e97\u1e98\u1e99\u1e9a\u1e9e\u212a\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"
)
"""Letters beyond ASCII that hold one of it when they are written small."""
_OTHERWISE = rf"\\u|&[#a-zA-Z]|%[0-9a-fA-F]{{2}}|[{_ALIKE}]"
"""What may spell a letter of ASCII otherwise, as a regular expression of PostgreSQL."""
_SCAN = """
SELECT e.aggregate_id::text, e.aggregate_type, e.stream_version, e.event_type, to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM'),
    e.payload::text, CASE WHEN %(metadata)s THEN e.metadata::text END
FROM refold.events AS e
WHERE octet_length(e.digest) = 0 AND (%(records)s OR e.aggregate_type NOT IN ('access', 'erasure'))
    AND (%(streams)s::uuid[] IS NULL OR e.aggregate_id = ANY(%(streams)s::uuid[]))
    AND (%(customer)s::text IS NULL OR e.aggregate_id IN (
        SELECT about.aggregate_id FROM refold.events AS about WHERE about.metadata ->> 'subject_id' = %(customer)s
    ))
    AND (%(fragment)s::text IS NULL
        OR strpos(lower(e.payload::text), %(fragment)s) > 0 OR e.payload::text ~ %(otherwise)s
        OR %(metadata)s AND (strpos(lower(e.metadata::text), %(fragment)s) > 0 OR e.metadata::text ~ %(otherwise)s))
ORDER BY e.aggregate_id, e.stream_version
"""
_ONE = """
SELECT e.aggregate_id::text, e.aggregate_type, e.stream_version, e.event_type, to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM'),
    e.payload::text, octet_length(e.digest) <> 0
FROM refold.events AS e WHERE e.aggregate_id = %s AND e.stream_version = %s
"""
_RECORDS = ("access", "erasure")
"""Types of streams that record what was done with the log."""
_CUSTOMER = "SELECT EXISTS (SELECT FROM refold.events AS e WHERE e.metadata ->> 'subject_id' = %s)"


@dataclass(frozen=True, slots=True)
class Scope:
    """In which streams something is looked for; in all, if neither is given.

    Attributes:
        customer: In those with an event about this person (`subject_id`).
        streams: In these.
    """

    customer: str | None = None
    streams: tuple[UUID, ...] | None = None


class Event(NamedTuple):
    """An event in which something was found.

    Attributes:
        stream: Its stream.
        kind: The stream's type.
        version: Its place there.
        event_type: `noun.verb.vN`.
        month: UTC, YYYY-MM.
        payload: As recorded.
        hits: What is to be hidden.
        is_in_metadata: What is looked for stands in its metadata, which no redaction hides.
    """

    stream: str
    kind: str
    version: int
    event_type: str
    month: str
    payload: dict[str, Any]
    hits: Hits
    is_in_metadata: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for.

    Attributes:
        find: Finds it in a text.
        fragment: Letters and digits, small ones, without which an event cannot hold it; None where nothing is known.
        is_exact: It must not be left anywhere; see `find_hits`.
    """

    find: Find
    fragment: str | None = None
    is_exact: bool = True

    @classmethod
    def of_value(cls, value: Value) -> Wanted:
        """A value."""

        def find(text: str, _key: str | None) -> Iterator[Span]:
            return (Span(start, end, "value", 1.0) for start, end in value.find(text))

        # the letters of ASCII that are its own however it is composed
        fragments = re.findall(
            r"[a-z0-9]+", "".join(each if each.isascii() else " " for each in compose(value.text)).lower()
        )
        return cls(find, max(fragments, key=len, default=None))

    @classmethod
    def of_detectors(cls, detectors: Sequence[Detector]) -> Wanted:
        """Whatever detectors find in a text, and in what a text of JSON holds."""

        def find(text: str, key: str | None) -> Iterator[Span]:
            found = find_spans(text, detectors, key)
            yield from found
            for inner, name in _leaves_of_json(text):
                for span in find_spans(inner, detectors, name):
                    part = inner[span.start : span.end]
                    places = Value(part).find(text) if can_be_found(part) else ()
                    for start, end in places:
                        if not any(each.start <= start and end <= each.end for each in found):
                            found.append(Span(start, end, span.kind, span.score))
                            yield found[-1]

        return cls(find, is_exact=False)


@dataclass(slots=True)
class Chosen:
    """What is to be redacted.

    Attributes:
        streams: Ids of streams with something to hide, and of each the first and last version of such an event.
        events: Events with something to hide.
        hits: Things to hide.
        kinds: Of each kind how many.
        months: UTC months of the events, ascending.
        in_metadata: Events whose metadata hold what is looked for; it stays there.
        left: Events in which it stands where no redaction reaches.
    """

    streams: dict[str, tuple[int, int]] = field(default_factory=dict)
    events: int = 0
    hits: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    months: list[str] = field(default_factory=list)
    in_metadata: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Count an event."""
        name = f"{event.stream}@{event.version}"
        self.in_metadata += [name] if event.is_in_metadata else []
        self.left += [name] if event.hits.is_left else []
        if not event.hits.hits:
            return
        first, _ = self.streams.get(event.stream, (event.version, 0))
        self.streams[event.stream] = first, event.version
        self.events += 1
        self.hits += len(event.hits.hits)
        for hit in event.hits.hits:
            self.kinds[hit.kind] = self.kinds.get(hit.kind, 0) + 1
        if event.month not in self.months:
            self.months = sorted([*self.months, event.month])


def scan(store: Store, scope: Scope, wanted: Wanted, *, is_hidden_told: bool = False) -> Iterator[Event]:
    """The events in which something is to be hidden, or in whose metadata it stands; by stream and version.

    Args:
        store: The store.
        scope: Where to look.
        wanted: What is looked for.
        is_hidden_told: Whether also those are given in which all of it is hidden already, and records of accesses and erasures, which say
            nothing of whom they are about and take no redaction.
    """
    values = {
        "metadata": wanted.is_exact,
        "records": is_hidden_told,
        "streams": None if scope.streams is None else list(scope.streams),
        "customer": scope.customer,
        "fragment": wanted.fragment,
        "otherwise": _OTHERWISE,
    }
    stream, applied = "", dict[int, list[Redaction]]()
    with typed_errors(), store.conn.transaction(), store.conn.cursor(f"redaction_{uuid4().hex}") as events:
        events.itersize = _BATCH
        events.execute(_SCAN.encode(), values)
        for aggregate_id, kind, version, event_type, month, payload, metadata in events:
            if aggregate_id != stream:
                stream, applied = aggregate_id, applied_redactions(store, aggregate_id)
            content = read(payload)
            hits = find_hits(event_type, content, applied.get(version, ()), wanted.find, is_exact=wanted.is_exact)
            beside = () if metadata is None else leaves(read(metadata))
            is_in_metadata = any(True for text, key in beside for _ in wanted.find(text, key))
            is_found = hits.hits or hits.is_left or is_in_metadata
            if is_found or (
                is_hidden_told and any(True for text, key in leaves(content) for _ in wanted.find(text, key))
            ):
                yield Event(stream, kind, version, event_type, month, content, hits, is_in_metadata)


def choose(store: Store, scope: Scope, wanted: Wanted, on_event: Callable[[Event], None] | None = None) -> Chosen:
    """What is to be redacted in a scope; `on_event` is given each event, as it is found."""
    chosen = Chosen()
    for event in scan(store, scope, wanted):
        chosen.add(event)
        if on_event is not None:
            on_event(event)
    return chosen


def require_customer(store: Store, customer: str) -> None:
    """Refuse a person of whom there is no event.

    Raises:
        BadInputError: There is none.
    """
    with typed_errors():
        row = store.conn.execute(_CUSTOMER, [customer]).fetchone()
    if row is None or not row[0]:
        raise BadInputError(f"there is no event about customer {customer!r} (subject_id); nothing was redacted")


def choose_place(store: Store, name: str, path: str, span: tuple[int, int] | None) -> Event:
    """One event and what of it is named, which must be there.

    Args:
        store: The store.
        name: STREAM@VERSION.
        path: JSON Pointer into its payload.
        span: Code points of the string there, half-open; None for all of what is there.

    Raises:
        BadInputError: There is no such event, or nothing there that could be hidden.
    """
    stream, version = find_event(store, name, "redacted")
    with typed_errors():
        row = store.conn.execute(_ONE, [stream, version]).fetchone()
    if row is None:
        raise BadInputError(f"there is no event {name}; nothing was redacted")
    if row[-1]:
        raise BadInputError(f"event {name} is erased: nothing of it is left to hide")
    aggregate_id, kind, version, event_type, month, text, _ = row
    if kind in _RECORDS:
        raise BadInputError(f"event {name} is the record of an {kind}: it takes no redaction")
    payload = read(text)
    redaction = Redaction(path) if span is None else Redaction(path, *span)
    _refuse_faulty(payload, redaction)
    applied = applied_redactions(store, aggregate_id).get(version, [])
    is_new = redact(payload, [*applied, redaction]).payload != redact(payload, applied).payload
    hit = _hit_of(payload, redaction, applied)
    return Event(aggregate_id, kind, version, event_type, month, payload, Hits((hit,) if is_new else ()), False)


def _refuse_faulty(payload: dict[str, Any], redaction: Redaction) -> None:
    """Refuse what names nothing; what is there is told by its names and lengths alone."""
    fault = find_fault(payload, redaction)
    if fault == "no_path":
        there = sorted(payload)
        raise BadInputError(
            f"--path {redaction.path!r} leads nowhere in the event; its payload has {', '.join(there) or 'no member'}"
        )
    value = hidden_part(payload, redaction)
    if fault == "no_span":
        length = f"is a string of {len(value)} code points" if isinstance(value, str) else "is no string"
        raise BadInputError(
            f"--span {redaction.start}:{redaction.end} names nothing: what is at {redaction.path!r} {length}; "
            "write START:END, from 0, END beyond the last"
        )
    if value is None or value == "":
        raise BadInputError(f"there is nothing at --path {redaction.path!r} to hide")


def _hit_of(payload: dict[str, Any], redaction: Redaction, applied: Sequence[Redaction]) -> Hit:
    part = hidden_part(payload, redaction)
    before = after = ""
    if redaction.start is not None and redaction.end is not None:
        whole = hidden_part(payload, Redaction(redaction.path))
        covered = [
            (each.start, each.end)
            for each in applied
            if each.path == redaction.path and each.start is not None and each.end is not None
        ]
        before, after = sentence(whole, redaction.start, redaction.end, covered)
    return Hit(redaction, "place", 1.0, before, text_of(part), after)


def _leaves_of_json(text: str) -> Iterator[tuple[str, str | None]]:
    """Texts within a text that is an object or a list of JSON."""
    if text[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            yield from leaves(json.loads(text))
