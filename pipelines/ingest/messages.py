"""One recorded message becomes drafts of its events: types, payloads, and notes of what the payloads do not say.

Knows the wire shape of messages and the payloads of their event types, and neither times nor streams. A message gives
at least one draft; the model call that led to it comes before. The notes are what `restore` needs besides the payload: `source_fields` (fields kept verbatim),
`source_absent` (fields that were not there where the payload has to show something), each by level: `message`, `decision`,
`tool_call`, `function` or `part`; and `source_form`: in which field or part of the message it was said, where that is not the
usual one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pipelines.canonical.content import refusal_in, text_of
from pipelines.ingest import beside, dialects, shape
from pipelines.log import versions
from pipelines.log.versions import written_type

ACTORS = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "agent",
    "tool": "service",
    "function": "service",
}
"""Who acts in the envelope, by the message's role."""
RESULT_ROLES = ("tool", "function")
_UTTERANCES = (versions.USER_SAID, versions.AGENT_SAID)

_SPOKEN_KEYS = frozenset({"role", "content", "timestamp", "tool_calls"})
_SYSTEM_KEYS = frozenset({"role", "content", "timestamp"})
_RESULT_KEYS = frozenset({"role", "content", "timestamp", "tool_call_id", "name", "error", "requestor"})
_CALL_PART_KEYS = frozenset({"type", "id", "name", "input"})
_RESULT_PART_KEYS = frozenset({"type", "tool_use_id", "content", "is_error"})
_EVENT_KEYS = frozenset({"role", "timestamp"})
_FUNCTION_KEYS = frozenset({"name", "arguments"})


class Leftovers(NamedTuple):
    """What a payload does not say of an object.

    Attributes:
        fields: Fields to keep verbatim.
        absent: Fields that were not there, and that the payload shows as null.
    """

    fields: dict[str, Any]
    absent: list[str]


@dataclass(slots=True)
class Draft:
    """An event without its time and stream.

    Attributes:
        name: `noun.verb`; the version is that of what it says (`event_type`).
        payload: The event's JSON object.
        notes: `source_fields`, `source_absent` and `source_form`, where there are any.
        actor: Who acted, where that is not the message's actor.
    """

    name: str
    payload: dict[str, Any]
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    actor: str | None = None

    @property
    def event_type(self) -> str:
        """`noun.verb.vN`."""
        return written_type(self.name, self.payload)

    def note(self, level: str, left: Leftovers) -> None:
        """Keep what the payload does not say of the object at `level`."""
        if left.fields:
            self.notes.setdefault("source_fields", {})[level] = left.fields
        if left.absent:
            self.notes.setdefault("source_absent", {})[level] = left.absent

    def form(self, what: str, said: dict[str, Any]) -> None:
        """Keep in which form the message says it."""
        self.notes.setdefault("source_form", {})[what] = said


def drafts_with_decision(
    message: dict[str, Any],
    role: str,
    steps: shape.Steps,
    tools_sha256: str | None = None,
    usage: Any = None,
) -> list[Draft]:
    """`drafts_of`, after what is known of the model call that led to a message of the agent.

    That is its `decision`, an object as the payload of `model.decision` is one; or the tokens that stand beside it, and the
    tools that it was offered. A message with a decision and neither content nor calls is that decision alone: nothing came of it.

    Args:
        message: The recorded message.
        role: Its role, one of `shape.ROLES`.
        steps: Where it stands in the line, for errors.
        tools_sha256: Hash of the tools that the line offers, if it offers any.
        usage: Tokens that the line says of its one message of the agent, if it says any.

    Raises:
        BadLineError: As `drafts_of`.
    """
    given = message.get("decision") if role == "assistant" else None
    if not isinstance(given, dict):
        known = beside.decision_of(message, usage) if role == "assistant" else {}
        known |= {"tools_sha256": tools_sha256} if role == "assistant" and tools_sha256 is not None else {}
        told = [Draft(versions.DECISION, {"model": None} | known)] if known else []
        return [*told, *drafts_of(message, role, steps)]
    known = {"model": None} | ({} if tools_sha256 is None else {"tools_sha256": tools_sha256})
    decided = Draft(versions.DECISION, known | given)
    decided.note("decision", Leftovers({}, [key for key in known if key not in given]))
    decided.form("decision", {})
    rest = {key: value for key, value in message.items() if key != "decision"}
    if says_something(rest):
        return [decided, *drafts_of(rest, role, steps)]
    dialects.check_fields(rest, steps)
    decided.note(
        "message", _leftovers(rest, _SPOKEN_KEYS | _timed(rest), shown=(), traceless=("timestamp", "tool_calls"))
    )
    return [decided]


def says_something(message: dict[str, Any]) -> bool:
    """Whether the agent said, thought or called something in a message."""
    return bool(
        "content" in message
        or message.get("tool_calls")
        or is_function_call(message)
        or dialects.spoken_field(message)
        or beside.thoughts(message)
    )


