"""Batches as large as providers take them: more requests, and more bytes, than one holds, in little memory. Prints counts.

    python tests/acceptance/full_batches.py [--requests 120000] [--bytes 100] [--apis chat messages] [--mb 250]

OpenAI takes 50,000 requests and 200 MB in a batch, Anthropic 100,000 and 256 MB; the server refuses what is larger. A process
(`tests/support/full_batches_child.py`) submits all requests, and takes the answers once they were worked on. Each batch but the last is
full, by requests or by bytes; each unit has the answer to its own request; each was paid for once; nothing stays at the provider; and
neither process took more memory than it may. `--requests 12000 --bytes 40000` fills batches by bytes. `tests/integration/test_full_batches.py`
runs the same with fewer requests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipelines.experiment.sides import Api
from pipelines.replay.batch.providers import PROVIDERS
from tests.support.batch_server import BatchServer, serving_batches

ROOT = Path(__file__).parents[2]
_NEARLY = 0.9
"""Of the bytes that a full batch can have: the next request did not fit."""


@dataclass
class Submitted:
    """What was sent, and what came of it.

    Attributes:
        requests: Of each batch, in order.
        sizes: Bytes of each.
        right: Units that have the answer to their own request.
        paid: Answers that were paid for, by request.
        left: Files and batches that stay at the provider.
        peaks: The most memory of each process, MB.
    """

    requests: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    right: int = 0
    paid: Counter[str] = field(default_factory=Counter)
    left: int = 0
    peaks: list[float] = field(default_factory=list)


def go_on(server: BatchServer, api: Api, folder: Path, requests: int, size: int) -> dict[str, Any]:
    """One run of the process."""
    bounds = [str(PROVIDERS[api].most_requests), str(PROVIDERS[api].most_bytes)]
    arguments = [server.base_url(api), api, str(folder), str(requests), str(size), *bounds]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.full_batches_child", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr[-2000:])
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def submit(folder: Path, api: Api, requests: int, size: int) -> Submitted:
    """Submit, have it worked on, and take the answers."""
    found = Submitted()
    with serving_batches(page=100) as server:
        first = go_on(server, api, folder, requests, size)
        if not first["is_under_way"]:
            raise AssertionError("nothing was submitted")
        found.requests = [len(batch.requests) for batch in server.batches.values()]
        found.sizes = [batch.size for batch in server.batches.values()]
        server.work()
        last = go_on(server, api, folder, requests, size)
        if last["is_under_way"]:
            raise AssertionError("something is still under way")
        found.right, found.paid = last["right"], server.paid
        found.left = len(server.files) + (len(server.batches) if api == "messages" else 0)
        found.peaks = [first["peak_mb"], last["peak_mb"]]
    return found


def faults_of(found: Submitted, api: Api, requests: int, most_mb: float) -> list[str]:
    """What is not as it must be."""
    provider = PROVIDERS[api]
    full = [
        count == provider.most_requests or size > _NEARLY * provider.most_bytes
        for count, size in zip(found.requests[:-1], found.sizes[:-1], strict=True)
    ]
    checks = {
        "it was no more than one batch": len(found.requests) > 1,
        "a batch is larger than its provider takes": max(found.requests) <= provider.most_requests
        and max(found.sizes) <= provider.most_bytes,
        "a batch before the last is not full": all(full),
        "not every request was sent once": sum(found.requests) == len(found.paid) == requests,
        "a request was paid for twice": set(found.paid.values()) == {1},
        "a unit has not the answer to its own request": found.right == requests,
        "something stays at the provider": found.left == 0,
        f"it took more than {most_mb:g} MB": max(found.peaks) <= most_mb,
    }
    return [words for words, is_right in checks.items() if not is_right]


def told(api: Api, found: Submitted) -> str:
    """One line."""
    batches = ", ".join(
        f"{count:,} in {size / 1e6:.1f} MB" for count, size in zip(found.requests, found.sizes, strict=True)
    )
    peaks = " and ".join(f"{peak:.0f}" for peak in found.peaks)
    return f"{api}: batches of {batches}; {found.right:,} answered, {sum(found.paid.values()):,} paid for; at most {peaks} MB"


def main() -> int:
    """Each provider; 1 where something is not as it must be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=120_000)
    parser.add_argument("--bytes", type=int, default=100)
    parser.add_argument("--apis", nargs="+", default=["chat", "messages"])
    parser.add_argument("--mb", type=float, default=250.0)
    given = parser.parse_args()
    wrong = 0
    for api in given.apis:
        with tempfile.TemporaryDirectory(prefix="refold-batches-") as folder:
            found = submit(Path(folder), api, given.requests, given.bytes)
        faults = faults_of(found, api, given.requests, given.mb)
        wrong += len(faults)
        sys.stdout.write("\n    WRONG: ".join([told(api, found), *faults]) + "\n")
        sys.stdout.flush()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
