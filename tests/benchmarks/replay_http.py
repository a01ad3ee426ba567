"""`replay-http`, over each wire: requests before an endpoint that takes 100 ms for each, 32 at once, and a version whose answers are
kept.

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
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from pipelines.collecting import collecting_seldom
from pipelines.experiment.budget import Budget
from pipelines.experiment.decision import Reply
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import Plan, make_plan
from pipelines.experiment.sides import Side
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
from tests.benchmarks.rounds import Bench, Measure, Trial
from tests.support.asking_child import OneRequest
from tests.support.wires.form import Tokens
from tests.support.wires.wires import WIRES, Api

CONCURRENCY = 32
LATENCY = 0.1
MESSAGES = 30
BODY_BYTES = 20_000
PACE = Target("at least", 0.95)
KEPT = Target("at least", 30_000, of="figure")
HOST = "http://127.0.0.1"
CPU = Target("at most", 1.0, of="figure")
PARAMS: dict[Api, dict[str, Any]] = {
    "chat": {"temperature": 0},
    "responses": {"temperature": 0},
    "messages": {"temperature": 0, "max_tokens": 1000},
}
_TEXT = "Please refund my order. " * (BODY_BYTES // MESSAGES // 24)
_SAID = {"role": "assistant", "content": "Your order is on its way. " * 8}
ANSWERS: dict[Api, bytes] = {
    api: json.dumps(wire.write({"model": "m", "messages": []}, _SAID, Tokens(BODY_BYTES // 4, 50))).encode()
    for api, wire in WIRES.items()
}
"""What the endpoint answers, whatever it is asked."""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `replay-http`."""
    requests = max(200, bench.events // 150)
    with serving() as port:
        trials: dict[str, Trial] = {}
        for api in WIRES:
            given = {"port": port, "requests": requests, "api": api}
            trials |= {f"ask {api}": (ask, given), f"loop {api}": (bare_loop, given)}
        rounds = bench.interleave(trials)
    for api in WIRES:
        name, asked, loop = f"replay-http: {api}", f"ask {api}", f"loop {api}"
        for what, unit, key, target in (
            ("100 ms, 32 at once, 30 messages in 20 kB", "requests/s", "rate", PACE),
            ("CPU per request", "ms", "cpu_ms", CPU),
        ):
            yield rounds.figure(
                f"{name}, {what}",
                unit,
                (asked, key),
                peer=(loop, key),
                peer_name="bare aiohttp loop",
                target=target,
            )
        yield rounds.figure(f"{name}, peak memory", "MB", (asked, "peak_bytes"), scale=1e-6)
    root = bench.folder / "lake"
    bench.tell("making and folding the log, and an answer for every decision over each wire")
    lake = write_lake(root, bench.events // 4)
    fold_month(lake, MONTH, ["conversation_months", "decisions"])
    for api in WIRES:
        keep_all(lake, bench.folder / "home", api)
    home = str(bench.folder / "home")
    rounds = bench.interleave({api: (kept, {"root": str(root), "home": home, "api": api}) for api in WIRES})
    for api in WIRES:
        name = f"replay-http: {api}, a new version with every answer kept"
        yield rounds.figure(name, "decisions/s", (api, "rate"), target=KEPT)
        yield rounds.figure(f"{name}, peak memory", "MB", (api, "peak_bytes"), scale=1e-6)


def ask(port: int, requests: int, api: Api) -> Measure:
    """Render, ask, keep and read every answer."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ResponseStore(Path(folder) / "responses.sqlite") as store,
        collecting_seldom(),  # as a replay does
    ):
        sides: dict[Side, ModelSide] = {"candidate": ModelSide(f"{HOST}:{port}{WIRES[api].base}", None, None, api)}
        asker = Asker(sides, store, Budget(concurrency=CONCURRENCY), ("benchmark", "v1"))
        started, cpu = time.perf_counter(), time.process_time()
        answered = 0
        for _, answer in drive(
            asker, (OneRequest(request_of(number, api)) for number in range(requests)), lambda _line: None
        ):
            assert isinstance(answer, Reply)
            answered += 1
        assert answered == requests
        return {
            "rate": requests / (time.perf_counter() - started),
            "cpu_ms": (time.process_time() - cpu) / requests * 1e3,
        }


def kept(root: str, home: str, api: Api) -> Measure:
    """Replay all decisions and commit them; the endpoint does not exist. The plan is made before."""
    with copied_lake(root) as lake:
        plan = plan_of(lake, api)
        started = time.perf_counter()
        done = run_replay(lake, plan, settings=Settings(home=Path(home), dsn=None, lake=lake.root))
        assert done.failures == {}
        return {"rate": done.units / (time.perf_counter() - started)}


def plan_of(lake: Lake, api: Api) -> Plan:
    """The plan of the benchmarks' experiment over a wire."""
    candidate = f"{{api: {api}, model: m, base_url: '{endpoint_of(api)}', params: {json.dumps(PARAMS[api])}}}"
    text = f"experiment: benchmark\ncandidate: {candidate}\n"
    return make_plan(lake, parse_experiment(text, "benchmark"), Path(__file__).parent)


def endpoint_of(api: Api) -> str:
    """An endpoint that does not exist."""
    return f"{HOST}:9{WIRES[api].base}"


def keep_all(lake: Lake, home: Path, api: Api) -> None:
    """Have an answer to every decision in the home's store, as if it had been paid for."""
    plan = plan_of(lake, api)
    stored = Stored(ANSWERS[api], 100.0, None)
    settings = Settings(home=home, dsn=None, lake=lake.root)

    async def put(store: ResponseStore, requests: list[str]) -> None:
        endpoint = store.endpoint(endpoint_of(api))
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


def bare_loop(port: int, requests: int, api: Api) -> Measure:
    """Post bodies that are ready."""
    bodies = [request_of(number, api).body() for number in range(requests)]
    url = f"{HOST}:{port}{WIRES[api].path}"

    async def work() -> Measure:
        async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
            waiting = iter(bodies)

            async def worker() -> None:
                for body in waiting:
                    async with session.post(url, data=body) as response:
                        assert response.status == 200
                        await response.read()

            started, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
            return {
                "rate": requests / (time.perf_counter() - started),
                "cpu_ms": (time.process_time() - cpu) / requests * 1e3,
            }

    return asyncio.run(work())


def request_of(number: int, api: Api) -> Request:
    """A request of 30 messages and 20 kB, the last of which is its own."""
    lines = Lines(Head("m", PARAMS[api], api=api))
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

    async def handle(api: Api, request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(LATENCY)
        return web.Response(body=ANSWERS[api], content_type="application/json")

    application = web.Application(client_max_size=2**30)
    for api, wire in WIRES.items():
        application.router.add_post(wire.path, partial(handle, api))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until whoever started it has gone


if __name__ == "__main__":
    asyncio.run(serve())
