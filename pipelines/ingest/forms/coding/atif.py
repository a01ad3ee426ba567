"""ATIF, the trajectories in which Harbor writes what agents did: Claude Code, Codex, OpenHands, Terminus and others.

A step is what the system, the person or the agent said, with the agent's calls and what came back. Which trajectories are one
conversation is `atif_documents`'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.ingest.assemble.messages import read
from pipelines.ingest.assemble.rows import Call, Facts, Group, Message, Record, Row, Step
from pipelines.ingest.forms.coding.atif_documents import SUB, Refs, spread, trajectories
from pipelines.ingest.forms.coding.documents import ITEM
from pipelines.ingest.forms.fields import (
    map_fields,
    named,
    objects_at,
    take,
    take_number,
    take_text,
    take_time,
    take_usage,
)
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.gathering import gathered

_USAGE = {
    "input_tokens": ("metrics", "prompt_tokens"),
    "output_tokens": ("metrics", "completion_tokens"),
    "cached_input_tokens": ("metrics", "cached_tokens"),
}
_ROLES = {"system": "system", "user": "user", "agent": "assistant"}


class Atif:
    """The form `atif`."""

    name = "atif"

    def recognises(self, head: Head) -> bool:
        """Whether the file begins with a trajectory."""
        begins = str(head.first.get("schema_version", "")).startswith("ATIF")
        return begins or (head.names("schema_version", "session_id", "steps") and b'"ATIF-' in head.data[:400])

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """Trajectories by their session, those that go on from others, and those of sub-agents, with these.

        Raises:
            BadInputError: A file is no trajectory.
        """
        for group in gathered(trajectories(files, options), options):
            yield Group(group.key, group.is_named, (part for each in group.records for part in spread(each)))

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """The steps as they were taken, those of each sub-agent in a stream of its own."""
        current, is_begun, refs = _Trajectory(), False, Refs()
        for record in group.records:
            if record.kind == ITEM:
                refs.add(objects_at(record.value, "observation", "results"), objects_at(record.value, "tool_calls"))
                yield from current.rows(record)
            elif record.kind == SUB:
                current = _Trajectory.of_sub_agent(record, refs.call_of(record))
                yield Facts(record.place, rest=record.value)
            else:
                current = _Trajectory(take_text(record.value, "agent", "model_name") or current.model)
                yield (
                    _facts(record, options)
                    if not is_begun
                    else Step("compaction", record.place, record.place, detail={"kind": "summary"}, rest=record.value)
                )
                is_begun = True


def _facts(record: Record, options: Options) -> Facts:
    own = {
        "agent": lambda h: take_text(h, "agent", "name"),
        "variant": lambda h: take_text(h, "agent", "version"),
        "tools": lambda h: take(h, "agent", "tool_definitions", of=list),
    }
    subject = named(record.value, options.subject_key, ())
    fields = {"source": "atif", **map_fields(record.value, own)} | ({"subject_id": subject} if subject else {})
    return Facts(record.place, fields, [], record.value)


@dataclass(frozen=True, slots=True)
class _Trajectory:
    """What all steps of one have in common.

    Attributes:
        model: Of its agent, where a step names none.
        thread, agent, parent: Of a sub-agent: its stream, its name, and the call that started it.
    """

    model: str | None = None
    thread: str | None = None
    agent: str | None = None
    parent: str | None = None

    @classmethod
    def of_sub_agent(cls, head: Record, call: str | None) -> _Trajectory:
        """That of a sub-agent, by its head."""
        agent = take_text(head.value, "agent", "name")
        file, _, inner = head.place.partition("#")
        thread = (
            named(head.value, None, (("trajectory_id",),)) or inner.removeprefix("$.") or file.partition(".json")[0]
        )
        return cls(take_text(head.value, "agent", "model_name"), thread, agent, call)

    def rows(self, record: Record) -> Iterator[Row]:
        """The rows of one step, in its stream."""
        for row in _step(record, self.model):
            row.thread, row.agent, row.parent = self.thread, self.agent, self.parent
            yield row


def _step(record: Record, model: str | None) -> Iterator[Call | Step]:
    value = record.value
    role = _ROLES.get(str(value.get("source")), "user")
    take(value, "source", of=str)
    moment = take_time(value, "timestamp")
    answered = take_text(value, "model_name")
    said = _said(value, role, moment)
    if role == "assistant" and not answered and model:
        said.chat["decision"] = {"model": model}  # of the trajectory, as a default; the step names none
    if role == "assistant" and value.get("metrics"):
        usage = take_usage(value, _USAGE)
        yield Call(
            record.place,
            record.place,
            start=moment,
            end=moment,
            model=answered,
            output=[said],
            usage=usage,
            usage_basis="with_cache" if usage else None,
            cost_usd=take_number(value, "metrics", "cost_usd"),
            rest=value,
        )
    else:
        if answered:
            said.chat["decision"] = {"model": answered}
        yield Step("utterance", record.place, record.place, start=moment, message=said, rest=value)
    called: list[dict[str, Any]] = said.chat.get("tool_calls") or []
    for index, result in enumerate(objects_at(value, "observation", "results")):
        call_id = take_text(result, "source_call_id") or (called[0]["id"] if len(called) == 1 else None)
        chat = {"role": "tool", "tool_call_id": call_id, "content": take(result, "content")}
        yield Step("utterance", f"{record.place}/{index}", record.place, message=Message(chat))


def _said(value: dict[str, Any], role: str, moment: int | None) -> Message:
    calls = objects_at(value, "tool_calls")
    given: dict[str, Any] = {"role": role, "content": take(value, "message")}
    if thought := take_text(value, "reasoning_content"):
        given["reasoning_content"] = thought
    made = read([given]).messages
    chat: dict[str, Any] = made[0].chat if made else {"role": role, "content": None}
    if calls:
        chat["tool_calls"] = [
            {
                "id": take_text(call, "tool_call_id"),
                "type": "function",
                "function": {
                    "name": take_text(call, "function_name") or "",
                    "arguments": take(call, "arguments") or {},
                },
            }
            for call in calls
        ]
    return Message(chat, at=moment)


FORM = Atif()
