"""Agents that are Python functions: each runs in a thread with a loop of its own, which lives as long as the replay.

A client that waits in the loop of the gateway would wait for ever, so none is there. A thread cannot be ended from outside: one whose
agent does not come back in time is left to itself, is answered nothing more, and another takes its place.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from pipelines.experiment.code import CandidateEndedError, PythonCandidate
from pipelines.experiment.sides import Api
from pipelines.experiment.source import describe_exception
from pipelines.replay.agents.session import AgentStopped, Session
from pipelines.replay.agents.stage import AgentFailedError, Served, Stage, Task


class FunctionAgents:
    """Runs a function `run(session)`, sync or async; see `Agents`.

    Args:
        candidate: The function.
        width: How many run at once, at most.
        timeout_seconds: For one run.
    """

    def __init__(self, candidate: PythonCandidate, width: int, timeout_seconds: float) -> None:
        self.width = width
        self._candidate, self._timeout = candidate, timeout_seconds
        self._idle: list[_Worker] = []
        self._turns = asyncio.Semaphore(width)
        self._first: asyncio.Lock | None = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._idle:
            worker.end()

    async def run(self, task: Task) -> str | None:
        """Let the agent act once; see `Agents`.

        The first time it acts alone: frameworks import in the middle of a run, and one thread sees what another has half imported.
        """
        first = self._first
        if first is None:
            return await self._run(task)
        async with first:
            if self._first is not None:
                try:
                    return await self._run(task)
                finally:
                    self._first = None
        return await self._run(task)

    async def _run(self, task: Task) -> str | None:
        async with self._turns:
            worker = self._idle.pop() if self._idle else _Worker(self._candidate)
            try:
                text = await asyncio.wait_for(worker.run(task, asyncio.get_running_loop()), self._timeout)
            except TimeoutError:
                worker.end()
                raise AgentFailedError("agent_timeout", f"no end in {self._timeout:g} s") from None
            except asyncio.CancelledError:
                worker.end()
                raise
            except AgentFailedError:
                self._idle.append(worker)
                raise
            self._idle.append(worker)
            return text


class _Worker:
    """One thread; agents run in it one after the other."""

    def __init__(self, candidate: PythonCandidate) -> None:
        self._candidate = candidate
        self._work: SimpleQueue[tuple[Task, asyncio.AbstractEventLoop, asyncio.Future[str | None]] | None] = (
            SimpleQueue()
        )
        threading.Thread(target=self._run, name="agent", daemon=True).start()

    async def run(self, task: Task, loop: asyncio.AbstractEventLoop) -> str | None:
        done: asyncio.Future[str | None] = loop.create_future()
        self._work.put((task, loop, done))
        return await done

    def end(self) -> None:
        """Take nothing more, once the agent that runs is done."""
        self._work.put(None)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while (work := self._work.get()) is not None:
                task, loop, done = work
                try:
                    text, error = self._act(runner, task, loop), None
                except BaseException as raised:  # noqa: BLE001 -- told where the unit is waited for
                    text, error = None, raised
                with suppress(RuntimeError):  # the replay is over, and its loop is closed
                    loop.call_soon_threadsafe(_settle, done, text, error)

    def _act(self, runner: asyncio.Runner, task: Task, loop: asyncio.AbstractEventLoop) -> str | None:
        asking = _Asking(task.stage, loop)
        ask = asking.ask_async if self._candidate.is_async else asking.ask
        return act(self._candidate, replace(task.session, _ask=ask), runner)


def act(candidate: PythonCandidate, session: Session, runner: asyncio.Runner) -> str | None:
    """Let a function act once, in this thread; one that is declared `async` in the loop of `runner`.

    Returns:
        Its final text; None for none.

    Raises:
        AgentFailedError: It raised, or returned what is no text.
        CandidateEndedError: It tried to end the process.
    """
    try:
        returned = runner.run(_awaited(candidate, session)) if candidate.is_async else candidate.answer(session)
    except CandidateEndedError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever the agent raises is this unit's failure
        raise AgentFailedError("candidate_error", describe_exception(error, candidate.folder)) from None
    if returned is None or isinstance(returned, str):
        return returned
    kind = type(returned).__name__
    raise AgentFailedError("candidate_error", f"TypeError: the agent returned {kind}, not its final text")


async def _awaited(candidate: PythonCandidate, session: Session) -> Any:
    return await candidate.answer(session)


def read_answer(status: int, body: bytes) -> Any:
    """What a model call or a tool call was answered with, as a JSON value.

    Raises:
        AgentStopped: It was refused: nothing more is answered.
    """
    document = json.loads(body)
    if status != 200:
        error = document.get("error") or {}
        reason, _, detail = str(error.get("message", "")).partition(": ")
        raise AgentStopped(reason, detail)
    return document


def _settle(done: asyncio.Future[str | None], text: str | None, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(text)
    else:
        done.set_exception(error)


class _Asking:
    """Model calls of one agent without HTTP, from its thread into the loop of the replay."""

    def __init__(self, stage: Stage, loop: asyncio.AbstractEventLoop) -> None:
        self._stage, self._loop = stage, loop

    def ask(self, api: Api, body: Mapping[str, Any]) -> Any:
        """Ask, and wait."""
        return _read(asyncio.run_coroutine_threadsafe(self._answer(api, body), self._loop).result())

    async def ask_async(self, api: Api, body: Mapping[str, Any]) -> Any:
        """Ask from a loop of another thread."""
        return _read(await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._answer(api, body), self._loop)))

    async def _answer(self, api: Api, body: Mapping[str, Any]) -> Served:
        asked = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
        served = await self._stage.answer(api, asked)
        self._stage.delivered(served.call)
        return served


def _read(served: Served) -> Any:
    return read_answer(served.status, served.body)