def drafts_of(message: dict[str, Any], role: str, steps: shape.Steps) -> list[Draft]:
    """The drafts of one message that is not a leading system message.

    Args:
        message: The recorded message.
        role: Its role, one of `shape.ROLES`.
        steps: Where it stands in the line, for errors.

    Raises:
        BadLineError: A field holds what it may not, or says a tool call in a form that is not read.
    """
    dialects.check_fields(message, steps)
    told = beside.event_in(message)
    if told is not None:
        return [_told(message, told)]
    if role in RESULT_ROLES:
        ran = beside.said_of_result(message)
        drafts = [Draft(versions.TOOL_RESULT, _result(message, steps) | ran)]
        left = _leftovers(
            message,
            _RESULT_KEYS | ran.keys() | _timed(message),
            shown=("content", "tool_call_id", "error"),
            ids=("tool_call_id",),
            traceless=("timestamp",),
        )
        if role != "tool":
            drafts[0].form("message", {"role": role})
    elif role in shape.SYSTEM_ROLES:
        content = shape.checked_content(message.get("content"), (*steps, "content"))
        drafts = [Draft(versions.SUPPLIED, {"kind": "system_message", "role": role, "content": content})]
        left = _leftovers(message, _SYSTEM_KEYS | _timed(message), shown=("content",), traceless=("timestamp",))
    else:
        drafts = list(_spoken(message, ACTORS[role], steps))
        left = _leftovers(
            message, _SPOKEN_KEYS | _timed(message), shown=("content",), traceless=("timestamp", "tool_calls")
        )
        _place(message, drafts, left)
    drafts[0].note("message", left)
    return drafts


def _timed(message: dict[str, Any]) -> frozenset[str]:
    """The field that says whose time it is, where the envelope will say it."""
    return frozenset() if shape.time_source_of(message) is None else frozenset({"time_source"})


def _told(message: dict[str, Any], told: beside.Told) -> Draft:
    """What stands among the messages and is none."""
    draft = Draft(told.name, told.payload, actor=beside.EVENT_ACTORS[told.name])
    known = _EVENT_KEYS | _timed(message) | {beside.EVENTS[told.name]}
    draft.note("message", _leftovers(message, known, shown=(), traceless=("timestamp",)))
    given = message[beside.EVENTS[told.name]]
    open_ended = {name: None for name in ("from_message", "to_message") if given.get(name, 0) is None}
    draft.note("event", Leftovers(open_ended, told.absent))
    return draft


def system_leftovers(message: dict[str, Any]) -> Leftovers:
    """What `{role, content}` does not say of a system message, its time aside."""
    return _leftovers(message, _SYSTEM_KEYS, shown=("content",), traceless=("timestamp",))


def _spoken(message: dict[str, Any], actor: str, steps: shape.Steps) -> Iterator[Draft]:
    """What tools answered inside the message, what the agent thought, what it or a person said, then the tools they called."""
    given = shape.checked_content(message.get("content"), (*steps, "content"))
    content, placed = _without_tools(given)
    for index, part in placed:
        if part["type"] == dialects.RESULT_PART:
            yield _result_part(part, index, (*steps, "content", index))
    thoughts = beside.thoughts(message) if actor == "agent" else []
    for thought in thoughts:
        draft = Draft(versions.REASONING, {"text": None} | thought.payload)
        draft.note("reasoning", Leftovers({}, [] if "text" in thought.payload else ["text"]))
        if not thought.is_listed:
            draft.form("reasoning", {"field": thought.field})
        yield draft
    calls = list(_calls(message, placed, steps))
    if actor == "agent" and message.get("actor") == "service":
        calls = [replace(call, actor="service") for call in calls]
    if (
        (content is not None and not (placed and content == []))
        or dialects.spoken_field(message)
        or not (calls or placed or thoughts)
    ):
        payload: dict[str, Any] = {"text": text_of(content)}
        if content is None and actor == "agent":
            payload["text"] = None
        elif not isinstance(content, str):
            payload["content"] = content
        yield Draft(f"{actor}.utterance", payload)
    yield from calls


def _without_tools(content: Any) -> tuple[Any, list[tuple[int, dict[str, Any]]]]:
    """The content without the parts that are tool calls or results, and those with their places."""
    if not isinstance(content, list):
        return content, []
    kinds = (dialects.CALL_PART, dialects.RESULT_PART)
    placed = [(n, part) for n, part in enumerate(content) if isinstance(part, dict) and part.get("type") in kinds]
    taken = {index for index, _ in placed}
    return [part for index, part in enumerate(content) if index not in taken], placed


