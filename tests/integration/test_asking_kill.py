"""Killed and started again: what was paid for is kept, and at most what was under way is paid for twice.

`tests/acceptance/kills.py` is the long form.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance import kills
from tests.support.wires.wires import WIRES, Api

REQUESTS = 100


@pytest.mark.parametrize("api", WIRES)
def test_three_kills_lose_what_was_under_way_and_nothing_else(api: Api, tmp_path: Path) -> None:
    """Over three `kill -9` and 5 % of each fault: every unit is answered as without faults; nothing is answered twice but
    what was under way at a kill, an endpoint that honours the idempotency key charges for nothing twice, and the key that it
    repeats is in no file, log, error or process list."""
    found = kills.survive(tmp_path, api, REQUESTS)
    assert kills.faults_of(found, REQUESTS) == [], kills.told(api, found)


def test_a_leak_is_seen() -> None:
    """What is looked for is found, in whatever spelling an endpoint repeats it."""
    assert kills.leaks_in({each: f"so {each}.".encode() for each in kills.SPELT}) == list(kills.SPELT)
    assert kills.leaks_in({"hidden": kills.HIDDEN.encode()}) == []
