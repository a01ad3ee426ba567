"""Whether an endpoint answers anybody: what it did since its last answer, and when that is reason enough to give it up.

One request's fault says little: endpoints are flaky, and some inputs are turned down. Many in a row say that nobody is
answered, and asking on costs time, and money where a call may have been worked for.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from pipelines.replay.asking.fault import Again
from pipelines.replay.failure import Failure, Reason

GIVE_UP_AFTER = 5
"""Requests in a row that failed for good, each at every attempt or of at least three conversations: of an endpoint that fails
every other call, one request in a thousand fails so."""
_CONVERSATIONS = 3
_FIRST_CALLS = 20
"""Calls in a row without an answer before there was any: an endpoint that fails every other call does that once in a million."""
_CALLS = 40
"""The same once it has answered."""
_DECLINED = 25
"""Requests in a row that were turned down, of however few conversations."""
_LIMITED = 100
_LIMITED_SECONDS = 90.0
"""Calls in a row that were refused for their rate, and seconds over which they were: limits are by the minute."""
_DOWN: frozenset[Reason] = frozenset(("timeout", "unavailable", "rate_limited", "invalid_json"))
_VARYING = re.compile(r"[0-9]+")


@dataclass(slots=True)
class Health:
    """One side's endpoint.

    Attributes:
        has_answered: Whether it answered anybody, in this run or before.
        first_fault: What went wrong first, for people; None while nothing has.
        is_asked: Whether anything was sent.
    """

    has_answered: bool = False
    first_fault: str | None = None
    is_asked: bool = False
    _calls: int = 0
    _requests: int = 0
    _limited: int = 0
    _limited_since: float = 0.0
    _declined: list[tuple[str, str]] = field(default_factory=list)

    def answered(self) -> None:
        """Somebody was answered."""
        self.has_answered = True
        self._calls = self._requests = self._limited = 0
        self._declined.clear()

    def call_failed(self, again: Again) -> str | None:
        """A call brought no answer; what to say when that is enough, else None."""
        self.first_fault = self.first_fault or again.detail
        if again.reason == "rate_limited":
            self._limited_since = self._limited_since if self._limited else time.monotonic()
            self._limited += 1
            is_enough = self._limited >= _LIMITED and time.monotonic() - self._limited_since >= _LIMITED_SECONDS
            return _in_a_row(self._limited, "calls", again.reason, again.detail) if is_enough else None
        self._calls += 1
        is_enough = self._calls >= (_CALLS if self.has_answered else _FIRST_CALLS)
        return _in_a_row(self._calls, "calls", again.reason, again.detail) if is_enough else None

    def request_failed(self, reason: Reason, detail: str) -> str | None:
        """A request failed at every attempt; what to say when that is enough, else None."""
        if reason not in _DOWN:
            return None
        self._requests += 1
        return _in_a_row(self._requests, "requests", reason, detail) if self._requests >= GIVE_UP_AFTER else None

    def declined(self, failure: Failure, aggregate_id: str) -> str | None:
        """A request was turned down; what to say when it seems that everybody's is, else None.

        Where somebody was answered, a request that is called wrong is that: the long ones of one conversation come in a row.
        """
        self.first_fault = self.first_fault or failure.detail
        if not failure.is_doubtful:
            self.has_answered = True  # what looks at an input would look at others
        if not failure.is_doubtful or (self.has_answered and failure.reason == "rejected"):
            return None
        self._declined.append((_VARYING.sub("", failure.detail), aggregate_id))
        alike = {stream for detail, stream in self._declined if detail == self._declined[-1][0]}
        is_enough = len(self._declined) >= _DECLINED or (
            not self.has_answered and len(self._declined) >= GIVE_UP_AFTER and len(alike) >= _CONVERSATIONS
        )
        return f"answers nobody: {failure.detail}" if is_enough else None


def _in_a_row(number: int, what: str, reason: Reason, detail: str) -> str:
    return f"answers nobody: {number} {what} in a row brought no answer, the last with {reason}: {detail}"
