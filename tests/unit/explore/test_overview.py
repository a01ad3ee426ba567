"""What the dashboard counts against the same rows counted in plain Python, for every kind of choice; and what it shows of hostile names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles

import pytest

from pipelines.explore.choices import ALL, Choices, Chosen, load_choices
from pipelines.explore.html import render_overview
from pipelines.explore.overview import FLAGS, Overview, load_overview
from pipelines.lake.datasets import CONVERSATION_MONTHS, DECISIONS, TOOL_CALLS
from pipelines.lake.lake import Lake
from tests.support.explored import AGENTS, ASKED, DECIDED, STREAMS, write_explored
from tests.support.small_lake import write_rows


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Four months of rows."""
    lake = Lake(tmp_path_factory.mktemp("explored") / "lake")
    write_explored(lake)
    return lake


@pytest.fixture(scope="module")
def choices(lake: Lake) -> Choices:
    """What there is to choose from."""
    return load_choices(lake)


def counted(lake: Lake, chosen: Chosen, keep: Callable[[dict], bool], model: str | None = "*") -> Overview:
    """What the dashboard counts, after it was compared with plain Python over the rows that `keep` keeps."""
    found = load_overview(lake, chosen)
    has_model = {row["aggregate_id"] for row in DECIDED if model in ("*", row["model"])}
    streams = [row for row in STREAMS if keep(row) and (model == "*" or row["aggregate_id"] in has_model)]
    ids = {row["aggregate_id"] for row in streams}
    decisions = [row for row in DECIDED if row["aggregate_id"] in ids and model in ("*", row["model"])]
    tools = [row for row in ASKED if row["aggregate_id"] in ids and row["actor"] != "user"]
    assert found.volume.started == len(streams) == sum(each.started for each in found.volumes.values())
    assert found.volume.ended == sum(row["status"] == "ended" for row in streams)
    assert found.volume.flags == {flag: sum(row[flag] for row in streams) for flag in FLAGS}
    assert set(found.volumes) | set(found.decisions) <= set(found.steps)
    assert {name: each.decisions for name, each in found.models.items()} == Counter(row["model"] for row in decisions)
    assert sum(each.decisions for each in found.decisions.values()) == len(decisions)
    named = Counter(row["name"] for row in tools)
    assert {tool.name: tool.calls for tool in found.tools[1:]} == named
    assert sum(tool.failed for tool in found.tools[1:]) == sum(row["error"] is not None for row in tools)
    assert sum(tool.unanswered for tool in found.tools[1:]) == sum(row["result_version"] is None for row in tools)
    if found.decided is not None:
        assert found.decided.cost_usd == pytest.approx(sum(row["cost_usd"] or 0 for row in decisions))
        assert found.decided.verified == sum(row["context_verified"] is True for row in decisions)
        assert found.decided.differing == sum(row["context_verified"] is False for row in decisions)
        times = [row["latency_ms"] for row in decisions if row["latency_ms"] is not None]
        cuts = quantiles(times, n=20, method="inclusive")
        assert (found.decided.p50_ms, found.decided.p95_ms) == (pytest.approx(cuts[9]), pytest.approx(cuts[18]))
    return found


def test_everything_is_counted_once(lake):
    """Conversations and calls, decisions by step and model, tools by name, percentiles, and outcomes by member."""
    found = counted(lake, Chosen(), lambda _row: True)
    assert found.tools[0].name is None
    assert found.tools[0].calls == sum(tool.calls for tool in found.tools[1:])
    told = [json.loads(row["outcome"]) for row in STREAMS if row["outcome"]]
    resolved = Counter(json.dumps(each["resolved"]) for each in told if isinstance(each, dict) and "resolved" in each)
    assert found.outcomes["resolved"] == resolved
    assert found.outcomes[""] == {'"lost"': told.count("lost")}
    assert "id" not in found.outcomes, "a member of many values tells conversations apart, not outcomes"
    assert found.without_outcome == sum(row["outcome"] is None for row in STREAMS)
    assert found.freshness.newest == max(row["started_at"] for row in STREAMS)


