"""Trajectories of SWE-agent: one document a run, whose `history` is what was said.

`trajectory` says much of it again, and adds what each action took and left. There are no times. An action in a text format is no
call of a tool: it stays in the text, and in `action`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.messages import read
from pipelines.ingest.assemble.rows import Call, Facts, Group, Message, Record, Row, Step
from pipelines.ingest.forms.coding.documents import parts
from pipelines.ingest.forms.fields import at, map_fields, named, objects_at, take_text, take_usage
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.gathering import Found, gathered
from pipelines.ingest.forms.reading import objects

_SAYING = ("role", "content", "tool_calls", "tool_call_ids", "thinking_blocks")


_USAGE = {
    "input_tokens": ("info", "model_stats", "tokens_sent"),
    "output_tokens": ("info", "model_stats", "tokens_received"),
}


class SweAgent:
    """The form `swe-agent`."""

    name = "swe-agent"

    def recognises(self, head: Head) -> bool:
        """Whether the file begins with a trajectory of SWE-agent."""
        first = head.first
        is_whole = isinstance(first.get("history"), list) and isinstance(first.get("trajectory"), list)
        return is_whole or head.path.name.endswith((".traj", ".traj.gz"))

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """A run a file, named after it.

        Raises:
            BadInputError: A file is no trajectory.
        """
        for group in gathered(_runs(files, options), options):
            document = next(group.records)
            _drop_repeated(document)
            yield Group(group.key, group.is_named, parts(document, "history"))

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """What was said, and of the agent's words which model was asked for them."""
        head = next(group.records)
        subject = named(head.value, options.subject_key, ())
        own = {
            "task_id": lambda h: take_text(h, "replay_config", "problem_statement", "id"),
            "outcome": lambda h: take_text(h, "info", "exit_status"),
        }
        fields = {"source": self.name, **map_fields(head.value, own)} | ({"subject_id": subject} if subject else {})
        model = at(head.value, "replay_config", "agent", "model", "name")
        if usage := take_usage(head.value, _USAGE):
            fields["usage"] = usage
        calls = at(head.value, "info", "model_stats", "api_calls")
        yield Facts(head.place, fields, [], head.value)
        records = list(group.records)
        answers = [record for record in records if _is_answer(record.value)]
        if isinstance(calls, int) and not isinstance(calls, bool):
            answers = answers[-calls:] if calls else []
        asked = {id(record) for record in answers}
        for record in records:
            yield from _rows(record, model if isinstance(model, str) else None, is_asked=id(record) in asked)


def _runs(files: Sequence[Path], options: Options) -> Iterator[Found]:
    seen: set[str] = set()
    for path in files:
        for place, value in objects(path, options.memory_bytes):
            if not isinstance(value.get("history"), list):
                raise BadInputError(f"{place}: is no trajectory of SWE-agent; it has no list called history")
            stem = path.name.removesuffix(".gz").removesuffix(".traj")
            key = named(value, options.conversation_key, ()) or (f"{path.parent.name}/{stem}" if stem in seen else stem)
            seen.add(stem)
            yield Found(key, False, place, value)


def _drop_repeated(document: Record) -> None:
    """Take out of the trajectory the texts that the history has as well."""
    history = objects_at(document.value, "history")
    said = {text for each in history for text in each.values() if isinstance(text, str)}
    for step in objects_at(document.value, "trajectory"):
        for name in [n for n, text in step.items() if isinstance(text, str) and text and text in said]:
            del step[name]
            document.repeated += 1


def _is_answer(value: dict[str, Any]) -> bool:
    """Whether the agent said it, and it was not shown to it."""
    return value.get("role") == "assistant" and value.get("is_demo") is not True


def _rows(record: Record, model: str | None, *, is_asked: bool) -> Iterator[Row]:
    value = record.value
    message: dict[str, Any] = {
        key: value.pop(key)
        for key in ("role", "content", "tool_calls", "tool_call_ids", "thinking_blocks")
        if key in value
    }
    if value.get("thought") is not None and value["thought"] == message.get("content"):
        del value["thought"]
        record.repeated += 1
    ids = message.pop("tool_call_ids", None)
    if isinstance(ids, list) and ids and message.get("role") == "tool":
        message["tool_call_id"] = ids[0]
        if ids[1:]:
            value["tool_call_ids"] = ids[1:]
    messages: list[Message] = read([message]).messages
    is_demo = value.get("is_demo") is True
    if is_asked:
        if model is not None:  # of the run's configuration; the answers themselves name none
            messages[0].chat["decision"] = {"model": model}
        yield Call(record.place, record.place, output=messages, rest=value)
        return
    for index, each in enumerate(messages):
        if is_demo:
            each.chat["supplied"] = "demonstration"
        name = record.place if index == 0 else f"{record.place}/{index}"
        yield Step("utterance", name, record.place, message=each, rest=value if index == 0 else {})


FORM = SweAgent()
