"""A process that has requests answered in batches and is killed at each step of that: one copy of it per step.

    python -m tests.support.batch_child BASE_URL API FOLDER

Each step has requests and a store of its own. A copy is killed (SIGKILL) before or after the step; others go on until nothing is
under way. One line of JSON per step goes to stdout: its name, how many copies it took after the kill, and what was answered.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp  # noqa: F401 -- once, and not in every copy

from pipelines.errors import UnfinishedError
from pipelines.experiment.budget import Budget
from pipelines.experiment.prices import Price
from pipelines.replay.asking.asker import Asker, ModelSide
from pipelines.replay.asking.responses import ResponseStore
from pipelines.replay.batch import client, session
from pipelines.replay.batch.batches import Batches
from pipelines.replay.batch.ledger import Ledger
from pipelines.replay.batch.providers import PROVIDERS
from pipelines.replay.request import Head, Lines
from tests.support.asking_child import VERSION, OneRequest, meaning

REQUESTS = 5
PRICE = Price(input_usd=10, output_usd=100, max_output_tokens=100)
AT_PROVIDER = ("upload", "create", "poll", "results", "remove")
STATES = ("uploaded", "creating", "created", "done")
STEPS = [
    *((name, when) for name in ("intend", *STATES, "keep") for when in ("before", "after")),
    *((name, "after") for name in AT_PROVIDER),
    ("nothing", ""),
]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def around(function: Callable[..., Any], when: str, is_it: Callable[..., bool] = lambda *_given: True) -> Any:
    """A function that does not survive its call."""

    def called(*given: Any, **named: Any) -> Any:
        if when == "before" and is_it(*given):
            kill()
        found = function(*given, **named)
        if when == "after" and is_it(*given):
            kill()
        return found

    async def awaited(*given: Any, **named: Any) -> Any:
        await function(*given, **named)
        kill()

    async def iterated(*given: Any, **named: Any) -> Any:
        async for _line in function(*given, **named):
            kill()
            yield

    if inspect.isasyncgenfunction(function):
        return iterated
    return awaited if inspect.iscoroutinefunction(function) else called


def die_at(step: str, when: str, api: str) -> None:
    """Have this process killed before or after a step."""
    if step in STATES:
        Ledger.advance = around(Ledger.advance, when, lambda _self, _batch, state: state == step)  # type: ignore[method-assign]
    elif step in AT_PROVIDER:
        provider = type(PROVIDERS[api])  # type: ignore[index]
        setattr(provider, step, around(getattr(provider, step), when))
    elif step != "nothing":
        setattr(Ledger, step, around(getattr(Ledger, step), when))


def units_of(step: str, when: str, api: str) -> list[OneRequest]:
    """The requests of one step."""
    found = []
    for number in range(REQUESTS):
        lines = Lines(Head("m", {"max_tokens": 100}, (), api))  # type: ignore[arg-type]
        lines.add({"role": "user", "content": f"{step} {when} {number}"})
        request = lines.request(f"unit-{number}", "candidate", 0, (f"stream-{number}", number), lambda: (1, {}))
        found.append(OneRequest(request))
    return found


def run(base_url: str, api: str, folder: Path, step: tuple[str, str]) -> None:
    """Go on once, and write what was answered when nothing is under way."""
    session._TOGETHER = 2
    session.SETTLING = timedelta(0)
    client.BACKOFF_SECONDS = 0.0
    with ResponseStore(folder / f"{'-'.join(step)}.sqlite") as store:
        sides = {"candidate": ModelSide(base_url, None, PRICE, api)}  # type: ignore[arg-type]
        asker = Asker(sides, store, Budget(usd=5, requests=REQUESTS), VERSION)  # type: ignore[arg-type]
        batches = Batches(asker, folder, lambda _line: None)
        units: Any = units_of(*step, api)
        batches.go_on(lambda: units)
        answered: Any = batches.outcomes(units)
        found = {request.unit_id: meaning(answer) for request, answer in answered}
        told = {"answered": found, "charged": store.charged(*VERSION), "usd": asker.account.usd}
    (folder / "answered.json").write_text(json.dumps(told), encoding="utf-8")


def in_a_copy(work: Callable[[], None]) -> int:
    """Do something in a copy of this process; how that ended."""
    number = os.fork()
    if number == 0:
        try:
            work()
        except UnfinishedError:
            os._exit(4)
        except BaseException:  # noqa: BLE001 -- a copy must not go on as its parent
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def main(base_url: str, api: str, folder: str) -> None:
    """Go through the steps."""
    for step in STEPS:

        def dying(step: tuple[str, str] = step) -> None:
            die_at(*step, api)
            run(base_url, api, Path(folder), step)

        def going_on(step: tuple[str, str] = step) -> None:
            run(base_url, api, Path(folder), step)

        ends = [in_a_copy(dying)]
        while ends[-1] != 0 and len(ends) < 8:
            ends.append(in_a_copy(dying if ends[-1] == 4 and -9 not in ends else going_on))
        told = json.loads((Path(folder) / "answered.json").read_text(encoding="utf-8"))
        (Path(folder) / "answered.json").unlink()
        print(json.dumps({"step": "-".join(step), "ends": ends, **told}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
