"""Ask over each wire through every fault, killed three times: every unit is answered, paid for once, and the key is nowhere.

    python tests/acceptance/kills.py [--requests 10000] [--apis chat responses messages] [--share 0.05]

A process (`tests/support/asking_child.py`) asks a server that shows each fault in 5 % of the calls, repeats the API key in its
answers and errors, and is killed with `kill -9` when 20, 50 and 80 % of the answers are paid for. Then it ends by itself. What was
answered is what is answered without faults; nothing was answered twice but what was under way at a kill; and an endpoint that honours
the idempotency key charged for each request once. `tests/integration/test_asking_kill.py` runs the same with 100 requests.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.asking_child import KEY as KEY_NAME
from tests.support.model_server import Answer, ModelServer, serving
from tests.support.wires.form import Body, Message, digest
from tests.support.wires.wires import WIRES, Api

ROOT = Path(__file__).parents[2]
CONCURRENCY = 16
KILLS = (0.2, 0.5, 0.8)
"""After these shares of the answers were paid for."""
API_KEY = "sk-test-0123456789abcdef"
SPELT = (API_KEY, API_KEY.encode().hex(), base64.b64encode(API_KEY.encode()).decode(), API_KEY.replace("-", "%2d"))
"""The key as endpoints repeat it."""
LEAKS = [each.encode() for each in (*SPELT, "0123456789abcdef", API_KEY.replace("-", "\\u002d"))]
HIDDEN = "[api key]"
Start = Callable[[ModelServer, Api, Path, int, float], subprocess.Popen[bytes]]
"""Starts the process that asks: the server, the wire, a place of its own, how many requests, and the seconds for a call."""


def answer(body: Body) -> Message:
    """A call of a tool for one request in two, else a text; one in ten repeats the key, in one spelling after the other."""
    said = body["messages"][-1]["content"]
    number = int(said.split()[-1])
    if number % 10 == 0:
        return {"role": "assistant", "content": f"Your key is {SPELT[number // 10 % len(SPELT)]}."}
    if number % 2:
        return {"role": "assistant", "content": f"Answer {digest(said)[:16]}"}
    function = {"name": "look_up", "arguments": json.dumps({"key": digest(said)[:12]})}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }


def wanted(number: int) -> list[Any]:
    """What becomes of a unit without faults: its text, and its calls."""
    message = answer({"messages": [{"content": f"order {number}"}]})
    text = message["content"]
    for spelt in SPELT:
        text = text and text.replace(spelt, HIDDEN)
    calls = [call["function"] for call in message.get("tool_calls", ())]
    return [text, [[call["name"], json.loads(call["arguments"])] for call in calls]]


@dataclass
class Survived:
    """What three kills and a last run came to.

    Attributes:
        answered: By unit.
        calls: Made, of all runs.
        kept: Keys of the answers that are kept.
        lost: Requests that were answered and not kept, at the kills.
        most_lost: At one kill.
        twice: Requests that were answered more than once.
        paid: Charges by request.
        seen: Faults shown.
        leaks: Places where the key was found.
    """

    answered: dict[str, Any] = field(default_factory=dict)
    calls: int = 0
    kept: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    most_lost: int = 0
    twice: set[str] = field(default_factory=set)
    paid: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)


def start(
    server: ModelServer,
    api: Api,
    store: Path,
    requests: int,
    timeout: float,
    module: str = "tests.support.asking_child",
) -> subprocess.Popen[bytes]:
    """The process that asks; what it prints is kept in files beside the store."""
    arguments = [server.address(api), str(store), str(requests), str(CONCURRENCY), str(timeout), api]
    with (store.parent / "out").open("wb") as out, (store.parent / "err").open("ab") as err:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=out,
            stderr=err,
            cwd=ROOT,
            env={**os.environ, KEY_NAME: API_KEY},
        )


def stored(path: Path) -> set[str]:
    """Keys of the answers that are kept."""
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as connection:
        return {key for (key,) in connection.execute("SELECT lower(hex(key)) FROM responses")}


def kill_when(process: subprocess.Popen[bytes], server: ModelServer, paid: int, limit: float) -> list[str]:
    """Kill it when so many answers are paid for; where the process list showed the key meanwhile."""
    deadline = time.monotonic() + limit
    leaks = leaks_in({"process list": Path(f"/proc/{process.pid}/cmdline").read_bytes()})
    while len(server.paid) < paid and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.returncode != -signal.SIGKILL:
        raise AssertionError("the kill came too late")
    return leaks


def leaks_in(texts: dict[str, bytes]) -> list[str]:
    """Names of the texts in which the key stands, however it is spelt."""
    return [name for name, text in texts.items() if any(leak in text for leak in LEAKS)]


def survive(
    folder: Path,
    api: Api,
    requests: int,
    *,
    share: float = 0.05,
    timeout: float = 0.8,
    start: Start = start,
    answer: Answer = answer,
    kept_in: Callable[[Path], Path] = lambda place: place,
) -> Survived:
    """Three kills, and a run to the end.

    Args:
        folder: For everything that is written.
        api: The wire.
        requests: That are to be answered.
        share: Of each fault.
        timeout: Seconds for a call.
        start: Starts the process that asks; it is given a place of its own.
        answer: The model.
        kept_in: The store of answers at such a place.
    """
    path = folder / "responses.sqlite"
    found, limit = Survived(), 60 + requests
    with serving(
        answer=answer, fault_share=share, hang=2 * timeout, latency=0.01, is_deduplicating=True, error=f"boom {API_KEY}"
    ) as server:
        for each in KILLS:
            found.leaks += kill_when(start(server, api, path, requests, timeout), server, int(requests * each), limit)
            time.sleep(0.1)  # answers on their way to nobody are sent out, and charged
            lost = set(server.answered) - stored(kept_in(path))
            found.most_lost = max(found.most_lost, len(lost))
            found.lost |= lost
        if start(server, api, path, requests, timeout).wait(limit):
            raise AssertionError((folder / "err").read_text(encoding="utf-8")[-2000:])
        found.answered = json.loads((folder / "out").read_bytes())
        found.calls = server.calls.total()
        found.paid, found.seen, found.kept = server.paid, server.seen, stored(kept_in(path))
        found.twice = {key for key, count in server.answered.items() if count > 1}
        server.status = lambda _number: (401, {}, json.dumps({"error": {"message": f"no {API_KEY}"}}).encode())
        if not start(server, api, folder / "other.sqlite", 1, timeout).wait(limit):
            raise AssertionError("an endpoint that refuses the key was not given up")
    found.leaks += leaks_in({each.name: each.read_bytes() for each in folder.rglob("*") if each.is_file()})
    return found


def faults_of(found: Survived, requests: int, right: Mapping[str, Any] | None = None) -> list[str]:
    """What is not as it must be; `right` is what becomes of each unit, where it is not one request."""
    right = right or {f"unit-{number}": wanted(number) for number in range(requests)}
    checks = {
        "a unit is not answered as without faults": found.answered == right,
        "not every request is kept once": len(found.kept) == len(found.paid) == requests,
        "a request was charged for twice": set(found.paid.values()) == {1},
        "what was not under way at a kill was answered twice": found.twice <= found.lost,
        "more was lost at a kill than was under way": found.most_lost <= 2 * CONCURRENCY,
        f"the key stands in {', '.join(found.leaks)}": not found.leaks,
    }
    return [words for words, is_right in checks.items() if not is_right]


def told(api: Api, found: Survived) -> str:
    """One line."""
    return (
        f"{api}: {len(found.answered):,} units answered by {found.calls:,} calls, {len(found.lost)} under way at {len(KILLS)} kills, "
        f"{len(found.twice)} answered twice, {sum(found.paid.values()):,} paid for; faults: {dict(sorted(found.seen.items()))}"
    )


def main() -> int:
    """Each wire; 1 where something is not as it must be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--timeout", type=float, default=3.0)
    parser.add_argument("--apis", nargs="+", default=list(WIRES))
    given = parser.parse_args()
    wrong = 0
    for api in given.apis:
        with tempfile.TemporaryDirectory(prefix="refold-kills-") as folder:
            found = survive(Path(folder), api, given.requests, share=given.share, timeout=given.timeout)
        faults = faults_of(found, given.requests)
        wrong += len(faults)
        sys.stdout.write("\n    WRONG: ".join([told(api, found), *faults]) + "\n")
        sys.stdout.flush()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
