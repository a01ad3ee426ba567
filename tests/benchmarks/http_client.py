"""A client that posts bodies that are ready, some at once: what asks a server whose processor time is measured.

    python tests/benchmarks/http_client.py URL HEADERS     # HEADERS: JSON object

It reads a body a line up to an empty one, prints an empty line, and begins when standard input is closed. It imports nothing of this
project's, to be there soon.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping

import aiohttp

AT_ONCE = 8


async def ask_all(url: str, bodies: Iterable[bytes], headers: Mapping[str, str]) -> None:
    """Post all; every answer must be one."""
    waiting = iter(bodies)
    async with aiohttp.ClientSession(headers={"content-type": "application/json", **headers}) as session:

        async def ask() -> None:
            for body in waiting:
                async with session.post(url, data=body) as response:
                    said = await response.read()
                    assert response.status == 200, said
                    assert b" order " in said, said  # what every answer of the benchmark says

        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    read = [line for line in iter(sys.stdin.buffer.readline, b"\n") if line]
    print(flush=True)
    sys.stdin.read()
    asyncio.run(ask_all(sys.argv[1], read, json.loads(sys.argv[2])))
