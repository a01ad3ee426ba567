"""Logs of OpenHands: events of its SDK (a line or a file each), and the history of older versions.

An action is a call of a tool with the agent's thought; parallel actions share the answer that they are of. In histories an action
and what it came to are dicts of their own, with fields in `args` or beside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.messages import read, system_messages
from pipelines.ingest.assemble.rows import Call, Facts, Group, Message, Record, Row, Step
from pipelines.ingest.forms.coding.documents import HEAD, parts
from pipelines.ingest.forms.coding.openhands_history import history_rows, is_history
from pipelines.ingest.forms.fields import at, named, take, take_text, take_time
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.gathering import Found, gathered
from pipelines.ingest.forms.reading import objects

_EVENT, _HISTORY = "event", "history"
_KINDS = (
    "SystemPromptEvent", "MessageEvent", "ActionEvent", "ObservationEvent", "AgentErrorEvent", "UserRejectObservation",
    "CondensationEvent", "Condensation", "CondensationRequest", "ConversationStateUpdateEvent", "ConversationErrorEvent", "PauseEvent",
)  # fmt: skip


class OpenHands:
    """The form `openhands`."""

    name = "openhands"

    def recognises(self, head: Head) -> bool:
        """Whether the file begins with an event, or a run with its history."""
        return head.first.get("kind") in _KINDS or is_history(head.first)

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """Events of one file, or of the folder of a conversation; histories one by one.

        Raises:
            BadInputError: A file is neither.
        """
        runs: Counter[str] = Counter()
        for group in gathered((found for path in files for found in _found(path, options, runs)), options):
            yield Group(group.key, group.is_named, _spread(group.records))

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """What was said and done, in order."""
        first = next(group.records)
        subject = named(first.value, options.subject_key, ())
        fields = {"source": self.name} | ({"subject_id": subject} if subject else {})
        if first.kind == HEAD:
            yield from history_rows(first, group.records, fields)
            return
        yield Facts(first.place, fields)
        answer: list[Record] = []
        for record in _with(first, group.records):
            if answer and not _goes_on(answer[0], record):
                yield _answer(answer)
                answer = []
            if record.value.get("kind") == "ActionEvent":
                answer.append(record)
            elif record.value.get("kind") != "ConversationStateUpdateEvent":
                yield from _rows(record)
        if answer:
            yield _answer(answer)


def _spread(records: Iterator[Record]) -> Iterator[Record]:
    """Events as they are, and a run as its head and the entries of its history."""
    for record in records:
        yield from parts(record, "history") if record.kind == _HISTORY else [record]


def _with(first: Record, others: Iterator[Record]) -> Iterator[Record]:
    yield first
    yield from others


def _found(path: Path, options: Options, runs: Counter[str]) -> Iterator[Found]:
    """Events and histories with the conversation that they are of; a file of one event is of its folder's.

    Runs of one name are numbered.
    """
    session, is_named = path.name.split(".")[0], False
    if path.parent.name == "events":
        session, is_named = path.parent.parent.name, True
    for place, value in objects(path, options.memory_bytes):
        key = named(value, options.conversation_key, ())
        if isinstance(value.get("kind"), str):
            if value.get("key") == "full_state" and not is_named:
                session, is_named = str(at(value, "value", "id") or session), at(value, "value", "id") is not None
            yield Found(key or session, is_named or key is not None, place, value, _EVENT)
        elif is_history(value):
            own = key or named(value, None, (("instance_id",), ("issue", "number"), ("conversation_id",)))
            runs[own or place] += 1
            number = runs[own or place]
            yield Found(f"{own or place}{f'~{number}' if number > 1 else ''}", own is not None, place, value, _HISTORY)
        else:
            raise BadInputError(f"{place}: is no event of OpenHands (kind), and no run with a history")


def _goes_on(answer: Record, record: Record) -> bool:
    """Whether a record is a further action of the same answer, or says nothing of the conversation."""
    if record.value.get("kind") == "ConversationStateUpdateEvent":
        return True
    name = record.value.get("llm_response_id")
    return (
        record.value.get("kind") == "ActionEvent" and name is not None and name == answer.value.get("llm_response_id")
    )


def _answer(records: Sequence[Record]) -> Call:
    """The actions of one answer as the call that it was; their texts are the agent's."""
    first = records[0]
    content: list[Any] = []
    calls: list[dict[str, Any]] = []
    thought: dict[str, Any] = {}
    for record in records:
        value = record.value
        content += take(value, "thought", of=list) or []
        calls.append(_call(record))
        for name in ("reasoning_content", "thinking_blocks"):
            if value.get(name):
                thought.setdefault(name, value.pop(name))
    response = take_text(first.value, "llm_response_id")
    for record in records[1:]:
        if record.value.get("llm_response_id") == response:
            record.repeated += 1
            del record.value["llm_response_id"]
    start = take_time(first.value, "timestamp")
    messages = read([{"role": "assistant", "content": content, **thought}]).messages
    message = messages[0] if messages else Message({"role": "assistant", "content": None})
    message.chat["tool_calls"] = calls
    message.at = start
    name = named(first.value, None, (("id",),)) or first.place
    return Call(name, first.place, start=start, end=start, output=[message], response_id=response, rest=first.value)


