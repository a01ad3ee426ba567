"""A story in words: what the terminal and the page both show, in the order in which they show it.

Here codes become sentences that somebody understands who knows neither Refold nor JSON. Texts stay whole, as they were
recorded: how much of one is shown, and how it is made harmless, is the business of who shows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.console import counted
from pipelines.evidence.parts import Erased, Hidden, Part, Story

_WHO = {
    "context": "Shown to the agent",
    "user": "User",
    "agent": "Agent",
    "end": "The end",
    "redaction": "Redaction",
    "prompt": "Prompt registered",
    "tools": "Tools registered",
}
_LABELS = {
    "agent": "agent",
    "variant": "variant of the agent",
    "channel": "channel",
    "vertical": "line of business",
    "task": "task",
    "sha256": "SHA-256",
    "variables": "filled in with",
    "call_id": "recorded id",
    "tools_sha256": "SHA-256 of the tools",
}
"""Recorded names for which people have another word; any other is shown as it was recorded."""
_SERVED = ("agent", "variant", "channel", "vertical", "task")
_NOT_SHOWN: Mapping[str, tuple[str, ...]] = {
    "start": _SERVED,
    "redaction": ("target", "reason", "span", "path", "method"),
    "row": ("before", "after"),
}
"""Members of a payload that stand in a sentence, in a table of their own, or at the head of the story."""


@dataclass(frozen=True, slots=True)
class Block:
    """One event as it is shown.

    Attributes:
        version: Its place in the stream.
        at: When.
        kind: As in `Part`.
        who: Who, or what: the first words.
        place: Which message of the agent's it is; "" for none.
        text: What was said, done, answered; None for nothing.
        is_code: Whether the text is JSON rather than speech.
        facts: What else is recorded: name, value.
        changes: Of a row: column, value before, value after.
        notes: Sentences about it: redactions, erasure, what is missing.
        link: Version of the event that it belongs to; None for none.
        is_gone: Whether its content is erased.
    """

    version: int
    at: datetime
    kind: str
    who: str
    place: str
    text: str | None
    is_code: bool
    facts: tuple[tuple[str, str], ...]
    changes: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    link: int | None
    is_gone: bool


def describe_title(story: Story) -> str:
    """Which stream it is, and which part of it is told."""
    kind = {"conversation": "Conversation", "call": "Call"}.get(story.stream_type, f"Stream ({story.stream_type})")
    focus = f", decision {story.focus} of {story.decision_count}" if story.focus is not None else ""
    as_of = f", as of event {story.last_version}" if story.last_version < story.known_version else ""
    return f"{kind} {story.name}{focus}{as_of}"


def describe_head(story: Story) -> list[tuple[str, str]]:
    """What is known of the stream as a whole: name, value."""
    served = [(_LABELS[name], getattr(story, name)) for name in _SERVED]
    facts = [
        ("stream", story.stream),
        ("about customer", story.subject_id),
        *served,
        ("from", moment(story.started_at)),
        ("to", moment(story.last_at) + _status(story)),
        ("outcome", None if story.outcome is None else plain_json(story.outcome)),
        ("events", _events(story)),
        ("months", "; ".join(_months(story))),
        ("shown", _shown(story)),
    ]
    return [(name, value) for name, value in facts if value]


def _status(story: Story) -> str:
    if story.stream_type not in ("conversation", "call"):
        return ""
    return ", ended" if story.status == "ended" else "; no end is recorded"


def _events(story: Story) -> str:
    told = f"{story.last_version:,}"
    if story.last_version < story.known_version:
        told += f" of {story.known_version:,}: told as of event {story.last_version:,}"
    parts = [told, counted(story.decision_count, "decision") + " of the agent"] if story.decision_count else [told]
    for event_type, count in story.skipped.items():
        parts.append(f"{count:,} of the type {event_type}, which is not known here and is shown as recorded")
    for first, last in story.missing:
        parts.append(f"{version_range('event', first, last)} not in the lake: what is told is not whole")
    return "; ".join(parts)


def _months(story: Story) -> Iterator[str]:
    for month in story.months:
        events = (
            f" ({version_range('event', month.first_version, month.last_version)})" if len(story.months) > 1 else ""
        )
        if month.state == "sealed":
            yield f"{month.month}{events} sealed{'' if month.sealed_at is None else ' on ' + day(month.sealed_at)}"
        else:
            yield f"{month.month}{events} not sealed yet"


def _shown(story: Story) -> str:
    if story.is_original:
        return "as recorded: redactions are NOT applied"
    counts = story.redacted_events, story.erased_events
    parts = [
        f"{counted(count, 'event')} {'has' if count == 1 else 'have'} {what}"
        for count, what in zip(counts, ("redacted parts", "been erased"), strict=True)
        if count
    ]
    return "; ".join(parts) or "everything: nothing is redacted, nothing is erased"


def describe_part(part: Part) -> Block:
    """One event in words."""
    is_code = part.kind in ("call", "result", "tools") or (part.kind == "context" and _is_json(part.text))
    text = part.text if part.kind != "redaction" else None
    left_out = _NOT_SHOWN.get(part.kind, ())
    facts = tuple((label(each.name), plain_json(each.value)) for each in part.fields if each.name not in left_out)
    if part.kind == "row" and part.cause is not None:
        facts += (("because of", part.cause),)
    return Block(
        version=part.version,
        at=part.at,
        kind=part.kind,
        who=_who(part),
        place=_place(part.messages),
        text=plain_json(text) if text is not None and is_code else text,
        is_code=is_code,
        facts=facts if part.kind != "model" or part.decision is None else (),
        changes=_changes(part) if part.kind == "row" else (),
        notes=tuple(_notes(part)),
        link=part.answers or part.target,
        is_gone=part.erased is not None,
    )


def _who(part: Part) -> str:
    if part.kind in ("record", "unknown"):
        return part.event_type
    called = f": {part.name}" if part.name else ""
    by_kind = {
        "start": "Instructions to the agent" if part.text else "It begins",
        "call": f"{'User' if part.actor == 'user' else 'Agent'} uses a tool{called}",
        "result": f"{'An error instead of an answer' if part.is_error else 'Tool answers'}{called}",
        "model": "A model was asked" if part.decision is None else "The model was asked",
        "row": _row(part),
    }
    return by_kind.get(part.kind) or f"{_WHO[part.kind]}{f' ({part.name})' if part.name else ''}"


def _row(part: Part) -> str:
    """What became of a row, and in which table: an event without what was before is an insert, one without what is after a delete."""
    names = {each.name for each in part.fields}
    table = part.name or "a table"
    if part.erased is None and "before" not in names:
        return f"A row was added to {table}"
    if part.erased is None and "after" not in names:
        return f"A row was removed from {table}"
    return f"A row changed in {table}"


def _place(messages: Sequence[int]) -> str:
    if not messages:
        return ""
    return version_range("message", messages[0], messages[-1])


def _notes(part: Part) -> Iterator[str]:
    if part.erased is not None:
        yield _erased(part.erased)
    else:
        yield from _remarks(part)
    together: dict[tuple[str, str], list[Hidden]] = {}
    for each in part.hidden:
        together.setdefault((day(each.at), each.reason), []).append(each)
    for (when, reason), hidden in together.items():
        what = "A part of this event" if all(each.path for each in hidden) else "This event"
        by = ", ".join(f"{each.version:,}" for each in hidden)
        events = "event" if len(hidden) == 1 else "events"
        yield f"{what} was redacted on {when} ({events} {by}). Reason: {reason or 'none was given'}."


def _remarks(part: Part) -> Iterator[str]:
    """What is to be said of an event that is not erased, by its kind."""
    of = "an earlier event" if part.target is None else f"event {part.target}"
    is_by_user = part.kind == "call" and part.actor == "user"
    said = {
        f"A part of {of} must not be shown. Reason: {part.text or 'none was given'}.": part.kind == "redaction",
        "The model marked this as a refusal.": part.is_refusal,
        "The user did this; the agent was not shown it.": is_by_user,
        "No answer to it is recorded.": part.kind == "call" and part.answered_by is None,
        "It answers no call that is recorded.": part.kind == "result" and part.answers is None,
        "The recorded message has neither text nor a use of a tool.": part.kind == "agent" and part.text is None,
        "Nothing that the agent said or did came of it.": part.kind == "model" and part.decision is None,
        "This type of event is not known here; what it says is shown as it was recorded.": part.kind == "unknown",
    }
    return (sentence for sentence, is_so in said.items() if is_so)


def _erased(erased: Erased) -> str:
    when = "" if erased.at is None else f" on {day(erased.at)}"
    why = "no record of the erasure is in the lake" if erased.reason is None else f"Reason: {erased.reason}"
    return (
        f"What this event said was erased for good{when}; that it was here stays recorded. {why[:1].upper()}{why[1:]}."
    )


def _changes(part: Part) -> tuple[tuple[str, str, str], ...]:
    """Columns of a changed row: name, before, after; what did not change is left out of an update."""
    fields = {each.name: each.value for each in part.fields}
    before, after = (_members(fields.get(name)) for name in ("before", "after"))
    names = dict.fromkeys((*before, *after))
    is_update = bool(before) and bool(after)
    rows = [(name, before.get(name, ""), after.get(name, "")) for name in names]
    return tuple(row for row in rows if not is_update or row[1] != row[2])


def _members(text: str | None) -> dict[str, str]:
    value = None if text is None else _read(text)
    if isinstance(value, dict):
        return {name: _cell(item) for name, item in value.items()}
    return {} if value is None else {"": _cell(value)}


def label(name: str) -> str:
    """What people call a recorded name."""
    return _LABELS.get(name, name)


def moment(at: datetime) -> str:
    """A time, to the second, UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def day(at: datetime) -> str:
    """A day, UTC."""
    return f"{at:%Y-%m-%d}"


def plain_json(text: str) -> str:
    """JSON text as people read it: an object as lines `name: value`, a list as lines; any other text as it is."""
    value = _read(text)
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_cell(item)}" for name, item in value.items()) or "(nothing)"
    if isinstance(value, list):
        return "\n".join(f"- {_cell(item)}" for item in value) or "(nothing)"
    return value if isinstance(value, str) else text


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_json(text: str | None) -> bool:
    return text is not None and isinstance(_read(text), dict | list)


def _read(text: str) -> Any:
    """The JSON value that a text is; the text itself where it is none."""
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


def version_range(what: str, first: int, last: int) -> str:
    """Numbers of something, from the first to the last: `messages 1 to 6`."""
    return f"{what} {first:,}" if first == last else f"{what}s {first:,} to {last:,}"
