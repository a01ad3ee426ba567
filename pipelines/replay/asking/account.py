"""The account that every call is checked against, and when the calls of an experiment may be made.

The account is a bound, not an estimate: a call is made only when the most it can cost still fits beside everything that
was spent and everything that is under way.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, time, timedelta


def until_off_peak(window: tuple[time, time], now: datetime) -> timedelta:
    """How long after `now` (UTC) the daily window opens; zero inside it."""
    start, stop = window
    at = now.timetz()
    is_open = start <= at < stop if start < stop else at >= start or at < stop
    if is_open:
        return timedelta(0)
    opens = datetime.combine(now.date(), start)
    return (opens if opens >= now else opens + timedelta(days=1)) - now


class BudgetExhausted(Exception):  # noqa: N818 -- reads as what happened
    """A call does not fit into what is left."""


@dataclass(slots=True)
class Account:
    """Money and calls of one version: spent, and reserved for calls under way.

    Attributes:
        usd_limit: Bound on US dollars; None for none.
        requests_limit: Bound on calls; None for none.
        usd: Spent so far, earlier runs of the version included.
        requests: Calls so far, likewise.
    """

    usd_limit: float | None
    requests_limit: int | None
    usd: float = 0.0
    requests: int = 0
    _reserved: float = 0.0
    _under_way: int = 0
    _released: asyncio.Event | None = None

    async def reserve(self, usd: float) -> None:
        """Set aside what a call costs at most, before it is made; wait while calls under way may leave enough.

        Raises:
            BudgetExhausted: It does not fit, and nothing under way could change that.
        """
        while True:
            if self.requests_limit is not None and self.requests >= self.requests_limit:
                raise BudgetExhausted(f"the budget of {self.requests_limit:,} requests is used up")
            if self.usd_limit is None or self.usd + self._reserved + usd <= self.usd_limit:
                break
            if not self._under_way:
                raise BudgetExhausted(
                    f"{self.usd:.4f} of {self.usd_limit:g} USD are spent; this call may cost up to {usd:.4f} USD"
                )
            self._released = self._released or asyncio.Event()
            await self._released.wait()
        self.requests += 1
        self._reserved += usd
        self._under_way += 1

    def take(self, usd: float) -> bool:
        """Count a call that is charged already at the most that it may cost, if it fits; whether it does."""
        if self.requests_limit is not None and self.requests >= self.requests_limit:
            return False
        if self.usd_limit is not None and self.usd + self._reserved + usd > self.usd_limit:
            return False
        self.requests += 1
        self.usd += usd
        return True

    def give_back(self, requests: int, usd: float) -> None:
        """Take off what was counted and not made, or not spent, after all."""
        self.requests -= requests
        self.usd = max(self.usd - usd, 0.0)

    def settle(self, reserved: float, spent: float) -> None:
        """A call ended: free what was set aside for it and count what it cost."""
        self._under_way -= 1
        # nothing under way means nothing reserved, whatever the sums of floats say
        self._reserved = self._reserved - reserved if self._under_way else 0.0
        self.usd += spent
        if self._released is not None:
            self._released.set()
            self._released = None
