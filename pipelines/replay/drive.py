"""Run the units of a replay before an endpoint: many at once, what is paid for without waiting, stopped cleanly.

The units come from a generator and their outcomes go to whoever iterates, so that memory holds what is under way and
nothing else. A stop (Ctrl-C, SIGTERM) starts nothing new and waits for the calls under way, since they are paid for; a
second one does not wait.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from itertools import islice
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

from pipelines.replay.asking.asker import Asker, Stopped
from pipelines.replay.failure import Answer
from pipelines.replay.request import Ask, Request

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_BATCH = 100
"""Units rendered and looked up together."""
_MOMENT = 1.0
"""Seconds after which this thread looks up: a signal that another thread received is handled here."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Unit(Protocol[T_co]):
    """One unit of a replay."""

    @property
    def request(self) -> Request | None:
        """The one request that it is; None for a unit that makes others, or none."""

    def replay(self, ask: Ask) -> Coroutine[Any, Any, T_co]:
        """Ask what there is to ask, and give what became of it; raises only what `ask` raises."""

    def take(self, answer: Answer, /) -> T_co:
        """What became of it, given the answer to its one request."""


def drive(
    asker: Asker,
    units: Iterable[Unit[T]],
    tell: Callable[[str], None],
    hosts: Iterable[AbstractAsyncContextManager[Any]] = (),
) -> Iterator[T]:
    """Replay units, as many at once as the asker likes; outcomes come in the order in which they are ready.

    Args:
        asker: Who answers; opened and closed here.
        units: What to replay, drawn as needed. The answer to a unit that is one request is looked up with those of others, and if
            it is there the unit takes no turn in the event loop.
        tell: Told when the work is being stopped.
        hosts: What else is open in the loop meanwhile.

    Raises:
        EndpointError: The endpoint answers nobody; what is under way is waited for first.
        KeyboardInterrupt: It was stopped.
    """
    with _stoppable(asker, tell), asyncio.Runner() as runner:
        outcomes = _outcomes(asker, units, hosts)
        last: asyncio.Task[Any] | None = None

        async def step() -> list[T] | None:
            nonlocal last
            last = asyncio.current_task()
            return await anext(outcomes, None)

        try:
            while (ready := runner.run(step())) is not None:
                yield from ready
        finally:
            runner.run(_leave(outcomes, last))


async def _leave(outcomes: AsyncGenerator[list[T], None], last: asyncio.Task[Any] | None) -> None:
    """End the outcomes; what a second signal, which interrupts wherever it comes, left in the middle of a step ends first."""
    if last is not None and not last.done():
        last.cancel()
        await asyncio.wait([last])
    await outcomes.aclose()


async def _outcomes(
    asker: Asker, units: Iterable[Unit[T]], hosts: Iterable[AbstractAsyncContextManager[Any]]
) -> AsyncGenerator[list[T], None]:
    """Outcomes as they become ready, a few at a time."""
    source = iter(units)
    crew: _Crew[T] = _Crew()
    async with AsyncExitStack() as stack:
        for each in (asker, *hosts):
            await stack.enter_async_context(each)
        while not (asker.is_stopping or crew.error) and (batch := await _next_batch(source, crew)):
            known, unknown = _recall(asker, batch)
            yield [unit.take(answer) for unit, answer in known]
            for unit in unknown:
                while len(crew.under_way) >= asker.width:
                    yield await crew.finished()
                if asker.is_stopping or crew.error:
                    break
                crew.begin(unit.replay(asker.ask))
        while crew.under_way:
            yield await crew.finished()
    if crew.error is not None:
        raise crew.error


async def _next_batch(source: Iterator[Unit[T]], crew: _Crew[T]) -> list[Unit[T]]:
    """Units to go on with.

    Reading the lake takes its time: elsewhere, where a call could time out with its answer waiting to be read.
    """
    if crew.under_way:
        return await asyncio.to_thread(_take, source)
    return _take(source)


def _take(source: Iterator[Unit[T]]) -> list[Unit[T]]:
    return list(islice(source, _BATCH))


def _recall(asker: Asker, batch: list[Unit[T]]) -> tuple[list[tuple[Unit[T], Answer]], list[Unit[T]]]:
    """The units of a batch whose answers are paid for, with these, and the others."""
    answers = asker.recall([unit.request for unit in batch])
    known, unknown = [], []
    for unit, answer in zip(batch, answers, strict=True):
        if answer is None:
            unknown.append(unit)
        else:
            known.append((unit, answer))
    return known, unknown


class _Crew(Generic[T]):
    """The units under way.

    Attributes:
        under_way: Their tasks.
        error: The first thing that broke the machine; the others are waited for.
    """

    def __init__(self) -> None:
        self.under_way: set[asyncio.Task[T]] = set()
        self.error: BaseException | None = None

    def begin(self, work: Coroutine[Any, Any, T]) -> None:
        """Start one more."""
        self.under_way.add(asyncio.create_task(work))

    async def finished(self) -> list[T]:
        """Wait until some unit is ready, or a moment, and give all that are; units that were stopped are none."""
        done, self.under_way = await asyncio.wait(self.under_way, timeout=_MOMENT, return_when=asyncio.FIRST_COMPLETED)
        ready = []
        for task in done:
            error = task.exception()
            if error is None:
                ready.append(task.result())
            elif not isinstance(error, Stopped):
                self.error = self.error or error
        return ready


@contextmanager
def _stoppable(asker: Asker, tell: Callable[[str], None]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a clean stop, and let it take its usual effect afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread alone
        return
    usual: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}
    seen: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        for each, handler in usual.items():
            signal.signal(each, handler)
        tell("stopping: waiting for the calls under way; what they bring is kept")
        asker.stop_soon()

    for number in usual:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    if seen:
        _take_effect(usual[seen[0]], seen[0])


def _take_effect(handler: Any, number: int) -> None:
    """Do what the signal would have done; a handler that does nothing leaves the work undone all the same."""
    if callable(handler):
        handler(number, None)
    raise KeyboardInterrupt
