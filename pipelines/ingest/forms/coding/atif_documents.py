"""Which trajectories of ATIF belong together: what goes on in another file, and what a sub-agent did.

A sub-agent's trajectory stands inside of the one that started it (`subagent_trajectories`), or in a file of its own that a result
names. Either way it is a part of that conversation, and comes after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Record
from pipelines.ingest.forms.coding.documents import HEAD, parts
from pipelines.ingest.forms.fields import named, objects_at
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.gathering import Found
from pipelines.ingest.forms.reading import expect, objects

SUB = "sub"
"""Kind of the head of a sub-agent's trajectory."""
_REF, _SUBS = "subagent_trajectory_ref", "subagent_trajectories"
_AFTER = 1 << 32
"""Order of sub-agents' files: after all that a conversation goes on in."""


def trajectories(files: Sequence[Path], options: Options) -> Iterator[Found]:
    """Whole trajectories with the conversation that they are of, each after those that name it.

    Raises:
        BadInputError: A file is no trajectory.
    """
    known: dict[Path, tuple[str, bool, int]] = {}
    for path in _in_order(files, options):
        for place, value in objects(path, options.memory_bytes):
            if not isinstance(value.get("steps"), list):
                raise BadInputError(f"{place}: is no trajectory; it has no list of steps")
            session = named(value, options.conversation_key, (("session_id",), ("trajectory_id",)))
            own = (session or path.name.split(".")[0], session is not None, 0)
            key, is_named, order = known.get(path, own)
            for ref in _later(value, path):
                known[ref] = (key, is_named, order + 1)
            for ref in _started(value, path):
                known.setdefault(ref, (key, is_named, _AFTER))
            yield Found(key, is_named, place, value, SUB if order >= _AFTER else HEAD, start=order)


def _in_order(files: Sequence[Path], options: Options) -> list[Path]:
    """Files that no other names, and after each what it names."""
    named_by = {path: [*_refs(path, options)] for path in files}
    begun = {ref for refs in named_by.values() for ref in refs}
    found: dict[Path, None] = {}
    waiting = [path for path in reversed(files) if path not in begun]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = None
            waiting += [ref for ref in reversed(named_by[path]) if ref in named_by]
    return [*found, *(path for path in files if path not in found)]


def _refs(path: Path, options: Options) -> Iterator[Path]:
    for _, value in objects(path, options.memory_bytes):
        yield from _later(value, path)
        yield from _started(value, path)


def _later(value: dict[str, Any], path: Path) -> Iterator[Path]:
    """The file in which a trajectory goes on, if any."""
    if ref := value.get("continued_trajectory_ref"):
        yield _beside(ref, path)


def _started(value: dict[str, Any], path: Path) -> Iterator[Path]:
    """The files of sub-agents that results name, those of embedded trajectories among them."""
    for step in objects_at(value, "steps"):
        for result in objects_at(step, "observation", "results"):
            for ref in objects_at(result, _REF):
                if name := ref.get("trajectory_path"):
                    yield _beside(name, path)
    for inner in objects_at(value, _SUBS):
        yield from _started(inner, path)


def _beside(ref: Any, path: Path) -> Path:
    """The file that a reference means: the one of its name in the same folder, for folders are those of the machine that wrote it."""
    return path.with_name(_file_of(ref) or path.name)


def _file_of(ref: Any) -> str:
    return ref.rpartition("/")[2] if isinstance(ref, str) else ""


def spread(document: Record) -> Iterator[Record]:
    """A trajectory without its steps, then these, then the trajectories of its sub-agents likewise.

    Raises:
        BadInputError: Its steps, or its sub-agents' trajectories, are no lists of objects.
    """
    kind = document.kind
    inner = document.value.pop(_SUBS, None) or []
    count = leaves(inner)
    document.leaves -= count
    for number, record in enumerate(parts(document, "steps")):
        yield replace(record, kind=kind) if number == 0 else record
    joint = "." if "#" in document.place else "#$."
    for index, value in enumerate(expect(inner, list, document.place, _SUBS)):
        sub = expect(value, dict, document.place, _SUBS, index)
        yield from spread(Record(f"{document.place}{joint}{_SUBS}[{index}]", sub, leaves(sub), SUB))


class Refs:
    """Calls that started sub-agents, by what their results name."""

    def __init__(self) -> None:
        self._calls: dict[str, str | None] = {}

    def add(self, results: Iterable[dict[str, Any]], calls: Sequence[dict[str, Any]]) -> None:
        """Take the results of one step, and its calls: of a result that names none the only one."""
        only = calls[0].get("tool_call_id") if len(calls) == 1 else None
        for result in results:
            call = result.get("source_call_id") or only
            for ref in objects_at(result, _REF):
                for name in (ref.get("trajectory_id"), _file_of(ref.get("trajectory_path"))):
                    if isinstance(name, str) and name:
                        self._calls.setdefault(name, call if isinstance(call, str) else None)

    def call_of(self, head: Record) -> str | None:
        """The call that started the sub-agent whose trajectory this is; None where no result says."""
        name = head.value.get("trajectory_id")
        file = head.place.partition("#")[0].partition(":")[0]
        known = self._calls.get(name) if isinstance(name, str) else None
        return known or self._calls.get(file)
