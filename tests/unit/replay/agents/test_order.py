"""Results of parallel tool calls in another order: each comes, the last first, and nobody waits for calls that are not made."""

from __future__ import annotations

import threading
import time

from pipelines.replay.agents.order import LastFirst
from tests.support.waiting import PATIENCE


def asked_at_once(order: LastFirst, count: int) -> list[int]:
    """Who came when, of calls that were made one after the other without waiting."""
    came: list[int] = []

    def ask(number: int) -> None:
        order.wait()
        came.append(number)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(count)]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        while len(order._waiting) < number and number < count:
            time.sleep(0.001)
    for thread in threads:
        thread.join(PATIENCE)
    return came


def test_results_come_last_first():
    """Of four calls that are made at once the last gets its result first, block after block."""
    order = LastFirst(PATIENCE, between=0.05)
    for _ in range(2):
        order.begin(4)
        assert asked_at_once(order, 4) == [3, 2, 1, 0]
    assert (order.blocks, order.turned) == (2, 2)


def test_nobody_waits_for_calls_that_are_not_made():
    """An agent that makes its calls one after the other gets each result; so does one that makes fewer than the model asked for."""
    order = LastFirst()
    order.begin(3)
    order.wait()
    order.wait()
    assert (order.blocks, order.turned) == (1, 0)


def test_one_call_comes_at_once():
    """There is nothing to turn round; a call more than was asked for comes, too."""
    order = LastFirst()
    order.begin(1)
    order.wait()
    order.wait()
    assert (order.blocks, order.turned) == (0, 0)