def test_what_is_chosen(lake, choices):
    """A month, the last days, a source that is not recorded, an agent of a hostile name, a vertical and a model."""
    in_april = counted(lake, choices.choose("2026-04"), lambda row: row["month"] == "2026-04")
    assert in_april.step == "day"
    end = max(row["started_at"] for row in STREAMS).replace(hour=0, minute=0) + timedelta(days=1)
    counted(lake, choices.choose("last 30 days"), lambda row: row["started_at"] >= end - timedelta(days=30))
    counted(lake, choices.choose(ALL, source=["(not recorded)"]), lambda row: row["source"] is None)
    hostile = [name for name, value in choices.values["agent"].items() if value in AGENTS[1:]]
    assert all(name.isprintable() for name in hostile)
    counted(lake, choices.choose(ALL, agent=hostile), lambda row: row["agent"] != "alice")
    counted(lake, choices.choose(ALL, vertical=["retail"]), lambda row: row["vertical"] == "retail")
    both = choices.choose("2026-05", vertical=["health", "(not recorded)"], model=["m-2"])
    counted(lake, both, lambda row: row["month"] == "2026-05" and row["vertical"] != "retail", model="m-2")


def test_nothing_and_names_that_are_not_known(lake, choices, tmp_path):
    """An empty lake and an empty window are shown as such; a name that is gone since is left out."""
    assert choices.choose("never", agent=["nobody"]) == Chosen()
    nothing = load_overview(lake, Chosen(first=datetime(2030, 1, 1, tzinfo=UTC)))
    empty = load_overview(Lake(tmp_path / "none"), Chosen())
    for found in (nothing, empty):
        assert (found.volume.started, found.decided, found.tools, found.steps) == (0, None, [], [])
        assert "No conversation or call" in render_overview(found)
    assert list(load_choices(Lake(tmp_path / "none")).windows) == [ALL]
    assert not (tmp_path / "none").exists()


def test_times_that_are_far_apart(tmp_path: Path):
    """A conversation of the year 1 beside one of today is no page of a hundred thousand bars."""
    lake = Lake(tmp_path / "lake")
    for year in (1, 2026, 9999):
        at = datetime(year, 12 if year > 1 else 1, 1, tzinfo=UTC)
        row = {**STREAMS[0], "aggregate_id": str(year), "month": f"{year:04}-{at.month:02}", "started_at": at}
        write_rows(lake, CONVERSATION_MONTHS, {"month": row["month"]}, [row])
    assert "2026-11" in load_choices(lake).windows
    found = load_overview(lake, Chosen())
    assert (found.step, len(found.steps)) == ("year", 3)
    assert "0001-01-01" in render_overview(found)


def test_what_was_not_recorded_is_no_zero(tmp_path):
    """A log without times, prices and latencies, as many are: no tool takes 0 ms, nothing costs nothing, and an empty step has no bar."""
    lake = Lake(tmp_path / "lake")
    at = STREAMS[0]["started_at"]
    of = {"month": f"{at:%Y-%m}", "aggregate_id": "s0"}
    call = {"stream_version": 2, "actor": "agent", "name": "find", "created_at": at, "answered_at": at}
    written = (
        (CONVERSATION_MONTHS, of | {"started_at": at, "status": "ended"}),
        (DECISIONS, of | {"decision": 1, "created_at": at}),
        (TOOL_CALLS, of | call | {"result_version": 3, "is_erased": False}),
    )
    for dataset, row in written:
        write_rows(lake, dataset, {"month": of["month"]}, [row])
    page = render_overview(load_overview(lake, Chosen()))
    assert "find" in page
    assert "0 ms" not in page
    assert "$" not in page
    assert "height:0" not in page


def test_hostile_names_are_text(lake):
    """Tags are escaped, and what would turn the direction of reading is shown by its code."""
    page = render_overview(load_overview(lake, Chosen()), ["<b>behind</b>"])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;behind" in page
    assert "\u202e" not in page
