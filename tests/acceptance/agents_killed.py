"""Let an agent act through every fault of its model's endpoint, killed three times: every unit ends, and no answer is paid for twice.

    python tests/acceptance/agents_killed.py [--units 2000] [--agents plain_agent openai_agent] [--share 0.05]

The plain loops of `docs/agents.md`, which ask without HTTP and over the gateway, act in turns of one tool call and a text (`tests/support/frameworks/killed_child.py`). Their
model's endpoint shows each fault in 5 % of the calls, and the process is killed with `kill -9` when 20, 50 and 80 % of the answers are paid for; the rest is as in
`kills.py`. `tests/agents/test_killed.py` runs the same with fewer units.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipelines.store.events import NewEvent, stream_id
from tests.acceptance import kills
from tests.acceptance.kills import Survived
from tests.support.documented import write_documented
from tests.support.equality import make_log
from tests.support.model_server import ModelServer
from tests.support.replayed_lake import write_log
from tests.support.wires.form import Body, Message
from tests.support.wires.wires import Api

STARTED = datetime(2026, 1, 5, tzinfo=UTC)


def answer(body: Body) -> Message:
    """Looks an order up, and says what was found; one text in ten repeats the key, in one spelling after the other."""
    last = body["messages"][-1]
    if last["role"] == "user":
        function = {"name": "look_up", "arguments": json.dumps({"order": int(last["content"].split()[-1])})}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": function}],
        }
    return {"role": "assistant", "content": said_of(int(last["content"].split()[-1]))}


def said_of(number: int) -> str:
    """What the model says of an order."""
    key = f" Key: {kills.SPELT[number // 10 % len(kills.SPELT)]}." if number % 10 == 0 else ""
    return f"Order {number} was sent.{key}"


def unit_of(number: int) -> str:
    """Name of a unit."""
    return f"{stream_id('shop', str(number))}/t1"


def wanted(number: int) -> list[Any]:
    """What becomes of a unit without faults: its text, and its tool calls."""
    text = said_of(number)
    for spelt in kills.SPELT:
        text = text.replace(spelt, kills.HIDDEN)
    return [text, [["look_up", {"order": number}]]]


def write_turns(folder: Path, units: int) -> None:
    """A lake with one turn in each conversation, and the agents beside it."""

    def events(number: int) -> list[NewEvent]:
        said = [
            ("user.utterance", {"text": f"Where is order {number}"}),
            ("tool.call", {"call_id": "c", "name": "look_up", "arguments": {"order": number}}),
            ("tool.result", {"call_id": "c", "output": f"sent: {number}", "error": None}),
            ("agent.utterance", {"text": f"Order {number} is on its way."}),
        ]
        return [NewEvent(f"{kind}.v1", payload, {"source": "shop"}, STARTED) for kind, payload in said]

    streams = ((str(stream_id("shop", str(number))), "conversation", events(number)) for number in range(units))
    write_log(folder / "lake", make_log(streams))
    write_documented("agents.md", folder)


def start(
    agent: str, server: ModelServer, api: Api, home: Path, requests: int, timeout: float
) -> subprocess.Popen[bytes]:
    """The process whose agent asks."""
    os.environ["AGENT"] = agent
    return kills.start(server, api, home, requests, timeout, "tests.support.frameworks.killed_child")


def survive(folder: Path, agent: str, units: int, *, share: float = 0.05, timeout: float = 0.8) -> Survived:
    """Three kills, and a run to the end; each unit is two requests."""
    write_turns(folder, units)
    return kills.survive(
        folder,
        "chat",
        2 * units,
        share=share,
        timeout=timeout,
        start=partial(start, agent),
        answer=answer,
        kept_in=lambda home: home / "replays" / "responses.sqlite",
    )


def faults_of(found: Survived, units: int) -> list[str]:
    """What is not as it must be."""
    return kills.faults_of(found, 2 * units, {unit_of(number): wanted(number) for number in range(units)})


def main() -> int:
    """Each agent; 1 where something is not as it must be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=2_000)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--timeout", type=float, default=3.0)
    parser.add_argument("--agents", nargs="+", default=["plain_agent", "openai_agent"])
    given = parser.parse_args()
    wrong = 0
    for agent in given.agents:
        with tempfile.TemporaryDirectory(prefix="refold-agents-killed-") as folder:
            found = survive(Path(folder), agent, given.units, share=given.share, timeout=given.timeout)
        faults = faults_of(found, given.units)
        wrong += len(faults)
        sys.stdout.write("\n    WRONG: ".join([f"{agent}: {kills.told('chat', found)}", *faults]) + "\n")
        sys.stdout.flush()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
