"""Rollouts of Codex: a file of lines a session, whose items of the Responses API are what was said.

`event_msg` lines say much of it again, and add usage, errors and what commands printed; `turn_context` says the model. In older
files the first line is bare metadata, and items are bare as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.messages import read, system_messages
from pipelines.ingest.assemble.rows import Call, Facts, Group, Message, Record, Row, Step
from pipelines.ingest.forms.fields import at, keep_other, map_fields, named, take, take_text, take_time, take_usage
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.gathering import Found, gathered
from pipelines.ingest.forms.items import Turn, is_kind, turns
from pipelines.ingest.forms.reading import objects

_TYPES = ("session_meta", "turn_context", "response_item", "event_msg", "compacted", "world_state")
_USAGE = {
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    "cached_input_tokens": ("cached_input_tokens",),
    "cache_write_tokens": ("cache_write_input_tokens",),
    "reasoning_tokens": ("reasoning_output_tokens",),
}
_SAYS_AGAIN = {
    "user_message": "message",
    "agent_message": "message",
    "agent_reasoning": "text",
    "task_complete": "last_agent_message",
}
"""Events that only say again what an item says, with the field that has it."""
_TOOL_ENDS = ("exec_command_end", "mcp_tool_call_end", "patch_apply_end")
_STATES = ("turn_aborted", "error", "stream_error", "context_compacted", "undo_completed")
_SUPPLIED = (("<environment_context>", "environment"), ("<user_instructions>", "instructions"), ("# AGENTS.md", "instructions"),
             ("<turn_aborted>", "notice"), ("<user_shell_command>", "command"), ("<skill>", "instructions"))  # fmt: skip
"""How texts begin that Codex wrote in the person's place."""


class Codex:
    """The form `codex`."""

    name = "codex"

    def recognises(self, head: Head) -> bool:
        """Whether the file begins with a line of a rollout, or with the bare metadata of an older one."""
        first = head.first
        is_bare = {"id", "timestamp", "instructions"} <= first.keys() and "type" not in first
        return (first.get("type") in _TYPES and isinstance(first.get("payload"), dict)) or is_bare

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """A session a file, by the id that its first line says; what it was forked from is a part of it.

        Raises:
            BadInputError: A file is not JSON lines.
        """
        return gathered((found for path in files for found in _lines(path, options)), options)

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """What was said, and what happened between."""
        records = list(group.records)
        subject = named(records[0].value, options.subject_key, ())
        session = _Session(records)
        yield from session.facts(records[0], subject)
        for turn in turns(session.items(records)):
            yield from session.rows(turn)
        yield from session.waiting


def _lines(path: Path, options: Options) -> Iterator[Found]:
    key: str | None = None
    for place, value in objects(path, options.memory_bytes):
        if key is None:
            key = named(value, options.conversation_key, (("payload", "id"), ("id",)))
            is_named, key = key is not None, key or path.name.split(".")[0]
        yield Found(key, is_named, place, value)


def _payload(line: dict[str, Any]) -> dict[str, Any]:
    payload = line.get("payload")
    return payload if isinstance(payload, dict) else line


