"""The worked example of `docs/replay.md`: an agent loop of one's own, its model call replayed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from pipelines.experiment.code import load_python
from pipelines.experiment.decision import Decision
from tests.support.talks import Said, scene, walk

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "replay.md"
TALK: list[Said] = [
    ("system", "You are the shop's agent."),
    ("user", "refund order 7"),
    ("agent", (None, [("lookup_order", {"order_id": "7"}, {"total": 80})])),
    ("agent", (None, [("refund", {"amount_usd": 80}, {"paid": True})])),
    ("agent", ("Done.", [])),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's two files, as the document shows them."""
    blocks = re.findall(r"```python\n# (\w+)\.py.*?\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    for name, text in blocks:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    assert [name for name, _ in blocks] == ["shop_agent", "candidate"]
    for name in ("shop_agent", "candidate"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_documented_agent_is_replayed(folder: Path):
    """Its own tools are never called: it reads the recorded order, asks for less, and leaves the recording there."""
    candidate = load_python("candidate:decide", folder)

    def decide(decision: Decision):
        return candidate.answer(decision)

    effects = {"lookup_order": {"effect": "read"}, "refund": {"effect": "write"}}
    outcome = walk(scene(TALK, effects), decide, turn=1)
    assert [(step["result_source"], step["divergence"]) for step in outcome.steps] == [
        ("exact", None),
        ("miss", "arguments"),
    ]
    assert json.loads(outcome.steps[1]["tool_calls"][0]["arguments"]) == {"amount_usd": 50}
    missed = json.loads(outcome.steps[1]["tool_calls"][0]["miss"])
    assert (missed["nearest_name"], missed["paths"]) == ("refund", ["/amount_usd"])


def test_the_documented_loop_runs_live_with_the_same_model_call(folder: Path):
    """The same model call, in the agent's own loop with its own tools: what the replay leaves out is the loop alone."""
    namespace: dict = {}
    exec((folder / "shop_agent.py").read_text(encoding="utf-8"), namespace)
    paid: list[float] = []

    def refund(amount_usd: float) -> dict:
        paid.append(amount_usd)
        return {"paid": True}

    agent = namespace["Agent"](
        namespace["model_v2"], {"lookup_order": lambda order_id: {"total": 80}, "refund": refund}
    )
    assert agent.act([{"role": "user", "content": "refund order 7"}]) == "Done."
    assert paid == [50]
