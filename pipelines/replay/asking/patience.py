"""How long one request is asked again that brought nothing: each call later than the last, and not for ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from pipelines.replay.asking.fault import Again

T = TypeVar("T")

MAX_ATTEMPTS = 10
"""Calls for one request that brought nothing, before its unit fails."""
MAX_RATE_LIMITED = 50
"""Calls for one request that were refused for their rate, which is nobody's fault, likewise."""
_BACKOFF = wait_random_exponential(multiplier=0.25, max=30)


class AgainError(Exception):
    """A call brought nothing, and another may bring something."""

    def __init__(self, again: Again) -> None:
        super().__init__(again.detail)
        self.again = again


async def ask_patiently(attempt: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]]) -> T:
    """What an attempt gives, at once or after further ones.

    Args:
        attempt: One call; raises `AgainError` where it brought nothing.
        sleep: Waits between two.

    Raises:
        AgainError: Nothing came of any of them; of the last.
    """
    try:
        return await attempt()  # nearly always enough
    except AgainError as error:
        failed = [error]
    async for each in AsyncRetrying(
        retry=retry_if_exception_type(AgainError), wait=_BACKOFF, stop=_Patience(), sleep=sleep, reraise=True
    ):
        with each:
            if failed:
                raise failed.pop()
            answer = await attempt()
    return answer


class _Patience:
    """When to stop asking: after so many faults, or so many refusals for the rate."""

    def __init__(self) -> None:
        self._faults = self._limited = 0

    def __call__(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, AgainError):
            is_limited = error.again.reason == "rate_limited"
            self._limited += is_limited
            self._faults += not is_limited
        return self._faults >= MAX_ATTEMPTS or self._limited >= MAX_RATE_LIMITED
