"""The noise floor from replay to page: who is asked how often, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.diff.dataset import build_diff
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.lake.lake import Lake
from pipelines.replay.estimate import estimate_replay
from pipelines.replay.run import run_replay
from pipelines.review.page import render_page
from pipelines.settings import Settings
from pipelines.store import Store
from tests.support.shop import add, conversation

TASKS = 22
AGENT = """
from pipelines.experiment.decision import Reply, ToolCall

def same(decision):
    last = decision.messages[-1]
    if last["role"] == "user":
        return Reply(tool_calls=[ToolCall("lookup_order", {"id": int(last["content"].split()[-1])})])
    if last["content"] == "ok":
        return Reply("Done")
    task = next(m for m in decision.messages if m["role"] == "user")["content"].split()[-1]
    return Reply("Paying it back.", [ToolCall("refund", {"id": int(task), "amount_usd": 10.0})])

def now(decision):
    return Reply("No.")
"""
EXPERIMENT = """
experiment: noise
baseline: {recorded: {source: shop}}
candidate: {python: "desk:same"}
control: {python: "desk:CONTROL"}
noise_floor: SIZE
"""


@pytest.fixture
def lake(store: Store, settings: Settings, tmp_path: Path) -> Lake:
    lake = Lake.from_settings(settings)
    lines = [conversation(task, "v1", 10.0, f"2026-01-{task + 1:02d} 12:00:00") for task in range(TASKS)]
    add(store, lake, tmp_path, lines)
    (tmp_path / "desk.py").write_text(AGENT, encoding="utf-8")
    return lake


def run(lake: Lake, folder: Path, control: str, size: object) -> str:
    experiment = parse_experiment(EXPERIMENT.replace("CONTROL", control).replace("SIZE", str(size)), "test")
    plan = make_plan(lake, experiment, folder)
    run_replay(lake, plan)
    return render_page(lake, build_diff(lake, plan))


def test_a_sample_is_drawn_twice_and_drift_is_told(lake: Lake, tmp_path: Path):
    """In the sample both sides are drawn twice, elsewhere the candidate once and the control not at all. Deterministic sides that
    do what was recorded have excess and drift 0; a control that no longer does it has drift, and the page says so."""
    page = run(lake, tmp_path, "same", 21)
    query = "SELECT side, draw, count(DISTINCT aggregate_id), count(*) FROM replays GROUP BY ALL ORDER BY ALL"
    with lake.connect() as connection:
        drawn = connection.sql(query).fetchall()
        lines = connection.sql("SELECT estimate, g, n FROM ab_summary WHERE kind = 'noise'").fetchall()
    assert drawn == [
        ("candidate", 0, TASKS, TASKS * 3),
        ("candidate", 1, 21, 63),
        ("control", 1000, 21, 63),
        ("control", 1001, 21, 63),
    ]
    assert lines == [(0, 21, 63)] * 6
    assert "The model changed" not in page
    page = run(lake, tmp_path, "now", "true")
    assert "The model changed since the recording: differences from A are not B's doing alone." in page
    assert "B acts differently beyond the model's own noise." in page
    with lake.connect() as connection:
        found = dict(connection.sql("SELECT metric, estimate FROM ab_summary WHERE kind = 'noise'").fetchall())
    assert found["noise_drift"] == pytest.approx(2 / 3)  # two decisions of three call a tool
    assert found["noise_excess"] == pytest.approx(2 * 2 / 3)


def test_walks_are_compared_by_what_they_did(lake: Lake, tmp_path: Path):
    """Sides that walk on their own, with answers from the recording: the same policy has no excess, and one that stops at once has."""
    page = run(lake, tmp_path, "same", "true\nmode: conversation")
    assert "What differs is not more" not in page  # nothing differs anywhere, which few conversations cannot promise
    query = "SELECT metric, estimate, n, excluded FROM ab_summary WHERE kind = 'noise'"
    with lake.connect() as connection:
        assert {row[1:] for row in connection.sql(query).fetchall()} == {(0.0, TASKS, 0)}
    run(lake, tmp_path, "now", "true\nmode: turn\ntools: {unknown: read}")
    with lake.connect() as connection:
        found = {name: numbers for name, *numbers in connection.sql(query).fetchall()}
    assert found["noise_excess"] == [2.0, TASKS, 0]
    assert found["noise_drift"] == [1.0, TASKS, 0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("candidate: {echo: true}\ncontrol: {python: a:b}", "control: an echo candidate"),
        (
            "candidate: {python: a:b}\ncontrol: {recorded: {source: s}}",
            "control: recorded cannot be set beside a python",
        ),
        ("candidate: {python: a:b}\nnoise_floor: false", "noise_floor: write true or a number"),
        ("candidate: {python: a:b}\nnoise_floor: 0", "line 3: noise_floor: Input should be greater than 0"),
        (
            "candidate: {recorded: {variant: [a, a]}}\nmode: conversation",
            "variant: the same variant is named twice",
        ),
        ("candidate: {python: a:b}\ncluster: weather", "cluster: Input should be 'conversation', 'customer'"),
    ],
)
def test_what_cannot_be_compared_is_refused(text: str, told: str):
    """Every fault is named with its key."""
    with pytest.raises(BadInputError, match=told):
        parse_experiment(f"experiment: x\n{text}\n", "test")


def test_a_dry_run_counts_the_draws(lake: Lake, settings: Settings, tmp_path: Path):
    """What would be asked: the candidate about everything and once more in the sample, the control twice in the sample."""
    text = """
experiment: priced
baseline: {recorded: {source: shop}}
candidate: {model: m, base_url: "http://127.0.0.1:9/v1"}
control: {model: m}
noise_floor: 5
"""
    estimate = estimate_replay(lake, make_plan(lake, parse_experiment(text, "test"), tmp_path), settings)
    asked = {to.side: (to.requests, to.conversations) for to in estimate.destinations}
    assert asked == {"candidate": (TASKS * 3 + 5 * 3, TASKS), "control": (5 * 3 * 2, 5)}


def test_variants_alone_are_runs():
    """A list of variants is short for the runs of these variants."""
    text = "experiment: x\nmode: conversation\ncandidate: {recorded: %s}\n"
    assert parse_experiment(text % "[a, b]", "test") == parse_experiment(text % "{variant: [a, b]}", "test")
