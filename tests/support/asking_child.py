"""A process that asks a model server and can be killed: the requests 0 … N−1, from a store, to the end.

    python -m tests.support.asking_child BASE_URL STORE REQUESTS CONCURRENCY TIMEOUT [API]

The API key is in the environment, as ASKING_KEY. Its last line is a JSON object of unit → answer; there is none when it was killed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.experiment.budget import Budget
from pipelines.experiment.decision import Reply
from pipelines.experiment.sides import Api, Side
from pipelines.replay.asking import patience as asking
from pipelines.replay.asking.asker import Asker, ModelSide
from pipelines.replay.asking.responses import ResponseStore
from pipelines.replay.drive import drive
from pipelines.replay.failure import Answer
from pipelines.replay.request import Ask, Head, Lines, Request

VERSION = ("test", "v1")
KEY = "ASKING_KEY"
"""Environment variable of the API key."""
PARAMS: dict[Api, dict[str, Any]] = {"messages": {"temperature": 0, "max_tokens": 100}}
"""Parameters where a wire wants more than the others."""


@dataclass(frozen=True)
class OneRequest:
    """A unit that is one request; what comes of it is the request and its answer."""

    request: Request

    async def replay(self, ask: Ask) -> tuple[Request, Answer]:
        return self.request, await ask(self.request)

    def take(self, answer: Answer) -> tuple[Request, Answer]:
        return self.request, answer


def request_of(
    number: int,
    *,
    draw: int = 0,
    side: Side = "candidate",
    model: str = "m",
    text: str = "order",
    api: Api = "chat",
) -> Request:
    """The request of one unit; ten units are one conversation."""
    lines = Lines(Head(model, PARAMS.get(api, {"temperature": 0}), api=api))
    message = {"role": "user", "content": f"{text} {number}"}
    lines.add(message)
    return lines.request(f"unit-{number}", side, draw, (f"stream-{number // 10}", number), lambda: (1, {}))


def meaning(answer: Answer) -> object:
    """What was answered, without how long it took; the reason of a failure."""
    if isinstance(answer, Reply):
        return [answer.text, [[call.name, call.arguments] for call in answer.tool_calls]]
    return answer.reason


def main(base_url: str, store: str, requests: str, concurrency: str, timeout: str, api: Api = "chat") -> None:
    """Ask, and print what was answered."""
    asking._BACKOFF = lambda _state: 0.02
    budget = Budget(concurrency=int(concurrency), timeout_seconds=float(timeout))
    units: Iterator[OneRequest] = (OneRequest(request_of(number, api=api)) for number in range(int(requests)))
    with ResponseStore(Path(store)) as opened:
        asker = Asker({"candidate": ModelSide(base_url, os.environ.get(KEY), None, api)}, opened, budget, VERSION)
        outcomes = drive(asker, units, lambda _line: None)
        answered = {request.unit_id: meaning(answer) for request, answer in outcomes}
    print(json.dumps(answered))


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type] -- words of a command
