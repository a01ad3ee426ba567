"""A shop's refunds as lines of a chat log, in a store and a lake, and experiments on them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.diff.dataset import build_diff
from pipelines.diff.result import DiffResult
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import Plan, make_plan
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.folds.run import fold_month
from pipelines.ingest.chat import import_chat
from pipelines.lake.lake import Lake
from pipelines.replay.run import ReplayResult, run_replay
from pipelines.settings import Settings
from pipelines.store import Store
from tests.support.model_server import ModelServer


def call(name: str, arguments: object, call_id: str | None = "c") -> dict:
    return {"id": call_id, "function": {"name": name, "arguments": arguments}}


def conversation(task: int, variant: str, amount: float, start: str) -> dict:
    """A refund: the person asks, the agent looks the order up, pays, and says so."""
    return {
        "source": "shop",
        "conversation_id": f"{variant}-{task}",
        "task_id": f"task/{task}",
        "variant": variant,
        "started_at": start,
        "outcome": {"reward": 1.0 if variant == "v1" or task % 2 else 0.0},
        "messages": [
            {"role": "system", "content": "You are the shop's agent."},
            {"role": "user", "content": f"Please refund order {task}"},
            {"role": "assistant", "content": None, "tool_calls": [call("lookup_order", {"id": task})]},
            {"role": "tool", "tool_call_id": "c", "content": json.dumps({"order": task, "total": amount})},
            {
                "role": "assistant",
                "content": "Paying it back.",
                "tool_calls": [call("refund", {"id": task, "amount_usd": amount})],
            },
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
            {"role": "assistant", "content": f"Refunded {amount} USD"},
        ],
    }


def refresh(store: Store, lake: Lake) -> None:
    for month in months_to_export(store, lake):
        export_month(store.dsn, lake, month)
        fold_month(lake, month)


def add(store: Store, lake: Lake, folder: Path, lines: list[dict], name: str = "more.jsonl") -> None:
    path = folder / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    import_chat(store, [path], at=datetime(2026, 3, 1, tzinfo=UTC))
    refresh(store, lake)


def plan_of(lake: Lake, text: str, folder: Path) -> Plan:
    return make_plan(lake, parse_experiment(text, "test.yaml"), folder)


def run(lake: Lake, text: str, folder: Path) -> DiffResult:
    plan = plan_of(lake, text, folder)
    run_replay(lake, plan)
    return build_diff(lake, plan)


def text_of(server: ModelServer, extra: str = "", rest: str = "", name: str = "asked") -> str:
    return f"experiment: {name}\ncandidate: {{model: m, base_url: '{server.base_url}'{extra}}}\n{rest}"


def replay(lake: Lake, settings: Settings, text: str, folder: Path, **options: Any) -> ReplayResult:
    return run_replay(lake, plan_of(lake, text, folder), settings=settings, **options)
