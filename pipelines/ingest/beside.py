"""What a run line says beside the words of its messages: thoughts, tokens, who ran a tool, scores, and events of their own.

Only what has the shape that its event wants is taken; anything else stays where it is, kept verbatim, as it always was. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.log.versions import CALL_EVENT, CALL_FIELDS, COMPACTED, HANDOFF, RESULT_FIELDS, SUPPLIED

EVENTS = {COMPACTED: "compacted", HANDOFF: "handoff", CALL_EVENT: "event", SUPPLIED: "supplied"}
"""Types that stand among the messages of a line and are none, and the field of a message of role `system` that says each."""
EVENT_ACTORS = {COMPACTED: "system", HANDOFF: "agent", CALL_EVENT: "service", SUPPLIED: "system"}
"""Who acts."""
_WANTED: dict[str, dict[str, Any]] = {
    COMPACTED: {"kind": "summary", "from_message": None, "to_message": None, "replacement": []},
    HANDOFF: {"from": None, "to": None},
    CALL_EVENT: {"kind": "state"},
    SUPPLIED: {},
}
"""What the payload of each must say, and what it says where the line does not."""
_EVENT_TEXTS = ("kind", "trigger", "from", "to", "reason", "name", "text", "digits", "number", "role")
REASONING = "reasoning"
_TEXT_FIELDS = ("reasoning_content", REASONING)
"""Fields in which chat-completions endpoints put the thoughts of a model as one text."""
_KINDS: dict[str, type] = {
    "text": str,
    "summary": list,
    "encrypted": str,
    "signature": str,
    "redacted": bool,
    "executor": str,
    "server": str,
    "has_nested_calls": bool,
    "denied": bool,
    "truncated": bool,
}
_SPEECH: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("start_ms", "end_ms", "confidence"), (int, float)),
    **dict.fromkeys(("heard_text", "source"), (str,)),
    "words": (list,),
}
_EXECUTORS = ("client", "provider")
_COUNTERS = {
    "input_tokens": ("input_tokens", "prompt_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens"),
    "cached_input_tokens": ("cached_input_tokens", "cache_read_input_tokens"),
    "cache_write_tokens": ("cache_write_tokens", "cache_creation_input_tokens"),
    "reasoning_tokens": ("reasoning_tokens",),
}
"""Counters of `model.decision`, and what they are called beside a message."""
DETAILS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "cached_input_tokens": (("prompt_tokens_details", "input_tokens_details"), "cached_tokens"),
    "reasoning_tokens": (("completion_tokens_details", "output_tokens_details"), "reasoning_tokens"),
}
"""Groups of a usage in which a counter stands, and what it is called there."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event that stands among the messages.

    Attributes:
        name: Its type without the version.
        payload: What it says; of a compaction without a range, None stands for its ends.
        absent: Members of the payload that the line does not have.
    """

    name: str
    payload: dict[str, Any]
    absent: list[str]


def event_in(message: Mapping[str, Any]) -> Told | None:
    """The event that an entry of the list of messages is, if it is none of them."""
    if message.get("role") != "system" or message.get("content") is not None:
        return None
    found = [name for name, field in EVENTS.items() if isinstance(message.get(field), dict)]
    if len(found) != 1:
        return None
    [name] = found
    given = message[EVENTS[name]]
    payload = _WANTED[name] | given
    if not _is_event(name, payload):
        return None
    return Told(name, payload, [key for key in _WANTED[name] if key not in given])


def _is_event(name: str, payload: Mapping[str, Any]) -> bool:
    said = (payload.get(key) for key in _EVENT_TEXTS)
    if not all(each is None or isinstance(each, str) for each in said):
        return False
    if name == SUPPLIED:
        return "content" in payload and payload.get("kind") not in (None, "system_message")
    if name != COMPACTED:
        return name == HANDOFF or bool(payload["kind"])
    ends, replacement = (payload["from_message"], payload["to_message"]), payload["replacement"]
    return (
        bool(payload["kind"])
        and all(each is None or (type(each) is int and each >= 0) for each in ends)
        and isinstance(replacement, list)
        and all(isinstance(each, dict) and isinstance(each.get("role"), str) for each in replacement)
    )


@dataclass(frozen=True, slots=True)
class Thought:
    """One thing that a model thought.

    Attributes:
        field: Of the message, in which it stands.
        payload: Of the event, as far as it is said.
        is_listed: Whether the field is a list of such things, and not this one's text.
    """

    field: str
    payload: dict[str, Any]
    is_listed: bool


def thoughts(message: Mapping[str, Any]) -> list[Thought]:
    """What the model thought before it said or called what is in a message, in order."""
    found = []
    for name in _TEXT_FIELDS:
        given = message.get(name)
        if isinstance(given, str) and given:
            found.append(Thought(name, {"text": given}, False))
        elif name == REASONING and isinstance(given, list) and given and all(map(_is_thought, given)):
            found += [Thought(name, dict(each), True) for each in given]
    # a text beside a list would not say which was which
    return found if len({thought.field for thought in found}) < 2 else found[:1]


def _is_thought(given: Any) -> bool:
    names = ("text", "summary", "encrypted", "signature", "redacted")
    return isinstance(given, Mapping) and all(given.get(name) is None or _fits(name, given[name]) for name in names)


def decision_of(message: Mapping[str, Any], usage: Any) -> dict[str, Any]:
    """What stands beside a message of the agent of the model call that led to it; empty when nothing does.

    Args:
        message: Of the agent, without a `decision`.
        usage: Tokens that the line counts for it; the message's own count more.
    """
    own = message.get("usage")
    counted = usage_of(own if isinstance(own, Mapping) else usage)
    if not counted:
        return {}
    model = message.get("model")
    return {"model": model if isinstance(model, str) else None, "usage": counted}


def usage_of(given: Any, details: Mapping[str, tuple[tuple[str, ...], str]] = DETAILS) -> dict[str, int]:
    """Tokens by the counters of `model.decision`, in whichever spelling a usage has; those that it does not say are left out.

    Args:
        given: The usage.
        details: Where counters stand in groups of it.
    """
    if not isinstance(given, Mapping):
        return {}
    counted: dict[str, Any] = {}
    for name, spellings in _COUNTERS.items():
        groups, inner = details.get(name, ((), ""))
        held = (given.get(group) for group in groups)
        said = [given.get(each) for each in spellings] + [each.get(inner) for each in held if isinstance(each, Mapping)]
        count = next((each for each in said if type(each) is int and each >= 0), None)
        if count is not None:
            counted[name] = count
    return counted


def with_cache(usage: dict[str, Any]) -> dict[str, Any]:
    """A usage as the Messages API counts it, whose input leaves cached tokens out: with them in it."""
    if "input_tokens" not in usage:
        return usage
    cached = usage.get("cached_input_tokens", 0) + usage.get("cache_write_tokens", 0)
    return usage | {"input_tokens": usage["input_tokens"] + cached}


def speech(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """When what a message says was spoken, and what was heard of it; None where that is not told."""
    given = message.get("speech")
    if not isinstance(given, dict) or not isinstance(given.get("interrupted"), bool | None):
        return None
    is_one = all(
        given.get(name) is None or (isinstance(given[name], kinds) and not isinstance(given[name], bool))
        for name, kinds in _SPEECH.items()
    )
    return given if is_one else None


def said_of_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """What a tool call says of who runs it."""
    return _fitting(call, CALL_FIELDS)


def said_of_result(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a tool's result says of who ran it and how that went."""
    return _fitting(message, RESULT_FIELDS)


def _fitting(holder: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: holder[name] for name in names if name in holder and _fits(name, holder[name])}


def _fits(name: str, value: Any) -> bool:
    if name == "executor":
        return value in _EXECUTORS
    if name == "latency_ms":
        return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return isinstance(value, _KINDS[name])
