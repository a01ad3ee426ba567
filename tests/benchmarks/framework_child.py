"""What an agent of a framework takes for a turn: under replay, and by itself. In an environment that holds the framework.

    python -m tests.benchmarks.framework_child LAKE FOLDER AGENT…     # AGENT: a module in FOLDER with a function `run`

By itself it is put into the same turns, asks a server that answers at once (a tool call, then a text), and its one tool is a function
that gives a text. Prints a JSON object: agent → milliseconds of processor time, `replay_ms` and `own_ms`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.experiment.code import load_python
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.lake.lake import Lake
from pipelines.replay.agents.functions import act
from pipelines.replay.agents.session import Session, Tool
from pipelines.replay.run import run_replay
from pipelines.settings import Settings

SESSIONS: list[Session] = []
"""What the agent was given under replay."""
_WATCHED = """
from {agent} import run as agent
from tests.benchmarks.framework_child import watched

run = watched(agent)
"""
_EXPERIMENT = """
experiment: {name}
candidate: {{agent: "{module}:run", model: gpt-4o, answers: recorded}}
mode: turn
tools: {{schemas: tools.json, unknown: read}}
budget: {{concurrency: 2}}
"""
_SCHEMA = {"type": "object", "properties": {}, "additionalProperties": True}


def _sent(_name: str, _arguments: Any) -> str:
    return "The order was sent on the third."


_TOOLS = [
    Tool(name, "Does it.", _SCHEMA, _sent)
    for name in ("look_up", "lookup_order", "refund_order", "track_package", "search")
]
"""That of the server, and those of the log."""
_WARM = 10
"""Turns before those that are measured: frameworks import in the middle of a run, and a client connects."""


def watched(run: Callable[[Session], Any]) -> Callable[[Session], Any]:
    """The agent, whose sessions are kept."""
    if asyncio.iscoroutinefunction(run):

        async def run_async(session: Session) -> Any:
            SESSIONS.append(session)
            return await run(session)

        return run_async

    def run_sync(session: Session) -> Any:
        SESSIONS.append(session)
        return run(session)

    return run_sync


def replayed(lake: Lake, folder: Path, agent: str, name: str) -> float:
    """Milliseconds of a turn under replay, planned before; to committed rows."""
    module = f"watched_{agent}"
    (folder / f"{module}.py").write_text(_WATCHED.format(agent=agent), encoding="utf-8")
    (folder / "tools.json").write_text(json.dumps([tool.schema for tool in _TOOLS]), encoding="utf-8")
    plan = make_plan(lake, parse_experiment(_EXPERIMENT.format(module=module, name=name), name), folder)
    settings = Settings(home=folder / "home", dsn=None, lake=lake.root)
    cpu = time.process_time()
    done = run_replay(lake, plan, settings=settings)
    assert done.failures == {}, done
    return (time.process_time() - cpu) / done.units * 1e3


def by_itself(folder: Path, agent: str, sessions: Sequence[Session], url: str) -> float:
    """Milliseconds of a turn without a replay."""
    candidate = load_python(f"{agent}:run", folder)
    with asyncio.Runner() as runner:

        def turn(session: Session) -> None:
            assert act(candidate, replace(session, tools=_TOOLS, model_url=url, _fetch=_sent), runner)

        for session in sessions[:_WARM]:
            turn(session)
        cpu = time.process_time()
        for session in sessions:
            turn(session)
        return (time.process_time() - cpu) / len(sessions) * 1e3


@contextmanager
def answering() -> Iterator[str]:
    """A model server in a process of its own."""
    command = [sys.executable, "-m", "tests.support.model_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def main(root: str, folder: str, *agents: str) -> None:
    """Each agent in turn."""
    sys.path.insert(0, folder)
    lake, found = Lake(Path(root)), {}
    with answering() as url:
        for agent in agents:
            SESSIONS.clear()
            replayed(lake, Path(folder), agent, "first")  # a version that is complete is not replayed again
            own = by_itself(Path(folder), agent, list(SESSIONS), url)
            found[agent] = {"own_ms": own, "replay_ms": replayed(lake, Path(folder), agent, "second")}
    print(json.dumps(found))


if __name__ == "__main__":
    from tests.benchmarks import framework_child  # the one that the agents' modules import

    framework_child.main(*sys.argv[1:])
