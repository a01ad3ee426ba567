"""Agents that are programs in any language: a JSON line a unit in, one out.

Each worker slot has a process that lives as long as it behaves, and a URL of the gateway for as long as the run. What a line holds,
what is no answer, and when a process is replaced is decided here; how a process is started and ended is `process.py`'s.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from pipelines.compact_json import ENCODER, NOT_ENCODED
from pipelines.console import on_one_line
from pipelines.errors import BadInputError, RefoldError
from pipelines.replay.agents import process as processes
from pipelines.replay.agents import supervisor
from pipelines.replay.agents.environment import environment_of
from pipelines.replay.agents.gateway import Gateway, Urls
from pipelines.replay.agents.process import Process
from pipelines.replay.agents.sandbox import Sandbox, require_sandbox
from pipelines.replay.agents.session import Session
from pipelines.replay.agents.stage import AgentFailedError, Stage, Task
from pipelines.replay.asking.fault import storable_json

_BARREN = 10
"""Processes one after the other without one answer, after which the next is not worth starting."""
_BETWEEN_LOOKS, _LOOKS_APART = 0.25, 20
"""Seconds between two looks at what memory processes take, and how many times as long as a look: it reads of all processes of the machine."""
_TO_LEAVE = 1.0
"""Seconds for a process to end by itself at the end of the run."""
_MAX_SHOWN, _MAX_ERROR = 200, 2_000
"""Characters shown of an answer that is none, and of an error that it tells."""


class CommandsEndedError(RefoldError):
    """A candidate's command answers nothing, again and again. What was answered is kept."""


class _Answer(msgspec.Struct):
    """A line out."""

    id: str
    text: msgspec.UnsetType | str | None = msgspec.UNSET
    error: str | None = None


class _NoAnswerError(Exception):
    """A line out that the protocol has no place for."""


_decode = msgspec.json.Decoder(_Answer).decode


@dataclass(frozen=True, slots=True)
class Command:
    """What is run, and how far it may go.

    Attributes:
        words: The program and its arguments.
        folder: Where it is run: the experiment's.
        environment: What the experiment adds to its environment.
        timeout_seconds: Time for one unit.
        memory_mb: Megabytes (10^6 bytes) of resident memory that a process and all that it started may have; None for no bound.
        is_confined: Whether each process has a sandbox.
        readable: What may be read there beside `folder` and the program, though it is in a home.
        hidden: What may not be read there, though it is elsewhere.
    """

    words: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 120.0
    memory_mb: int | None = None
    is_confined: bool = False
    readable: Sequence[Path] = ()
    hidden: Sequence[Path] = ()


class CommandAgents:
    """Processes of one command, one a worker slot, each started when it is needed first.

    Args:
        command: What to run.
        gateway: Where they reach models and tools; open for as long as this is.
        width: How many run at once.

    Raises:
        BadInputError: On entering: there is no such program, or memory is bounded and cannot be seen.
    """

    def __init__(self, command: Command, gateway: Gateway, width: int) -> None:
        self.width = width
        self._command = command
        self._slots = [_Slot(command, gateway) for _ in range(width)]
        self._free: asyncio.LifoQueue[_Slot] = asyncio.LifoQueue()  # a process that is warm goes before one that is not
        self._barren = 0
        self._is_left = False
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        require_runnable(self._command)
        if self._command.is_confined:
            await asyncio.to_thread(require_sandbox, self._command.folder)
        for slot in reversed(self._slots):
            self._free.put_nowait(slot)
        if self._command.memory_mb is not None:
            self._watcher = asyncio.create_task(self._watch(self._command.memory_mb * 10**6))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left = True  # a unit whose process is ended here lets another one in
        if self._watcher is not None:
            self._watcher.cancel()
        await asyncio.gather(*(slot.end(_TO_LEAVE if kind is None else 0.0) for slot in self._slots))

    async def run(self, task: Task) -> str | None:
        """Let a process act once.

        Raises:
            AgentFailedError: It ended, took too long or too much, answered with an error, or what it wrote is no answer.
            CommandsEndedError: Processes answer nothing, one after the other.
        """
        slot = await self._free.get()
        if self._is_left:
            self._free.put_nowait(slot)
            raise AgentFailedError("agent_ended", "the run is over")
        try:
            text = await slot.run(task)
        except AgentFailedError as failed:
            self._note(failed, is_barren=slot.is_barren)
            raise
        finally:
            self._free.put_nowait(slot)
        self._barren = 0
        return text

    def _note(self, failed: AgentFailedError, *, is_barren: bool) -> None:
        """Give up where nothing else will come of going on."""
        self._barren = self._barren + 1 if is_barren and failed.reason in ("agent_ended", "candidate_error") else 0
        if self._barren >= _BARREN:
            raise CommandsEndedError(
                f"candidate: {self._command.words[0]!r} was started {self._barren} times in a row and gave no "
                f"answer to anything; the last time: {failed}"
            ) from failed

    async def _watch(self, limit: int) -> None:
        """Look at what memory each process and its own take."""
        took = 0.0
        while True:
            await asyncio.sleep(max(_BETWEEN_LOOKS, took * _LOOKS_APART))
            began = time.perf_counter()
            table = supervisor.running()
            took = time.perf_counter() - began
            for slot in self._slots:
                if slot.process is None or not slot.process.number:
                    continue
                taken = sum(table[each][1] for each in supervisor.below(slot.process.number, table))
                if taken > limit:
                    slot.process.fail(
                        "agent_memory", f"its processes took {taken // 10**6:,} MB of at most {limit // 10**6:,}"
                    )


