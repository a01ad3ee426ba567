"""Answer requests without an endpoint: a Python callable, or the recording itself.

Nothing is executed but the candidate's function. What it raises is that request's failure; what it says may hold anything,
so its type and its place in the candidate's file are told.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb

from pipelines.experiment.code import CandidateEndedError, PythonCandidate
from pipelines.experiment.decision import Decision, Reply
from pipelines.experiment.plan import Plan
from pipelines.experiment.sides import Side
from pipelines.experiment.source import describe_exception
from pipelines.lake.sizes import Range
from pipelines.replay.failure import Answer, Failure
from pipelines.replay.ledger import Outcome
from pipelines.replay.request import Ask, Request
from pipelines.replay.sides import list_units
from pipelines.replay.work import Unit


def python_ask(candidate: PythonCandidate) -> Ask:
    """Ask a callable in this process; one that is declared `async` is awaited."""
    function: Callable[[Decision], Any] = candidate.answer
    is_async = candidate.is_async

    async def ask(request: Request) -> Answer:
        if not is_async:
            return _call(candidate, request)
        try:
            return _read(await function(request.decision))
        except CandidateEndedError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever the user's code raises is that request's failure
            return Failure("candidate_error", describe_exception(error, candidate.folder))

    return ask


def _call(candidate: PythonCandidate, request: Request) -> Answer:
    """Ask a callable that answers at once."""
    function: Callable[[Decision], Any] = candidate.answer
    try:
        return _read(function(request.decision))
    except CandidateEndedError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- likewise
        return Failure("candidate_error", describe_exception(error, candidate.folder))


def _read(reply: Any) -> Answer:
    if isinstance(reply, Reply):
        return reply
    if inspect.iscoroutine(reply):
        reply.close()
        return Failure("candidate_error", "TypeError: the candidate returned a coroutine; declare it with `async def`")
    return Failure("candidate_error", f"TypeError: the candidate returned {type(reply).__name__}, not a Reply")


def echo_ask(recorded: Mapping[int, Reply]) -> Ask:
    """Answer every request with what the recorded agent did there."""

    async def ask(request: Request) -> Answer:
        return recorded[request.number]

    return ask


def replay_plan(
    connection: duckdb.DuckDBPyConnection, plan: Plan, chunks: Sequence[Range], side: Side = "candidate"
) -> Iterator[Outcome]:
    """Replay the units of one side in this process, in order.

    Args:
        connection: Has `plan_streams` and `streams`.
        plan: What to replay.
        chunks: Ranges of streams.
        side: A side that is a callable or the echo.
    """
    work = list_units(connection, plan, side, chunks)
    return replay_units(work, plan.callables.get(side), plan.experiment.budget.concurrency)


def replay_units(work: Iterable[Unit], candidate: PythonCandidate | None, concurrency: int = 1) -> Iterator[Outcome]:
    """Replay units in this process; outcomes come in order.

    Args:
        work: What to replay.
        candidate: The callable; None for the echo.
        concurrency: How many units an `async` candidate has under way at once.
    """
    if candidate is None:
        return (replay_now(unit, echo_ask(unit.recorded)) for unit in work)
    if candidate.is_async:
        return _replay_waiting(work, python_ask(candidate), concurrency)
    return _replay_here(work, candidate)


def _replay_here(work: Iterable[Unit], candidate: PythonCandidate) -> Iterator[Outcome]:
    """Replay units of a candidate that answers at once; one that is a single request needs no coroutine for that."""
    ask = python_ask(candidate)
    for unit in work:
        request = unit.request
        yield unit.take(_call(candidate, request)) if request is not None else replay_now(unit, ask)


def replay_now(unit: Unit, ask: Ask) -> Outcome:
    """Replay a unit whose `ask` never waits, without an event loop."""
    coroutine = unit.replay(ask)
    try:
        coroutine.send(None)
    except StopIteration as done:
        outcome: Outcome = done.value
        return outcome
    coroutine.close()
    raise RuntimeError("a unit whose answers are there at once waited for something")


def _replay_waiting(work: Iterable[Unit], ask: Ask, concurrency: int) -> Iterator[Outcome]:
    """Replay units of an `async` candidate, some at once; outcomes come in order."""
    waiting: deque[asyncio.Task[Outcome]] = deque()
    with asyncio.Runner() as runner:
        for unit in work:
            waiting.append(runner.get_loop().create_task(unit.replay(ask)))
            if len(waiting) >= concurrency:
                yield runner.run(_result_of(waiting.popleft()))
        while waiting:
            yield runner.run(_result_of(waiting.popleft()))


async def _result_of(task: asyncio.Task[Outcome]) -> Outcome:
    return await task
