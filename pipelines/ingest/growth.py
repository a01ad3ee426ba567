"""A conversation that is met again and has gone on: whether it is the same one, and what is new in it.

Every message of an import carries a link, a hash of itself and of the link before it, so that one link says whether all that
came before is the same (`record_sha256`, on the message's first event). A line goes on where another stopped when its messages
begin with the other's, and its facts say at least what those said: a fact may come, a list or an object may get more, and how and
when it ended may change with the messages. Of a decision may come what only an outer span says, which ends last and is often sent
last. What is new is made into events as a line of its own would be, and the first of them
notes it (`source_grown`). Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipelines.ingest.canonical import canonical_json, first_difference, same_json
from pipelines.ingest.restore import GROWN, RecordedEvent, record_of
from pipelines.log.versions import ENDED, SCORE, STARTED, name_of
from pipelines.store.events import NewEvent

LINK = "record_sha256"
_NUMBER = re.compile(r"\$\.messages\[(\d+)\]")
_OF_THE_END = ("ended_at", "ended_reason")
"""Facts that may change when messages come."""
_OF_OUTER_SPANS = ("agent", "wrapped_by")
"""What a decision says that stands on spans around the call's own."""
_OF_A_FIRST = frozenset(
    {
        "source_record",
        "source_sha256",
        "source_place",
        "source_messages",
        "source_key",
        "source_default",
        "source_numbers",
    }
)
"""Notes that the first event of a stream has, and no other."""


def links(messages: Sequence[str], inexact: Sequence[tuple[str, str]] = ()) -> list[str]:
    """For each message the link that says that it, and all before it, are the same.

    Args:
        messages: Their canonical texts (`canonical.canonical_json`).
        inexact: `(json_path, literal)` of decimals of the line that a double does not hold.
    """
    literals: dict[int, list[list[str]]] = {}
    for path, literal in inexact:
        if found := _NUMBER.match(path):
            literals.setdefault(int(found[1]), []).append([path, literal])
    made, link = [], ""
    for index, text in enumerate(messages):
        more = f"\n{canonical_json(literals[index])}" if index in literals else ""
        link = hashlib.sha256(f"{link}\n{text}{more}".encode()).hexdigest()
        made.append(link)
    return made


def links_of(line: Mapping[str, Any], inexact: Sequence[tuple[str, str]] = ()) -> list[str]:
    """The links of a line's messages."""
    return links([canonical_json(message) for message in line["messages"]], inexact)


def goes_on(
    stored: Sequence[RecordedEvent], old: Mapping[str, Any], new: Mapping[str, Any], made: Sequence[str]
) -> bool:
    """Whether a line's messages begin with those that a stream was imported of.

    Args:
        stored: The stream's events; those imported before there were links are read as the line they were.
        old: That line.
        new: The line.
        made: The links of its messages.
    """
    count = len(old["messages"])
    if not count or len(new["messages"]) < count:
        return not count
    noted = [event.metadata[LINK] for event in stored if LINK in event.metadata]
    return made[count - 1] == (noted[-1] if noted else links_of(old)[-1])