def require_runnable(command: Command) -> None:
    """Check what can be known of a command before it is run.

    Raises:
        BadInputError: There is no such program, or memory is bounded and cannot be seen.
    """
    program = command.words[0]
    if os.sep in program:
        found = shutil.which(command.folder / program)
    else:
        found = shutil.which(program, path=command.environment.get("PATH"))
    if found is None:
        where = f"in {command.folder}" if os.sep in program else "on PATH"
        raise BadInputError(f"candidate: command: there is no program {program!r} {where} that may be run")
    if command.memory_mb is not None and not supervisor.running():
        raise BadInputError(
            "candidate: memory_mb: there is no /proc here that tells what memory processes take; leave it out"
        )


class _Slot:
    """A place for one unit at a time.

    Attributes:
        process: Who works there; None before the first unit, and after one was ended.
        is_barren: Whether the last process ended without an answer to anything.
    """

    def __init__(self, command: Command, gateway: Gateway) -> None:
        self.process: Process | None = None
        self.is_barren = False
        self._command, self._gateway, self._place = command, gateway, gateway.slot()
        self._environment: Mapping[str, str] = {}
        self._sandbox: Sandbox | None = None
        self._listening: asyncio.Server | None = None
        self._units = 0

    async def run(self, task: Task) -> str | None:
        """Put a unit before the process."""
        with self._place.enter(task.stage):
            process = await self._ready(task.environment)
            self._units += 1
            name = str(self._units)
            try:
                line = await process.ask(_line(name, task.session), self._command.timeout_seconds)
                answer = _read(line, name)
            except _NoAnswerError as error:
                process.is_usable = False
                raise AgentFailedError("candidate_error", f"{error}{process.errors}") from error
            else:
                process.has_answered = True
            finally:
                self._tell_attempts(task.stage)
                self.is_barren = not process.has_answered
                if not process.is_usable:
                    await self.end()
        if answer.error is not None:
            raise AgentFailedError("candidate_error", on_one_line(answer.error[:_MAX_ERROR]))
        return answer.text if isinstance(answer.text, str) else None

    async def end(self, patience: float = 0.0) -> None:
        """End the process, if there is one, and leave its sandbox."""
        process, self.process = self.process, None
        sandbox, self._sandbox = self._sandbox, None
        listening, self._listening = self._listening, None
        if process is not None:
            await process.end(patience)
        if listening is not None:
            listening.close()
        if sandbox is not None:
            sandbox.close()

    async def _ready(self, environment: Mapping[str, str]) -> Process:
        """A process that waits for a line, started with this environment."""
        if self.process is not None and self.process.is_usable and environment == self._environment:
            return self.process
        await self.end()
        self._environment = environment
        command = self._command
        variables = environment_of(os.environ, self._place.urls.model_url, environment, command.environment)
        if command.is_confined:
            return await self._confine(variables)
        self.process = await processes.start(command.words, command.folder, variables)
        return self.process

    async def _confine(self, variables: Mapping[str, str]) -> Process:
        """A process in a sandbox that reaches this place."""
        command, port = self._command, urlsplit(self._place.urls.model_url).port
        assert port is not None
        sandbox = self._sandbox = Sandbox(port, command.folder, command.readable, command.hidden)
        words, inside = sandbox.command(command.words), sandbox.environment(variables)
        process = self.process = await processes.start(
            words, command.folder, inside, sandbox.inherited, sandbox.scratch
        )
        listener = await sandbox.listener()
        if listener is not None:  # else it ended, and says so when it is asked
            self._listening = await self._gateway.listen(listener, self._place)
        return process

    def _tell_attempts(self, stage: Stage) -> None:
        for method, target in self._sandbox.attempts() if self._sandbox is not None else ():
            stage.refuse("network", method, target)


def _line(name: str, session: Session) -> bytes:
    """A unit as a line."""
    unit: dict[str, Any] = {
        "id": name,
        "messages": list(session.messages),
        "user": session.user,
        "tools": [tool.schema for tool in session.tools],
        "model": session.model,
        "model_url": session.model_url,
        "mcp_url": session.mcp_url,
        "tools_url": Urls(session.model_url, session.mcp_url).tools_url,
        "metadata": dict(session.metadata),
    }
    try:
        return ENCODER.encode(unit) + b"\n"
    except NOT_ENCODED:
        return json.dumps(unit).encode() + b"\n"


def _decoded(line: bytes) -> _Answer:
    """The answer; half of a surrogate pair, as a program that cuts a text may write it, is replaced."""
    try:
        return _decode(line)
    except msgspec.ValidationError:
        raise
    except (ValueError, RecursionError):
        return _decode(storable_json(line))


def _read(line: bytes, name: str) -> _Answer:
    """What a line out says.

    Raises:
        _NoAnswerError: It is no answer to this unit.
    """
    try:
        answer = _decoded(line)
    except (ValueError, RecursionError) as error:
        shown = on_one_line(line[:_MAX_SHOWN].decode("utf-8", "replace"))
        raise _NoAnswerError(
            f"what it wrote to standard output is no answer, and all else belongs on standard error ({error}): {shown}"
        ) from error
    if answer.id != name:
        raise _NoAnswerError(f"it answered {on_one_line(answer.id[:_MAX_SHOWN])!r} and was asked about {name!r}")
    if answer.error is None and answer.text is msgspec.UNSET:
        raise _NoAnswerError("its answer has neither text nor error")
    return answer
