"""Puts agents into the recorded turns of a lake, the recording answering their models; prints what became of each unit.

    python -m tests.support.frameworks.echo_child LAKE FOLDER AGENT…

It runs in the environment of a framework. `AGENT` is a module in the folder, with a function `run`; with a dash before it, it loses the
first tool result of each unit. The last line is a JSON object: agent → unit → what its row says, and what was seen of it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.lake.lake import Lake
from pipelines.replay.run import run_replay
from pipelines.settings import Settings
from tests.support.frameworks.watching import Seen

SEEN: dict[str, defaultdict[str, Seen]] = defaultdict(lambda: defaultdict(Seen))
_MODULE = """
from {agent} import run
from tests.support.frameworks.echo_child import SEEN
from tests.support.frameworks.watching import watch

run = watch(run, SEEN["{name}"], is_forgetful={is_forgetful})
"""
_EXPERIMENT = """
experiment: echo-{module}
candidate: {{agent: "{module}:run", model: gpt-4o, answers: recorded}}
mode: turn
tools: {{unknown: read}}
budget: {{concurrency: 4}}
"""
_UNITS = """
SELECT
    units.unit_id, any_value(units.status), any_value(units.reason), any_value(units.text), count(steps.step),
    list(steps.request_differences ORDER BY steps.step)
FROM replays_history AS units
LEFT JOIN replay_steps_history AS steps USING (version_id, unit_id, side, draw)
WHERE units.version_id = $version
GROUP BY units.unit_id
"""


def echo(lake: Lake, folder: Path, agent: str) -> dict[str, dict[str, Any]]:
    """What became of each unit, by its id."""
    is_forgetful = agent.startswith("-")
    module = f"{'forgetful' if is_forgetful else 'seen'}_{agent.removeprefix('-')}"
    (folder / f"{module}.py").write_text(
        _MODULE.format(agent=agent.removeprefix("-"), name=agent, is_forgetful=is_forgetful), encoding="utf-8"
    )
    plan = make_plan(lake, parse_experiment(_EXPERIMENT.format(module=module), module), folder)
    home = folder / "home"
    done = run_replay(lake, plan, settings=Settings(home=home, dsn=None, lake=lake.root, memory_bytes=10**9))
    if done.first_error is not None:
        print(f"{agent}: {done.first_error}", file=sys.stderr)
    with lake.connect() as connection:
        rows = connection.execute(_UNITS, {"version": done.version_id}).fetchall()
    names = ("status", "reason", "text", "steps", "differences")
    seen = SEEN[agent]
    return {unit: dict(zip(names, row, strict=True)) | vars(seen[unit]) for unit, *row in rows}


def main(lake: str, folder: str, *agents: str) -> None:
    """Each agent in turn."""
    sys.path.insert(0, folder)
    found = {agent: echo(Lake(Path(lake)), Path(folder), agent) for agent in agents}
    print(json.dumps(found))


if __name__ == "__main__":
    from tests.support.frameworks import echo_child  # the one that agents' modules import

    echo_child.main(*sys.argv[1:])