def without_late(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """A line without what spans that came late say of decisions that were there, and that, by the message's id."""
    messages, late = [*new["messages"]], {}
    for n, (known, message) in enumerate(zip(old["messages"], messages, strict=False)):
        had, has = known.get("decision"), message.get("decision")
        if not isinstance(had, dict) or not isinstance(has, dict):
            continue
        more = {name: has[name] for name in _OF_OUTER_SPANS if name in has and name not in had}
        if more:
            late[f"decision m{n}"] = more
            kept = {name: value for name, value in has.items() if name not in more}
            messages[n] = {**message, "decision": kept}
    return ({**new, "messages": messages} if late else new), late


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Where a line does not go on with another, as a JSON path; None when it does. Both have their source."""
    count = len(old["messages"])
    if len(new["messages"]) < count:
        found = first_difference(old["messages"], new["messages"])
        return f"$.messages[{len(new['messages'])}]" if found is None else found.replace("$", "$.messages", 1)
    has_gone_on = len(new["messages"]) > count
    if found := first_difference(old["messages"], new["messages"][:count]):
        return found.replace("$", "$.messages", 1)
    for name in sorted((old.keys() | new.keys()) - {"messages", "records"}):
        is_verdict = (
            name == "outcome" and not has_gone_on and new.get("kind") != "call"
        )  # a call's report comes in parts
        if is_verdict and not same_json(new.get(name), old.get(name)):
            return f"$.{name}"
        if not (has_gone_on and name in _OF_THE_END) and not _says(new.get(name), old.get(name)):
            return f"$.{name}"
    return None


def _says(new: Any, old: Any) -> bool:
    """Whether a fact says what it said before, or more."""
    if old is None:
        return True
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and _says(new[key], value) for key, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        texts = [canonical_json(each) for each in new]
        return all(canonical_json(each) in texts for each in old)
    return same_json(old, new)


def rest(
    stored: Sequence[RecordedEvent],
    made: Sequence[NewEvent],
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    late: Mapping[str, Any] | None = None,
) -> list[NewEvent]:
    """The events that a stream does not have yet of a line that goes on with it; none where it says nothing new.

    Args:
        stored: The stream's events.
        made: All events of the line, its first system messages as many as the stream's.
        old: The line that the stream was imported as.
        new: The line.
        late: What it says late of decisions (`without_late`); it is kept among its records.
    """
    start, count = made[0], len(old["messages"])
    said = {name: value for name, value in start.payload.items() if name != "messages"}
    facts = _facts(stored)
    found: list[NewEvent] = []
    if any(not same_json(value, facts.get(name)) for name, value in said.items()):
        found.append(replace(start, payload={**start.payload, "messages": []}))
    scores = [canonical_json(score) for score in old["scores"]] if _is_listed(old) else []
    for event in made[1:]:
        name, ordinal = name_of(event.event_type), event.metadata["source_ordinal"]
        if name == SCORE:
            is_new = not _take(scores, canonical_json(new["scores"][ordinal]))
        elif name == ENDED:
            is_new = len(new["messages"]) > count or _ends_otherwise(old, new)
        else:
            is_new = ordinal >= count
        if is_new:
            found.append(event)
    record = start.metadata["source_record"]
    if late:
        record = {**record, "records": {**(record.get("records") or {}), **late}}
    more = _more(record_of(stored), record)
    if more and not found:
        found.append(replace(start, payload={**start.payload, "messages": []}))
    if found:
        found[0] = _noted(found[0], start, more)
    return found


def _take(texts: list[str], text: str) -> bool:
    """Take a text out, if it is there."""
    if text in texts:
        texts.remove(text)
        return True
    return False


def _noted(first: NewEvent, start: NewEvent, more: Mapping[str, Any]) -> NewEvent:
    """The first of the new events, with what is known of the line that brought them."""
    notes = {"sha256": start.metadata["source_sha256"], "place": start.metadata["source_place"]}
    if more:
        notes["record"] = more
    if "source_numbers" in start.metadata:
        notes["numbers"] = start.metadata["source_numbers"]
    kept = {key: value for key, value in first.metadata.items() if key not in _OF_A_FIRST}
    if name_of(first.event_type) == STARTED:
        kept.pop(LINK, None)
    return replace(first, metadata={**kept, GROWN: notes})


def _is_listed(line: Mapping[str, Any]) -> bool:
    return isinstance(line.get("scores"), list)


def _facts(stored: Sequence[RecordedEvent]) -> dict[str, Any]:
    """What the starts of a stream say, its messages aside."""
    facts: dict[str, Any] = {}
    for event in stored:
        if name_of(event.event_type) == STARTED:
            facts |= {name: value for name, value in event.payload.items() if name != "messages"}
    return facts


def _ends_otherwise(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return any(not same_json(old.get(name), new.get(name)) for name in ("outcome", *_OF_THE_END))


def _more(had: Mapping[str, Any], has: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that no event says, where they say more than before; of `records`, what is new."""
    more = {
        name: value
        for name, value in has.items()
        if name != "records" and value is not None and not same_json(value, had.get(name))
    }
    records = has.get("records")
    if isinstance(records, dict):
        before = had.get("records")
        known = {canonical_json(value) for value in before.values()} if isinstance(before, dict) else set()
        if kept := {place: value for place, value in records.items() if canonical_json(value) not in known}:
            more["records"] = kept
    return more


def digests_of(events: Iterable[RecordedEvent]) -> set[str]:
    """Digests of the lines that a stream was imported of."""
    found = set()
    for event in events:
        grown = event.metadata.get(GROWN, {})
        found |= {event.metadata.get("source_sha256"), grown.get("sha256")} - {None}
    return found
