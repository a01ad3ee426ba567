"""A process that has many requests answered in batches: submits what has no answer, or takes the answers that came.

    python -m tests.support.full_batches_child BASE_URL API FOLDER REQUESTS BYTES MOST_REQUESTS MOST_BYTES

Each request is a text of so many bytes; a batch holds so many requests, and so many bytes. Its last line is a JSON object: whether something is under way, how many units got the
answer to their own request, and how much memory it took at most. The requests are made anew each time, none is kept.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipelines.errors import UnfinishedError
from pipelines.experiment.budget import Budget
from pipelines.experiment.decision import Reply
from pipelines.experiment.sides import Api
from pipelines.replay.asking.asker import Asker, ModelSide
from pipelines.replay.asking.responses import ResponseStore
from pipelines.replay.batch import session
from pipelines.replay.batch.batches import Batches
from pipelines.replay.batch.providers import PROVIDERS
from pipelines.replay.request import Head, Lines
from tests.support.asking_child import VERSION, OneRequest
from tests.support.batch_server import chat_answer


def units(api: Api, requests: int, size: int) -> Iterator[OneRequest]:
    """The requests."""
    head = Head("m", {"max_tokens": 100}, (), api)
    for number in range(requests):
        lines = Lines(head)
        lines.add({"role": "user", "content": f"{number} ".ljust(size, "x")})
        yield OneRequest(
            lines.request(f"unit-{number}", "candidate", 0, (f"stream-{number // 10}", number), lambda: (1, {}))
        )


def peak_mb() -> float:
    """The most memory that this process had, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def run(base_url: str, api: Api, folder: Path, requests: int, size: int) -> dict[str, Any]:
    """Go on once."""
    session.SETTLING = timedelta(0)
    right = 0
    with ResponseStore(folder / "responses.sqlite") as store:
        asker = Asker({"candidate": ModelSide(base_url, None, None, api)}, store, Budget(timeout_seconds=600), VERSION)
        batches = Batches(asker, folder, lambda _line: None)
        begun = peak_mb()
        try:
            batches.go_on(lambda: units(api, requests, size))  # type: ignore[arg-type,return-value]
        except UnfinishedError:
            return {"is_under_way": True, "right": 0, "begun_mb": begun, "peak_mb": peak_mb()}
        outcomes: Any = batches.outcomes(units(api, requests, size))  # type: ignore[arg-type]
        for request, answer in outcomes:
            _, wanted = chat_answer(request.head.wire.path, json.loads(request.body()))
            told = answer.text if isinstance(answer, Reply) else ""
            right += bool(told) and f'"{told}"' in json.dumps(wanted)
    return {"is_under_way": False, "right": right, "begun_mb": begun, "peak_mb": peak_mb()}


def main(base_url: str, api: Api, folder: str, requests: str, size: str, most_requests: str, most_bytes: str) -> None:
    """Go on once, and tell."""
    PROVIDERS[api].most_requests, PROVIDERS[api].most_bytes = int(most_requests), int(most_bytes)
    print(json.dumps(run(base_url, api, Path(folder), int(requests), int(size))))


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type] -- words of a command