def _call(record: Record) -> dict[str, Any]:
    """The call of an action; what was run of it is kept where it is otherwise than the model wrote it."""
    value = record.value
    name, call_id = take_text(value, "tool_name"), take_text(value, "tool_call_id")
    arguments = take(value, "tool_call", "arguments", of=(str, dict))
    for field, same in (("name", name), ("id", call_id)):
        if same is not None and at(value, "tool_call", field) == same:
            take(value, "tool_call", field)
            record.repeated += 1
    if arguments is None:
        arguments = {k: v for k, v in (take(value, "action", of=dict) or {}).items() if k != "kind"}
    return {"id": call_id, "type": "function", "function": {"name": name or "", "arguments": arguments}}


def _rows(record: Record) -> Iterator[Step]:
    value = record.value
    kind = value.get("kind")
    start = take_time(value, "timestamp")
    name = named(value, None, (("id",),)) or record.place
    messages: list[Message] = []
    if kind == "SystemPromptEvent":
        messages = system_messages(take_text(value, "system_prompt", "text"))
    elif kind == "MessageEvent":
        said = take(value, "llm_message", of=dict) or {}
        source = {"agent": "assistant", "user": "user"}.get(str(value.get("source")), "user")
        messages = read([{"role": source, **said}]).messages
        response = take_text(value, "llm_response_id")
        if response and messages and messages[0].chat["role"] == "assistant":
            messages[0].chat["decision"] = {"response_id": response}
    elif kind in ("ObservationEvent", "AgentErrorEvent", "UserRejectObservation"):
        messages = [_result(value, str(kind))]
    elif kind in ("CondensationEvent", "Condensation"):
        summary = take_text(value, "summary")
        detail = {"kind": "summary"} | ({"summary": summary} if summary else {})
        yield Step("compaction", name, record.place, start=start, detail=detail, rest=value)
        return
    for index, message in enumerate(messages):
        message.at = start
        own = name if index == 0 else f"{name}/{index}"
        rest = value if index == 0 else {}
        yield Step("utterance", own, record.place, start=start, message=message, rest=rest)


def _result(value: dict[str, Any], kind: str) -> Message:
    chat: dict[str, Any] = {"role": "tool", "tool_call_id": take_text(value, "tool_call_id")}
    if name := take_text(value, "tool_name"):
        chat["name"] = name
    content = take(value, "observation", "content") or take(value, "error") or take(value, "rejection_reason")
    made = read([{**chat, "content": content}]).messages
    chat = made[0].chat if made else {**chat, "content": None}
    if take(value, "observation", "is_error", of=bool) or kind == "AgentErrorEvent":
        chat["error"] = True
    if kind == "UserRejectObservation":
        chat["denied"] = True
    return Message(chat)


FORM = OpenHands()