class _Session:
    """What of a session is known so far: its model, the call that waits for its usage, what was said."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.waiting: list[Row] = []
        self._model: str | None = None
        self._params: dict[str, Any] = {}
        self._total: Any = None
        self._said = set(_texts(r.value for r in records if r.value.get("type") == "response_item"))
        self._called = {
            str(at(r.value, "payload", "call_id")) for r in records if r.value.get("type") == "response_item"
        }

    def facts(self, record: Record, subject: str | None) -> Iterator[Row]:
        """What the first line says of the session, and the instructions that the model had."""
        meta = _payload(record.value)
        own = {"started_at": lambda m: take_time(m, "timestamp"), "variant": lambda m: take_text(m, "cli_version")}
        fields = {"source": "codex", **map_fields(meta, own)} | ({"subject_id": subject} if subject else {})
        system = take_text(meta, "base_instructions", "text") or take_text(meta, "instructions")
        yield Facts(record.place, fields, [], record.value)
        for message in system_messages(system):
            name = f"{record.place}/system"
            yield Step("utterance", name, record.place, start=fields.get("started_at"), message=message)

    def items(self, records: Iterable[Record]) -> Iterator[tuple[Record, dict[str, Any]]]:
        """The items of the Responses API, and, as empty ones, the lines between which answers end."""
        for record in records:
            line = record.value
            kind, payload = line.get("type"), _payload(line)
            if kind == "response_item":
                yield record, take(line, "payload", of=dict) or {}
            elif is_kind(kind) and "payload" not in line:
                yield record, {key: line.pop(key) for key in list(line)}
            elif kind in ("turn_context", "compacted") or (
                kind == "event_msg" and not self._says_again(record, payload)
            ):
                yield record, {}

    def rows(self, turn: Turn) -> Iterator[Row]:
        """What a turn says, after what happened before it. The last answer waits for its usage."""
        record = turn.records[0]
        if not turn.items:
            self._line(record)
            return
        starts = [take_time(each.value, "timestamp") for each in turn.records]
        if turn.items[0].get("type") == "agent_message":  # of one agent to another, which no model was asked for here
            turn.items[0] |= {"type": "message", "role": "assistant"}
        messages = turn.messages()
        for message in messages:
            message.at = starts[0]
        if not turn.is_answer:
            self.waiting += _utterances(record, messages, starts[0])
            return
        yield from self.waiting
        call = Call(
            record.place,
            record.place,
            start=starts[0],
            end=starts[-1],
            model=self._model,
            provider="openai",
            params=self._params,
            output=messages,
            rest=record.value,
        )
        self.waiting = [call]

    def _says_again(self, record: Record, payload: dict[str, Any]) -> bool:
        """Whether an event only says again what an item says; that is taken out of it."""
        field = _SAYS_AGAIN.get(str(payload.get("type")))
        if field is None:
            return False
        if isinstance(payload.get(field), str) and payload[field] in self._said:
            record.repeated += leaves(payload.pop(field))
        return True

    def _line(self, record: Record) -> None:
        """Take a line that is no item."""
        kind, payload = record.value.get("type"), _payload(record.value)
        if kind == "turn_context":
            self._model = payload.get("model") if isinstance(payload.get("model"), str) else self._model
            effort = payload.get("effort")
            self._params = {"reasoning_effort": effort} if isinstance(effort, str) else {}
        elif kind == "compacted":
            self.waiting.append(_compaction(record))
        else:
            self._event(record, payload)

    def _event(self, record: Record, payload: dict[str, Any]) -> None:
        kind = payload.get("type")
        if kind == "token_count":
            self._usage(payload)
        elif kind in _TOOL_ENDS and str(payload.get("call_id")) in self._called:
            self.waiting.append(_tool_end(record, payload))
        elif kind in _STATES:
            moment = take_time(record.value, "timestamp")
            detail = {"kind": payload.pop("type"), **{key: payload.pop(key) for key in list(payload)}}
            step = Step("state", record.place, record.place, start=moment, name=kind, detail=detail, rest=record.value)
            self.waiting.append(step)

    def _usage(self, payload: dict[str, Any]) -> None:
        """The usage of the answer that waits; the count comes twice a turn, and counts where the total has changed."""
        total = at(payload, "info", "total_token_usage")
        call = next((row for row in reversed(self.waiting) if isinstance(row, Call)), None)
        if call is None or total == self._total or call.usage:
            return
        self._total = dict(total) if isinstance(total, dict) else total
        call.usage = take_usage(payload, {name: ("info", "last_token_usage", *path) for name, path in _USAGE.items()})
        call.usage_basis = "with_cache" if call.usage else None


def _texts(value: Any) -> Iterator[str]:
    """All texts of items, and those of parts that say one thing together."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif not isinstance(value, (int, float, type(None))):
        for inner in value:
            yield from _texts(inner)


def _utterances(record: Record, messages: Sequence[Message], start: int | None) -> Iterator[Step]:
    for index, message in enumerate(messages):
        content = message.chat.get("content")
        supplied = [
            kind for begin, kind in _SUPPLIED if isinstance(content, str) and content.lstrip().startswith(begin)
        ]
        if message.chat["role"] == "user" and supplied:
            message.chat["supplied"] = supplied[0]
        name = record.place if index == 0 else f"{record.place}/{index}"
        rest = record.value if index == 0 else {}
        yield Step("utterance", name, record.place, start=start, message=message, rest=rest)


def _compaction(record: Record) -> Step:
    start = take_time(record.value, "timestamp")
    history = take(record.value, "payload", "replacement_history", of=list) or []
    made = read(history)
    keep_other(record.value, made)
    detail: dict[str, Any] = {"kind": "summary", "replacement": [message.chat for message in made.messages]}
    summary = take_text(record.value, "payload", "message")
    detail |= {"summary": summary} if summary else {}
    return Step("compaction", record.place, record.place, start=start, detail=detail, rest=record.value)


def _tool_end(record: Record, payload: dict[str, Any]) -> Step:
    """What a command or a tool of a server gave, beside what the model was told of it."""
    end = take_time(record.value, "timestamp")
    output = take(payload, "aggregated_output") or take(payload, "formatted_output") or take(payload, "result")
    return Step(
        "tool",
        record.place,
        record.place,
        end=end,
        name=take_text(payload, "invocation", "tool"),
        call_id=take_text(payload, "call_id"),
        output=output,
        rest=record.value,
    )


FORM = Codex()