def _place(message: dict[str, Any], drafts: list[Draft], left: Leftovers) -> None:
    """Give what has a place in the utterance's payload: the speaker's name, a refusal, the words of spoken sound."""
    if drafts[0].name == versions.REASONING:
        for name in {thought.field for thought in beside.thoughts(message)}:
            del left.fields[name]
    said = next((draft for draft in drafts if draft.name in _UTTERANCES), None)
    if said is None:
        return
    if beside.speech(message) is not None:
        said.payload["speech"] = left.fields.pop("speech")
    if isinstance(left.fields.get("name"), str):
        said.payload["name"] = left.fields.pop("name")
    if said.name == versions.USER_SAID:
        return
    path = dialects.spoken_field(message)
    if path is not None:
        said.payload.pop("content", None)
        said.payload["text"] = _take(left.fields, path)
        said.form("said", {"path": list(path), "content": message.get("content")})
    if path == ("refusal",) or left.fields.get("refusal") or refusal_in(said.payload.get("content")):
        said.payload["is_refusal"] = True


def _take(fields: dict[str, Any], path: tuple[str, ...]) -> str:
    """Take the text at `path` out of the fields; what surrounds it stays."""
    *outer, name = path
    inner = fields
    for step in outer:
        inner[step] = dict(inner[step])
        inner = inner[step]
    return str(inner.pop(name))


def _calls(message: dict[str, Any], placed: list[tuple[int, dict[str, Any]]], steps: shape.Steps) -> Iterator[Draft]:
    listed = message.get("tool_calls")
    calls = [] if listed is None else shape.a_list(listed, (*steps, "tool_calls"))
    for number, value in enumerate(calls):
        yield _call(value, (*steps, "tool_calls", number), message.get("executor"))
    if is_function_call(message):
        yield _function_call(message["function_call"], (*steps, "function_call"))
    for index, part in placed:
        if part["type"] == dialects.CALL_PART:
            yield _call_part(part, index, (*steps, "content", index))


def is_function_call(message: dict[str, Any]) -> bool:
    """Whether the field `function_call`, older than `tool_calls`, says a call that those do not say."""
    function = message.get("function_call")
    if not function:
        return False
    listed = message.get("tool_calls")
    return not any(
        isinstance(call, dict) and call.get("function") == function
        for call in (listed if isinstance(listed, list) else ())
    )


def _call(value: Any, steps: shape.Steps, executor: Any) -> Draft:
    """One entry of `tool_calls`; `executor` is what the message says of who runs its calls."""
    call = shape.an_object(value, steps)
    is_custom = call.get("function") is None and call.get("custom") is not None
    kind, given = ("custom", "input") if is_custom else ("function", "arguments")
    function = shape.an_object(call.get(kind), (*steps, kind))
    payload = {
        "call_id": shape.id_text(call.get("id"), (*steps, "id")),
        "name": shape.required_text(function.get("name"), (*steps, kind, "name")),
        "arguments": function.get(given, {}),
    }
    told = beside.said_of_call(call)
    of_message = {} if "executor" in call else beside.said_of_call({"executor": executor})
    draft = Draft(versions.TOOL_CALL, payload | told | of_message)
    draft.note("tool_call", _leftovers(call, frozenset({"id", kind} | told.keys()), shown=("id",), ids=("id",)))
    draft.note("function", _leftovers(function, frozenset({"name", given}), shown=(given,)))
    if is_custom:
        draft.form("call", {"field": kind, "arguments": given})
    if of_message:
        draft.form("told", {"by_message": list(of_message)})
    return draft


def _function_call(value: Any, steps: shape.Steps) -> Draft:
    function = shape.an_object(value, steps)
    name = shape.required_text(function.get("name"), (*steps, "name"))
    draft = Draft(versions.TOOL_CALL, {"call_id": None, "name": name, "arguments": function.get("arguments", {})})
    draft.note("function", _leftovers(function, _FUNCTION_KEYS, shown=("arguments",)))
    draft.form("call", {"at": "function_call"})
    return draft


def _call_part(part: dict[str, Any], index: int, steps: shape.Steps) -> Draft:
    payload = {
        "call_id": shape.id_text(part.get("id"), (*steps, "id")),
        "name": shape.required_text(part.get("name"), (*steps, "name")),
        "arguments": part.get("input", {}),
    }
    draft = Draft(versions.TOOL_CALL, payload)
    draft.note("part", _leftovers(part, _CALL_PART_KEYS, shown=("id", "input"), ids=("id",)))
    draft.form("call", {"part": index})
    return draft


def _result_part(part: dict[str, Any], index: int, steps: shape.Steps) -> Draft:
    payload = {
        "call_id": shape.id_text(part.get("tool_use_id"), (*steps, "tool_use_id")),
        "output": part.get("content"),
        "error": part.get("is_error"),
    }
    draft = Draft(versions.TOOL_RESULT, payload, actor="service")
    shown = ("tool_use_id", "content", "is_error")
    draft.note("part", _leftovers(part, _RESULT_PART_KEYS, shown=shown, ids=("tool_use_id",)))
    draft.form("call", {"part": index})
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
    if is_function_call(value):
        known |= {"function_call"}
    fields = {
        key: inner
        for key, inner in value.items()
        if key not in known or (key in traceless and inner in (None, [])) or (key in ids and isinstance(inner, int))
    }
    return Leftovers(fields, [key for key in shown if key not in value])
