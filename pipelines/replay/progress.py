"""How far a replay is: units done, what answered them, what it cost, and when it will end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

_SECONDS_BETWEEN = 0.5
_HOUR, _MINUTE = 3600, 60


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """One moment of a replay.

    Attributes:
        done: Units done, failed ones included.
        total: Units in all; None when not known.
        hit_rate: Share of the answers that were paid for before; None where nobody is paid, or before the first.
        usd: US dollars charged to the version so far, earlier runs included; None where nobody is paid.
        seconds_left: At the pace so far; None before there is one.
    """

    done: int
    total: int | None = None
    hit_rate: float | None = None
    usd: float | None = None
    seconds_left: float | None = None

    def describe(self) -> str:
        """In one line."""
        parts = [f"{self.done:,}" + (f" of {self.total:,}" if self.total is not None else "") + " units"]
        if self.hit_rate is not None:
            parts.append(f"{self.hit_rate:.1%} from what was paid for")
        if self.usd is not None:
            parts.append(f"{self.usd:.4f} USD")
        if self.seconds_left is not None:
            parts.append(f"about {describe_seconds(self.seconds_left)} left")
        return ", ".join(parts)


OnProgress = Callable[[ReplayProgress], None]


class ProgressMeter:
    """Tells how far a replay is, at most twice a second, and once how far it came.

    Args:
        tell: Told each time; None for nobody.
        total: Units in all.
        measure: Gives (hit rate, US dollars) when somebody is paid.
    """

    def __init__(
        self,
        tell: OnProgress | None,
        total: int | None = None,
        measure: Callable[[], tuple[float | None, float]] | None = None,
    ) -> None:
        self._tell, self._total, self._measure = tell, total, measure
        self._started = self._last = time.monotonic()
        self._told = -1

    def __call__(self, done: int, *, is_end: bool = False) -> None:
        """So many units are done."""
        if self._tell is None:
            return
        now = time.monotonic()
        if done == self._told or not (is_end or now - self._last >= _SECONDS_BETWEEN):
            return
        self._last, self._told = now, done
        hit_rate, usd = self._measure() if self._measure is not None else (None, None)
        left = None
        if done and self._total is not None:
            left = max(0, self._total - done) * (now - self._started) / done
        self._tell(ReplayProgress(done, self._total, hit_rate, usd, left))


def describe_seconds(seconds: float) -> str:
    """A duration in words, in the two units that matter."""
    whole = round(seconds)
    if whole >= _HOUR:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _MINUTE} min {whole % _MINUTE} s" if whole >= _MINUTE else f"{whole} s"
