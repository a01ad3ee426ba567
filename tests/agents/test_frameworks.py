"""The agents of `docs/agents.md` in a few real recorded turns, each framework in an environment of its own.

`tests/acceptance/agents.py` does it in hundreds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.lake.lake import Lake
from pipelines.store import EmbeddedServer, Store, connect
from tests.acceptance import agents
from tests.acceptance.agents import AGENTS, Turn
from tests.support.databases import copied_database
from tests.support.documented import write_documented

Talks = tuple[Lake, dict[str, Turn]]


@pytest.fixture(scope="module")
def talks(
    shared_data: Path, server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Talks]:
    """A conversation of each source of real data, and what was done in its turns."""
    folder = tmp_path_factory.mktemp("talks")
    lake = Lake(folder / "lake")
    with copied_database(server, template) as name, connect(server.dsn_of(name)) as connection:
        store = Store(connection, server.dsn_of(name))
        yield lake, agents.import_talks(store, lake, shared_data.parent, 1, folder)


@pytest.mark.parametrize("framework", AGENTS)
def test_documented_agents_do_what_was_recorded(framework: str, talks: Talks, tmp_path: Path) -> None:
    """Answered by the recording, each makes the recorded tool calls and says the recorded text; without one tool result none does
    (whose framework is not looked at, so the plain loop alone is tried here)."""
    lake, turns = talks
    chosen = [agent for agent in AGENTS[framework] if framework == "plain" or not agent.startswith("-")]
    found = agents.run_agents(framework, chosen, lake, tmp_path / framework)
    assert list(found) == chosen
    for agent, units in found.items():
        echo = agents.hold(agent, units, turns)
        assert agents.faults_of(echo) == [], echo
        assert echo.units == len(turns) > 5


def test_every_agent_of_the_document_is_run(tmp_path: Path) -> None:
    """What the document shows is what is tested, all of it."""
    run = {agent for each in AGENTS.values() for agent in each if not agent.startswith("-")}
    assert set(write_documented("agents.md", tmp_path)) == run | {"shop_desk"}  # which is what `desk_agent` runs
