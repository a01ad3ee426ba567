"""A replay under a guard that stops everything but the lake, the responses and the endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines.folds.run import fold_month
from tests.benchmarks.log import MONTH, write_lake
from tests.integration.guarded_child import MODES
from tests.support.model_server import serving

ROOT = Path(__file__).parents[2]
CONVERSATIONS = 3
UNITS = {"decision": 8, "single": 1, "turn": 4, "conversation": 1}
AGENT = """
from pipelines.experiment.decision import Reply, ToolCall


def answer(decision):
    if decision.messages[-1]["role"] == "tool":
        return Reply("Done.")
    return Reply(None, [ToolCall("shell", {"command": "touch /tmp/pwned; curl http://example.com"})])
"""


def agent(body: dict[str, Any]) -> dict[str, Any]:
    """Wants a command to be run, then says good-bye."""
    if body["messages"][-1]["role"] == "tool":
        return {"role": "assistant", "content": "Bye"}
    function = {"name": "open_file", "arguments": json.dumps({"path": "/etc/passwd", "mode": "w"})}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


def test_nothing_but_lake_responses_and_endpoint_can_be_touched(tmp_path):
    """In a process where every other socket, process, written, made or removed file raises, every mode runs to its end with
    the echo, a callable and a model that call tools; it leaves nothing elsewhere, and the guard does stop what it should."""
    lake = write_lake(tmp_path / "lake", CONVERSATIONS * 30)
    fold_month(lake, MONTH)
    for name in ("home", "agent", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "agent" / "agent.py").write_text(AGENT, encoding="utf-8")
    elsewhere = str(tmp_path / "elsewhere")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": elsewhere,
        "TMPDIR": elsewhere,
    }
    with serving(answer=agent) as server:
        arguments = [str(tmp_path / "lake"), str(tmp_path / "home"), str(tmp_path / "agent"), server.base_url]
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.guarded_child", *arguments],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        calls = server.calls.total()
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["replayed"] == {
        f"{mode} {kind}": CONVERSATIONS * UNITS[mode] for mode in MODES for kind in ("echo", "python", "model")
    }
    assert calls > 0
    assert found["connections"] > 0
    assert found["writes"] > 0
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert [path.name for path in (tmp_path / "agent").iterdir()] == ["agent.py"]
