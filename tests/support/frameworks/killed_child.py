"""A replay of an agent that can be killed: it acts in the turns of the lake beside its home, and asks a model server through the gateway.

    python -m tests.support.frameworks.killed_child BASE_URL HOME REQUESTS CONCURRENCY TIMEOUT API

`AGENT` in the environment is its module, beside the lake. The API key is there, too. The last line is a JSON object of unit → text and tool
calls; there is none when it was killed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.lake.lake import Lake
from pipelines.replay.asking import patience as asking
from pipelines.replay.run import run_replay
from pipelines.settings import Settings
from tests.support.asking_child import KEY

_EXPERIMENT = """
experiment: {name}
candidate: {{agent: "{agent}:run", model: m, base_url: "{base_url}", api_key_env: {key}}}
mode: turn
tools: {{unknown: read}}
budget: {{concurrency: {concurrency}, timeout_seconds: {timeout}}}
"""
_UNITS = """
SELECT unit_id, coalesce(reason, text), [[call.name, call.arguments] FOR call IN tool_calls]
FROM replays_history
WHERE version_id = $version
"""


def main(base_url: str, home: str, _requests: str, concurrency: str, timeout: str, _api: str) -> None:
    """Act, and print what became of the units."""
    asking._BACKOFF = lambda _state: 0.02
    place, folder = Path(home), Path(home).parent
    lake = Lake(folder / "lake")
    agent = os.environ["AGENT"]
    text = _EXPERIMENT.format(
        name=f"killed-{place.stem}", agent=agent, base_url=base_url, key=KEY, concurrency=concurrency, timeout=timeout
    )
    plan = make_plan(lake, parse_experiment(text, "killed"), folder)
    settings = Settings(home=place, dsn=None, lake=lake.root, memory_bytes=10**9)
    version = run_replay(lake, plan, settings=settings).version_id
    with lake.connect() as connection:
        rows = connection.execute(_UNITS, {"version": version}).fetchall()
    print(
        json.dumps({unit: [text, [[name, json.loads(given)] for name, given in calls]] for unit, text, calls in rows})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
