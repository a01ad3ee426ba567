"""ATIF, the trajectories in which Harbor writes what agents did: Claude Code, Codex, OpenHands, Terminus and others.

A step is what the system, the person or the agent said, with the agent's calls and what came back. A trajectory that goes on in
another file is read as one with it, where both are given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.messages import read
from pipelines.ingest.assemble.rows import Call, Facts, Group, Message, Record, Row, Step
from pipelines.ingest.forms.coding.documents import HEAD, parts
from pipelines.ingest.forms.fields import (
    at,
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
from pipelines.ingest.forms.gathering import Found, gathered
from pipelines.ingest.forms.reading import objects

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
        """Trajectories by their session, those that go on from others with these.

        Raises:
            BadInputError: A file is no trajectory.
        """
        names: dict[str, str] = {}
        for group in gathered(_trajectories(files, options, names), options, names):
            yield Group(group.key, group.is_named, (part for each in group.records for part in parts(each, "steps")))

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """The steps as they were taken."""
        model, is_begun = None, False
        for record in group.records:
            if record.kind == HEAD:
                model = take_text(record.value, "agent", "model_name") or model
                yield (
                    _facts(record, options)
                    if not is_begun
                    else Step("compaction", record.place, record.place, detail={"kind": "summary"}, rest=record.value)
                )
                is_begun = True
            else:
                yield from _step(record, model)


def _trajectories(files: Sequence[Path], options: Options, names: dict[str, str]) -> Iterator[Found]:
    """Whole trajectories, each after the one that it goes on from."""
    goes_on: dict[str, tuple[str, int]] = {}
    refs = {path.name: _header(path, options) for path in files}
    order = sorted(files, key=lambda path: any(path.name == ref for _, ref in refs.values()))
    for path in order:
        for place, value in objects(path, options.memory_bytes):
            if not isinstance(value.get("steps"), list):
                raise BadInputError(f"{place}: is no trajectory; it has no list of steps")
            session = named(value, options.conversation_key, (("session_id",), ("trajectory_id",)))
            key = session or path.name.split(".")[0]
            root, depth = goes_on.get(path.name, (key, 0))
            ref = value.get("continued_trajectory_ref")
            if isinstance(ref, str) and ref:
                goes_on[ref.rpartition("/")[2]] = (root, depth + 1)
            if root != key:
                names[key] = root
            yield Found(key, session is not None, place, value, start=depth)


def _header(path: Path, options: Options) -> tuple[str, str | None]:
    first = next(objects(path, options.memory_bytes))[1]
    ref = first.get("continued_trajectory_ref")
    return path.name, ref.rpartition("/")[2] if isinstance(ref, str) else None


def _facts(record: Record, options: Options) -> Facts:
    own = {
        "agent": lambda h: take_text(h, "agent", "name"),
        "variant": lambda h: take_text(h, "agent", "version"),
        "tools": lambda h: take(h, "agent", "tool_definitions", of=list),
    }
    subject = named(record.value, options.subject_key, ())
    fields = {"source": "atif", **map_fields(record.value, own)} | ({"subject_id": subject} if subject else {})
    return Facts(record.place, fields, [], record.value)


def _step(record: Record, model: str | None) -> Iterator[Row]:
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
    results = at(value, "observation", "results")
    for index, result in enumerate(results if isinstance(results, list) else ()):
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
