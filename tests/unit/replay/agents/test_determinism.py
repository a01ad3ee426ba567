"""What an agent makes of the order in which its parallel tools end is found by ending them in another one."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from pipelines.replay.agents.determinism import find_difference
from pipelines.replay.agents.order import LastFirst
from tests.support.acting import act
from tests.support.talks import scene
from tests.support.waiting import PATIENCE

CALLS = [("lookup", {"id": f"A-{number}"}, f"result {number}") for number in range(3)]
TALK = [("user", "Where are they?"), ("agent", (None, CALLS)), ("agent", ("On their way.", []))]
SETTING = scene(TALK, {"lookup": {"effect": "read"}})


def parallel(in_order, changing=lambda: "m"):
    """An agent whose tools run in threads, all at once; their results are put down in the order of the calls, or as they come."""

    def run(session):
        messages = [*session.messages, {"role": "user", "content": session.user}]
        with ThreadPoolExecutor() as pool:
            while True:
                body = {"model": changing(), "messages": messages}
                message = session.ask("chat", body)["choices"][0]["message"]
                messages.append(message)
                if not message.get("tool_calls"):
                    return message["content"]
                ended = []
                calls = {}
                for call in message["tool_calls"]:
                    function = call["function"]
                    made = pool.submit(session.result, function["name"], function["arguments"])
                    calls[made] = call["id"]
                    made.add_done_callback(ended.append)
                while len(ended) < len(calls):
                    time.sleep(0.001)
                done = calls if in_order else ended
                messages += [{"role": "tool", "tool_call_id": calls[each], "content": each.result()} for each in done]

    return run


def twice(agent):
    """The first difference between two runs, and in how many blocks the order was another."""
    order = LastFirst(PATIENCE, between=0.05)
    first = act(SETTING, agent, 1)
    second = act(SETTING, agent, 1, make_order=lambda: order)
    assert (first.row["status"], second.row["status"]) == ("ok", "ok")
    return find_difference("candidate", first, second), (order.blocks, order.turned)


def test_results_put_down_as_they_come_are_found():
    """The request after the block is another one, and the difference says what of it is not as recorded."""
    difference, blocks = twice(parallel(in_order=False))
    assert blocks == (1, 1)
    assert difference is not None
    assert (difference.unit_id, difference.step, difference.what) == ("s/t1", 2, "request")
    assert difference.second == "differs from the recording's in call_ids, results"


def test_results_put_down_in_the_order_of_the_calls_are_the_same():
    """Whatever ends first, the agent asks the same."""
    assert twice(parallel(in_order=True)) == (None, (1, 1))


def test_what_changes_by_itself_is_found():
    """A model's name that is another each time, as a time in a prompt would be."""
    names = iter("abcd")
    difference, _ = twice(parallel(in_order=True, changing=lambda: next(names)))
    assert (difference.step, difference.what) == (1, "request")


def step(number, **fields):
    same = {"request_sha256": "a", "request_differences": None, "tool_calls": [], "text": "x", "reason": None}
    return {"step": number, **same, **fields}


@pytest.mark.parametrize(
    ("second", "what", "shown"),
    [
        ([step(1), step(2)], None, None),
        ([step(1), step(2, text="\x1b[2J" + "y" * 500)], "text", json.dumps("\x1b[2J" + "y" * 500)[:200] + "…"),
        ([step(1), step(2, tool_calls=[{"name": "f", "arguments": "{}"}])], "tool_calls", '[["f", "{}"]]'),
        ([step(1), step(2, reason="diverged")], "reason", "diverged"),
        ([step(1)], "steps", "1 steps"),
        ([step(1), step(2), step(3)], "steps", "3 steps"),
    ],
)
def test_the_first_difference_is_named(second, what, shown):
    """By step and kind, and shown so that no terminal obeys it."""
    ours = SimpleNamespace(row={"unit_id": "u"}, steps=[step(1), step(2)])
    difference = find_difference("candidate", ours, SimpleNamespace(row={"unit_id": "u"}, steps=second))
    assert (difference and difference.what, difference and difference.second) == (what, shown)
