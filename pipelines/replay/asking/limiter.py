"""When the next call may be made: concurrency that finds its level, calls and tokens per minute, pauses, off-peak hours.

The level starts low, doubles with every round of calls that went well until the endpoint objects for the first time, and
from then on grows by one a round. An objection (429 or a server error) takes a quarter away, once per round: calls that were
under way then say nothing new. `Retry-After` stops all calls until then: the limit is the account's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from pipelines.experiment.budget import Budget, parse_off_peak
from pipelines.replay.asking.account import until_off_peak

_FIRST_LEVEL = 8
_CUT = 0.75
_MINUTE = 60.0
_LONGEST_SLEEP = 60.0
"""Seconds; a clock that is set, or a machine that slept, is noticed after that."""


class Slot:
    """One call's permission.

    Attributes:
        tokens: How many were counted for it.
        cuts: How often the level had been cut when it was given.
    """

    __slots__ = ("_free", "cuts", "tokens")

    def __init__(self, tokens: int, cuts: int, free: Callable[[], None]) -> None:
        self.tokens = tokens
        self.cuts = cuts
        self._free: Callable[[], None] | None = free

    def free(self) -> None:
        """Let the next call begin; a second time does nothing."""
        if self._free is not None:
            self._free()
            self._free = None


class Limiter:
    """Admits calls to one endpoint.

    Args:
        budget: The limits.
        tell: Told when the replay waits for longer, and why.
        now: The UTC clock of the off-peak window.
    """

    def __init__(
        self,
        budget: Budget,
        tell: Callable[[str], None] = lambda _line: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._budget = budget
        self._tell = tell
        self._now = now
        self._window = parse_off_peak(budget.off_peak) if budget.off_peak else None
        self._most = budget.concurrency
        self.level = float(min(_FIRST_LEVEL, self._most))
        self.under_way = 0
        self.cuts = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_told = False
        self._stop = asyncio.Event()
        self._paused_until: float = 0.0
        self._next_call: float = 0.0
        self._next_token: float = 0.0

    @asynccontextmanager
    async def admit(self, tokens: int) -> AsyncIterator[Slot]:
        """Wait for permission to make one call; the slot is free again at the end of the block.

        Args:
            tokens: How many the call will probably use; `correct` them when known.
        """
        await self._enter()
        slot = Slot(tokens, self.cuts, self._leave)
        try:
            await self._pace(tokens)
            slot.cuts = self.cuts
            yield slot
        finally:
            slot.free()

    def interrupt(self) -> None:
        """Let nobody wait any longer: the work is being stopped, and nobody admitted will make a call."""
        self._stop.set()

    def _leave(self) -> None:
        self.under_way -= 1
        self._wake()

    def succeeded(self, slot: Slot) -> None:
        """The call was answered: a little more may be under way at once."""
        if slot.cuts == self.cuts:
            step = 1.0 if not self.cuts else 1.0 / self.level
            self.level = min(float(self._most), self.level + step)
            self._wake()

    def objected(self, slot: Slot, retry_after: float | None = None) -> None:
        """The endpoint could not or would not serve the call: less at once, and nothing before `retry_after` seconds."""
        if slot.cuts == self.cuts:
            self.cuts += 1
            self.level = max(1.0, self.level * _CUT)
        if retry_after is not None:
            self._paused_until = max(self._paused_until, _clock() + retry_after)

    def correct(self, slot: Slot, tokens: int) -> None:
        """Count the tokens that a call really used."""
        if self._budget.tpm is not None:
            self._next_token += (tokens - slot.tokens) * _MINUTE / self._budget.tpm
        slot.tokens = tokens

    async def _enter(self) -> None:
        """Take a place among the calls under way, first come first served."""
        if self.under_way < int(self.level) and not self._waiting:
            self.under_way += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was this one's turn already
                self.under_way -= 1
                self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self.under_way < int(self.level):
            turn = self._waiting.popleft()
            if not turn.done():
                self.under_way += 1
                turn.set_result(None)

    async def _pace(self, tokens: int) -> None:
        """Wait for the window, for what the endpoint asked for, and for the next call's place in the minute."""
        while (wait := max(self._closed(), self._paused_until - _clock())) > 0:
            await self.sleep(min(wait, _LONGEST_SLEEP))
            if self._stop.is_set():
                return
        now = _clock()
        at = now
        if self._budget.rpm is not None:
            at = max(at, self._next_call)
            self._next_call = at + _MINUTE / self._budget.rpm
        if self._budget.tpm is not None:
            at = max(at, self._next_token)
            self._next_token = max(now, self._next_token) + tokens * _MINUTE / self._budget.tpm
        if at > now:
            await self.sleep(at - now)
            if self._stop.is_set():
                return
            if self._closed() > 0 or self._paused_until > _clock():  # it closed, or was told to wait, meanwhile
                await self._pace(0)

    async def sleep(self, seconds: float) -> None:
        """Wait, but no longer than the work goes on."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _closed(self) -> float:
        """Seconds until the off-peak window opens; 0 while it is open."""
        if self._window is None:
            return 0.0
        wait = until_off_peak(self._window, self._now()).total_seconds()
        if wait > 0 and not self._is_told:
            self._tell(f"outside {self._budget.off_peak}: waiting until the window opens")
        self._is_told = wait > 0
        return wait


def _clock() -> float:
    return asyncio.get_running_loop().time()
