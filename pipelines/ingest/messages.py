"""One recorded message becomes drafts of its events: types, payloads, and notes of what the payloads do not say.

Knows the wire shape of messages and the payloads of their event types, and neither times nor streams. A message gives
at least one draft. The notes are what `restore` needs besides the payload: `source_fields` (fields kept verbatim) and
`source_absent` (fields that were not there where the payload has to show null), each by level: `message`, `tool_call`
or `function`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.ingest import shape

ACTORS = {"system": "system", "developer": "system", "user": "user", "assistant": "agent", "tool": "service"}
"""Who acts in the envelope, by the message's role."""

_SPOKEN_KEYS = frozenset({"role", "content", "timestamp", "tool_calls"})
_SYSTEM_KEYS = frozenset({"role", "content", "timestamp"})
_RESULT_KEYS = frozenset({"role", "content", "timestamp", "tool_call_id", "name", "error", "requestor"})
_CALL_KEYS = frozenset({"id", "function"})
_FUNCTION_KEYS = frozenset({"name", "arguments"})


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What a payload does not say of an object.

    Attributes:
        fields: Fields to keep verbatim.
        absent: Fields that were not there, and that the payload shows as null.
    """

    fields: dict[str, Any]
    absent: list[str]


@dataclass(frozen=True, slots=True)
class Draft:
    """An event without its time and stream.

    Attributes:
        event_type: `noun.verb.vN`.
        payload: The event's JSON object.
        notes: `source_fields` and `source_absent`, where there are any.
    """

    event_type: str
    payload: dict[str, Any]
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, level: str, left: Leftovers) -> None:
        """Keep what the payload does not say of the object at `level`."""
        if left.fields:
            self.notes.setdefault("source_fields", {})[level] = left.fields
        if left.absent:
            self.notes.setdefault("source_absent", {})[level] = left.absent


def drafts_of(message: dict[str, Any], role: str, steps: shape.Steps) -> list[Draft]:
    """The drafts of one message that is not a leading system message.

    Args:
        message: The recorded message.
        role: Its role, one of `shape.ROLES`.
        steps: Where it stands in the line, for errors.

    Raises:
        BadLineError: A field holds what it may not.
    """
    if role == "tool":
        drafts = [Draft("tool.result.v1", _result(message, steps))]
        left = _leftovers(
            message,
            _RESULT_KEYS,
            shown=("content", "tool_call_id", "error"),
            ids=("tool_call_id",),
            traceless=("timestamp",),
        )
    elif role in shape.SYSTEM_ROLES:
        content = shape.checked_content(message.get("content"), (*steps, "content"))
        drafts = [Draft("context.supplied.v1", {"kind": "system_message", "role": role, "content": content})]
        left = system_leftovers(message)
    else:
        drafts = list(_spoken(message, ACTORS[role], steps))
        left = _leftovers(message, _SPOKEN_KEYS, shown=("content",), traceless=("timestamp", "tool_calls"))
    drafts[0].note("message", left)
    return drafts


def system_leftovers(message: dict[str, Any]) -> Leftovers:
    """What `{role, content}` does not say of a system message, its time aside."""
    return _leftovers(message, _SYSTEM_KEYS, shown=("content",), traceless=("timestamp",))


def _spoken(message: dict[str, Any], actor: str, steps: shape.Steps) -> Iterator[Draft]:
    """What a person or an agent said, then the tools they called."""
    content = shape.checked_content(message.get("content"), (*steps, "content"))
    listed = message.get("tool_calls")
    calls = [] if listed is None else shape.a_list(listed, (*steps, "tool_calls"))
    if content is not None or not calls:
        payload: dict[str, Any] = {"text": shape.text_of(content)}
        if content is None and actor == "agent":
            payload["text"] = None
        elif not isinstance(content, str):
            payload["content"] = content
        yield Draft(f"{actor}.utterance.v1", payload)
    for number, value in enumerate(calls):
        yield _call(value, (*steps, "tool_calls", number))


def _call(value: Any, steps: shape.Steps) -> Draft:
    call = shape.an_object(value, steps)
    function = shape.an_object(call.get("function"), (*steps, "function"))
    payload = {
        "call_id": shape.id_text(call.get("id"), (*steps, "id")),
        "name": shape.required_text(function.get("name"), (*steps, "function", "name")),
        "arguments": function.get("arguments"),
    }
    draft = Draft("tool.call.v1", payload)
    draft.note("tool_call", _leftovers(call, _CALL_KEYS, shown=("id",), ids=("id",)))
    draft.note("function", _leftovers(function, _FUNCTION_KEYS, shown=("arguments",)))
    return draft


def _result(message: dict[str, Any], steps: shape.Steps) -> dict[str, Any]:
    payload = {
        "call_id": shape.id_text(message.get("tool_call_id"), (*steps, "tool_call_id")),
        "output": message.get("content"),
        "error": message.get("error"),
    }
    for key in ("name", "requestor"):
        if key in message:
            payload[key] = shape.text_or_none(message[key], (*steps, key))
    return payload


def _leftovers(
    value: dict[str, Any],
    known: frozenset[str],
    *,
    shown: Sequence[str],
    ids: Sequence[str] = (),
    traceless: Sequence[str] = (),
) -> Leftovers:
    """What the payload does not say of `value`.

    Args:
        value: A message, tool call or function.
        known: Its fields that have a place.
        shown: Those of them that the payload shows as null when they are absent.
        ids: Those that become text; an integer is kept too.
        traceless: Those that make no event and no note when they are null or an empty list.
    """
    fields = {
        key: inner
        for key, inner in value.items()
        if key not in known or (key in traceless and inner in (None, [])) or (key in ids and isinstance(inner, int))
    }
    return Leftovers(fields, [key for key in shown if key not in value])
