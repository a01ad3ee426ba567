"""Several windows in one go, through `refold ab`: a version each, one answer over all."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.diff.versions import list_versions
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store
from tests.support.shop import add, conversation
from tests.support.verbs import Verbs

EXPERIMENT = """
experiment: two-windows
baseline: {recorded: {source: shop}}
candidate: {python: "desk:half"}
WINDOW
metrics:
  paid_usd:
    sql: "coalesce(list_sum(list_transform(tool_calls, LAMBDA c: (c.arguments ->> '$.amount_usd')::DOUBLE)), 0)"
    goal: lower
    margin: 1
primary: paid_usd
gate: "paid_usd improved"
"""
AGENT = """
import json
from pipelines.experiment.decision import Reply, ToolCall

def half(decision):
    last = decision.messages[-1]
    if last["role"] == "tool" and last["content"] != "ok":
        order = json.loads(last["content"])
        return Reply("Paying it back.", [ToolCall("refund", {"id": order["order"], "amount_usd": order["total"] / 2})])
    return Reply("Yes.")
"""


@pytest.fixture
def ab(refold: Verbs, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs the experiment in these windows; exit code and page."""
    path = tmp_path / "experiment.yaml"

    def run(window: str, *options: str) -> tuple[int, str]:
        path.write_text(EXPERIMENT.replace("WINDOW", window), encoding="utf-8")
        return refold("ab", str(path), *options)[:2]

    return run


def test_yesterday_and_seven_days_together(
    ab: Callable[..., tuple[int, str]], store: Store, settings: Settings, tmp_path: Path
):
    """Each window is a version of its own with an answer of its own; the widest decides unless one speaks against; the gate has to
    hold in every window. A window without a conversation is left out. Again, nothing is written."""
    lake = Lake.from_settings(settings)
    today = datetime.now(UTC).date()
    week, yesterday, tomorrow = (today + timedelta(days=days) for days in (-7, -1, 1))
    lines = [conversation(n, "v1", 10.0 + n, f"{week + timedelta(days=n % 7)} {n // 7:02d}:00:00") for n in range(35)]
    lines.append(conversation(98, "v1", 5.0, f"{today} 00:00:00"))
    lines.append(conversation(99, "v1", 5.0, f"{tomorrow + timedelta(days=40)} 09:00:00"))  # somebody's clock is ahead
    add(store, lake, tmp_path, lines)
    (tmp_path / "desk.py").write_text(AGENT, encoding="utf-8")

    code, page = ab("windows: [yesterday, 7d]")
    assert code == 3  # five conversations of one day improve nothing
    assert f"conversations that began from {yesterday} to before {today}, UTC" in page
    assert f"conversations that began from {week} to before {today}, UTC" in page
    assert page.splitlines()[-3:] == [
        "answer over 2 windows: ship",
        f"  {yesterday} to before {today}: not enough data (about 22 more conversations)",
        f"  {week} to before {today}: ship",
    ]
    versions = list_versions(lake, "two-windows")
    assert [version.pairs for version in versions] == [35 * 3, 5 * 3]

    code, printed = ab("windows: [yesterday, 7d]", "--json")
    found = json.loads(printed)
    assert [window["answer"]["word"] for window in found["windows"]] == ["not_enough_data", "ship"]
    assert [window["is_written"] for window in found["windows"]] == [False, False]
    assert found["version_id"] == versions[0].version_id

    assert ab("window: 7d")[0] == 0
    assert list_versions(lake, "two-windows") == versions  # one window alone is the version that it was

    code, page = ab("windows: [{from: 2025-01-01, to: 2025-02-01}, 7d]")
    assert code == 0
    assert page.splitlines()[-1].startswith("  paid_usd") or "answer: ship" in page
    assert "answer over" not in page


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ("windows: [7d, {last: 7d}]", "windows: the same window is named twice"),
        ("window: 7d\nwindows: [yesterday]", "give either window or windows"),
        ("window: weekly", "last is 'weekly'; write a number of days such as 7d"),
    ],
)
def test_windows_that_are_none(window: str, told: str):
    """The same window twice, two keys at once, and what is no window are refused."""
    with pytest.raises(BadInputError, match=told):
        parse_experiment(EXPERIMENT.replace("WINDOW", window), "test")
