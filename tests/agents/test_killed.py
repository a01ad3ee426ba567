"""An agent over the gateway, killed while its model's endpoint fails. `tests/acceptance/agents_killed.py` is the long form."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance import agents_killed, kills

UNITS = 40


def test_three_kills_lose_no_unit_and_pay_for_nothing_twice(tmp_path: Path) -> None:
    """Over three `kill -9` and 5 % of each fault: every unit ends as without faults, nothing is answered twice but what was
    under way at a kill, no request is charged for twice, and the key is nowhere."""
    found = agents_killed.survive(tmp_path, "openai_agent", UNITS)
    assert agents_killed.faults_of(found, UNITS) == [], kills.told("chat", found)
