"""The code location as a whole: it loads, mirrors the dataset specs, and starts nothing that costs money."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg  # noqa: TID251 - these tests are of the code location
import pytest

from assets.definitions import build_defs, defs
from assets.partitions import EXPERIMENTS, build_months, find_first_month, remember_month
from assets.schedules import month_before, months_at
from pipelines.errors import BadInputError
from pipelines.lake.datasets import DATASETS

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = dg.AssetSelection.all()
PAID = {"replays", "replay_steps", "ab_units", "ab_tool_calls", "ab_summary"}
BY_MONTH = {
    "events",
    "stream_months",
    "merkle_nodes",
    "redacted_events",
    "utterances",
    "tool_calls",
    "decisions",
    "conversation_months",
    "call_months",
    "customer_months",
    "snapshots",
    "customer_snapshots",
}


@pytest.fixture(scope="module")
def graph() -> dg.AssetGraph:
    return build_defs().get_repository_def().asset_graph


@pytest.mark.quick
def test_every_derived_dataset_is_an_asset(graph):
    """Assets are `refold/<dataset>` for every dataset but the registries, grouped and described by its spec."""
    derived = {name for name, dataset in DATASETS.items() if dataset.layer != "registry"}
    assert {tuple(key.path) for key in graph.get_all_asset_keys()} == {("refold", name) for name in derived}
    for name in derived:
        node, dataset = graph.get(dg.AssetKey(["refold", name])), DATASETS[name]
        columns = node.metadata["dagster/column_schema"].columns
        assert (node.group_name, dataset.grain in node.description) == (dataset.layer, True)
        assert [(c.name, c.type, c.description, bool(c.tags)) for c in columns] == [
            (c.name, c.type, c.description, c.is_personal) for c in dataset.columns
        ]


def test_partitions_are_months_and_experiments(graph):
    """The log and its folds are partitioned by UTC month, experiments by name."""
    for key in graph.get_all_asset_keys():
        partitions = graph.get(key).partitions_def
        if key.path[-1] in BY_MONTH:
            assert isinstance(partitions, dg.MonthlyPartitionsDefinition)
        else:
            assert partitions == EXPERIMENTS


@pytest.mark.quick
def test_no_automation_reaches_a_replay(graph):
    """Replays and what follows from them have no condition; one schedule begins them and one sensor goes on with what was begun,
    both stopped until they are switched on."""
    repository = build_defs().get_repository_def()
    paid = {dg.AssetKey(["refold", name]) for name in PAID}
    assert all(graph.get(key).automation_condition is None for key in paid)
    assert repository.get_schedule_def("active_experiments").default_status == dg.DefaultScheduleStatus.STOPPED
    for schedule in repository.schedule_defs:
        if schedule.name == "active_experiments":
            continue
        assert not paid & set(repository.get_job(schedule.job_name).asset_layer.executable_asset_keys)
    assert repository.sensor_defs
    for sensor in repository.sensor_defs:
        if sensor.name in ("finished_batches", "failed_runs"):  # the second starts nothing
            assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
            continue
        assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
        assert not paid & sensor.asset_selection.resolve(graph)


def test_refolding_requests_folds_alone(graph):
    """With every condition evaluated on new events, months are folded again and no experiment is requested."""
    with dg.DagsterInstance.ephemeral() as instance:
        months = build_months("2026-01")
        definitions = build_defs(months=months)
        cursor = dg.evaluate_automation_conditions(
            defs=definitions, instance=instance, asset_selection=EVERYTHING
        ).cursor
        instance.add_dynamic_partitions("experiments", ["e"])
        for name in ("events", "stream_months"):
            made = dg.AssetMaterialization(["refold", name], partition="2026-02")
            instance.report_runless_asset_event(made)
        result = dg.evaluate_automation_conditions(
            defs=definitions, instance=instance, asset_selection=EVERYTHING, cursor=cursor
        )
        requested = {
            (key.path[-1], partition)
            for key in graph.get_all_asset_keys()
            for partition in result.get_requested_partitions(key)
        }
    assert requested == {(name, "2026-02") for name in BY_MONTH - {"events", "stream_months", "merkle_nodes"}}


def test_definitions_validate_as_a_code_location(tmp_path):
    """Dagster's own validation passes for `assets.definitions`."""
    environment = {**os.environ, "DAGSTER_HOME": "", "REFOLD_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "assets.definitions"]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_overrides_replace_a_resource():
    """`build_defs` takes any resource in place of its own, and makes fresh definitions every time."""
    mine = object()
    changed = build_defs({"home": mine})
    assert changed.get_repository_def().get_top_level_resources()["home"].resource_fn(None) is mine
    assert changed is not build_defs()


def test_the_code_location_is_that_of_the_environment(monkeypatch, tmp_path):
    """The first month is read when the definitions load."""
    monkeypatch.setenv("REFOLD_HOME", str(tmp_path))
    monkeypatch.setenv("REFOLD_FIRST_MONTH", "1999-12")
    node = defs().get_repository_def().asset_graph.get(dg.AssetKey(["refold", "events"]))
    assert node.partitions_def.get_first_partition_key() == "1999-12"
    assert node.partitions_def.get_last_partition_key() == f"{datetime.now(UTC):%Y-%m}"


@pytest.mark.quick
def test_the_first_month_only_moves_back(settings):
    """Months begin at the earliest ever remembered, whatever the order; a nonsense month is refused."""
    for month, first in (("2026-03", "2026-03"), ("1969-07", "1969-07"), ("2026-05", "1969-07")):
        remember_month(settings, month)
        assert find_first_month(settings) == first
    for nonsense in ("2026-13", "26-01", "2026-1", "", "2026-01\n"):
        with pytest.raises(BadInputError, match="is not a month"):
            remember_month(settings, nonsense)


@pytest.mark.parametrize("first", ["1901-01", "1969-12", "1970-01", "2024-02"])
def test_history_of_any_year_is_a_partition(first):
    """Months before Unix time, leap years and years back are valid keys, without gap or repetition."""
    keys = build_months(first).get_partition_keys()
    now = datetime.now(UTC)
    count = (now.year - int(first[:4])) * 12 + now.month - int(first[5:]) + 1
    assert keys[0] == first
    assert keys == sorted(set(keys))
    assert len(keys) == count


def test_months_reach_ahead_when_asked():
    """A month after the running one is a partition when it is named."""
    ahead = datetime.now(UTC).year + 2
    assert build_months("2026-01", f"{ahead}-02").get_last_partition_key() == f"{ahead}-02"
    assert build_months("2026-01", "2026-01").get_last_partition_key() == f"{datetime.now(UTC):%Y-%m}"


@pytest.mark.parametrize(
    ("now", "months"),
    [
        (datetime(2026, 3, 1, 2, 15, tzinfo=UTC), ["2026-02", "2026-03"]),
        (datetime(2026, 1, 1, 2, 15, tzinfo=UTC), ["2025-12", "2026-01"]),
        (datetime(2026, 3, 2, 2, 15, tzinfo=UTC), ["2026-03"]),
        (datetime(2026, 3, 31, 2, 15, tzinfo=UTC), ["2026-03"]),
    ],
)
def test_the_schedule_takes_the_month_that_just_ended(now, months):
    """The open month every night; the one before it once more on the first of a month."""
    assert months_at(now) == months


@pytest.mark.parametrize(
    ("now", "month"),
    [(datetime(2026, 3, 3, 4, 15, tzinfo=UTC), "2026-02"), (datetime(2026, 1, 3, 4, 15, tzinfo=UTC), "2025-12")],
)
def test_the_month_just_closed_is_sealed(graph, now, month):
    """The seal's schedule asks for the month before; only months that have ended can be sealed."""
    assert month_before(now) == month
    months = graph.get(dg.AssetKey(["refold", "merkle_nodes"])).partitions_def.get_partition_keys()
    assert months[-1] == month_before(datetime.now(UTC))
