"""`replay-http`: requests before an endpoint that takes 100 ms for each, 32 at once, and a version whose answers are kept.

The peer of asking is a bare aiohttp loop over bodies that are ready: no hash, no budget, no store, no reading of answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import aiohttp
from aiohttp import web

from pipelines.experiment.budget import Budget
from pipelines.experiment.decision import Reply
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import Plan, make_plan
from pipelines.experiment.units import create_plan_relations
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from pipelines.replay.asking.asker import Asker, ModelSide
from pipelines.replay.asking.responses import Charge, ResponseStore, Stored
from pipelines.replay.drive import drive
from pipelines.replay.request import Head, Lines, Request
from pipelines.replay.run import run_replay
from pipelines.replay.sides import list_units
from pipelines.replay.streams import list_chunks
from pipelines.settings import Settings
from tests.benchmarks.copies import copied_lake
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, write_lake
from tests.benchmarks.rounds import Bench, Measure
from tests.support.asking_child import OneRequest

CONCURRENCY = 32
LATENCY = 0.1
MESSAGES = 30
BODY_BYTES = 20_000
PACE = Target("at least", 0.93)
KEPT = Target("at least", 20_000, of="figure")
ENDPOINT = "http://127.0.0.1:9/v1"
EXPERIMENT = f"experiment: benchmark\ncandidate: {{model: m, base_url: '{ENDPOINT}'}}\n"
CPU = Target("at most", 2.0, of="figure")
_TEXT = "Please refund my order. " * (BODY_BYTES // MESSAGES // 24)
_ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Your order is on its way. " * 8},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": BODY_BYTES // 4, "completion_tokens": 50, "total_tokens": BODY_BYTES // 4 + 50},
    }
).encode()


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `replay-http`."""
    requests = max(200, bench.events // 150)
    with serving() as port:
        given = {"port": port, "requests": requests}
        rounds = bench.interleave({"ask": (ask, given), "loop": (bare_loop, given)})
    yield rounds.figure(
        "replay-http: 100 ms, 32 at once, 30 messages in 20 kB",
        "requests/s",
        ("ask", "rate"),
        peer=("loop", "rate"),
        peer_name="bare aiohttp loop",
        target=PACE,
    )
    yield rounds.figure(
        "replay-http: CPU per request",
        "ms",
        ("ask", "cpu_ms"),
        peer=("loop", "cpu_ms"),
        peer_name="bare aiohttp loop",
        target=CPU,
    )
    yield rounds.figure("replay-http: peak memory", "MB", ("ask", "peak_bytes"), scale=1e-6)
    root = bench.folder / "lake"
    bench.tell("making and folding the log, and an answer for every decision")
    lake = write_lake(root, bench.events // 4)
    fold_month(lake, MONTH, ["conversation_months", "decisions"])
    keep_all(lake, bench.folder / "home")
    given = {"root": str(root), "home": str(bench.folder / "home")}
    rounds = bench.interleave({"kept": (kept, given)})
    name = "replay-http: a new version with every answer kept"
    yield rounds.figure(name, "decisions/s", ("kept", "rate"), target=KEPT)
    yield rounds.figure(f"{name}, peak memory", "MB", ("kept", "peak_bytes"), scale=1e-6)


def ask(port: int, requests: int) -> Measure:
    """Render, ask, keep and read every answer."""
    with tempfile.TemporaryDirectory() as folder, ResponseStore(Path(folder) / "responses.sqlite") as store:
        sides = {"candidate": ModelSide(f"http://127.0.0.1:{port}/v1", None, None)}
        asker = Asker(sides, store, Budget(concurrency=CONCURRENCY), ("benchmark", "v1"))
        started, cpu = time.perf_counter(), time.process_time()
        answered = 0
        for _, answer in drive(
            asker, (OneRequest(request_of(number)) for number in range(requests)), lambda _line: None
        ):
            assert isinstance(answer, Reply)
            answered += 1
        assert answered == requests
        return {
            "rate": requests / (time.perf_counter() - started),
            "cpu_ms": (time.process_time() - cpu) / requests * 1e3,
        }


def kept(root: str, home: str) -> Measure:
    """Replay all decisions and commit them; the endpoint does not exist. The plan is made before."""
    with copied_lake(root) as lake:
        plan = plan_of(lake)
        started = time.perf_counter()
        done = run_replay(lake, plan, settings=Settings(home=Path(home), dsn=None, lake=lake.root))
        assert done.failures == {}
        return {"rate": done.units / (time.perf_counter() - started)}


def plan_of(lake: Lake) -> Plan:
    """The plan of the benchmarks' experiment."""
    return make_plan(lake, parse_experiment(EXPERIMENT, "benchmark"), Path(__file__).parent)


def keep_all(lake: Lake, home: Path) -> None:
    """Have an answer to every decision in the home's store, as if it had been paid for."""
    plan = plan_of(lake)
    stored = Stored(_ANSWER, 100.0, None)
    settings = Settings(home=home, dsn=None, lake=lake.root)

    async def put(store: ResponseStore, requests: list[str]) -> None:
        endpoint = store.endpoint(ENDPOINT)
        charge = Charge("earlier", "v0", 0.0)
        await asyncio.gather(*(store.put(endpoint, key, "stream", stored, charge) for key in requests))

    with lake.connect() as connection, ResponseStore(settings.responses) as store:
        create_plan_relations(connection, plan)
        keys = (
            unit.request.key
            for unit in list_units(connection, plan, "candidate", list_chunks(connection, lake))
            if unit.request is not None
        )
        while batch := list(islice(keys, 10_000)):
            asyncio.run(put(store, batch))


def bare_loop(port: int, requests: int) -> Measure:
    """Post bodies that are ready."""
    bodies = [request_of(number).body() for number in range(requests)]

    async def work() -> Measure:
        async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
            waiting = iter(bodies)

            async def worker() -> None:
                for body in waiting:
                    async with session.post(f"http://127.0.0.1:{port}/v1/chat/completions", data=body) as response:
                        assert response.status == 200
                        await response.read()

            started, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
            return {
                "rate": requests / (time.perf_counter() - started),
                "cpu_ms": (time.process_time() - cpu) / requests * 1e3,
            }

    return asyncio.run(work())


def request_of(number: int) -> Request:
    """A request of 30 messages and 20 kB, the last of which is its own."""
    lines = Lines(Head("m", {"temperature": 0}))
    messages = [
        {"role": ("user", "assistant")[place % 2], "content": f"{_TEXT} {place}"} for place in range(MESSAGES - 1)
    ]
    messages.append({"role": "user", "content": f"{_TEXT} {number}"})
    lines.add(*messages)
    place = f"stream-{number // 10}", number
    return lines.request(f"unit-{number}", "candidate", 0, place, lambda: (1, {}))


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """The endpoint, in a process of its own; yields its port."""
    command = [sys.executable, "-m", "tests.benchmarks.replay_http"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def serve() -> None:
    """Answer every request with the same message, 100 ms after it came."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(LATENCY)
        return web.Response(body=_ANSWER, content_type="application/json")

    application = web.Application(client_max_size=2**30)
    application.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until whoever started it has gone


if __name__ == "__main__":
    asyncio.run(serve())
