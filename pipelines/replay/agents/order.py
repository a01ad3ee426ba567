"""In what order the results of parallel tool calls come: as they are asked for, or the last one first.

A recorded result is there at once, so what is asked for first comes first, always. Tools that are really called take the time that
they take. What an agent makes of another order is found by giving one.
"""

from __future__ import annotations

import threading
import time


class LastFirst:
    """Gives the results of one block in the reverse of the order in which they are asked for; of one agent.

    Args:
        patience: Seconds without another tool call of the block after which none is waited for: the agent makes them one after
            the other.
        between: Seconds between two results, in which the agent takes the first of them.

    Attributes:
        blocks: Blocks of more than one tool call that were begun.
        turned: Those in which a result came before one that was asked for earlier.
    """

    def __init__(self, patience: float = 0.1, between: float = 0.005) -> None:
        self.blocks = 0
        self.turned = 0
        self._patience, self._between = patience, between
        self._expected = 0
        self._is_turned = False
        self._waiting: list[object] = []
        self._open_at = 0.0
        self._changed = threading.Condition()

    def begin(self, calls: int) -> None:
        """A block of so many tool calls is made next."""
        with self._changed:
            self._expected = calls
            self._is_turned = False
            self.blocks += calls > 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait in the agent's thread until a result may come: those asked for later have, or none is asked for in time."""
        with self._changed:
            mine = object()
            self._waiting.append(mine)
            self._expected -= 1
            self._open_at = time.monotonic() + (self._patience if self._expected > 0 else 0.0)
            self._changed.notify_all()
            while (left := self._open_at - time.monotonic()) > 0 or self._waiting[-1] is not mine:
                self._changed.wait(left if left > 0 else None)
            self._waiting.pop()
            if self._waiting and not self._is_turned:
                self._is_turned = True
                self.turned += 1
            self._open_at = time.monotonic() + self._between
            self._changed.notify_all()
