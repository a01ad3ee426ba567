"""Results of parallel tool calls in another order: each comes, the last first, and nobody waits for calls that are not made."""

from __future__ import annotations

import asyncio
import threading

import aiohttp

from pipelines.replay.agents.gateway import Gateway
from pipelines.replay.agents.order import LastFirst
from tests.support.recorded_tools import RecordedTools
from tests.support.waiting import PATIENCE, wait_until


def asked_at_once(order: LastFirst, count: int) -> list[int]:
    """Who came when, of calls that were made one after the other without waiting."""
    came: list[int] = []

    def ask(number: int) -> None:
        order.wait()
        came.append(number)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(count)]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        if number < count:
            wait_until(lambda: len(order._waiting) == number)  # noqa: B023 -- it is waited for at once
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


def test_so_do_those_over_mcp():
    """The gateway goes on answering while one result waits for another that comes by it, too."""
    order = LastFirst(PATIENCE, between=0.05)
    stage = RecordedTools((), [("find", {"number": number}, str(number)) for number in range(3)], order)

    async def ask(session: aiohttp.ClientSession, url: str, number: int, came: list[str]) -> None:
        params = {"name": "find", "arguments": {"number": number}}
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        async with session.post(url, json=message) as response:
            came.append((await response.json())["result"]["content"][0]["text"])

    async def ask_all() -> list[str]:
        came: list[str] = []
        async with Gateway() as gateway, aiohttp.ClientSession() as session:
            slot = gateway.slot()
            with slot.enter(stage):
                asking = []
                for number in range(3):
                    asking.append(asyncio.create_task(ask(session, slot.urls.mcp_url, number, came)))
                    if number < 2:
                        await asyncio.to_thread(wait_until, lambda: len(order._waiting) == len(asking))
                await asyncio.gather(*asking)
        return came

    order.begin(3)
    assert asyncio.run(asyncio.wait_for(ask_all(), PATIENCE)) == ["2", "1", "0"]
