"""Comparisons of recorded runs and noise floors after an erasure, on a small history in a real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pipelines.diff.dataset import build_diff
from pipelines.diff.result import DiffResult, find_result
from pipelines.diff.versions import list_versions
from pipelines.erasure.reach import Reach
from pipelines.erasure.versions import find_touched, is_unfinished, revise_versions
from pipelines.experiment.versions import keep_version, recall_version
from pipelines.lake.lake import Lake
from pipelines.proof.erasure import Target
from pipelines.redaction.places import find_value
from pipelines.replay.run import run_replay
from pipelines.review.headline import find_version
from pipelines.review.page import render_page
from pipelines.review.report_html import keep_report
from pipelines.settings import Settings
from pipelines.store import NewEvent, Store
from tests.support.shop import add, conversation, plan_of, refresh

TASKS = 8
RECORDED = """
experiment: recorded
baseline: {recorded: {source: shop, variant: v1}}
candidate: {recorded: {source: shop, variant: v2}}
mode: conversation
"""
NOISE = """
experiment: noise
baseline: {recorded: {source: shop, variant: v1}}
candidate: {python: "desk:same"}
control: {python: "desk:now"}
noise_floor: true
"""
AGENT = """
from pipelines.experiment.decision import Reply, ToolCall

def same(decision):
    if decision.messages[-1]["role"] == "user":
        return Reply(tool_calls=[ToolCall("lookup_order", {"id": int(decision.messages[-1]["content"].split()[-1])})])
    return Reply("Done")

def now(decision):
    return Reply("No.")
"""
SECRET = "Hippolyta"


@pytest.fixture
def lake(store: Store, settings: Settings, tmp_path: Path) -> Lake:
    """Tasks run by two variants; the second one's run of task 3 names somebody, as its last word."""
    lake = Lake.from_settings(settings)
    lines = [
        conversation(task, variant, 10.0 * (task + 1), f"2026-01-{task + 1:02d} 12:00:00")
        for task in range(TASKS)
        for variant in ("v1", "v2")
    ]
    lines[3 * 2 + 1]["messages"][-1]["content"] = f"Goodbye, {SECRET}"
    add(store, lake, tmp_path, lines)
    (tmp_path / "desk.py").write_text(AGENT, encoding="utf-8")
    return lake


def run(lake: Lake, text: str, folder: Path) -> DiffResult:
    """Plan an experiment, keep the version and make it."""
    plan = plan_of(lake, text, folder)
    keep_version(lake, plan, folder)
    run_replay(lake, plan)
    return build_diff(lake, plan)


def stream_of(lake: Lake, variant: str, task: int) -> str:
    query = "SELECT aggregate_id FROM conversations WHERE variant = $variant AND task = $task"
    with lake.connect() as connection:
        return str(connection.sql(query, params={"variant": variant, "task": f"task/{task}"}).fetchall()[0][0])


def reach_of(*streams: str) -> Reach:
    return Reach.of([Target(stream, 1, 99, True) for stream in streams], None)


def summary(lake: Lake, version_id: str) -> list[tuple[Any, ...]]:
    query = "SELECT * EXCLUDE (experiment, version_id, erased_units) FROM ab_summary_history WHERE version_id = $version ORDER BY ALL"
    with Lake(lake.root).connect() as connection:
        return connection.sql(query, params={"version": version_id}).fetchall()


def test_a_pair_goes_with_its_recorded_run(lake, settings, tmp_path):
    """Only side B's conversation is erased: the pair goes, A's conversation and all others stay, and B's words are nowhere. The
    summary is that of the version without the task; the report says that it was revised."""
    result = run(lake, RECORDED, tmp_path)
    keep_report(lake, settings.home, find_version(lake, "recorded"))
    folds = {path.name for path in lake.root.iterdir()} - {
        "replays",
        "ab_units",
        "ab_tool_calls",
        "ab_summary",
        "versions",
    }

    def derived() -> list[Any]:
        return [place for place in find_value(settings.home, SECRET) if not folds & set(place.path.parts)]

    assert len(derived()) > 2
    reach = reach_of(stream_of(lake, "v2", 3))
    done = revise_versions(lake, settings.catalog, reach, "e")
    assert (done.units, done.not_recomputed, done.left) == (1, [], [])
    without = run(Lake(lake.root), RECORDED + "where: \"task <> 'task/3'\"\n", tmp_path)
    assert summary(lake, result.version_id) == summary(lake, without.version_id)
    keep_report(Lake(lake.root), settings.home, find_version(Lake(lake.root), "recorded", result.version_id))
    assert derived() == []
    assert not any(is_unfinished(lake, each) for each in find_touched(Lake(lake.root), reach))
    with Lake(lake.root).connect() as connection:
        left = connection.sql(
            "SELECT count(*) FROM ab_units_history WHERE version_id = $version", params={"version": result.version_id}
        ).fetchall()
    assert left == [(TASKS - 1,)]


def test_a_noise_floor_is_made_again(lake, settings, tmp_path):
    """Its draws are kept: it equals that of a version without the conversation."""
    result = run(lake, NOISE, tmp_path)
    revise_versions(lake, settings.catalog, reach_of(stream_of(lake, "v1", 3)), "e")
    without = run(Lake(lake.root), NOISE + "where: \"task <> 'task/3'\"\n", tmp_path)
    assert len([line for line in summary(lake, result.version_id) if line[1] == "noise"]) == 6
    assert summary(lake, result.version_id) == summary(lake, without.version_id)
    (version,) = [each for each in list_versions(Lake(lake.root)) if each.version_id == result.version_id]
    assert (version.revision.is_recomputed, version.revision.why) == (True, None)


def test_a_noise_floor_that_cannot_be_made_again_is_labelled(lake, store, settings, tmp_path):
    """A conversation of the sample went on since: what its draws are beside is another, so the lines are of before, and say so.
    All others are of what is left."""
    result = run(lake, NOISE, tmp_path)
    before = {line[:4]: line for line in summary(lake, result.version_id)}
    store.append(
        UUID(stream_of(lake, "v1", 5)),
        "conversation",
        [NewEvent("user.utterance.v1", {"text": "thanks"}, {"actor": "user"})],
        "exists",
    )
    refresh(store, lake)
    done = revise_versions(lake, settings.catalog, reach_of(stream_of(lake, "v1", 3)), "e")
    assert [version for version, _ in done.not_recomputed] == [f"noise/{result.version_id}"]
    after = {line[:4]: line for line in summary(lake, result.version_id)}
    assert before.keys() == after.keys()
    for key, line in after.items():
        if key[1] == "noise":
            assert line[-1] == "before_erasure"
            assert line[:-1] == before[key][:-1]
        else:
            assert line[-1] != "before_erasure"
            assert line != before[key]
    (version,) = list_versions(Lake(lake.root))
    assert version.revision.is_recomputed
    assert "some figures are of before the erasure" in version.revision.describe("decision")


def test_the_page_says_so(lake, settings, tmp_path):
    """What `refold ab` prints of a revised version."""
    result = run(lake, RECORDED, tmp_path)
    revise_versions(lake, settings.catalog, reach_of(stream_of(lake, "v1", 2)), "e1")
    fresh = Lake(lake.root)
    plan = recall_version(fresh, {"experiment": "recorded", "version_id": result.version_id})
    page = render_page(fresh, find_result(fresh, plan.experiment, plan.version_id, plan.window))
    assert "revised: 1 conversation pair of 8 erased (e1); all figures are of what is left" in page
